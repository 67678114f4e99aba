//! The unsafe part: hidden states out of the model's context, and rows of token and hidden state through the drafter's.
#![expect(unsafe_code, reason = "llama-cpp-2 drafts for its sequence 0 alone")]
use std::ptr::NonNull;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_sys_2 as sys;

use crate::engine::address::llama;

// Of llama.cpp's "staging" header, with C++ linkage: the names are those that compilers of the Itanium ABI give (Linux, macOS). If they
// change, this program does not link.
unsafe extern "C" {
    #[link_name = "_Z26llama_set_embeddings_nextnP13llama_contextbb"]
    fn set_hidden(context: *mut sys::llama_context, on: bool, masked: bool);
    #[link_name = "_Z30llama_get_embeddings_nextn_ithP13llama_contexti"]
    fn get_hidden(context: *mut sys::llama_context, row: i32) -> *const f32;
}

/// Whether a context tells the hidden states of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hidden {
    /// No.
    Kept,
    /// Of all rows. The model computes as without: the numbers are only not thrown away.
    OfAll,
    /// Of those rows whose output is wanted.
    OfOutputs,
}

/// `None`: llama-cpp-2 no longer tells the context's address.
pub(super) fn tell(context: &mut LlamaContext<'_>, hidden: Hidden) -> Option<()> {
    let context = llama(context)?;
    // SAFETY: the address is that of the live context, borrowed mutably; two of its settings are changed, for the next batch.
    unsafe { set_hidden(context, hidden != Hidden::Kept, hidden == Hidden::OfOutputs) };
    Some(())
}

/// How many numbers a hidden state of this context has.
pub(super) fn width(context: &LlamaContext<'_>) -> Option<usize> {
    let context = llama(context)?;
    // SAFETY: the address is that of the live context that was lent; a model outlives its contexts, and both are only read.
    let width = unsafe { sys::llama_model_n_embd_out(sys::llama_get_model(context)) };
    usize::try_from(width).ok().filter(|width| *width > 0)
}

/// The hidden state of this row of the last batch, where the context tells it.
pub(super) fn hidden(context: &LlamaContext<'_>, row: i32) -> Option<Vec<f32>> {
    let (width, context) = (width(context)?, llama(context)?);
    // SAFETY: the address is that of the live context that was lent and that is used from this thread alone. llama.cpp waits for the
    // computation, refuses rows that are not there, and answers null then.
    let numbers = unsafe { get_hidden(context, row) };
    if numbers.is_null() {
        return None;
    }
    // SAFETY: llama-context.cpp: a row of the buffer has `n_embd_out` numbers of the context's model, which is `width`, and the buffer
    // lives until the next batch. It is copied before that.
    Some(unsafe { std::slice::from_raw_parts(numbers, width) }.to_vec())
}

/// What this row of the last batch says of each token of a vocabulary of so many.
pub(super) fn with_logits<R>(
    context: &LlamaContext<'_>,
    row: i32,
    tell: impl FnOnce(&[f32]) -> R,
) -> Option<R> {
    let context = llama(context)?;
    // SAFETY: as above; a vocabulary is a part of the model.
    let (numbers, tokens) = unsafe {
        let vocabulary = sys::llama_model_get_vocab(sys::llama_get_model(context));
        (sys::llama_get_logits_ith(context, row), sys::llama_vocab_n_tokens(vocabulary))
    };
    let tokens = usize::try_from(tokens).ok()?;
    if numbers.is_null() {
        return None;
    }
    // SAFETY: llama.h: a row of logits has as many numbers as the vocabulary has tokens, and lives until the next batch; `tell` gets no
    // way to the context, and what it returns cannot borrow from the row.
    Some(tell(unsafe { std::slice::from_raw_parts(numbers, tokens) }))
}

/// A row of a draft: a token with the hidden state of the one before it.
#[derive(Debug)]
pub(super) struct Row<'r> {
    pub(super) sequence: i32,
    pub(super) position: i32,
    pub(super) token: i32,
    pub(super) hidden: &'r [f32],
}

/// llama.cpp's batch of such rows, made for one context.
pub(super) struct Rows(NonNull<sys::llama_batch_ext>);

impl Rows {
    pub(super) fn of(context: &LlamaContext<'_>) -> Option<Self> {
        let context = llama(context)?;
        // SAFETY: the address is that of the live context that was lent. The batch is this object's own, and freed with it.
        NonNull::new(unsafe { sys::llama_batch_ext_init(context) }).map(Self)
    }

    /// Computes these rows, all with output. The context must be the one that the batch was made for. An error is llama.cpp's number.
    pub(super) fn compute(&mut self, context: &mut LlamaContext<'_>, rows: &[Row<'_>]) -> Result<(), i32> {
        let context = llama(context).ok_or(REFUSED)?;
        let batch = self.0.as_ptr();
        // SAFETY: the batch is live and this object's own. llama.cpp copies tokens, states and positions, judges numbers of tokens,
        // sequences, rows and widths itself, and says no by a negative index or `false`. `data` has `n_embd` numbers.
        let is_whole = unsafe {
            sys::llama_batch_ext_clear(batch);
            rows.iter().all(|row| {
                let (data, n_embd) = (row.hidden.as_ptr(), row.hidden.len());
                let place = sys::llama_batch_ext_add_token(batch, row.sequence, row.token);
                place >= 0
                    && sys::llama_batch_ext_set_embd_token(
                        batch,
                        place,
                        sys::llama_embd { data, n_rows: 1, n_embd },
                    )
                    && sys::llama_batch_ext_set_pos(batch, place, &raw const row.position)
                    && sys::llama_batch_ext_set_output_logits(batch, place, true)
            })
        };
        if !is_whole {
            return Err(REFUSED);
        }
        // SAFETY: the address is that of the live context, borrowed mutably; the batch was made for it, and llama.cpp bounded its rows
        // by the context's own largest batch.
        match unsafe { sys::llama_process(context, sys::LLAMA_PROCESS_TYPE_DECODE, batch) } {
            0 => Ok(()),
            error => Err(error),
        }
    }
}

/// llama.cpp would not take a row.
const REFUSED: i32 = -1;

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: the batch is live and this object's own; nothing else has its address.
        unsafe { sys::llama_batch_ext_free(self.0.as_ptr()) };
    }
}
