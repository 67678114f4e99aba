//! The answers to one request, under way side by side: several prompts, or one of which several answers are wanted. Each is an order of its
//! own to the pool; the model reads what they have in common once.
use archond_actors::domain::Usage;
use futures::future::select_all;

use super::answer::{Answer, Ending, Step};

/// Answers under way. Dropping them ends their work.
pub(super) struct Choices {
    /// By their `index`; none where it has ended.
    answers: Vec<Option<Answer>>,
    endings: Vec<Option<Ending>>,
    /// How many answers each prompt gets; those of one prompt follow each other.
    per_prompt: usize,
}

impl Choices {
    pub(super) fn new(answers: Vec<Answer>, per_prompt: usize) -> Self {
        let endings = vec![None; answers.len()];
        Self { answers: answers.into_iter().map(Some).collect(), endings, per_prompt: per_prompt.max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// What came next, and of which answer; `None` when all have ended. After a [`Step::Failed`] the rest is of no use. May be given up and
    /// asked again.
    pub(super) async fn next(&mut self) -> Option<(usize, Step)> {
        let open =
            self.answers.iter_mut().enumerate().filter_map(|(at, answer)| Some((at, answer.as_mut()?)));
        let steps: Vec<_> =
            open.map(|(at, answer)| Box::pin(async move { (at, answer.next().await) })).collect();
        if steps.is_empty() {
            return None;
        }
        let ((at, step), _, rest) = select_all(steps).await;
        drop(rest);
        if let Step::End(ending) = &step {
            if let Some(place) = self.endings.get_mut(at) {
                *place = Some(*ending);
            }
            if let Some(answer) = self.answers.get_mut(at) {
                *answer = None;
            }
        }
        Some((at, step))
    }

    /// What those cost together that have ended.
    pub(super) fn cost(&self) -> Usage {
        cost(&self.endings, self.per_prompt)
    }
}

/// Each prompt counts once: as for the answer that had to read most of it.
fn cost(endings: &[Option<Ending>], per_prompt: usize) -> Usage {
    let mut whole = Usage::default();
    for group in endings.chunks(per_prompt) {
        let usages = || group.iter().flatten().map(|ending| ending.usage);
        for usage in usages() {
            whole.answer_tokens = whole.answer_tokens.saturating_add(usage.answer_tokens);
            whole.drafted_tokens = whole.drafted_tokens.saturating_add(usage.drafted_tokens);
            whole.accepted_tokens = whole.accepted_tokens.saturating_add(usage.accepted_tokens);
            whole.decode_ms = whole.decode_ms.saturating_add(usage.decode_ms);
        }
        let Some(read) = usages().min_by_key(|usage| usage.cached_tokens) else { continue };
        whole.prompt_tokens = whole.prompt_tokens.saturating_add(read.prompt_tokens);
        whole.cached_tokens = whole.cached_tokens.saturating_add(read.cached_tokens);
        whole.media_tokens = whole.media_tokens.saturating_add(read.media_tokens);
        whole.restored_tokens = whole.restored_tokens.saturating_add(read.restored_tokens);
        whole.prefill_ms = whole.prefill_ms.saturating_add(read.prefill_ms);
    }
    whole
}

#[cfg(test)]
mod tests {
    use archond_actors::domain::FinishReason;

    use super::*;

    fn ending(prompt_tokens: u32, cached_tokens: u32, answer_tokens: u32) -> Option<Ending> {
        let usage = Usage { prompt_tokens, cached_tokens, answer_tokens, ..Usage::default() };
        Some(Ending { reason: FinishReason::EndOfTurn, usage })
    }

    #[test]
    fn each_prompt_is_paid_for_once() {
        let endings = [ending(50, 49, 3), ending(50, 10, 4), ending(7, 0, 5), None];
        let told = |per_prompt| {
            let usage = cost(&endings, per_prompt);
            (usage.prompt_tokens, usage.cached_tokens, usage.answer_tokens)
        };
        assert_eq!(told(2), (57, 10, 12));
        assert_eq!(told(1), (107, 59, 12));
        assert_eq!(told(4), (7, 0, 12), "the one that had to read most");
    }
}
