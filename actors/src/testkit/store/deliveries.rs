//! What the store in memory knows of deliveries: how far they are, which were given up, and how far channels have received.
use std::collections::{BTreeMap, HashMap};

use super::tables::{Tables, missing};
use crate::domain::{ArchonId, ChannelId, Cursor, InboxId, OutboxId, Receipt, Undeliverable};
use crate::ports::{StoreError, Written};

#[derive(Default)]
pub(super) struct Deliveries {
    pub(super) receipts: BTreeMap<InboxId, Receipt>,
    /// Why and when each was given up.
    given_up: BTreeMap<OutboxId, (String, u64)>,
    pub(super) cursors: HashMap<(ArchonId, ChannelId), Cursor>,
}

impl Deliveries {
    /// The message and its answer are removed.
    pub(super) fn forget(&mut self, inbox: InboxId, outbox: OutboxId) {
        self.receipts.remove(&inbox);
        self.given_up.remove(&outbox);
    }
}

impl Tables {
    pub(super) fn keep_receipt(&mut self, inbox: InboxId, receipt: &Receipt) -> Result<Written, StoreError> {
        let known = self.inbox.get(&inbox).is_some_and(|entry| {
            let channel = entry.session.channel.clone();
            self.answers.get(&inbox).is_none_or(|answer| self.undelivered.contains(&(channel, *answer)))
        });
        if !known {
            return Err(missing(format!("undelivered message {inbox}")));
        }
        self.deliveries.receipts.insert(inbox, receipt.clone());
        Ok(Written::Done)
    }

    pub(super) fn give_up(
        &mut self,
        outbox: OutboxId,
        reason: &str,
        now_unix_ms: u64,
    ) -> Result<Written, StoreError> {
        let entry = self.outbox.get(&outbox).ok_or_else(|| missing(format!("answer {outbox}")))?;
        if self.undelivered.remove(&(entry.session.channel.clone(), outbox)) {
            self.deliveries.given_up.insert(outbox, (reason.to_owned(), now_unix_ms));
        }
        Ok(Written::Done)
    }

    pub(super) fn deliver_again(&mut self, outbox: OutboxId) -> Result<Written, StoreError> {
        let entry = self.outbox.get(&outbox).filter(|_| self.deliveries.given_up.contains_key(&outbox));
        let entry = entry.ok_or_else(|| missing(format!("answer that was given up {outbox}")))?;
        self.deliveries.given_up.remove(&outbox);
        self.undelivered.insert((entry.session.channel.clone(), outbox));
        Ok(Written::Done)
    }

    pub(super) fn undeliverable(
        &self,
        channel: Option<&ChannelId>,
        after: Option<OutboxId>,
        limit: usize,
    ) -> Vec<Undeliverable> {
        let later = self.deliveries.given_up.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let known = later.filter_map(|(id, (reason, since_unix_ms))| {
            let entry = self.outbox.get(id)?.clone();
            Some(Undeliverable { entry, reason: reason.clone(), since_unix_ms: *since_unix_ms })
        });
        let wanted =
            known.filter(|given| channel.is_none_or(|channel| given.entry.session.channel == *channel));
        wanted.take(limit).collect()
    }
}
