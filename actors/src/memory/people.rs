//! What memory is asked of people: who is known, who knocked, who is the same person elsewhere.
use super::{MemoryError, MemoryHandle, mismatch};
use crate::domain::{
    Approved, CodeHash, HandOff, Knock, LinkAnswer, LinkChange, Offered, OutboxEntry, Paired, PeerKey, Stays,
    Tier,
};
use crate::ports::{Write, Written};

impl MemoryHandle {
    /// Gives a stranger a code, unless he has one, or too many have.
    pub async fn offer_code(
        &self,
        with: PeerKey,
        code: CodeHash,
        now_unix_ms: u64,
    ) -> Result<Offered, MemoryError> {
        match self.write(Write::OfferCode { with, code, now_unix_ms }).await? {
            Written::Offered(offered) => Ok(offered),
            other => Err(mismatch(&other)),
        }
    }

    /// Makes the stranger known who has this code.
    pub async fn approve_code(
        &self,
        code: CodeHash,
        tier: Tier,
        now_unix_ms: u64,
    ) -> Result<Approved, MemoryError> {
        match self.write(Write::ApproveCode { code, tier, now_unix_ms }).await? {
            Written::Approved(approved) => Ok(approved),
            other => Err(mismatch(&other)),
        }
    }

    /// Somebody who was paired is a stranger again.
    pub async fn unpair(&self, with: PeerKey) -> Result<(), MemoryError> {
        self.write(Write::Unpair { with }).await.map(drop)
    }

    /// See [`Store::paired`].
    pub async fn paired(&self, with: PeerKey) -> Result<Option<Paired>, MemoryError> {
        self.read(move |store| store.paired(&with)).await
    }

    /// See [`Store::pairings`].
    pub async fn pairings(&self) -> Result<Vec<Paired>, MemoryError> {
        self.read(|store| store.pairings()).await
    }

    /// See [`Store::knocks`].
    pub async fn knocks(&self) -> Result<Vec<Knock>, MemoryError> {
        self.read(|store| store.knocks()).await
    }

    /// Changes who is the same person in several places. Safe to repeat, but that an offered code makes the one before void.
    pub async fn link(
        &self,
        with: PeerKey,
        change: LinkChange,
        now_unix_ms: u64,
    ) -> Result<LinkAnswer, MemoryError> {
        match self.write(Write::Link { with, change, now_unix_ms }).await? {
            Written::Linked(answer) => Ok(answer),
            other => Err(mismatch(&other)),
        }
    }

    /// Moves a conversation to another place of the same person, and answers the message that asked for it. Safe to repeat: of a message
    /// that is answered nothing moves, and the first answer stands.
    pub async fn hand_off(&self, off: HandOff) -> Result<Result<OutboxEntry, Stays>, MemoryError> {
        match self.write(Write::HandOff(off)).await? {
            Written::Ended(answer, _) => Ok(Ok(answer)),
            Written::Stays(stays) => Ok(Err(stays)),
            other => Err(mismatch(&other)),
        }
    }

    /// See [`Store::linked`](crate::ports::Store::linked).
    pub async fn linked(&self, with: &PeerKey) -> Result<Vec<PeerKey>, MemoryError> {
        let with = with.clone();
        self.read(move |store| store.linked(&with)).await
    }
}
