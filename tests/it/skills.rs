//! Skills: the shipped ones, the user's folder with what can be wrong in it, and the tool that loads them.
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use archond::clock::SystemClock;
use archond::settings::{Paths, WebSettings};
use archond::skills::{Origin, SHIPPED, SkillFolder, SkillTools};
use archond::tools::{HouseTools, MemoryTools};
use archond_actors::domain::{Outcome, Skills, ToolPolicy};
use archond_actors::meaning::Meaning;
use archond_actors::memory::MemoryHandle;
use archond_actors::pool::PoolHandle;
use archond_actors::ports::{NoEmbedders, RuntimeThreads, ToolShed, ToolSource};
use archond_actors::testkit::archon_spec;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools_kit::{AMPLE, Workshop, runtime};

/// Bytes of English for each token, at the least, in the vocabularies of the catalogue.
const BYTES_PER_TOKEN: usize = 3;

struct Own {
    home: TempDir,
    folder: PathBuf,
}

impl Own {
    fn new() -> Self {
        let home = tempfile::Builder::new().prefix("archond-").tempdir().unwrap();
        let folder = home.path().join("config/skills");
        make(&folder);
        Self { home, folder }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        make(path.parent().unwrap());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn skill(&self, name: &str, description: &str) {
        self.write(
            &format!("{name}/SKILL.md"),
            &format!("---\nname: {name}\ndescription: {description}\n---\nDo {name}.\n"),
        );
    }

    fn tools(&self, wanted: Skills) -> SkillTools {
        SkillTools::new(Arc::new(SkillFolder::new(self.folder.clone())), wanted)
    }

    fn names(&self) -> Vec<String> {
        SkillFolder::new(self.folder.clone()).read().skills.iter().map(|skill| skill.name.clone()).collect()
    }

    fn fault(&self, name: &str) -> String {
        let shelf = SkillFolder::new(self.folder.clone()).read();
        assert!(shelf.skills.iter().all(|skill| skill.name != name), "{name} is left out");
        let of_it = shelf.faults.iter().filter(|fault| fault.name == name);
        of_it.map(|fault| fault.fault.to_string()).collect::<Vec<_>>().join("\n")
    }
}

fn make(folder: &std::path::Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
}

fn call(tools: &SkillTools, arguments: &Value) -> Outcome {
    runtime().block_on(tools.call(Workshop::order("skill", arguments, AMPLE)))
}

fn named(names: &[&str]) -> Skills {
    Skills::Named(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn the_shipped_skills_are_sound_short_in_the_prompt_and_shown_whole() {
    let own = Own::new();
    let shelf = SkillFolder::new(own.folder.clone()).read();
    assert_eq!(shelf.faults, []);
    assert_eq!(own.names(), SHIPPED.map(|(name, _)| name));
    let shown_of_answers = ToolPolicy::default().limits.output_chars_max as usize;
    for skill in &shelf.skills {
        assert!(
            skill.text.chars().count() < shown_of_answers,
            "{} is longer than what a model is shown",
            skill.name
        );
    }
    let [spec] = <[_; 1]>::try_from(own.tools(Skills::All).tools()).unwrap();
    let bytes = spec.tool.name.len() + spec.tool.description.len() + spec.tool.parameters.len();
    println!("the listing of the shipped skills: {bytes} bytes");
    assert!(bytes < 150 * 4 && spec.tool.description.len() < 150 * BYTES_PER_TOKEN, "{bytes} bytes");
}

#[test]
fn a_model_is_told_of_those_that_its_profile_names_and_can_load_no_other() {
    let own = Own::new();
    own.skill("brewing", "Makes tea.");
    own.skill("cooking", "Makes soup.");
    let tools = own.tools(named(&["cooking", "inference"]));
    let [spec] = <[_; 1]>::try_from(tools.tools()).unwrap();
    assert!(
        spec.tool.description.contains("\ncooking: Makes soup.\ninference: "),
        "{}",
        spec.tool.description
    );
    assert!(!spec.tool.description.contains("brewing"), "{}", spec.tool.description);
    let parameters: Value = serde_json::from_str(&spec.tool.parameters).unwrap();
    assert_eq!(parameters["properties"]["name"]["enum"], json!(["cooking", "inference"]));
    assert_eq!(call(&tools, &json!({"name": "cooking"})), Outcome::Done { text: "Do cooking.".into() });
    let Outcome::Failed { text } = call(&tools, &json!({"name": "brewing"})) else { panic!("not given") };
    assert_eq!(text, "there is no skill `brewing`; there are: cooking, inference");
    for wrong in
        [json!({}), json!({"name": 3}), json!({"name": "cooking", "path": "/etc/passwd"}), json!("cooking")]
    {
        assert!(matches!(call(&tools, &wrong), Outcome::Failed { .. }), "{wrong}");
    }
    assert!(own.tools(named(&[])).tools().is_empty(), "who has none is told of none");
}

#[test]
fn ones_own_skill_replaces_a_shipped_one_and_changes_count_at_once() {
    let own = Own::new();
    let tools = own.tools(Skills::All);
    let before = tools.tools();
    assert_eq!(tools.tools(), before, "nothing changed: the prompt begins with the same bytes");
    own.skill("inference", "Mine.");
    assert_eq!(call(&tools, &json!({"name": "inference"})), Outcome::Done { text: "Do inference.".into() });
    assert!(tools.tools()[0].tool.description.contains("inference: Mine."));
    assert_eq!(own.names().len(), SHIPPED.len(), "it is there once");
    std::fs::remove_dir_all(own.folder.join("inference")).unwrap();
    let Outcome::Done { text } = call(&tools, &json!({"name": "inference"})) else {
        panic!("the shipped one is back")
    };
    assert!(text.contains("archond model ps"), "{text}");
    let shelf = SkillFolder::new(own.folder).read();
    assert!(shelf.skills.iter().all(|skill| skill.origin == Origin::Shipped));
}

#[test]
fn a_bad_skill_is_left_out_alone_with_its_reason() {
    let own = Own::new();
    own.skill("good", "Is.");
    own.write("empty/readme.txt", "no skill");
    assert!(own.fault("empty").contains("SKILL.md: is missing"), "{}", own.fault("empty"));
    own.write("Big/SKILL.md", "---\nname: Big\ndescription: d\n---\nt");
    assert!(own.fault("Big").contains("small letters"));
    own.write("long/SKILL.md", &format!("---\nname: long\ndescription: d\n---\n{}", "x".repeat(70_000)));
    assert!(own.fault("long").contains("65536 at most"));
    own.write("binary/SKILL.md", "");
    std::fs::write(own.folder.join("binary/SKILL.md"), [0xff, 0xfe]).unwrap();
    assert!(own.fault("binary").contains("not valid UTF-8"));
    own.skill("open", "d");
    std::fs::set_permissions(own.folder.join("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(own.fault("open").contains("may be written by others"));
    let outside = own.home.path().join("SKILL.md");
    std::fs::write(&outside, "---\nname: away\ndescription: d\n---\nt").unwrap();
    make(&own.folder.join("away"));
    symlink(&outside, own.folder.join("away/SKILL.md")).unwrap();
    assert!(own.fault("away").contains("outside the skills' folder"));
    assert!(own.names().contains(&"good".to_owned()));
    let tools = own.tools(Skills::All);
    assert!(matches!(call(&tools, &json!({"name": "away"})), Outcome::Failed { .. }));
    std::fs::set_permissions(&own.folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(
        own.fault("").contains("may be written by others"),
        "a folder that others may write holds nothing"
    );
    assert_eq!(own.names().len(), SHIPPED.len());
}

#[test]
fn the_files_of_a_skill_can_be_read_and_those_of_others_cannot() {
    let own = Own::new();
    own.skill("cooking", "Makes soup.");
    own.write("cooking/references/soups.md", "leek\n");
    own.write("cooking/.draft", "hidden\n");
    own.skill("brewing", "Makes tea.");
    own.write("brewing/notes.md", "mint\n");
    let paths = Paths::below(own.home.path());
    let Paths { config, state, .. } = &paths;
    assert_eq!(own.folder, config.join("skills"));
    std::fs::create_dir_all(state).unwrap();
    let grounds =
        archond::tools::grounds(&paths, &"ezra".parse().unwrap(), &named(&["cooking", "inference"]));
    let built_in = archond::tools::BuiltIn::of_program(
        grounds,
        archond::tools::ProcessLimits::default(),
        crate::tools_kit::PROGRAM.into(),
        None,
    )
    .unwrap();
    let Outcome::Done { text } = call(&own.tools(Skills::All), &json!({"name": "cooking"})) else {
        panic!("it is there")
    };
    let file = own.folder.canonicalize().unwrap().join("cooking/references/soups.md").display().to_string();
    assert_eq!(text, format!("Do cooking.\n\nFiles of this skill, for read_file:\n{file}"));
    let read = |path: &str| {
        runtime().block_on(built_in.call(Workshop::order("read_file", &json!({"path": path}), AMPLE)))
    };
    let Outcome::Done { text } = read(&file) else { panic!("{:?}", read(&file)) };
    assert!(text.contains("leek"), "{text}");
    let other = file.replace("cooking/references/soups.md", "brewing/notes.md");
    assert!(matches!(read(&other), Outcome::Failed { .. }), "a skill that is not given stays closed");
    let around = file.replace("references/soups.md", "../brewing/notes.md");
    assert!(matches!(read(&around), Outcome::Failed { .. }), "and there is no way around");
}

#[test]
fn an_archon_has_the_source_if_its_profile_names_skills() {
    let own = Own::new();
    let paths = Paths::below(own.home.path());
    std::fs::create_dir_all(&paths.state).unwrap();
    let (memory, pool) = (MemoryHandle::new(), PoolHandle::new());
    let meaning = Meaning::new(memory, pool, Arc::new(NoEmbedders), Arc::new(RuntimeThreads));
    let memory = MemoryTools::new(meaning, Arc::new(SystemClock));
    let house = HouseTools::new(&paths, memory, &WebSettings::default());
    let sources = |tools: &[&str], skills: Skills| {
        let tools = tools.iter().map(|name| (*name).to_owned()).collect();
        let policy = ToolPolicy { tools, skills, ..ToolPolicy::default() };
        let model = "gemma-4-e4b".parse().unwrap();
        let spec = archond_actors::domain::ArchonSpec {
            tools: Arc::new(policy),
            ..archon_spec("ezra", &model).unwrap()
        };
        house.sources(&spec).iter().map(|source| source.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sources(&["clock", "skill"], Skills::All), ["built-in", "skills"]);
    assert_eq!(sources(&["clock"], named(&[])), ["built-in"]);
}
