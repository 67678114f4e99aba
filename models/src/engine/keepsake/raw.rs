//! The unsafe part: shared memory as bytes, and llama.cpp's own reading and writing of them.
#![expect(
    unsafe_code,
    reason = "mapping a file and llama.cpp's sequence states have no safe form without a copy"
)]
use std::fs::File;
use std::io;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::session::LlamaStateSeqFlags;
use memmap2::MmapMut;

/// The file as memory. Nobody else may write to it while the mapping lives, nor make it shorter.
pub(super) fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: the file is the daemon's anonymous memory, whose size is sealed, or a file of the daemon's own folder, which is locked for
    // this process. The daemon neither reads nor writes it, and hands it to a worker only after the one before was reaped: this process
    // alone changes it, and through this mapping alone. Whoever else has the user's rights and shortens the file ends the worker.
    unsafe { MmapMut::map_mut(file) }
}

/// How many bytes [`write_state`] needs.
pub(in crate::engine) fn state_bytes(context: &LlamaContext<'_>, slot: i32) -> usize {
    context.state_seq_get_size_ext(slot, LlamaStateSeqFlags::empty())
}

/// Writes what a slot holds; `false` if it does not fill these bytes exactly.
pub(in crate::engine) fn write_state(context: &LlamaContext<'_>, slot: i32, to: &mut [u8]) -> bool {
    if state_bytes(context, slot) != to.len() {
        return false;
    }
    // SAFETY: llama.cpp writes as many bytes as it has just said, and there is room for exactly these.
    unsafe { context.state_seq_get_data_ext(to.as_mut_ptr(), slot, LlamaStateSeqFlags::empty()) == to.len() }
}

/// Reads what [`write_state`] wrote; `false` if llama.cpp refuses it, whose slot is empty then.
pub(in crate::engine) fn read_state(context: &mut LlamaContext<'_>, slot: i32, from: &[u8]) -> bool {
    // SAFETY: the bytes are what `write_state` wrote for a context of the same model and shape: the caller has compared the
    // checksum. llama.cpp bounds each read by the length, and compares layers, types and widths with its own.
    unsafe { context.state_seq_set_data_ext(from, slot, LlamaStateSeqFlags::empty()) }
}
