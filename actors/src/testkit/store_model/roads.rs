//! What becomes of answers, how far channels are, and who is known on them, as the store's port promises it.
use super::ideal::Ideal;
use super::question::{Question, Reply};
use crate::domain::{InboxId, Receipt, Undeliverable};
use crate::ports::{Write, Written};

impl Ideal {
    pub(super) fn keep_receipt(&mut self, inbox: InboxId, receipt: &Receipt) -> Option<Written> {
        let owed = |outbox| self.given.iter().any(|given| given.entry.id == outbox && !given.sent);
        let answered = self.said.iter().find(|said| said.entry.id == inbox)?.answered;
        if answered.is_some_and(|outbox| !owed(outbox)) {
            return None;
        }
        self.said_mut(inbox)?.receipt = Some(receipt.clone());
        Some(Written::Done)
    }

    /// What became of an answer.
    pub(super) fn deliver(&mut self, write: &Write) -> Option<Written> {
        let (Write::MarkSent { outbox } | Write::GiveUp { outbox, .. } | Write::DeliverAgain { outbox }) =
            write
        else {
            return None;
        };
        let given = self.given.iter_mut().find(|given| given.entry.id == *outbox && !given.forgotten)?;
        match write {
            Write::DeliverAgain { .. } => {
                given.given_up.take()?;
                given.sent = false;
            }
            _ if given.sent => {}
            Write::GiveUp { reason, now_unix_ms, .. } => {
                given.sent = true;
                given.given_up = Some((reason.clone(), *now_unix_ms));
            }
            _ => {
                given.sent = true;
                let answers = given.entry.answers;
                self.said_mut(answers)?.receipt = None;
            }
        }
        Some(Written::Done)
    }

    /// Whatever is asked of deliveries and cursors; to all else, nothing.
    pub(super) fn ask_of_roads(&self, question: &Question) -> Reply {
        match question {
            Question::Undeliverable { channel, after, limit } => {
                let lost = self.given.iter().filter(|given| !given.forgotten);
                let lost = lost.filter_map(|given| {
                    let (reason, since_unix_ms) = given.given_up.clone()?;
                    Some(Undeliverable { entry: given.entry.clone(), reason, since_unix_ms })
                });
                let lost = lost
                    .filter(|lost| channel.as_ref().is_none_or(|by| lost.entry.session.channel == *by))
                    .filter(|lost| after.is_none_or(|after| lost.entry.id > after));
                Reply::Undeliverable(lost.take(*limit).collect())
            }
            Question::Receipt { inbox } => {
                let said = self.said.iter().find(|said| said.entry.id == *inbox && !said.forgotten);
                Reply::Receipt(said.and_then(|said| said.receipt.clone()))
            }
            Question::Paired { with } => Reply::Paired(self.doors.paired(Some(with))),
            Question::Linked { with } => Reply::Peers(self.bonds.linked(with)),
            Question::Pairings => Reply::Paired(self.doors.paired(None)),
            Question::Knocks => Reply::Knocks(self.doors.knocks()),
            Question::Cursor { archon, channel } => {
                Reply::Cursor(self.cursors.get(&(archon.clone(), channel.clone())).cloned())
            }
            Question::AnswerTo { inbox } => {
                let answer =
                    self.given.iter().find(|given| given.entry.answers == *inbox && !given.forgotten);
                Reply::Outbox(answer.map(|given| given.entry.clone()).into_iter().collect())
            }
            _ => Reply::Len(0),
        }
    }
}
