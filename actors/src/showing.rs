//! What stands in a prompt for the pictures and recordings that came with its messages: they themselves, or a note why not. Pure.
//!
//! Where one stands the same stands in the next turn, as long as its turn is in the prompt: what the model has read of it is not read again.
use std::collections::BTreeMap;

use crate::domain::{Brought, Content, Enclosure, EnclosureKind, MediaBounds, MediaId};

/// Where there are too many the oldest are left out, so many at once: each time all that follows is read anew.
const LEFT_OUT_STEP: usize = 8;

/// Those that are not shown though nothing is wrong with their turns, and why: known for as long as the session is in memory.
pub(crate) type Unseen = BTreeMap<MediaId, String>;

/// What stands for one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing: the message's words say already that nobody looks into it.
    Nothing,
    /// It itself, if it can be read.
    Shown,
    /// A note with the reason.
    Note(String),
}

/// What was read for a prompt, and what stands for all that came with its messages, in their order.
#[derive(Debug, Default)]
pub struct Showing {
    pub(crate) places: Vec<Place>,
    pub(crate) read: BTreeMap<MediaId, Result<Content, String>>,
}

/// Tells what each message says, one after the other.
pub(crate) struct Speaker<'a> {
    showing: &'a Showing,
    next: usize,
}

/// Decides what stands for each thing, of all that came with the prompt's messages, in their order.
pub(crate) fn places(brought: &[&Brought], unseen: &Unseen, bounds: MediaBounds) -> Vec<Place> {
    let mut places: Vec<Place> = brought.iter().map(|one| place(one, unseen, bounds)).collect();
    let shown: Vec<usize> = (0..places.len()).filter(|at| places.get(*at) == Some(&Place::Shown)).collect();
    let bytes_at = |at: usize| brought.get(at).map_or(0, |one| one.enclosure.bytes);
    let (mut count, mut bytes) = (0, 0_u64);
    let fitting = shown.iter().rev().take_while(|at| {
        count += 1;
        bytes = bytes.saturating_add(bytes_at(**at));
        count <= bounds.count && bytes <= bounds.bytes
    });
    let fitting = fitting.count();
    let too_many = (shown.len() - fitting).next_multiple_of(LEFT_OUT_STEP);
    // What fits alone is not left out for a round number.
    let left_out = too_many.min(shown.len() - fitting.min(1));
    for at in shown.into_iter().take(left_out) {
        if let Some(place) = places.get_mut(at) {
            *place = Place::Note("there is too much behind it".to_owned());
        }
    }
    places
}

fn place(one: &Brought, unseen: &Unseen, bounds: MediaBounds) -> Place {
    let Enclosure { id, kind, bytes, .. } = &one.enclosure;
    match one.fault.as_ref().or_else(|| unseen.get(id)) {
        _ if *kind == EnclosureKind::File => Place::Nothing,
        Some(fault) => Place::Note(fault.clone()),
        None if *bytes > bounds.medium_bytes => {
            Place::Note(format!("it has {bytes} bytes, and {} are taken", bounds.medium_bytes))
        }
        None => Place::Shown,
    }
}

impl Showing {
    /// From the prompt's first message on.
    pub(crate) fn speaker(&self) -> Speaker<'_> {
        Speaker { showing: self, next: 0 }
    }
}

impl Speaker<'_> {
    /// What the next message says: what is shown comes before its words, as Gemma was taught; why something is not, behind them.
    pub(crate) fn say(&mut self, words: &str, brought: &[Brought]) -> Vec<Content> {
        let (mut content, mut text) = (Vec::new(), words.to_owned());
        for one in brought {
            let place = self.showing.places.get(self.next);
            self.next += 1;
            let why = match (place, self.showing.read.get(&one.enclosure.id)) {
                (Some(Place::Nothing), _) => continue,
                (Some(Place::Shown), Some(Ok(medium))) => {
                    content.push(medium.clone());
                    continue;
                }
                (Some(Place::Note(why)), _) | (Some(Place::Shown), Some(Err(why))) => why,
                (None, _) | (Some(Place::Shown), None) => "it was not read",
            };
            text.push_str(&format!("\n[you cannot look into {}: {why}]", called(&one.enclosure)));
        }
        content.push(Content::Text(text.into()));
        content
    }
}

fn called(enclosure: &Enclosure) -> String {
    let kind = match enclosure.kind {
        EnclosureKind::Picture => "the picture",
        EnclosureKind::Recording => "the recording",
        EnclosureKind::File => "the file",
    };
    if enclosure.name.is_empty() { kind.to_owned() } else { format!("`{}`", enclosure.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: MediaBounds = MediaBounds { count: 16, medium_bytes: 100, bytes: 1000 };

    fn brought(number: u8, kind: EnclosureKind, bytes: u64) -> Brought {
        let id = MediaId::new([number; 32]);
        Brought { enclosure: Enclosure { id, kind, bytes, name: String::new() }, fault: None }
    }

    fn pictures(count: u8, bytes: u64) -> Vec<Brought> {
        (0..count).map(|number| brought(number, EnclosureKind::Picture, bytes)).collect()
    }

    fn of(brought: &[Brought], unseen: &Unseen) -> Vec<Place> {
        places(&brought.iter().collect::<Vec<_>>(), unseen, BOUNDS)
    }

    fn note(why: &str) -> Place {
        Place::Note(why.to_owned())
    }

    #[test]
    fn each_thing_has_its_place() {
        let broken = Brought { fault: Some("it is damaged".into()), ..brought(1, EnclosureKind::Picture, 9) };
        let all = [
            brought(0, EnclosureKind::File, 9),
            broken,
            brought(2, EnclosureKind::Picture, 100),
            brought(3, EnclosureKind::Recording, 101),
            brought(4, EnclosureKind::Recording, 5),
        ];
        let unseen = Unseen::from([(MediaId::new([4; 32]), "the model broke over it".to_owned())]);
        let expected = [
            Place::Nothing,
            note("it is damaged"),
            Place::Shown,
            note("it has 101 bytes, and 100 are taken"),
            note("the model broke over it"),
        ];
        assert_eq!(of(&all, &unseen), expected);
    }

    #[test]
    fn the_oldest_are_left_out_by_steps_and_the_newest_never_for_a_round_number() {
        let table = [
            (0, 1, 0),
            (16, 1, 0),
            (17, 1, 8),
            (24, 1, 8),
            (25, 1, 16),
            // By bytes: ten of them fit.
            (10, 100, 0),
            (11, 100, 8),
            (18, 100, 8),
            (19, 100, 16),
        ];
        for (count, bytes, left_out) in table {
            let places = of(&pictures(count, bytes), &Unseen::new());
            let notes = places.iter().take_while(|place| matches!(place, Place::Note(_))).count();
            let shown = places.iter().filter(|place| **place == Place::Shown).count();
            assert_eq!((notes, shown), (left_out, usize::from(count) - left_out), "{count} of {bytes}");
        }
        let two = MediaBounds { count: 1, ..BOUNDS };
        let pair = pictures(2, 1);
        let places = places(&pair.iter().collect::<Vec<_>>(), &Unseen::new(), two);
        assert_eq!(places[1], Place::Shown);
    }

    #[test]
    fn a_message_shows_what_was_read_and_says_what_was_not() {
        let picture = Content::Image((*b"png").into());
        let mut showing = Showing {
            places: vec![Place::Shown, Place::Nothing, Place::Shown, note("no")],
            ..Showing::default()
        };
        showing.read.insert(MediaId::new([0; 32]), Ok(picture.clone()));
        showing.read.insert(MediaId::new([2; 32]), Err("it is not kept any more".to_owned()));
        let named = |number, name: &str| {
            let one = brought(number, EnclosureKind::Recording, 1);
            Brought { enclosure: Enclosure { name: name.into(), ..one.enclosure }, ..one }
        };
        let first =
            [brought(0, EnclosureKind::Picture, 1), brought(1, EnclosureKind::File, 1), named(2, "a.wav")];
        let mut speaker = showing.speaker();
        let told = "hi\n[you cannot look into `a.wav`: it is not kept any more]";
        assert_eq!(speaker.say("hi", &first), [picture, Content::Text(told.into())]);
        assert_eq!(speaker.say("ho", &[]), [Content::Text("ho".into())]);
        let told = "\n[you cannot look into the recording: no]";
        assert_eq!(speaker.say("", &[named(3, "")]), [Content::Text(told.into())]);
    }
}
