//! Addresses of llama-cpp-2's objects, for what it has no safe form of.
use llama_cpp_2::context::LlamaContext;
use llama_cpp_sys_2 as sys;

/// The address in llama-cpp-2's words on one of its objects: `LlamaContext { context: 0x5581.. }`. It tells it nowhere else.
pub(super) fn address<T>(shown: &str) -> Option<*mut T> {
    let (_, behind) = shown.split_once("context: 0x")?;
    let end = behind.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(behind.len());
    let address = usize::from_str_radix(behind.get(..end)?, 16).ok().filter(|address| *address != 0)?;
    Some(std::ptr::with_exposed_provenance_mut(address))
}

/// The context's address. `None`: llama-cpp-2 no longer tells it.
pub(super) fn llama(context: &LlamaContext<'_>) -> Option<*mut sys::llama_context> {
    address(&format!("{context:?}"))
}
