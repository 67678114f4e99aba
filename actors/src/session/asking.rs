//! Asks the owner about a call, and takes his answer: in the chat of the turn, or in his own where the turn is somebody else's.
use tokio::time::Instant;

use super::acting::Decision;
use super::actor::{OpenCall, SessionMsg, SessionState};
use crate::channel::Hearing;
use crate::domain::{AGENT, AskedCall, Question, Tier, ToolCall, TurnEvent};
use crate::link::Envelope;

/// The channels of programs and of other Archons: there is nobody who could be asked.
pub(super) const UNATTENDED: [&str; 2] = ["api", AGENT];

impl SessionState {
    /// Asks the owner, and waits so long for him; not at all where he cannot be reached.
    pub(super) async fn ask_owner(&mut self, call: &ToolCall, why: String) {
        let Some(running) = &self.running else { return };
        let (id, tool) = (call.id.clone(), call.name.clone());
        let shown = running.turn.kit.shown(call);
        let time = self.args.spec.tools.approval_timeout;
        let timeout_s = time.as_secs();
        let (epoch, unheard, me) = (self.epoch, id.clone(), self.me.clone());
        let hearing = Hearing::new(move || {
            let (call, no) = (unheard.clone(), Decision::Unattended);
            // A session that is gone waits for nobody.
            let _ = me.send_message(Envelope::fact(SessionMsg::ApprovalElapsed { epoch, call, no }));
        });
        let mut place = None;
        if self.is_attended() {
            hearing.reached();
            let call = id.clone();
            self.publish(TurnEvent::ApprovalWanted { call, tool, shown, why, timeout_s });
        } else if !UNATTENDED.contains(&self.args.key.channel.as_str()) {
            let with = self.args.key.peer_key();
            place = self.args.owners.place(with.clone(), running.entry.id);
            if place.is_some() {
                let elsewhere = Some(with);
                let question = Question { call: id.clone(), tool, shown, why, timeout_s, elsewhere };
                self.args.owners.ask(&question, hearing).await;
            }
        }
        let late = SessionMsg::ApprovalElapsed { epoch, call: id.clone(), no: Decision::TimedOut };
        let timer = self.me.send_after(time, move || Envelope::fact(late));
        let Some(running) = &mut self.running else { return timer.abort() };
        let timer = Some(timer.abort_handle());
        running.calls.insert(id, OpenCall { _running: None, _place: place, timer, began: Instant::now() });
        self.tick();
    }

    /// Whether somebody is in this chat who may say yes.
    pub(super) fn is_attended(&self) -> bool {
        !self.is_of_user() && !UNATTENDED.contains(&self.args.key.channel.as_str())
    }

    /// Whether the turn is of somebody who may not say yes.
    fn is_of_user(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.entry.waybill.tier == Some(Tier::User))
    }

    /// The owner has decided: about this call, or about the one that he was asked about first. Answers what it was.
    pub(super) async fn on_decide(&mut self, call: Option<String>, decision: Decision) -> Option<String> {
        let running = self.running.as_mut()?;
        let mut waiting = running.turn.waiting().into_iter();
        let call = waiting.find(|waiting| call.as_ref().is_none_or(|call| *call == waiting.id))?;
        let effects = running.turn.decided(Some(&call.id), decision)?;
        running.calls.remove(&call.id);
        let shown = running.turn.kit.shown(&call);
        self.perform(effects).await;
        Some(shown)
    }

    pub(super) async fn on_approval_elapsed(&mut self, epoch: u64, call: &str, no: Decision) {
        let Some(running) = self.running.as_mut().filter(|_| epoch == self.epoch) else { return };
        let Some(effects) = running.turn.decided(Some(call), no) else { return };
        running.calls.remove(call);
        self.perform(effects).await;
    }

    /// The calls that wait for the owner's yes.
    pub(super) fn asked(&self) -> Vec<AskedCall> {
        let Some(running) = &self.running else { return Vec::new() };
        let of_user = self.is_of_user();
        let asked =
            |call: ToolCall| AskedCall { shown: running.turn.kit.shown(&call), call: call.id, of_user };
        running.turn.waiting().into_iter().map(asked).collect()
    }
}
