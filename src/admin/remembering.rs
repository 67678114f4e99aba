//! What is done for a client who asks about memory.
use std::time::Duration;

use archond_actors::domain::{
    ArchonId, ChannelId, Indexed, NotesOf, Outcome, PeerKey, SessionKey, ThreadId, ToolCall, ToolOrder,
};
use archond_actors::ports::ToolSource;
use archond_actors::recall::{Query, excerpt};

use super::memory::{IndexedView, MemoryOp, MemoryReply, NoteView, RecalledView};
use super::operations::{AdminContext, CLI_CHANNEL, Caller, Refusal};
use super::protocol::{ErrorCode, Reply};
use crate::tools::MemoryTools;

/// Notes of one answer: with the longest texts well within a line.
const NOTES_LEN: usize = 200;
/// What is found at most.
const FOUND_MAX: usize = 20;
/// What is shown of a turn's text, in characters.
const TEXT_CHARS_MAX: usize = 400;
/// Time of a call by hand.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// The conversation of calls that are made by hand: nothing is in a prompt there, so that nothing is left out for being in it.
const BY_HAND: &str = "by-hand";

/// Does what is asked.
pub(super) async fn perform(op: MemoryOp, caller: &Caller, context: &AdminContext) -> Result<Reply, Refusal> {
    let memory = context.house.memory();
    Ok(Reply::Memory(match op {
        MemoryOp::Notes { archon, peer, after } => {
            let of = notes_of(archon.as_deref(), peer.as_deref())?;
            let after = after.map(|after| after.place()).transpose()?;
            let notes = memory.notes(&of, after, NOTES_LEN).await?;
            MemoryReply::Notes(notes.iter().map(NoteView::from).collect())
        }
        MemoryOp::Search { archon, peer, question } => {
            let owner = owner(&archon, peer.as_deref(), caller)?;
            let query = Query::of(&question);
            let cut = |text: &str| excerpt(text, &query, TEXT_CHARS_MAX);
            let found = context.meaning.recall(&owner, &question, FOUND_MAX).await?;
            MemoryReply::Found(found.iter().map(|recalled| RecalledView::of(recalled, cut)).collect())
        }
        MemoryOp::Indexed => {
            let Indexed { maker, with, without } = memory.indexed().await?;
            let used = context.meaning.embedder().map(|embedder| embedder.maker);
            // What another one computed is of no use, until it is computed anew.
            let with = if used == maker { with } else { 0 };
            let model = used.map(|used| used.model.to_string());
            MemoryReply::Indexed(IndexedView { model, with, without })
        }
        MemoryOp::Forget { archon, note } => {
            forget(&ArchonId::new(&archon)?, note, context).await?;
            return Ok(Reply::Done);
        }
        MemoryOp::Call { archon, tool, arguments } => {
            let PeerKey { archon, channel, peer } = owner(&archon, None, caller)?;
            let session =
                SessionKey { archon: archon.clone(), channel, peer, thread: ThreadId::new(BY_HAND)? };
            let call = ToolCall { id: "1".to_owned(), name: tool, arguments };
            let order = ToolOrder { archon, session, call, time_max: CALL_TIME_MAX };
            match MemoryTools::new(context.meaning.clone(), context.clock.clone()).call(order).await {
                Outcome::Done { text } => MemoryReply::Called { failed: false, text },
                Outcome::Failed { text } => MemoryReply::Called { failed: true, text },
                Outcome::Unknown => MemoryReply::Called { failed: true, text: Outcome::Unknown.words() },
            }
        }
    }))
}

fn notes_of(archon: Option<&str>, peer: Option<&str>) -> Result<NotesOf, Refusal> {
    match (archon.map(ArchonId::new).transpose()?, peer) {
        (None, None) => Ok(NotesOf::House),
        (Some(archon), None) => Ok(NotesOf::Archon(archon)),
        (Some(archon), Some(peer)) => Ok(NotesOf::Peer(PeerKey::of_archon(archon, peer)?)),
        (None, Some(_)) => {
            let message = "a peer is one of an Archon: name that, too".to_owned();
            Err(Refusal { code: ErrorCode::BadRequest, message })
        }
    }
}

/// The named peer, or the caller himself.
fn owner(archon: &str, peer: Option<&str>, caller: &Caller) -> Result<PeerKey, Refusal> {
    let archon = ArchonId::new(archon)?;
    match peer {
        Some(peer) => Ok(PeerKey::of_archon(archon, peer)?),
        None => Ok(PeerKey { archon, channel: ChannelId::new(CLI_CHANNEL)?, peer: caller.peer()? }),
    }
}

/// Looks for the note among all that the Archon keeps: whoever names a number need not know whose it is.
async fn forget(archon: &ArchonId, number: u64, context: &AdminContext) -> Result<(), Refusal> {
    let (memory, of, mut after) = (context.house.memory(), NotesOf::Archon(archon.clone()), None);
    loop {
        let page = memory.notes(&of, after, NOTES_LEN).await?;
        if let Some(note) = page.iter().find(|note| note.id.0 == number) {
            return Ok(memory.forget_note(note.owner.clone(), note.id).await?);
        }
        let Some(last) = page.last() else {
            let message =
                format!("{archon} keeps no note {number}; `archond memory list {archon}` shows all");
            return Err(Refusal { code: ErrorCode::NotFound, message });
        };
        after = Some(last.place());
    }
}
