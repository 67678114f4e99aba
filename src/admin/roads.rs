//! What is done for a client who asks about channels: what could not be delivered, and who is known.
use archond_actors::domain::{Approved, OutboxId, PeerKey, Tier, is_recent};

use super::channels::{ChannelOp, ChannelReply, GivenUpView, PairingView};
use super::operations::{AdminContext, Refusal};
use super::protocol::{ErrorCode, Reply};
use crate::channels::codes;

/// Answers of one page.
const PAGE_LEN: usize = 200;

/// Does what is asked.
pub(super) async fn perform(op: ChannelOp, context: &AdminContext) -> Result<Reply, Refusal> {
    let (memory, now) = (context.house.memory(), context.clock.now_unix_ms());
    let view = |peer: &PeerKey, state: &str, since_unix_ms| PairingView {
        peer: peer.to_string(),
        state: state.to_owned(),
        since_unix_ms,
    };
    Ok(Reply::Channel(match op {
        ChannelOp::GivenUp { after } => {
            let page = memory.undeliverable(None, after.map(OutboxId), PAGE_LEN).await?;
            ChannelReply::GivenUp(page.iter().map(GivenUpView::from).collect())
        }
        ChannelOp::DeliverAgain { outbox } => {
            context.house.deliver_again(OutboxId(outbox)).await?;
            return Ok(Reply::Done);
        }
        ChannelOp::Pairings => {
            let paired = memory.pairings().await?;
            let paired = paired.iter().map(|one| view(&one.with, one.tier.as_str(), one.since_unix_ms));
            let knocks = memory.knocks().await?;
            let waiting = knocks.iter().filter(|knock| is_recent(knock.since_unix_ms, now));
            let waiting = waiting.map(|knock| view(&knock.with, "waits", knock.since_unix_ms));
            ChannelReply::Pairings(paired.chain(waiting).collect())
        }
        ChannelOp::Approve { code, owner } => {
            let tier = if owner { Tier::Owner } else { Tier::User };
            let refused = |message: String| Refusal { code: ErrorCode::NotFound, message };
            match memory.approve_code(codes::hash(&code), tier, now).await? {
                Approved::Paired(one) => {
                    ChannelReply::Paired(view(&one.with, one.tier.as_str(), one.since_unix_ms))
                }
                Approved::Wrong { left } => {
                    return Err(refused(format!(
                        "no stranger has that code (it holds for an hour); {left} wrong ones more, and all codes are void"
                    )));
                }
                Approved::Locked => {
                    return Err(refused(
                        "no stranger has that code; that was one wrong code too many, and all codes are void now: whoever waits writes again in an hour".to_owned(),
                    ));
                }
            }
        }
        ChannelOp::Revoke { peer } => {
            memory.unpair(peer.parse()?).await?;
            return Ok(Reply::Done);
        }
    }))
}
