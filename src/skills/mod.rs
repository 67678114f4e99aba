//! Skills: instructions that an Archon reads when it needs them, in the format of <https://agentskills.io/specification>.
//!
//! A skill is a folder with a `SKILL.md`: YAML between two lines `---`, then Markdown. Some come with archond, others are the user's own.
//! The model is told of each in one line; the tool `skill` gives it the rest. What such a text may make an Archon do is bounded by the
//! profile, like all that it does.
mod folder;
mod front;
mod source;

pub use folder::{Origin, Shelf, Skill, SkillFault, SkillFolder};
pub use front::{DESCRIPTION_CHARS_MAX, NAME_BYTES_MAX};
pub use source::{SOURCE, SkillTools};

use crate::settings::Paths;

/// The skills that come with archond, by name.
pub const SHIPPED: [(&str, &str); 3] = [
    ("inference", include_str!("../../archons/skills/inference/SKILL.md")),
    ("multimodal", include_str!("../../archons/skills/multimodal/SKILL.md")),
    ("operating-this-house", include_str!("../../archons/skills/operating-this-house/SKILL.md")),
];

/// The names of all skills that a profile of this house may name.
pub fn known_names(paths: &Paths) -> Vec<String> {
    let shelf = SkillFolder::new(paths.skills_dir()).read();
    shelf.skills.iter().map(|skill| skill.name.clone()).collect()
}
