//! The unsafe part: reads a model's file with settings that llama-cpp-2 does not show.
#![expect(unsafe_code, reason = "llama-cpp-2 always lays weights out anew where the processor likes it")]
use std::ffi::{CString, c_void};
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::LlamaModelLoadError;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use super::Residence;

// What `own` relies on, as far as the compiler can see it. The rest is why Cargo.toml names one version of llama-cpp-2.
const _: () = assert!(size_of::<LlamaModel>() == size_of::<NonNull<sys::llama_model>>());
const _: () = assert!(align_of::<LlamaModel>() == align_of::<NonNull<sys::llama_model>>());

/// Reads a model's file; `progress` is told the part of it that is done, 0 to 1.
pub(super) fn load<F: FnMut(f32)>(
    _initialised: &LlamaBackend,
    path: &Path,
    residence: Residence,
    mut progress: F,
) -> Result<LlamaModel, LlamaModelLoadError> {
    let name = path.to_str().ok_or_else(|| LlamaModelLoadError::PathToStrError(path.to_owned()))?;
    let name = CString::new(name)?;
    // SAFETY: the function has no conditions; it returns plain values and null pointers.
    let mut params = unsafe { sys::llama_model_default_params() };
    params.use_extra_bufts = residence.repack;
    params.progress_callback = Some(tell::<F>);
    params.progress_callback_user_data = (&raw mut progress).cast();
    // SAFETY: llama.cpp was initialised, of which the argument is the proof. The name is a C string, and the parameters point to nothing
    // but `progress`; both outlive the call, after which llama.cpp uses neither.
    let model = unsafe { sys::llama_model_load_from_file(name.as_ptr(), params) };
    NonNull::new(model).map(own).ok_or(LlamaModelLoadError::NullResult)
}

/// Called by llama.cpp while it loads. `true`: it is to go on.
unsafe extern "C" fn tell<F: FnMut(f32)>(done: f32, progress: *mut c_void) -> bool {
    // SAFETY: `load` hands over the address of an `F` of its own, which it does not touch until llama.cpp has returned; llama.cpp calls
    // from one thread at a time.
    let progress = unsafe { &mut *progress.cast::<F>() };
    progress(done);
    true
}

/// Gives a model to the type that frees it.
fn own(model: NonNull<sys::llama_model>) -> LlamaModel {
    // SAFETY: a `LlamaModel` is a transparent wrapper of a transparent wrapper of this very pointer (llama-cpp-2's model.rs and ptr.rs),
    // and is made by `LlamaModel::load_from_file` in the same way: from what the loading function returned. Nobody else has the pointer.
    unsafe { std::mem::transmute::<NonNull<sys::llama_model>, LlamaModel>(model) }
}
