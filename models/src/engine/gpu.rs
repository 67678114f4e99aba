//! What computes beside the processor: which back ends this build has, which devices they find, and what part of a model those get.
use llama_cpp_2::{LlamaBackendDeviceType, list_llama_ggml_backend_devices};

use super::{Residence, raw};

/// The back ends of this build beside the processor; none unless it was built with one of the features of the same names.
pub const BACK_ENDS: &[&str] = &[
    #[cfg(feature = "cuda")]
    "CUDA",
    #[cfg(feature = "rocm")]
    "ROCm",
    #[cfg(feature = "vulkan")]
    "Vulkan",
    #[cfg(all(feature = "metal", target_os = "macos"))]
    "Metal",
];

/// Something that computes, as llama.cpp tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    /// Its place in llama.cpp's list.
    place: usize,
    back_end: String,
    name: String,
    /// It has no memory of its own.
    is_integrated: bool,
}

/// Whether weights that live so may be on a GPU, as far as this build knows.
pub fn is_wanted(residence: Residence) -> bool {
    !BACK_ENDS.is_empty() && residence.gpu_layers != 0
}

/// Opens the drivers of all GPUs, so that nothing is left to be opened later but what the devices themselves give.
///
/// The libraries of the drivers are loaded now, and start threads of their own. A device that does not work is told in the log, and
/// again by whoever computes with it.
pub fn open_drivers() {
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
    for device in chosen(devices()) {
        if !raw::open_device(device.place) {
            tracing::warn!("{} ({}) cannot be opened", device.name, device.back_end);
        }
    }
}

/// What computes a model of so many layers, for people: `100% CPU`, `48%/52% CPU/GPU`, `100% GPU (Vulkan: NAME)`.
pub(super) fn computed_by(residence: Residence, layers: u32) -> String {
    let devices = if is_wanted(residence) { chosen(devices()) } else { Vec::new() };
    share(residence.gpu_layers, layers, &devices)
}

fn devices() -> Vec<Device> {
    let all = list_llama_ggml_backend_devices().into_iter();
    let gpus = all.filter_map(|device| {
        let is_integrated = match device.device_type {
            LlamaBackendDeviceType::Gpu => false,
            LlamaBackendDeviceType::IntegratedGpu => true,
            _ => return None,
        };
        let name = if device.description.is_empty() { device.name } else { device.description };
        Some(Device { place: device.index, back_end: device.backend, name, is_integrated })
    });
    gpus.collect()
}

/// llama.cpp's own choice: those with a memory of their own, else the integrated ones.
fn chosen(mut devices: Vec<Device>) -> Vec<Device> {
    let has_own = devices.iter().any(|device| !device.is_integrated);
    devices.retain(|device| !has_own || !device.is_integrated);
    devices
}

/// The part in layers, of which llama.cpp counts the last step, to the words, as one more.
fn share(gpu_layers: i32, layers: u32, devices: &[Device]) -> String {
    let all = u64::from(layers) + 1;
    let offloaded = u64::try_from(gpu_layers).map_or(all, |asked| asked.min(all));
    let Some(first) = devices.first().filter(|_| offloaded > 0) else { return "100% CPU".to_owned() };
    if offloaded < all {
        // Neither side is told away.
        let percent = (offloaded * 100 / all).clamp(1, 99);
        return format!("{}%/{percent}% CPU/GPU", 100 - percent);
    }
    let others = match devices.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    format!("100% GPU ({}: {}{others})", first.back_end, first.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, is_integrated: bool) -> Device {
        Device { place: 0, back_end: "Vulkan".to_owned(), name: name.to_owned(), is_integrated }
    }

    #[test]
    fn the_part_of_the_gpu_is_told_in_layers() {
        let one = [device("llvmpipe", false)];
        for (asked, devices, wanted) in [
            (-1, &[][..], "100% CPU"),
            (0, &one, "100% CPU"),
            (-1, &one, "100% GPU (Vulkan: llvmpipe)"),
            (31, &one, "100% GPU (Vulkan: llvmpipe)"),
            (i32::MAX, &one, "100% GPU (Vulkan: llvmpipe)"),
            (30, &one, "4%/96% CPU/GPU"),
            (16, &one, "49%/51% CPU/GPU"),
            (1, &one, "97%/3% CPU/GPU"),
        ] {
            assert_eq!(share(asked, 30, devices), wanted, "{asked} layers");
        }
        assert_eq!(share(1, 1000, &one), "99%/1% CPU/GPU");
        assert_eq!(
            share(i32::MIN, u32::MAX, &[device("A", false), device("A", false)]),
            "100% GPU (Vulkan: A and 1 more)"
        );
    }

    #[test]
    fn integrated_devices_compute_where_there_is_no_other() {
        let (own, integrated) = (device("own", false), device("integrated", true));
        assert_eq!(chosen(vec![integrated.clone(), own.clone()]), [own]);
        assert_eq!(chosen(vec![integrated.clone()]), [integrated]);
    }

    #[test]
    fn a_build_without_back_ends_uses_no_gpu() {
        let residence = Residence { repack: false, gpu_layers: -1 };
        assert_eq!(is_wanted(residence), !BACK_ENDS.is_empty());
        assert!(!is_wanted(Residence { gpu_layers: 0, ..residence }));
        if BACK_ENDS.is_empty() {
            assert_eq!(computed_by(residence, 30), "100% CPU");
        }
    }
}
