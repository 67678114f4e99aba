//! Which model computes vectors: the one that the settings name, or the first embedding model that is on disk.
use archond_actors::domain::{Embedder, Maker, ModelId};
use archond_actors::ports::Embedders;
use archond_models::catalogue::{Prefixes, Role};
use archond_models::library::{Library, State};

use crate::models_on_disk::ModelsOnDisk;
use crate::settings::Embedding;

/// Digits of a file's sha256 that tell it from every other.
const SHA256_DIGITS: usize = 16;

/// The models of this house, as far as they compute vectors.
pub struct HouseEmbedders {
    /// The models on disk.
    pub models: ModelsOnDisk,
    /// Which one is wanted.
    pub wanted: Embedding,
    /// Models that other machines run. They are taken only by name.
    pub remotes: Vec<ModelId>,
}

impl Embedders for HouseEmbedders {
    fn current(&self) -> Option<Embedder> {
        let library = match (&self.wanted, self.models.library()) {
            (Embedding::None, _) => return None,
            (_, Ok(library)) => library,
            (_, Err(error)) => {
                tracing::warn!(%error, "the embedding models cannot be looked up");
                return None;
            }
        };
        match &self.wanted {
            Embedding::Model(model) if self.remotes.contains(model) => {
                let maker = Maker { model: model.clone(), version: "of another machine".to_owned() };
                Some(Embedder { maker, query_prefix: String::new(), text_prefix: String::new() })
            }
            wanted => chosen(&library, wanted),
        }
    }
}

fn chosen(library: &Library, wanted: &Embedding) -> Option<Embedder> {
    let is_wanted = |id: &str, role: Role| match wanted {
        Embedding::Auto => role == Role::Embedding,
        Embedding::None => false,
        Embedding::Model(model) => model.as_str() == id,
    };
    library.list().into_iter().find_map(|entry| {
        let State::Ready(stored) = &entry.state else { return None };
        if !is_wanted(&entry.model.id, entry.model.role) {
            return None;
        }
        let Prefixes { query, text } = entry.model.prefixes.clone().unwrap_or_default();
        let digits: String = stored.record.sha256.chars().take(SHA256_DIGITS).collect();
        let maker = Maker { model: ModelId::new(&entry.model.id).ok()?, version: format!("{digits} {text}") };
        Some(Embedder { maker, query_prefix: query, text_prefix: text })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use archond_models::catalogue::Catalogue;
    use archond_models::library::Placement;

    use super::*;

    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-gemma4-tools.gguf");

    #[test]
    fn an_embedding_model_on_disk_is_found_and_any_other_only_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let (directory, user_catalogue) = (home.path().join("models"), home.path().join("catalogue"));
        let models = ModelsOnDisk { directory: directory.clone(), user_catalogue: user_catalogue.clone() };
        let current = |wanted: Embedding, remotes: Vec<ModelId>| {
            HouseEmbedders { models: models.clone(), wanted, remotes }.current()
        };
        let named = |name: &str| Embedding::Model(name.parse().unwrap());
        let mut library = Library::open(&directory, Catalogue::load(Some(&user_catalogue)).unwrap());
        library.import(Path::new(TINY), Some("tiny"), Placement::Copy, &|_| {}).unwrap();
        assert_eq!(current(Embedding::Auto, vec![]), None);
        assert_eq!(current(named("other"), vec![]), None);
        assert_eq!(current(Embedding::None, vec![]), None);
        let tiny = current(named("tiny"), vec![]).unwrap();
        assert_eq!((tiny.maker.model.as_str(), tiny.query_prefix.as_str()), ("tiny", ""));

        // The same file, described as what it is used for.
        let file = user_catalogue.join("tiny.ron");
        let text = std::fs::read_to_string(&file).unwrap().replace("role: Own", "role: Embedding");
        let text = text.replace("prefixes: None", "prefixes: (query: \"q: \", text: \"t: \")");
        std::fs::write(&file, text).unwrap();
        let found = current(Embedding::Auto, vec![]).unwrap();
        assert_eq!((found.query_prefix.as_str(), found.text_prefix.as_str()), ("q: ", "t: "));
        assert_ne!(found.maker, tiny.maker, "another text before each is another vector");
        assert_eq!(current(Embedding::None, vec![]), None);

        let far: ModelId = "far".parse().unwrap();
        assert_eq!(current(named("far"), vec![far.clone()]).unwrap().maker.model, far);
    }
}
