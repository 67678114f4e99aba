//! The unsafe part: rows of a picture or a recording, out of the projector and into the context.
#![expect(unsafe_code, reason = "llama-cpp-2 can encode and decode a picture in one blocking call only")]
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::mtmd::MtmdContext;
use llama_cpp_sys_2 as sys;

use crate::engine::address::{address, llama};

/// How many numbers a row has that takes a token's place. `None`: llama-cpp-2 no longer tells its address.
pub(super) fn row_width(context: &LlamaContext<'_>) -> Option<usize> {
    let context = llama(context)?;
    // SAFETY: the address is that of the live context that was lent; a model outlives its contexts, and both are only read.
    let width = unsafe { sys::llama_model_n_embd_inp(sys::llama_get_model(context)) };
    usize::try_from(width).ok().filter(|width| *width > 0)
}

/// What the last call of `encode_chunk` made, which was of so many numbers: the chunk's tokens times the width of a row.
pub(super) fn encoded(projector: &mut MtmdContext, numbers: usize) -> Option<Vec<f32>> {
    let context: *mut sys::mtmd_context = address(&format!("{projector:?}"))?;
    // SAFETY: the address is that of the live projector, borrowed for this alone, so that nobody encodes meanwhile.
    let rows = unsafe { sys::mtmd_get_output_embd(context) };
    if rows.is_null() {
        return None;
    }
    // SAFETY: mtmd.h: the buffer of the last encoding holds as many rows as its chunk has tokens, of the model's input width. The
    // projector was refused unless its rows have that width.
    Some(unsafe { std::slice::from_raw_parts(rows, numbers) }.to_vec())
}

/// Puts whole rows into a sequence's memory, the first at `place`. Not causal: each sees all, those behind it included.
///
/// The caller keeps them within one batch. Logits of earlier steps are lost.
pub(in crate::engine) fn decode_rows(
    context: &mut LlamaContext<'_>,
    rows: &[f32],
    place: usize,
    slot: usize,
    causal: bool,
) -> Result<(), String> {
    let width = row_width(context).ok_or("the context tells no address")?;
    let count = rows.len() / width;
    if count == 0 || !rows.len().is_multiple_of(width) || count > context.n_ubatch() as usize {
        return Err(format!("{} numbers are no rows of {width} for one batch", rows.len()));
    }
    let raw = llama(context).ok_or("the context tells no address")?;
    let mut rows = rows.to_vec();
    let mut positions: Vec<sys::llama_pos> = (place..place + count).map(|at| at as sys::llama_pos).collect();
    let mut sequence = [slot as sys::llama_seq_id];
    let mut sequences = vec![sequence.as_mut_ptr(); count];
    let mut lengths = vec![1_i32; count];
    let mut wanted = vec![0_i8; count];
    let batch = sys::llama_batch {
        n_tokens: count as i32,
        token: std::ptr::null_mut(),
        embd: rows.as_mut_ptr(),
        pos: positions.as_mut_ptr(),
        n_seq_id: lengths.as_mut_ptr(),
        seq_id: sequences.as_mut_ptr(),
        logits: wanted.as_mut_ptr(),
    };
    // SAFETY: the address is that of the live context, borrowed mutably. Each array of the batch has `count` elements, `embd` as many
    // rows of the model's input width, and all live until the call is over; llama.cpp copies what it keeps. Places and slots are
    // judged by llama.cpp, which answers an error.
    let answer = unsafe {
        sys::llama_set_causal_attn(raw, causal);
        let answer = sys::llama_decode(raw, batch);
        sys::llama_set_causal_attn(raw, true);
        answer
    };
    if answer == 0 { Ok(()) } else { Err(format!("llama.cpp answers {answer} to the rows of a picture")) }
}
