//! Tries the chat template of a stranger's model file where it can do no harm: in a process of its own, with little memory and time. A template
//! is bounded in steps, not in memory: doubling a text forty times is forty steps.
use std::path::Path;
use std::process::{Command, Stdio};

use archond_models::chat::{self, ChatFamily, Vocabulary};
use archond_models::gguf::{self, Head};
use archond_models::library::LibraryError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that the trial may take: what a template writes of a short conversation is kilobytes.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Processor time that it may take: all steps that a template is allowed take a few seconds.
const SECONDS_MAX: u64 = 30;

/// Refuses a file whose template cannot even be tried. What else is wrong with the file is told by the import.
pub(super) fn of(path: &Path) -> Result<(), LibraryError> {
    if gguf::check(path).ok().as_ref().and_then(template).is_none() {
        return Ok(());
    }
    let refused = |reason: String| LibraryError::NotUsable { path: path.to_path_buf(), reason };
    let program = std::env::current_exe();
    let tried = program.and_then(|program| {
        let mut command = Command::new(program);
        command.args(["model", "import", "--trial", "--"]).arg(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    });
    match tried {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(refused(format!(
            "its chat template is of no use: it takes more than {} MiB of memory or {SECONDS_MAX} s for a short conversation ({status})",
            MEMORY_BYTES_MAX >> 20
        ))),
        Err(error) => Err(refused(format!("its chat template cannot be tried: {error}"))),
    }
}

/// The trial itself, in its own process: it is passed by whoever lives to its end.
pub(super) fn stand(path: &Path) {
    let limits = [(Resource::Core, 0), (Resource::Data, MEMORY_BYTES_MAX), (Resource::Cpu, SECONDS_MAX)];
    let is_bounded = limits.into_iter().all(|(resource, most)| {
        // What is bounded more already stays so.
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).is_ok()
    });
    if let (true, Ok(head)) = (is_bounded, gguf::check(path))
        && let Some(template) = template(&head)
    {
        // What it answers is found out again, in words, by the import.
        let _ = chat::check(template, &Vocabulary::default());
    }
}

/// The template of a model that is spoken to by it.
fn template(head: &Head) -> Option<&str> {
    let template = head.text("tokenizer.chat_template")?;
    let family = ChatFamily::detect(head.text("general.architecture")?, template)?;
    (family == ChatFamily::Template).then_some(template)
}
