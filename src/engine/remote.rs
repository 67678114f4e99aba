//! Models on other machines, behind the same port as those of this one.
use std::collections::BTreeMap;
use std::sync::Arc;

use archond_actors::domain::{GenerationId, GenerationRequest, ModelId, Senses};
use archond_actors::ports::{Engine, EngineError, Footprint, Sink, WorkerEvent, WorkerLink};
use archond_models::download::Token;
use archond_models::remote::{Begun, EndpointFault, RemoteSpec, RemoteWorker};
use async_trait::async_trait;

use super::LlamaEngine;
use super::translate::{self, Abilities};
use crate::settings::{Amount, RemoteSettings, SecretError};

/// Why the models of another machine cannot be used as they are set.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Its address leads where it may not.
    #[error("the server of {model}, {url}, {fault}")]
    Endpoint {
        /// Which model.
        model: ModelId,
        /// The address.
        url: String,
        /// What is wrong with it.
        fault: EndpointFault,
    },
    /// Its key cannot be had.
    #[error("the key for the server of {model} {source}")]
    Secret {
        /// Which model.
        model: ModelId,
        /// Why.
        source: SecretError,
    },
}

/// What is wanted of one server. Reads its key.
pub fn spec(remote: &RemoteSettings) -> Result<RemoteSpec, RemoteError> {
    let fixed = |amount| match amount {
        Amount::Fixed(amount) => Some(amount),
        Amount::Auto => None,
    };
    let key = remote.key.as_ref().map(|key| key.reveal()).transpose();
    let key = key.map_err(|source| RemoteError::Secret { model: remote.model.clone(), source })?;
    Ok(RemoteSpec {
        endpoint: remote.endpoint.clone(),
        key: key.as_deref().and_then(Token::new),
        model: remote.name.clone(),
        slots: fixed(remote.slots),
        context_tokens: fixed(remote.context_tokens),
    })
}

/// The models of this machine and those of others. Where both have a model, the other machine runs it: somebody wrote that down.
pub struct HouseEngine {
    local: LlamaEngine,
    remotes: BTreeMap<ModelId, Remote>,
}

struct Remote {
    spec: RemoteSpec,
    begun: Begun,
}

impl HouseEngine {
    /// Reads the keys and looks up where all servers are. A server that is off is no fault; one that is elsewhere is.
    pub async fn new(local: LlamaEngine, settings: &[RemoteSettings]) -> Result<Self, RemoteError> {
        let mut remotes = BTreeMap::new();
        for remote in settings {
            let model = remote.model.clone();
            let spec = spec(remote)?;
            let (url, checked) = (spec.endpoint.to_string(), spec.endpoint.check().await);
            checked.map_err(|fault| RemoteError::Endpoint {
                model: model.clone(),
                url: url.clone(),
                fault,
            })?;
            tracing::info!(%model, server = url, "the model is run by another machine");
            remotes.insert(model, Remote { spec, begun: Begun::default() });
        }
        Ok(Self { local, remotes })
    }
}

struct RemoteLink {
    worker: RemoteWorker,
    url: String,
}

impl WorkerLink for RemoteLink {
    fn generate(&self, request: GenerationRequest) -> bool {
        // Whether the server's model sees nobody tells: what a peer sent does not leave the machine on the chance of it.
        let able = Abilities { calls_tools: true, senses: Senses::default() };
        self.worker.send(translate::request(&request, able))
    }

    fn cancel(&self, id: GenerationId) {
        self.worker.cancel(id.0);
    }

    fn kill(&self) {
        self.worker.kill();
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn processor(&self) -> Option<String> {
        Some(self.url.clone())
    }
}

#[async_trait]
impl Engine for HouseEngine {
    fn on_disk(&self) -> Vec<ModelId> {
        let mut models = self.local.on_disk();
        models.retain(|model| !self.remotes.contains_key(model));
        models.extend(self.remotes.keys().cloned());
        models
    }

    fn footprint(&self, model: &ModelId) -> Option<Footprint> {
        match self.remotes.get(model) {
            Some(remote) => {
                let arithmetic = format!("nothing here: {} runs it", remote.spec.endpoint);
                let senses = Senses::default();
                Some(Footprint { file_bytes: 0, memory_bytes: 0, arithmetic, senses })
            }
            None => self.local.footprint(model),
        }
    }

    async fn launch(
        &self,
        model: &ModelId,
        events: Sink<WorkerEvent>,
    ) -> Result<Arc<dyn WorkerLink>, EngineError> {
        let Some(remote) = self.remotes.get(model) else { return self.local.launch(model, events).await };
        let name = model.clone();
        let tell = move |event| events(translate::event(event, &name));
        let worker = RemoteWorker::launch(&remote.spec, &remote.begun, tell)
            .map_err(|detail| EngineError::Unusable { model: model.clone(), detail })?;
        Ok(Arc::new(RemoteLink { worker, url: remote.spec.endpoint.to_string() }))
    }
}
