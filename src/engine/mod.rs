//! Joins the pool's engine port with the model workers: each type of one side is turned into the other's, nothing is decided here
//! but which file, how many slots and how much memory a worker gets.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archond_actors::domain::{GenerationId, GenerationRequest, ModelId, Senses};
use archond_actors::ports::{Engine, EngineError, Footprint, Sink, WorkerEvent, WorkerLink};
use archond_models::catalogue::{Family, Model, Role};
use archond_models::library::Library;
use archond_models::worker::{self, BACK_ENDS, Residence, Spawner, Worker, WorkerSpec};
use async_trait::async_trait;

use crate::keepsakes::Keepsakes;
use crate::models_on_disk::ModelsOnDisk;
use crate::settings::{ALL_LAYERS, Amount};
use crate::shelves::Shelves;
use crate::worker_fit::Need;

mod embedders;
pub mod remote;
mod translate;

use self::translate::Abilities;

pub use embedders::HouseEmbedders;
pub use remote::{HouseEngine, RemoteError};

/// Runs models in worker processes of this program.
pub struct LlamaEngine {
    /// Forks all workers from one thread.
    pub spawner: Spawner,
    /// The models on disk.
    pub models: ModelsOnDisk,
    /// The program that a worker runs: this one.
    pub program: PathBuf,
    /// How each worker is run.
    pub limits: WorkerLimits,
    /// What the workers leave to those after them.
    pub keepsakes: Arc<Keepsakes>,
    /// Where contexts rest.
    pub shelves: Shelves,
}

/// What a worker may use up.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Threads that compute.
    pub threads: u32,
    /// Most guesses of an answer's next tokens that are computed along with it; 0 for none.
    pub draft_tokens_max: u32,
    /// Whether weights are laid out anew for the processor; `Auto` is where that fits comfortably.
    pub repack: Amount<bool>,
    /// Layers that a GPU gets, where this build has a back end for one; negative: all.
    pub gpu_layers: i32,
    /// Sequences at once; `Auto` is as many as there is memory for.
    pub slots: Amount<u32>,
    /// Context of one sequence, in tokens; a model with a shorter one has its own.
    pub context_tokens: u32,
    /// Private memory of the process, in bytes, the mapped model apart. Automatic slots leave room for the model in it, too.
    pub memory_bytes_max: Option<u64>,
    /// Memory for contexts that outlive their worker, in bytes; 0 for none.
    pub keepsake_bytes: u64,
}

impl LlamaEngine {
    /// What a worker of a model is to be in the house. Reads the disk.
    fn plan(
        models: &ModelsOnDisk,
        keepsakes: &Keepsakes,
        shelves: &Shelves,
        program: PathBuf,
        limits: WorkerLimits,
        model: &ModelId,
    ) -> Result<WorkerSpec, EngineError> {
        let spec = Self::spec(models, program, limits, model)?;
        let keepsake = keepsakes.of(&spec.model_path, limits.keepsake_bytes);
        Ok(WorkerSpec { keepsake, shelf: shelves.of(model), ..spec })
    }

    /// What a worker of a model is to be that nothing is left to and that leaves nothing.
    pub(crate) fn spec(
        models: &ModelsOnDisk,
        program: PathBuf,
        limits: WorkerLimits,
        model: &ModelId,
    ) -> Result<WorkerSpec, EngineError> {
        let not_on_disk = || EngineError::NotOnDisk { model: model.clone() };
        let library = library(models).ok_or_else(not_on_disk)?;
        let entry = library.catalogue().get(model.as_str()).ok_or_else(not_on_disk)?;
        let model_path = library.path_of(model.as_str()).ok_or_else(not_on_disk)?;
        let file_bytes = std::fs::metadata(&model_path).ok().map(|file| file.len());
        let projector_path = library.mmproj_of(model.as_str());
        // Where nothing is to be guessed, it is not read.
        let drafter_path = library.drafter_of(model.as_str()).filter(|_| limits.draft_tokens_max > 0);
        let need = limits.need_of(entry, file_bytes, projector_path.as_deref(), drafter_path.as_deref());
        let context_tokens = limits.context_tokens.min(entry.context_tokens);
        Ok(WorkerSpec {
            program,
            model_path,
            projector_path,
            residence: limits.residence_of(need),
            drafter_path,
            family: family(entry.family),
            slots: limits.slots_of(entry, need, context_tokens),
            context_tokens,
            threads: limits.threads,
            draft_tokens_max: limits.draft_tokens_max,
            memory_bytes_max: limits.memory_bytes_max,
            keepsake: None,
            shelf: None,
        })
    }
}

/// What is on disk now. A catalogue that cannot be read is told of here, and holds nothing.
fn library(models: &ModelsOnDisk) -> Option<Library> {
    match models.library() {
        Ok(library) => Some(library),
        Err(error) => {
            tracing::warn!(%error, "the models cannot be looked up");
            None
        }
    }
}

impl WorkerLimits {
    fn need_of(
        &self,
        model: &Model,
        file_bytes: Option<u64>,
        projector: Option<&Path>,
        drafter: Option<&Path>,
    ) -> Need {
        let bytes_of = |path: Option<&Path>| {
            path.and_then(|path| Some(std::fs::metadata(path).ok()?.len())).unwrap_or(0)
        };
        let weights_bytes = file_bytes.unwrap_or_else(|| model.weights.bytes.count());
        self.need(model, weights_bytes, bytes_of(projector), bytes_of(drafter))
    }

    /// Where the weights of a model live that needs this. Without a back end no GPU is asked for: what is kept of conversations stays of
    /// use whatever the setting says.
    fn residence_of(&self, need: Need) -> Residence {
        let gpu_layers = if BACK_ENDS.is_empty() { 0 } else { self.gpu_layers };
        Residence { repack: need.repacked_bytes > 0, gpu_layers }
    }

    /// What a model needs whose files have these sizes. A drafter counts only where it is asked.
    pub(crate) fn need(
        &self,
        model: &Model,
        weights_bytes: u64,
        projector_bytes: u64,
        drafter_bytes: u64,
    ) -> Need {
        let context_tokens = self.context_tokens.min(model.context_tokens);
        let need = Need {
            weights_bytes,
            repacked_bytes: 0,
            projector_bytes,
            drafter_bytes: if self.draft_tokens_max > 0 { drafter_bytes } else { 0 },
            sequence_bytes: model.kv.sequence_bytes(context_tokens.into()),
        };
        need.repacked(self.repack, self.slots, self.memory_bytes_max)
    }

    /// How many slots the worker of a model gets. Says in the log when they may be too many for the memory.
    fn slots_of(&self, model: &Model, need: Need, context_tokens: u32) -> u32 {
        let fit = need.fit(self.slots, self.memory_bytes_max);
        if fit.room < fit.slots {
            let remedy = if fit.room == 0 {
                "take a smaller model (`archond model ls`), or a smaller `context.tokens_max` in the profiles"
            } else {
                "lower `worker.slots`, or leave it to \"auto\""
            };
            tracing::warn!(
                model = model.id,
                slots = fit.slots,
                room = fit.room,
                context_tokens,
                weights_bytes = need.weights_bytes,
                repacked_bytes = need.repacked_bytes,
                slot_bytes = need.sequence_bytes,
                memory_bytes_max = self.memory_bytes_max,
                "the model may not fit into the memory; {remedy}"
            );
        }
        fit.slots
    }
}

/// The setting `worker.gpu_layers` where it has no effect, in words: `None` if it has, or is not set.
pub(crate) fn idle_gpu_layers(gpu_layers: i32, back_ends: &[&str]) -> Option<String> {
    (back_ends.is_empty() && gpu_layers != ALL_LAYERS).then(|| {
        format!("`worker.gpu_layers` is {gpu_layers} and has no effect: this build computes on the CPU alone")
    })
}

struct LlamaLink {
    worker: Worker,
    able: Abilities,
}

impl WorkerLink for LlamaLink {
    fn generate(&self, request: GenerationRequest) -> bool {
        self.worker.send(translate::request(&request, self.able))
    }

    fn cancel(&self, id: GenerationId) {
        self.worker.cancel(id.0);
    }

    fn kill(&self) {
        self.worker.kill();
    }

    fn pid(&self) -> Option<u32> {
        Some(self.worker.pid())
    }

    fn processor(&self) -> Option<String> {
        self.worker.processor()
    }
}

#[async_trait]
impl Engine for LlamaEngine {
    fn on_disk(&self) -> Vec<ModelId> {
        let Some(library) = library(&self.models) else { return Vec::new() };
        let complete = library.list().into_iter().filter(|entry| library.path_of(&entry.model.id).is_some());
        complete.filter_map(|entry| ModelId::new(&entry.model.id).ok()).collect()
    }

    fn footprint(&self, model: &ModelId) -> Option<Footprint> {
        let library = library(&self.models)?;
        let entry = library.catalogue().get(model.as_str())?;
        let file_bytes = std::fs::metadata(library.path_of(model.as_str())?).ok()?.len();
        let projector = library.mmproj_of(model.as_str());
        let drafter = library.drafter_of(model.as_str()).filter(|_| self.limits.draft_tokens_max > 0);
        let need = self.limits.need_of(entry, Some(file_bytes), projector.as_deref(), drafter.as_deref());
        let slots = need.fit(self.limits.slots, self.limits.memory_bytes_max).slots;
        Some(Footprint {
            file_bytes,
            memory_bytes: need.bytes(slots),
            arithmetic: need.arithmetic(slots),
            senses: senses(&library, model),
        })
    }

    async fn launch(
        &self,
        model: &ModelId,
        events: Sink<WorkerEvent>,
    ) -> Result<Arc<dyn WorkerLink>, EngineError> {
        let failed = |detail: String| EngineError::Process { model: model.clone(), detail };
        let (models, keepsakes) = (self.models.clone(), Arc::clone(&self.keepsakes));
        let shelves = self.shelves.clone();
        let (program, limits, id) = (self.program.clone(), self.limits, model.clone());
        let planned = tokio::task::spawn_blocking(move || {
            let spec = Self::plan(&models, &keepsakes, &shelves, program, limits, &id)?;
            let library = models.library().ok();
            let entry = library.as_ref().and_then(|library| library.catalogue().get(id.as_str()));
            // The starter only shows that the house works.
            let calls_tools = entry.is_none_or(|entry| entry.role != Role::Starter);
            let senses = library.as_ref().map(|library| senses(library, &id)).unwrap_or_default();
            Ok((spec, Abilities { calls_tools, senses }))
        });
        let (spec, able) = planned.await.map_err(|error| failed(error.to_string()))??;
        let name = model.clone();
        let sink = Arc::new(move |event| events(translate::event(event, &name)));
        match self.spawner.launch(spec, sink).await {
            Ok(worker) => Ok(Arc::new(LlamaLink { worker, able })),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// What a model takes beside words. Reads the disk.
fn senses(library: &Library, model: &ModelId) -> Senses {
    let (sees, hears) = library.senses_of(model.as_str());
    Senses { sees, hears }
}

fn family(family: Family) -> worker::ChatFamily {
    match family {
        Family::Gemma4 => worker::ChatFamily::Gemma4,
        Family::ChatMl => worker::ChatFamily::ChatMl,
        Family::Template => worker::ChatFamily::Template,
        Family::Mute => worker::ChatFamily::Mute,
    }
}
