//! The answer to `/memory`: what is kept of whoever asks, and forgetting some of it.
use crate::domain::{InboxEntry, NOTES_MAX, Note, NoteId, NotesOf, PeerKey};
use crate::memory::{MemoryError, MemoryHandle};
use crate::ports::StoreError;

/// Notes that are listed, the newest: a chat is no place for more.
const LISTED_MAX: usize = 50;
/// What is shown of each, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// Does what the words behind the command say, with the notes of the peer who wrote them and of nobody else.
pub(super) async fn answer(memory: &MemoryHandle, entry: &InboxEntry) -> String {
    let owner = entry.session.peer_key();
    let words: Vec<&str> = entry.text.split_whitespace().skip(1).collect();
    let done = match words.as_slice() {
        [] => list(memory, owner).await,
        ["forget", number] => match number.parse() {
            Ok(number) => forget(memory, owner, NoteId(number)).await,
            Err(_) => return usage(),
        },
        _ => return usage(),
    };
    done.unwrap_or_else(|error| format!("My notes cannot be reached: {error}."))
}

fn usage() -> String {
    "`/memory` lists my notes of you, `/memory forget NUMBER` forgets one.".to_owned()
}

async fn list(memory: &MemoryHandle, owner: PeerKey) -> Result<String, MemoryError> {
    let notes = memory.notes(&NotesOf::Peer(owner), None, NOTES_MAX).await?;
    Ok(list_text(&notes))
}

async fn forget(memory: &MemoryHandle, owner: PeerKey, note: NoteId) -> Result<String, MemoryError> {
    match memory.forget_note(owner, note).await {
        Ok(()) => Ok(format!("Note {note} is forgotten.")),
        Err(MemoryError::Store(StoreError::NotFound { .. })) => {
            Ok(format!("I have no note {note} of you; `/memory` lists all."))
        }
        Err(error) => Err(error),
    }
}

fn list_text(notes: &[Note]) -> String {
    if notes.is_empty() {
        return "I keep no notes of you.".to_owned();
    }
    let older = notes.len().saturating_sub(LISTED_MAX);
    let line = |note: &Note| {
        let topic = note.topic.as_ref().map(|topic| format!("{topic}: ")).unwrap_or_default();
        let text: String = note.text.chars().take(TEXT_CHARS_MAX).collect();
        let gap = if text.len() < note.text.len() { "…" } else { "" };
        format!("  {} {topic}{text}{gap}", note.id)
    };
    let mut lines = vec![format!("My notes of you, {} of at most {NOTES_MAX}:", notes.len())];
    lines.extend(notes.iter().skip(older).map(line));
    if older > 0 {
        lines.push(format!("and {older} older ones."));
    }
    lines.push("`/memory forget NUMBER` forgets one.".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_listed_with_their_numbers_and_not_all_of_very_many() {
        let note = |number: u64, text: &str| Note {
            id: NoteId(number),
            owner: "ezra/cli/uid0".parse().unwrap(),
            topic: (number == 1).then(|| "pets".to_owned()),
            text: text.into(),
            created_unix_ms: 0,
        };
        let few = list_text(&[note(1, "Rex"), note(2, &"ä".repeat(300))]);
        assert!(few.starts_with("My notes of you, 2 of at most 200:\n  1 pets: Rex\n  2 ä"), "{few}");
        assert!(few.contains(&format!("{}…\n`/memory forget", "ä".repeat(TEXT_CHARS_MAX))), "{few}");
        let many: Vec<Note> = (1..=60).map(|number| note(number, "x")).collect();
        let told = list_text(&many);
        assert!(!told.contains("\n  10 x") && told.contains("\n  11 x"), "{told}");
        assert!(told.contains("\nand 10 older ones.\n"), "{told}");
    }
}
