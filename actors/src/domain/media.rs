//! What came with a message on its way into a prompt: which senses it asks of a model, and why it is not shown.
use super::channel::{Enclosure, EnclosureKind};

/// What a model takes beside words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Senses {
    /// Pictures.
    pub sees: bool,
    /// Recordings.
    pub hears: bool,
}

impl Senses {
    /// Those that these things ask for.
    pub fn wanted<'a>(brought: impl IntoIterator<Item = &'a Brought>) -> Self {
        let mut wanted = Self::default();
        for one in brought {
            match one.enclosure.kind {
                EnclosureKind::Picture => wanted.sees = true,
                EnclosureKind::Recording => wanted.hears = true,
                EnclosureKind::File => {}
            }
        }
        wanted
    }

    /// Whether it is any.
    pub fn is_any(self) -> bool {
        self.sees || self.hears
    }

    /// How many of the wanted ones are among these.
    pub fn meet(self, wanted: Self) -> u8 {
        u8::from(self.sees && wanted.sees) + u8::from(self.hears && wanted.hears)
    }
}

/// Something that came with a message, as its turn keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// What it is, and where.
    pub enclosure: Enclosure,
    /// Why no model is shown it any more, in words that the model is told: it cannot be read, or a model broke over it.
    pub fault: Option<String>,
}

impl Brought {
    /// These, of which nothing is known yet.
    pub fn fresh(enclosures: &[Enclosure]) -> Vec<Self> {
        enclosures.iter().map(|enclosure| Self { enclosure: enclosure.clone(), fault: None }).collect()
    }
}

/// How much of all that came with messages one prompt may show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaBounds {
    /// Pictures and recordings.
    pub count: usize,
    /// Bytes of one.
    pub medium_bytes: u64,
    /// Bytes of all together.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::MediaId;

    #[test]
    fn each_kind_asks_for_its_sense() {
        let of = |kinds: &[EnclosureKind]| {
            let enclosure =
                |kind| Enclosure { id: MediaId::new([1; 32]), kind, bytes: 1, name: String::new() };
            let enclosures: Vec<_> = kinds.iter().map(|kind| enclosure(*kind)).collect();
            Senses::wanted(&Brought::fresh(&enclosures))
        };
        use EnclosureKind::{File, Picture, Recording};
        let (eyes, ears) = (Senses { sees: true, hears: false }, Senses { sees: false, hears: true });
        let both = Senses { sees: true, hears: true };
        assert_eq!([of(&[]), of(&[File])], [Senses::default(); 2]);
        assert_eq!([of(&[Picture]), of(&[File, Recording]), of(&[Recording, Picture])], [eyes, ears, both]);
        assert_eq!([both.meet(both), both.meet(eyes), eyes.meet(ears), eyes.meet(both)], [2, 1, 0, 1]);
        assert!(!Senses::default().is_any() && ears.is_any());
    }
}
