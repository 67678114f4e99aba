//! Settings as their users meet them: the shipped profiles, files full of mistakes beside the messages they must give, and the
//! commands `archon` and `config`.
//!
//! `UPDATE_EXPECT=1` writes the messages anew; read the difference before you commit it.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use archond::cli::archon::{self, ArchonCommand};
use archond::cli::config::{self, ConfigCommand};
use archond::cli::settings_view::SettingsCommandError;
use archond::settings::profile::ProfileSource;
use archond::settings::{
    Environment, Fault, Known, Origin, Paths, SHIPPED, Settings, SettingsFaults, Sources, house, profile,
};
use archond_actors::domain::{ArchonId, ModelId};
use tempfile::TempDir;

const TOOLS: [&str; 12] = [
    "ask_user",
    "bash",
    "clock",
    "edit_file",
    "glob_search",
    "grep_search",
    "read_file",
    "recall",
    "remember",
    "send_file",
    "todo",
    "write_file",
];

fn known() -> Known {
    let models = ["gemma-4-e2b", "gemma-4-e4b", "gemma-4-26b-a4b", "gemma-4-31b", "smollm2-135m-instruct"];
    Known {
        models: models.map(|name| ModelId::new(name).unwrap()).into(),
        tools: TOOLS.map(str::to_owned).into(),
        skills: archond::skills::SHIPPED.map(|(name, _)| name.to_owned()).into(),
        servers: Vec::new(),
        archons: vec![ArchonId::new("electra").unwrap()],
        ..Known::default()
    }
}

/// A house of its own in a folder that goes away with it.
struct House {
    folder: TempDir,
    sources: Sources,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::below(folder.path());
        Self { folder, sources: Sources { paths, env: Environment::default(), known: known() } }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.sources.paths.config.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn faults(&self) -> String {
        let faults = Settings::load(&self.sources).unwrap_err().to_string();
        faults.replace(self.folder.path().to_str().unwrap(), "")
    }

    fn archon(&self, command: &ArchonCommand, json: bool) -> (Result<(), SettingsCommandError>, String) {
        let mut out = Vec::new();
        let outcome = archon::run(command, &self.sources, json, &mut out);
        (outcome, String::from_utf8(out).unwrap())
    }

    fn config(&self, command: &ConfigCommand, json: bool) -> (Result<(), SettingsCommandError>, String) {
        let mut out = Vec::new();
        let outcome = config::run(command, &self.sources, json, &mut out);
        (outcome, String::from_utf8(out).unwrap())
    }
}

fn read_bad(name: &str, text: String) -> Vec<Fault> {
    let path = PathBuf::from(name);
    if name.starts_with("house_") {
        let paths = Paths::below(Path::new("/srv/house"));
        let archons = [ArchonId::new("ezra").unwrap()];
        return house::read(&path, text, &Environment::default(), &paths, &archons, &known().models)
            .unwrap_err();
    }
    let id = ArchonId::new("ezra").unwrap();
    profile::read(&ProfileSource { id, origin: Origin::Shipped, path, text }, &known()).unwrap_err()
}

#[test]
fn bad_files_give_the_messages_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad_settings");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ron") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let faults = SettingsFaults(read_bad(name, std::fs::read_to_string(&path).unwrap()));
        let got = format!("{faults}\n");
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected, &got).unwrap();
        }
        assert_eq!(got, std::fs::read_to_string(&expected).unwrap_or_default(), "{name}");
        seen += 1;
    }
    assert!(seen >= 12, "only {seen} files were read");
}

#[test]
fn shipped_profiles_are_good_and_name_known_models() {
    let settings = Settings::load(&House::new().sources).unwrap();
    let names: Vec<&str> = settings.archons.keys().map(ArchonId::as_str).collect();
    assert_eq!(names, ["allegro", "bezalel", "electra", "ezra"]);
    for profile in settings.archons.values() {
        assert_eq!(profile.origin, Origin::Shipped);
        let last = profile.spec.route.fallback.last().map(ModelId::as_str);
        assert_eq!(
            last,
            Some("smollm2-135m-instruct"),
            "{}: the starter is the last resort",
            profile.spec.id
        );
    }
    let ezra = &settings.archons[&ArchonId::new("ezra").unwrap()].spec;
    assert!(
        ezra.persona.starts_with("You are Ezra, a helpful assistant.\n"),
        "the fixture model knows this sentence"
    );
}

#[test]
fn ezra_spells_out_every_default() {
    let house = House::new();
    house
        .write("archons/bare.ron", "(description: \"x\", persona: \"y\", route: (default: \"gemma-4-e4b\"))");
    let settings = Settings::load(&house.sources).unwrap();
    let of = |name: &str| &settings.archons[&ArchonId::new(name).unwrap()];
    let (bare, ezra) = (of("bare"), of("ezra"));
    for default in &bare.effective {
        let written = ezra.effective.iter().find(|setting| setting.name == default.name);
        let written = written.unwrap_or_else(|| panic!("ezra.ron lacks {}", default.name));
        assert_ne!(written.from.to_string(), "default", "ezra.ron must show {}", default.name);
    }
    assert_eq!(
        (bare.spec.sampling, bare.spec.fit, bare.spec.context, bare.spec.limits),
        (ezra.spec.sampling, ezra.spec.fit, ezra.spec.context, ezra.spec.limits)
    );
    assert_eq!(bare.spec.channels, ezra.spec.channels);
    assert_eq!(bare.spec.display_name, "Bare");
}

#[test]
fn the_users_profile_replaces_the_shipped_one_and_further_ones_are_added() {
    let house = House::new();
    let text = SHIPPED[3].1.replace("\"Ezra\"", "\"Esra\"");
    house.write("archons/ezra.ron", &text);
    house.write("archons/own.ron", &text);
    house.write("archons/.own.ron.swp", "not a profile");
    house.write("archons/README", "not a profile");
    let settings = Settings::load(&house.sources).unwrap();
    assert_eq!(settings.archons.len(), 5);
    let ezra = &settings.archons[&ArchonId::new("ezra").unwrap()];
    assert_eq!(ezra.spec.display_name, "Esra");
    assert!(matches!(ezra.origin, Origin::User(_)));
}

#[test]
fn all_faults_of_all_files_are_told_at_once() {
    let house = House::new();
    house.write("archond.ron", "(worker: (slots: 0))");
    house.write("archons/ezra.ron", "(description: 1)");
    house.write("archons/Bad Name.ron", "()");
    house.write("archons/binary.ron", b"(\n  persona: \"\xff\"\n)");
    house.write("archons/folder.ron/x", "");
    let shown = house.faults();
    for expected in [
        "/config/archond.ron:1:18: `slots` must be 1 to 64 slots, is 0",
        "/config/archons/ezra.ron:1:1: `persona` is missing",
        "/config/archons/ezra.ron:1:15: `description` needs a text in quotes, not `1`",
        "/config/archons/Bad Name.ron: `Bad Name` is not a valid Archon name",
        "/config/archons/binary.ron:2:13: is not valid UTF-8 from here on",
        "/config/archons/folder.ron: is not a file",
        "7 faults in the settings; nothing was changed or started",
    ] {
        assert!(shown.contains(expected), "{expected}\n--\n{shown}");
    }
}

#[test]
fn archon_new_writes_a_good_profile_and_never_over_another() {
    let house = House::new();
    for name in ["mine", "ezra"] {
        let new = ArchonCommand::New { name: name.to_owned() };
        let (outcome, said) = house.archon(&new, false);
        outcome.unwrap();
        assert!(said.contains(&format!("archond archon check {name}")), "{said}");
        house.archon(&ArchonCommand::Check { what: Some(name.to_owned()) }, false).0.unwrap();
        let file = house.sources.paths.profiles_dir().join(format!("{name}.ron"));
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700), "for its owner alone");
        let error = house.archon(&new, false).0.unwrap_err();
        assert_eq!(error.exit_code().number(), 73, "{error}");
    }
    let folder = house.sources.paths.profiles_dir();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing half-made is left");
    assert_eq!(std::fs::read_to_string(folder.join("ezra.ron")).unwrap(), SHIPPED[3].1);
    let error = house.archon(&ArchonCommand::New { name: "../x".to_owned() }, false).0.unwrap_err();
    assert_eq!(error.exit_code().number(), 2, "{error}");
}

#[test]
fn archon_list_shows_good_profiles_beside_bad_ones() {
    let house = House::new();
    house.write("archons/bad.ron", "(");
    let (outcome, said) = house.archon(&ArchonCommand::List, false);
    outcome.unwrap();
    assert!(said.contains("has faults: archond archon check bad") && said.contains("gemma-4-e2b"), "{said}");
    let (_, said) = house.archon(&ArchonCommand::List, true);
    let entries: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(entries.len(), 5);
    let error = house.archon(&ArchonCommand::Check { what: None }, false).0.unwrap_err();
    assert_eq!(error.exit_code().number(), 64);
}

#[test]
fn archon_show_tells_values_and_where_they_come_from() {
    let house = House::new();
    let (outcome, said) = house.archon(&ArchonCommand::Show { name: "allegro".to_owned() }, false);
    outcome.unwrap();
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("limits.answer_tokens_max").contains("384"), "{said}");
    assert!(line("limits.answer_tokens_max").contains("line "), "{said}");
    assert!(line("limits.inbox_len_max").ends_with("default"), "{said}");
    assert!(said.contains("  You are Allegro"), "{said}");
    let error = house.archon(&ArchonCommand::Show { name: "allegra".to_owned() }, false).0.unwrap_err();
    assert_eq!(error.to_string(), "there is no Archon `allegra`; did you mean `allegro`?");
    assert_eq!(error.exit_code().number(), 66);
}

#[test]
fn archon_check_reads_a_file_by_its_path() {
    let house = House::new();
    house.write("draft.ron", "(persona: 1)");
    let draft = house.sources.paths.config.join("draft.ron").display().to_string();
    let error = house.archon(&ArchonCommand::Check { what: Some(draft) }, false).0.unwrap_err();
    assert!(error.to_string().contains("draft.ron:1:11: `persona` needs a text in quotes"), "{error}");
    let error =
        house.archon(&ArchonCommand::Check { what: Some("./none.ron".to_owned()) }, false).0.unwrap_err();
    assert!(error.to_string().starts_with("./none.ron: there is no such file"), "{error}");
}

#[test]
fn config_show_tells_where_each_value_comes_from() {
    let mut house = House::new();
    house.write("archond.ron", "(\n    log_level: \"debug\",\n)");
    house.sources.env = [("ARCHOND_WORKER_SLOTS".to_owned(), "4".into())].into_iter().collect();
    let (outcome, said) = house.config(&ConfigCommand::Show, false);
    outcome.unwrap();
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("log_level").ends_with("line 2"), "{said}");
    assert!(line("worker.slots").ends_with("$ARCHOND_WORKER_SLOTS"), "{said}");
    assert!(line("queue_len_max").ends_with("default"), "{said}");
    let (_, said) = house.config(&ConfigCommand::Show, true);
    let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(shown["settings"].as_array().unwrap().len(), 29);
    let (_, said) = house.config(&ConfigCommand::Path, false);
    assert_eq!(Path::new(said.trim()), house.sources.paths.house_file());
    house.config(&ConfigCommand::Check, false).0.unwrap();
}

#[test]
fn the_documented_house_settings_are_the_defaults() {
    let documented =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/archond.ron")).unwrap();
    let house = House::new();
    let defaults = Settings::load(&house.sources).unwrap().house;
    house.write("archond.ron", &documented);
    let written = Settings::load(&house.sources).unwrap().house;
    for (setting, default) in written.effective.iter().zip(&defaults.effective) {
        assert_eq!((&setting.name, &setting.value), (&default.name, &default.value));
        let name = setting.name.rsplit('.').next().unwrap();
        assert!(documented.contains(&format!(" {name}: ")), "docs/archond.ron does not tell of {name}");
    }
}
