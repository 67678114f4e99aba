//! How far the delivery of one answer is: what a receipt says. Pure.
use archond_actors::domain::Receipt;

/// Numbers of messages that are remembered; of more only how many they are. The receipt's length is bounded.
const SENT_SHOWN_MAX: usize = 200;

/// Which messages there are of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The message that was shown while the answer came: it becomes the answer's beginning.
    pub(super) shown: Option<i32>,
    /// The message with the owner's buttons.
    pub(super) question: Option<i32>,
    /// One more message is being sent, and will have a higher number than this one.
    pub(super) trying: Option<i32>,
    /// Messages of the answer that are delivered, in order.
    pub(super) sent: Vec<i32>,
    /// Delivered ones before those.
    pub(super) earlier: usize,
}

impl Progress {
    /// Reads what [`Progress::written`] wrote; words that it does not know are left out.
    pub(super) fn read(receipt: Option<&Receipt>) -> Self {
        let mut progress = Self::default();
        for word in receipt.map(Receipt::as_str).unwrap_or_default().split(' ') {
            let Some((name, value)) = word.split_once('=') else { continue };
            match name {
                "shown" => progress.shown = value.parse().ok(),
                "question" => progress.question = value.parse().ok(),
                "trying" => progress.trying = value.parse().ok(),
                "sent" => progress.sent = value.split(',').filter_map(|id| id.parse().ok()).collect(),
                "earlier" => progress.earlier = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        progress
    }

    /// As the store keeps it. `None`: it would be too long, which its bound prevents.
    pub(super) fn written(&self) -> Option<Receipt> {
        let mut words = Vec::new();
        words.extend(self.shown.map(|id| format!("shown={id}")));
        words.extend(self.question.map(|id| format!("question={id}")));
        words.extend(self.trying.map(|id| format!("trying={id}")));
        if self.earlier > 0 {
            words.push(format!("earlier={}", self.earlier));
        }
        if !self.sent.is_empty() {
            let ids: Vec<String> = self.sent.iter().map(i32::to_string).collect();
            words.push(format!("sent={}", ids.join(",")));
        }
        Receipt::new(&words.join(" ")).ok()
    }

    /// Messages that are delivered.
    pub(super) fn count(&self) -> usize {
        self.earlier + self.sent.len()
    }

    /// One more is delivered.
    pub(super) fn sent(mut self, id: i32) -> Self {
        self.trying = None;
        self.sent.push(id);
        if self.sent.len() > SENT_SHOWN_MAX {
            self.sent.remove(0);
            self.earlier += 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_as_it_was_written_and_stays_short() {
        let mut progress = Progress { shown: Some(7), question: Some(i32::MAX), ..Progress::default() };
        for id in 0..1000 {
            let written = progress.written().unwrap();
            assert_eq!(Progress::read(Some(&written)), progress);
            assert_eq!(progress.count(), id);
            progress.trying = Some(i32::MAX);
            assert_eq!(Progress::read(progress.written().as_ref()), progress);
            progress = progress.sent(i32::MAX - i32::try_from(id).unwrap());
        }
        assert_eq!(Progress::read(None), Progress::default());
        assert_eq!(Progress::read(Some(&Receipt::new("x=1 shown=z later").unwrap())), Progress::default());
    }
}
