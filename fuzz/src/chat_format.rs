//! Chat formats: no text becomes a mark on the way in, and no mark or hidden part becomes text on the way out.
use crate::chat::{ChatFamily, ChatFormat, OutputFilter, Piece, Role, Shown, cut_inside_marks};

/// Ends a text of the conversation in the input.
const SEPARATOR: char = '\u{1e}';
/// A mark that Gemma 4's vocabulary has beside those of the format.
const QUOTE_MARK: &str = "<|\"|>";

/// The first byte chooses the format; the rest is the system prompt and the turns, and once more the bytes of an answer.
pub fn chat_format(input: &[u8]) {
    let [choice, rest @ ..] = input else { return };
    let family = if choice & 1 == 0 { ChatFamily::Gemma4 } else { ChatFamily::ChatMl };
    let format = family.format((choice & 2 == 0).then_some(""));
    let text = String::from_utf8_lossy(rest);
    let mut texts = text.split(SEPARATOR);
    let system = texts.next().unwrap_or_default();
    let roles = [Role::User, Role::Assistant].into_iter().cycle();
    let turns: Vec<(Role, String)> = roles.zip(texts.map(str::to_owned)).collect();
    no_text_becomes_a_mark(format, system, &turns);
    a_longer_conversation_begins_with_the_shorter(format, system, &turns);
    an_answer_is_shown_as_it_is(rest);
}

fn marks(family: ChatFamily) -> Vec<String> {
    let lists = [family.marks(), family.opening_marks(), family.closing_marks(), &[QUOTE_MARK]];
    lists.concat().into_iter().map(str::to_owned).collect()
}

/// The marks of a prompt are those of the same conversation about nothing, and its texts stay whole when they are cut.
fn no_text_becomes_a_mark(format: ChatFormat, system: &str, turns: &[(Role, String)]) {
    let nothing: Vec<(Role, String)> = turns.iter().map(|(role, _)| (*role, "x".to_owned())).collect();
    let blank = if format.family == ChatFamily::Gemma4 { system.trim() } else { system };
    let about_nothing = format.render(if blank.is_empty() { "" } else { "x" }, &nothing);
    let prompt = format.render(system, turns);
    assert_eq!(prompt.len(), about_nothing.len(), "{prompt:?}");
    let marks = marks(format.family);
    for (piece, plain) in prompt.iter().zip(&about_nothing) {
        match (piece, plain) {
            (Piece::Mark(mark), Piece::Mark(wanted)) => {
                assert_eq!(mark, wanted);
                assert!(marks.iter().any(|known| known == mark), "`{mark}` is no mark of its family");
            }
            (Piece::Text(text), Piece::Text(_)) => {
                let parts = cut_inside_marks(text, &marks);
                assert_eq!(parts.concat(), *text, "cutting loses nothing");
                for part in parts {
                    let forged = marks.iter().find(|mark| part.contains(mark.as_str()));
                    assert_eq!(forged, None, "{part:?} of {text:?}");
                }
            }
            (piece, plain) => panic!("{piece:?} stands where {plain:?} belongs"),
        }
    }
}

/// What the worker has read of a conversation is of use for the next turn: marks and texts begin alike, up to the opening of the answer.
fn a_longer_conversation_begins_with_the_shorter(format: ChatFormat, system: &str, turns: &[(Role, String)]) {
    let written = |system: &str, turns: &[(Role, String)]| -> String {
        let pieces = format.render(system, turns);
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Mark(mark) => format!("\u{1e}{mark}\u{1e}"), // no text of the input holds a separator
                Piece::Text(text) => text.clone(),
            })
            .collect()
    };
    let Some((_, before)) = turns.split_last() else { return };
    let bare = if format.family == ChatFamily::Gemma4 { "\u{1e}<bos>\u{1e}".len() } else { 0 };
    let opening = written("", &[]).len() - bare;
    let (shorter, longer) = (written(system, before), written(system, turns));
    assert!(
        longer.starts_with(&shorter[..shorter.len() - opening]),
        "{longer:?} does not begin with {shorter:?}"
    );
}

/// Cuts the bytes into tokens of every size, with marks and hidden parts between them.
fn an_answer_is_shown_as_it_is(mut rest: &[u8]) {
    let mut filter = OutputFilter::default();
    let (mut hidden, mut run, mut shown) = (false, Vec::new(), String::new());
    while let [head, behind @ ..] = rest {
        let (token, behind) = match head {
            0xf8 => (Shown::Opens, behind),
            0xf9 => (Shown::Closes, behind),
            0xfa => (Shown::Nothing, behind),
            head => {
                let (bytes, behind) = rest.split_at(rest.len().min(usize::from(head & 3) + 1));
                (Shown::Bytes(bytes), behind)
            }
        };
        rest = behind;
        let text = filter.push(token);
        match token {
            Shown::Bytes(bytes) if !hidden => {
                run.extend_from_slice(bytes);
                shown.push_str(&text);
                continue;
            }
            Shown::Bytes(_) | Shown::Nothing => {}
            Shown::Opens => hidden = true,
            Shown::Closes => hidden = false,
        }
        assert_eq!(text, "", "a mark or a hidden part is shown");
        assert_eq!(std::mem::take(&mut shown), complete(&std::mem::take(&mut run)));
    }
    assert_eq!(shown, complete(&run));
}

/// What may be shown of bytes between two marks: everything but a character at the end whose rest never came.
fn complete(bytes: &[u8]) -> String {
    let unfinished = match bytes.utf8_chunks().last() {
        Some(chunk) => match str::from_utf8(chunk.invalid()) {
            Err(error) if error.error_len().is_none() => chunk.invalid().len(),
            _ => 0,
        },
        None => 0,
    };
    String::from_utf8_lossy(&bytes[..bytes.len() - unfinished]).into_owned()
}
