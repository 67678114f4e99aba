//! Settings: any text is read, or refused with faults that all lie inside of it.
use std::path::Path;

use archond_actors::domain::{ArchonId, ModelId};

use crate::settings::{Environment, Fault, Known, Origin, Paths, ProfileSource, house, profile};

/// Longest message of one fault, in bytes, beyond the text itself.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The input is the text of a profile, and of the house file.
pub fn settings_text(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let source = ProfileSource {
        id: ArchonId::new("ezra").expect("a name"),
        origin: Origin::Shipped,
        path: Path::new("archons/ezra.ron").to_owned(),
        text: text.to_owned(),
    };
    let models = ["gemma-4-e2b", "gemma-4-e4b", "smollm2-135m-instruct"];
    let models: Vec<ModelId> = models.iter().map(|name| ModelId::new(name).expect("a name")).collect();
    let known = Known {
        models,
        tools: vec!["clock".to_owned(), "bash".to_owned()],
        skills: vec!["inference".to_owned()],
        servers: vec!["files".to_owned()],
        archons: vec![ArchonId::new("electra").expect("a name")],
        ..Known::default()
    };
    match profile::read(&source, &known) {
        Ok(profile) => {
            let again = profile::read(&source, &known);
            assert!(again.is_ok_and(|again| again == profile), "read in two ways: {text}");
        }
        Err(faults) => check(&faults, text),
    }
    let paths = Paths::below(Path::new("/h"));
    let archons = [source.id];
    let path = Path::new("archond.ron");
    match house::read(path, text.to_owned(), &Environment::default(), &paths, &archons, &[]) {
        Ok(house) => {
            assert!(
                house.socket.is_absolute() && house.data_dir.is_absolute() && house.models_dir.is_absolute()
            );
            assert!(house.autostart.len() <= archons.len());
        }
        Err(faults) => check(&faults, text),
    }
}

fn check(faults: &[Fault], text: &str) {
    assert!(!faults.is_empty(), "refused without a fault: {text}");
    let lines: Vec<&str> = text.split('\n').collect();
    for fault in faults {
        let place = fault.place.as_ref().expect("a fault of a text has a place");
        assert!(place.line >= 1 && place.column >= 1, "{place:?} counts from 0");
        let line = lines.get(place.line - 1).unwrap_or_else(|| panic!("{place:?} is outside of {text:?}"));
        assert!(place.column <= line.chars().count() + 1, "{place:?} is outside of {text:?}");
        let shown = fault.to_string();
        assert!(!fault.message.is_empty() && shown.len() <= text.len() + MESSAGE_BYTES_MAX, "{shown}");
    }
}
