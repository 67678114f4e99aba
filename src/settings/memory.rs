//! The settings of memory: the group `memory` of `archond.ron`.
use archond_actors::domain::ModelId;

use super::fault::nearest;
use super::reader::Group;

/// Takes the first embedding model that is on disk.
const AUTO: &str = "auto";
/// Takes none.
const NONE: &str = "none";

/// Which model computes the vectors by which things are recalled by their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Embedding {
    /// The first embedding model that is on disk, if there is one.
    #[default]
    Auto,
    /// None: things are found by their words.
    None,
    /// This one.
    Model(ModelId),
}

/// The settings of memory after all checks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemorySettings {
    /// Which model computes vectors.
    pub embedding: Embedding,
}

/// `models` are those that can be named, where that is known.
pub(super) fn read(mut group: Group<'_>, models: Option<&[ModelId]>) -> MemorySettings {
    let embedding = group.value("embedding", AUTO.to_owned(), |name| is_embedding(name, models));
    group.finish();
    let embedding = match embedding.as_str() {
        AUTO => Embedding::Auto,
        NONE => Embedding::None,
        name => ModelId::new(name).map_or(Embedding::Auto, Embedding::Model),
    };
    MemorySettings { embedding }
}

fn is_embedding(name: &String, models: Option<&[ModelId]>) -> Result<(), String> {
    if [AUTO, NONE].contains(&name.as_str()) {
        return Ok(());
    }
    let is_known = |models: &&[ModelId]| models.iter().any(|model| model.as_str() == name);
    let Some(models) = models.filter(|models| !is_known(models)) else {
        return ModelId::new(name).map(drop).map_err(|error| error.to_string());
    };
    let hint = match nearest(name, models.iter().map(ModelId::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`archond model ls` shows those that there are".to_owned(),
    };
    Err(format!("needs \"auto\", \"none\" or a model's name, and there is no model `{name}`; {hint}"))
}
