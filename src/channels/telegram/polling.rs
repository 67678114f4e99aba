//! How far updates were taken. Pure.
//!
//! Telegram gives every update again until it is asked for those behind it. So an offset is sent once, with the first poll after all that
//! came before is durable, and after that no more: without one Telegram begins at the oldest that is not confirmed. That is also right
//! after a restart, and after a week of silence, when Telegram's numbers begin anew anywhere.

/// The state.
#[derive(Debug, Default)]
pub(super) struct Offset {
    /// The newest update that was handed in and may not be durable.
    handed: Option<u32>,
    /// To be confirmed, and perhaps not yet confirmed.
    owed: Option<u32>,
}

impl Offset {
    /// A poll begins, so that what was handed in is durable: what to ask with.
    pub(super) fn begin(&mut self) -> Option<i32> {
        self.owed = self.handed.take().or(self.owed);
        i32::try_from(self.owed?.saturating_add(1)).ok()
    }

    /// The poll came back with updates up to this one.
    pub(super) fn came(&mut self, newest: Option<u32>) {
        (self.handed, self.owed) = (newest, None);
    }

    /// What was handed in may be lost: it is wanted again.
    pub(super) fn renew(&mut self) {
        self.handed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_confirmed_before_it_is_durable_and_nothing_twice() {
        let mut offset = Offset::default();
        assert_eq!(offset.begin(), None);
        offset.came(Some(41));
        assert_eq!(offset.begin(), Some(42));
        // That poll failed: whether Telegram knows is not known.
        assert_eq!(offset.begin(), Some(42));
        offset.came(None);
        assert_eq!(offset.begin(), None);
        // Numbers that begin anew are nothing special.
        offset.came(Some(7));
        assert_eq!(offset.begin(), Some(8));
        offset.came(Some(9));
        offset.renew();
        assert_eq!(offset.begin(), None);
        // What was confirmed in a poll that hung stays confirmed.
        offset.came(Some(10));
        assert_eq!(offset.begin(), Some(11));
        offset.renew();
        assert_eq!(offset.begin(), Some(11));
    }
}
