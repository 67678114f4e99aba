//! `archond memory`: what Archons keep of those who talk with them.
use std::fmt::Write as _;

use super::client::{Client, ClientError};
use super::consent;
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::moment::{ago, now_unix_ms, utc};
use super::places::Places;
use super::{ps, runtime};
use crate::admin::memory::{IndexedView, MemoryOp, MemoryReply, NoteView, RecalledView};
use crate::admin::protocol::{Op, Reply};

/// What a list shows of a note, in characters.
const SHOWN_CHARS: usize = 80;

/// What to do with memory. A peer is written `channel/peer`, like `cli/uid1000`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum MemoryCommand {
    /// List the notes
    #[command(visible_alias = "ls")]
    List {
        /// Of this Archon only
        archon: Option<String>,
        /// Of this one of its peers only
        #[arg(long, requires = "archon", value_name = "CHANNEL/PEER")]
        peer: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Search notes and all that was said, as the Archon itself can
    Search {
        /// Whose memory
        archon: String,
        /// What is looked for, in a few words
        #[arg(required = true, value_name = "WORD")]
        query: Vec<String>,
        /// Of this peer instead of yourself
        #[arg(long, value_name = "CHANNEL/PEER")]
        peer: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a note for ever
    #[command(visible_alias = "rm")]
    Forget {
        /// Who keeps it
        archon: String,
        /// Its number, as `list` shows it
        #[arg(value_name = "NUMBER")]
        note: u64,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Write all notes of an Archon as Markdown or JSON
    Export {
        /// Whose
        archon: String,
        /// Write JSON instead of Markdown
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(super) fn run(console: &mut Console, command: MemoryCommand) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        match command {
            MemoryCommand::List { archon, peer, json } => {
                let notes = notes(&mut client, archon, peer).await?;
                if json {
                    console.json(&notes)?;
                } else {
                    let MemoryReply::Indexed(indexed) = ask(&mut client, MemoryOp::Indexed).await? else {
                        return Err(ClientError::Protocol.into());
                    };
                    console.line(&table(&notes))?;
                    console.line(&indexed_words(&indexed))?;
                }
            }
            MemoryCommand::Search { archon, query, peer, json } => {
                let op = MemoryOp::Search { archon, peer, question: query.join(" ") };
                let MemoryReply::Found(found) = ask(&mut client, op).await? else {
                    return Err(ClientError::Protocol.into());
                };
                if json { console.json(&found)? } else { console.write(&found_words(&found))? }
            }
            MemoryCommand::Forget { archon, note, yes } => {
                if consent::is_given(console, yes, &format!("forget note {note} of {archon}"))? {
                    client.done(Op::Memory(MemoryOp::Forget { archon, note })).await?;
                    console.line(&format!("note {note} is forgotten"))?;
                }
            }
            MemoryCommand::Export { archon, json } => {
                let notes = notes(&mut client, Some(archon.clone()), None).await?;
                if json { console.json(&notes)? } else { console.exact(&markdown(&archon, &notes))? }
            }
        }
        Ok(ExitCode::Ok)
    })
}

/// Calls one of the memory's tools by hand, and prints its answer. The daemon makes the call: it alone has the store.
pub(super) fn call(
    console: &mut Console,
    archon: String,
    tool: String,
    arguments: String,
) -> Result<ExitCode, CliError> {
    let places = Places::find()?;
    let reply = runtime()?.block_on(async {
        let mut client = Client::connect(&places.socket).await?;
        ask(&mut client, MemoryOp::Call { archon, tool, arguments }).await
    })?;
    match reply {
        MemoryReply::Called { failed: false, text } => {
            console.write(&text)?;
            console.end_line()?;
            Ok(ExitCode::Ok)
        }
        MemoryReply::Called { failed: true, text } => {
            console.error(&text)?;
            Ok(ExitCode::Failed)
        }
        MemoryReply::Notes(_) | MemoryReply::Found(_) | MemoryReply::Indexed(_) => {
            Err(ClientError::Protocol.into())
        }
    }
}

async fn ask(client: &mut Client, op: MemoryOp) -> Result<MemoryReply, CliError> {
    match client.call(Op::Memory(op)).await? {
        Reply::Memory(reply) => Ok(reply),
        _ => Err(ClientError::Protocol.into()),
    }
}

/// All of them, page by page.
async fn notes(
    client: &mut Client,
    archon: Option<String>,
    peer: Option<String>,
) -> Result<Vec<NoteView>, CliError> {
    let mut all: Vec<NoteView> = Vec::new();
    loop {
        let after = all.last().map(NoteView::place);
        let op = MemoryOp::Notes { archon: archon.clone(), peer: peer.clone(), after: after.clone() };
        let MemoryReply::Notes(page) = ask(client, op).await? else {
            return Err(ClientError::Protocol.into());
        };
        // A page that leads nowhere ends the list, whatever the daemon thinks.
        if page.last().is_none_or(|last| Some(last.place()) == after) {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn table(notes: &[NoteView]) -> String {
    let now = now_unix_ms();
    let row = |note: &NoteView| {
        [
            note.note.to_string(),
            note.owner.clone(),
            note.topic.clone().unwrap_or_default(),
            line(&note.text),
            ago(now, note.created_unix_ms),
        ]
    };
    ps::table(["NOTE", "OF", "TOPIC", "TEXT", "KEPT"], notes.iter().map(row))
}

/// How much of the whole house's memory is found by its meaning.
fn indexed_words(indexed: &IndexedView) -> String {
    let IndexedView { model, with, without } = indexed;
    match model {
        None => "found by words; with an embedding model also by meaning (`archond model pull embeddinggemma-300m`)".to_owned(),
        Some(model) => {
            format!("by meaning ({model}): {with} of {} notes and turns of the house", with + without)
        }
    }
}

/// The beginning of a text, in one line.
fn line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= SHOWN_CHARS {
        return words;
    }
    words.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

fn found_words(found: &[RecalledView]) -> String {
    if found.is_empty() {
        return "nothing fits; try other words\n".to_owned();
    }
    let mut text = String::new();
    for recalled in found {
        // Writing to a String cannot fail.
        let _ = match recalled {
            RecalledView::Note(note) => {
                let topic = note.topic.as_ref().map(|topic| format!(" · {topic}")).unwrap_or_default();
                let when = utc(note.created_unix_ms);
                writeln!(text, "note {} · {when}{topic}\n  {}\n", note.note, note.text.trim())
            }
            RecalledView::Turn { session, number, user, answer, ended_unix_ms } => {
                let (archon, when) = (session.split('/').next().unwrap_or_default(), utc(*ended_unix_ms));
                let turn = number + 1;
                writeln!(text, "{session} · turn {turn} · {when}\n  you: {user}\n  {archon}: {answer}\n")
            }
        };
    }
    text
}

/// The notes as Markdown, one heading for each peer. What was noted stands as it is.
fn markdown(archon: &str, notes: &[NoteView]) -> String {
    let mut text = format!("# What {archon} keeps\n");
    let mut owner = "";
    for note in notes {
        // Writing to a String cannot fail.
        if note.owner != owner {
            owner = &note.owner;
            let _ = write!(text, "\n## {owner}\n\n");
        }
        let topic = note.topic.as_ref().map(|topic| format!(" · {topic}")).unwrap_or_default();
        let (number, when, said) = (note.note, utc(note.created_unix_ms), note.text.trim());
        let _ = writeln!(text, "- {number} · {when}{topic}: {}", said.replace('\n', "\n  "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(number: u64, owner: &str, topic: Option<&str>, text: &str) -> NoteView {
        NoteView {
            note: number,
            owner: owner.into(),
            topic: topic.map(str::to_owned),
            text: text.into(),
            created_unix_ms: 951_782_400_000,
        }
    }

    #[test]
    fn notes_read_as_markdown() {
        let notes = [
            note(3, "ezra/cli/uid0", Some("pets"), "The dog is called Rex.\nHe is a beagle."),
            note(4, "ezra/cli/uid0", None, "Short answers."),
            note(7, "ezra/telegram/12", None, "Lives in Vienna."),
        ];
        insta::assert_snapshot!(markdown("ezra", &notes), @r"
        # What ezra keeps

        ## ezra/cli/uid0

        - 3 · 2000-02-29 00:00:00 UTC · pets: The dog is called Rex.
          He is a beagle.
        - 4 · 2000-02-29 00:00:00 UTC: Short answers.

        ## ezra/telegram/12

        - 7 · 2000-02-29 00:00:00 UTC: Lives in Vienna.
        ");
        assert_eq!(line(&"a \n b ".repeat(99)).chars().count(), SHOWN_CHARS + 1);
    }

    #[test]
    fn what_is_found_is_shown_with_its_place() {
        let turn = RecalledView::Turn {
            session: "ezra/cli/uid0/s7".into(),
            number: 1,
            user: "What is my dog called?".into(),
            answer: "Rex.".into(),
            ended_unix_ms: 951_782_400_000,
        };
        let found = [RecalledView::Note(note(3, "ezra/cli/uid0", Some("pets"), "Rex")), turn];
        insta::assert_snapshot!(found_words(&found), @r"
        note 3 · 2000-02-29 00:00:00 UTC · pets
          Rex

        ezra/cli/uid0/s7 · turn 2 · 2000-02-29 00:00:00 UTC
          you: What is my dog called?
          ezra: Rex.
        ");
        assert_eq!(found_words(&[]), "nothing fits; try other words\n");
        let indexed = IndexedView { model: Some("m".into()), with: 3, without: 4 };
        assert_eq!(indexed_words(&indexed), "by meaning (m): 3 of 7 notes and turns of the house");
    }
}
