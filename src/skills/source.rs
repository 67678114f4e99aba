//! The tool that gives a model the text of a skill, and tells it which there are.
use std::sync::Arc;

use archond_actors::domain::{Outcome, Risk, Skills, Tool, ToolCall, ToolOrder, ToolSpec};
use archond_actors::ports::ToolSource;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::folder::{Skill, SkillFolder};
use crate::settings::SKILL;

/// The name of this source.
pub const SOURCE: &str = "skills";
/// Shown of a description, in characters: the model reads it with every prompt.
const LINE_CHARS_MAX: usize = 300;

/// The skills of one Archon.
#[derive(Debug, Clone)]
pub struct SkillTools {
    folder: Arc<SkillFolder>,
    wanted: Skills,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    name: String,
}

impl SkillTools {
    /// Those of the folder that are wanted.
    pub fn new(folder: Arc<SkillFolder>, wanted: Skills) -> Self {
        Self { folder, wanted }
    }

    /// What the model is told, while these are the skills that there are.
    pub fn declaration<'s>(skills: impl Iterator<Item = &'s Skill>) -> Option<Tool> {
        let (mut description, mut names) =
            (String::from("Load the instructions for one of these tasks:"), Vec::new());
        for skill in skills {
            description.push_str(&format!("\n{}: {}", skill.name, cut(&skill.description)));
            names.push(skill.name.as_str());
        }
        let parameters = json!({"type": "object", "properties": {"name": {"type": "string", "enum": names}}, "required": ["name"]});
        let tool = Tool { name: SKILL.to_owned(), description, parameters: parameters.to_string() };
        (!names.is_empty()).then_some(tool)
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LINE_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(LINE_CHARS_MAX - 1).chain(['…']).collect()
}

/// The text, and where its files are.
fn loaded(skill: &Skill) -> String {
    let files = skill.files();
    if files.is_empty() {
        return skill.text.clone();
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("{}\n\nFiles of this skill, for read_file:\n{}", skill.text, files.join("\n"))
}

#[async_trait]
impl ToolSource for SkillTools {
    fn name(&self) -> &str {
        SOURCE
    }

    fn tools(&self) -> Vec<ToolSpec> {
        let skills = self.folder.skills();
        let wanted = skills.iter().map(Arc::as_ref).filter(|skill| self.wanted.has(&skill.name));
        let spec = |tool| ToolSpec {
            tool,
            risk: Risk::Read,
            is_repeatable: true,
            // Written to be followed, by the user or by archond: no more a secret, and no more a stranger's, than the profile.
            reads_private: false,
            brings_outside_text: false,
        };
        Self::declaration(wanted).map(spec).into_iter().collect()
    }

    fn is_core(&self) -> bool {
        true
    }

    fn shown(&self, call: &ToolCall) -> String {
        let name = serde_json::from_str(&call.arguments).map(|Arguments { name }| name);
        format!("{SKILL} {}", name.unwrap_or_else(|_| call.arguments.clone()))
    }

    async fn call(&self, order: ToolOrder) -> Outcome {
        let Arguments { name } = match serde_json::from_str(&order.call.arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                return Outcome::Failed {
                    text: format!("the arguments of `{SKILL}` cannot be used: {error}"),
                };
            }
        };
        let (folder, wanted) = (Arc::clone(&self.folder), self.wanted.clone());
        let look = move || {
            // Read anew: a skill that was just changed is the one that is wanted.
            let skills = folder.skills_now();
            let skills: Vec<_> = skills.iter().filter(|skill| wanted.has(&skill.name)).collect();
            match skills.iter().find(|skill| skill.name == name) {
                Some(skill) => Outcome::Done { text: loaded(skill) },
                None => {
                    let names: Vec<&str> = skills.iter().map(|skill| skill.name.as_str()).collect();
                    Outcome::Failed {
                        text: format!("there is no skill `{name}`; there are: {}", names.join(", ")),
                    }
                }
            }
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed { text: format!("the call broke off: {error}") },
        }
    }
}
