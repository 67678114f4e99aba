//! The projector's file: what turns pictures and recordings into rows that the model reads like tokens.
use std::path::{Path, PathBuf};

use llama_cpp_2::mtmd::{MtmdContext, MtmdContextParams};

use crate::engine::{EngineError, LoadedModel};
use crate::gguf;
use crate::library::projector_fault;

/// Most tokens of a picture. Gemma 4 was taught 70, 140, 280, 560 and 1120, with 280 as the usual number; where the rows of a picture
/// see each other, all of it must fit into one batch of 512.
const IMAGE_TOKENS_MAX: i32 = 280;

/// A projector in memory.
#[derive(Debug)]
pub struct Projector {
    pub(super) mtmd: MtmdContext,
    path: PathBuf,
    width: usize,
}

impl Projector {
    /// Reads a projector's file, which must be made for this model. Anything else is told before llama.cpp sees it.
    pub fn load(path: &Path, model: &LoadedModel, threads: u32) -> Result<Self, EngineError> {
        let fault = |detail: String| EngineError::Projector { path: path.to_owned(), detail };
        let head = gguf::check(path).map_err(|error| fault(error.to_string()))?;
        let width = usize::try_from(model.llama.n_embd()).unwrap_or_default();
        projector_fault(&head, width as u64).map_or(Ok(()), |detail| Err(fault(detail)))?;
        let name = path.to_str().ok_or_else(|| fault("its name is no text".to_owned()))?;
        let params = MtmdContextParams {
            use_gpu: false,
            print_timings: false,
            n_threads: i32::try_from(threads.max(1)).unwrap_or(1),
            image_max_tokens: IMAGE_TOKENS_MAX,
            ..MtmdContextParams::default()
        };
        let mtmd = MtmdContext::init_from_file(name, &model.llama, &params)
            .map_err(|_| fault("llama.cpp cannot load it, or not for this model".to_owned()))?;
        let projector = Self { mtmd, path: path.to_owned(), width };
        if projector.mtmd.decode_use_mrope() {
            return Err(
                projector.fault("it places pictures in two dimensions (M-RoPE), which is not supported")
            );
        }
        Ok(projector)
    }

    /// Numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn pictures_are_causal(&self) -> bool {
        !self.mtmd.decode_use_non_causal()
    }

    pub(super) fn fault(&self, detail: &str) -> EngineError {
        EngineError::Projector { path: self.path.clone(), detail: detail.to_owned() }
    }
}
