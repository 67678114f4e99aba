//! Shows what others want of the Archon and needs a yes, while its owner sits at the prompt.
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archond_actors::channel::WATCH_MAX;
use archond_actors::domain::{Question, SessionKey};
use tokio::time::{MissedTickBehavior, interval};

use crate::admin::approvals::{ApprovalOp, ApprovalReply, AskedView};
use crate::cli::approvals::ask;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::line_editor::Above;
use crate::cli::plain::plain;
use crate::cli::runtime;

/// Between two looks: a person hardly notices, and the daemon neither.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const _: () = assert!(LOOK_INTERVAL.as_millis() * 2 < WATCH_MAX.as_millis());

/// Looks as long as the process lives, on a thread of its own: the prompt holds the other one.
pub(super) fn watch(socket: PathBuf, archon: String, above: Above) -> std::io::Result<()> {
    let watching = move || {
        // Without it the owner is asked in his other chats, or says `archond approvals list`.
        if let Ok(runtime) = runtime() {
            runtime.block_on(look(&socket, &archon, above));
        }
    };
    std::thread::Builder::new().name("approvals".into()).spawn(watching).map(drop)
}

async fn look(socket: &Path, archon: &str, mut above: Above) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = None;
    let mut told = HashSet::new();
    loop {
        looks.tick().await;
        // A daemon that is away may come back; the conversation says so where it matters.
        let Ok(asked) = waiting(&mut client, socket, archon).await else {
            client = None;
            continue;
        };
        told.retain(|call| asked.iter().any(|asked| asked.call == *call));
        for asked in asked {
            if told.contains(&asked.call) {
                continue;
            }
            if let Some(text) = text(&asked, archon)
                && above.say(text)
            {
                told.insert(asked.call);
            }
        }
    }
}

async fn waiting(
    client: &mut Option<Client>,
    socket: &Path,
    archon: &str,
) -> Result<Vec<AskedView>, CliError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(socket).await?),
    };
    match ask(client, ApprovalOp::Asked { watched: Some(archon.to_owned()) }).await? {
        ApprovalReply::Asked(asked) => Ok(asked),
        ApprovalReply::Decided { .. } => Ok(Vec::new()),
    }
}

/// What is shown of a call; `None` of one that is asked about in its own chat, or is another Archon's.
fn text(asked: &AskedView, archon: &str) -> Option<String> {
    let session: SessionKey = asked.session.parse().ok()?;
    if !asked.of_user || session.archon.as_str() != archon {
        return None;
    }
    let question = Question {
        call: asked.call.clone(),
        tool: String::new(),
        shown: asked.shown.clone(),
        why: String::new(),
        timeout_s: 0,
        elsewhere: Some(session.peer_key()),
    };
    let [yes, no] = question.answers();
    let text = format!("{}\n{}\nSay {yes} or {no}.\n", question.opening(), question.quoted());
    Some(plain(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_want_of_this_archon_is_shown_with_what_to_say() {
        let asked = |session: &str, of_user| AskedView {
            call: "12.1.1".into(),
            session: session.into(),
            shown: "bash ls\n\u{1b}[2J".into(),
            of_user,
        };
        let shown = text(&asked("ezra/telegram/8/main", true), "ezra").unwrap();
        assert!(shown.starts_with("telegram/8 wants something of me"), "{shown}");
        assert!(shown.contains("\n│ bash ls\n│ ") && !shown.contains('\u{1b}'), "{shown}");
        assert!(shown.ends_with("Say /approve 12.1.1 or /deny 12.1.1.\n"), "{shown}");
        assert_eq!(text(&asked("ezra/cli/uid0/main", false), "ezra"), None, "it is asked in its own chat");
        assert_eq!(text(&asked("electra/telegram/8/main", true), "ezra"), None);
    }
}
