//! Where a model's weights live while it is run. Plain data: it travels between daemon and worker process.
use serde::{Deserialize, Serialize};

/// Where the weights live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Residence {
    /// Those that this processor reads faster in another order are laid out anew in memory of the process's own: up to the file's size
    /// again. Otherwise all are used where the file is mapped.
    pub repack: bool,
    /// Layers that are kept on a GPU, where the build has a back end for one and finds it; the last step, to the words, counts as one
    /// more. Negative: all. 0: no device is touched.
    pub gpu_layers: i32,
}
