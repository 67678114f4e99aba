//! The state of an Archon, put together from what its parts say. Pure.
use super::archon::Archon;
use crate::domain::{ActorState, ArchonStatus, ModelId, ModelState, PoolStatus};
use crate::pool::PoolError;
use crate::supervision::ChildStatus;

/// `chosen` is the model that would answer a plain message.
pub(super) fn status_of(
    archon: &Archon,
    child: Option<&ChildStatus>,
    pool: &PoolStatus,
    chosen: Result<ModelId, PoolError>,
) -> ArchonStatus {
    let wanted = archon.spec.route.default.clone();
    let (model, model_refusal) = match chosen {
        Ok(model) => (Some(model), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let loaded = pool.models.iter().find(|status| Some(&status.id) == model.as_ref());
    let supervised = child.map_or(ActorState::Starting, |child| child.state);
    let counters = &archon.counters;
    let state = match (supervised, loaded.map(|status| &status.state)) {
        (ActorState::Ready, Some(ModelState::Ready)) if counters.in_flight() > 0 => ActorState::Running,
        (ActorState::Ready, Some(ModelState::Ready | ModelState::Resting)) => ActorState::Ready,
        (ActorState::Ready, Some(ModelState::Failed { .. }) | None) => ActorState::Failed,
        (ActorState::Ready, Some(_)) => ActorState::Starting,
        (other, _) => other,
    };
    let model_error = loaded.filter(|_| state == ActorState::Failed).and_then(|m| m.last_error.clone());
    let runs = supervised == ActorState::Ready;
    ArchonStatus {
        id: archon.id().clone(),
        state,
        wanted_model: (model.as_ref() != Some(&wanted)).then_some(wanted),
        model,
        // Whoever counted them may be down.
        sessions: if runs { counters.sessions() } else { 0 },
        in_flight: if runs { counters.in_flight() } else { 0 },
        waiting: counters.waiting(),
        crashes: counters.crashes(),
        last_error: child
            .and_then(|child| child.last_error.clone())
            .or(model_refusal)
            .or(model_error)
            .or(counters.last_error()),
    }
}
