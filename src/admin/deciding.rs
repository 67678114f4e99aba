//! What is done for a client who asks about the calls that wait for the owner's yes.
use archond_actors::domain::ArchonId;

use super::approvals::{ApprovalOp, ApprovalReply, AskedView};
use super::operations::{AdminContext, Refusal};
use super::protocol::Reply;

/// Does what is asked.
pub(super) async fn perform(op: ApprovalOp, context: &AdminContext) -> Result<Reply, Refusal> {
    Ok(Reply::Approval(match op {
        ApprovalOp::Asked { watched } => {
            if let Some(archon) = watched {
                context.house.owner_watches(&ArchonId::new(&archon)?);
            }
            ApprovalReply::Asked(context.house.asked().await.into_iter().map(AskedView::from).collect())
        }
        ApprovalOp::Decide { call, word } => {
            ApprovalReply::Decided { shown: context.house.decide(&call, word.into()).await? }
        }
    }))
}
