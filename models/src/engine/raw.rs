//! The unsafe part: opens devices, and reads a model's file with settings that llama-cpp-2 does not show.
#![expect(unsafe_code, reason = "llama-cpp-2 always lays weights out anew where the processor likes it")]
use std::ffi::{CString, c_void};
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::LlamaModelLoadError;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use super::{Residence, gpu};

/// Enough to make a driver set up whatever comes with the first memory of a device, in bytes.
const FIRST_BYTES: usize = 4096;

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
    params.n_gpu_layers = residence.gpu_layers;
    // A list that ends at once. Without one, llama.cpp would take the devices that it finds for large batches, also with no layer there.
    let mut none = [std::ptr::null_mut()];
    if !gpu::is_wanted(residence) {
        params.devices = none.as_mut_ptr();
    }
    params.progress_callback = Some(tell::<F>);
    params.progress_callback_user_data = (&raw mut progress).cast();
    // SAFETY: llama.cpp was initialised, of which the argument is the proof. The name is a C string, and the parameters point to nothing
    // but `none` and `progress`; all three outlive the call, after which llama.cpp uses none of them.
    let model = unsafe { sys::llama_model_load_from_file(name.as_ptr(), params) };
    NonNull::new(model).map(own).ok_or(LlamaModelLoadError::NullResult)
}

/// Makes the driver of a device set up all that comes before computing. `place` is the device's in llama.cpp's list; `false`: it cannot.
pub(super) fn open_device(place: usize) -> bool {
    // SAFETY: the list is made once, and never shorter; a place beyond its end would end the process, so it is compared first.
    let device = unsafe {
        if place >= sys::ggml_backend_dev_count() {
            return false;
        }
        sys::ggml_backend_dev_get(place)
    };
    // SAFETY: the device is one of the list. Without parameters it takes its own. What comes back is null, or ours to free.
    let back_end = unsafe { sys::ggml_backend_dev_init(device, std::ptr::null()) };
    if back_end.is_null() {
        return false;
    }
    // SAFETY: the back end lives, its kind of memory lives as long as the device, and the memory, null or ours, is freed before it.
    unsafe {
        let kind = sys::ggml_backend_get_default_buffer_type(back_end);
        let first = sys::ggml_backend_buft_alloc_buffer(kind, FIRST_BYTES);
        if !first.is_null() {
            sys::ggml_backend_buffer_free(first);
        }
        sys::ggml_backend_free(back_end);
        !first.is_null()
    }
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
