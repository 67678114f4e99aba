//! What the gateway counts, as a page for Prometheus.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use archond_actors::domain::{ActorState, ChannelStatus, ModelStatus, PoolStatus, Usage};

/// Numbers since the daemon started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Answers by the first digit of their status, 1 to 5.
    by_class: [AtomicU64; 5],
    prompt_tokens: AtomicU64,
    answer_tokens: AtomicU64,
    prefill_ms: AtomicU64,
    decode_ms: AtomicU64,
}

impl Counters {
    pub(super) fn answered(&self, status: u16) {
        if let Some(class) = self.by_class.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.by_class.iter().map(|class| class.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn finished(&self, usage: &Usage) {
        let pairs = [
            (&self.prompt_tokens, usage.prompt_tokens),
            (&self.answer_tokens, usage.answer_tokens),
            (&self.prefill_ms, usage.prefill_ms),
            (&self.decode_ms, usage.decode_ms),
        ];
        for (counter, more) in pairs {
            counter.fetch_add(more.into(), Ordering::Relaxed);
        }
    }

    /// The page.
    pub(super) fn page(&self, pool: &PoolStatus, channels: &[ChannelStatus]) -> String {
        let mut page = String::new();
        metric(&mut page, "http_requests_total", "counter", "HTTP requests by class of status");
        for (class, count) in (1..).zip(&self.by_class) {
            line(
                &mut page,
                "http_requests_total",
                &format!("{{status=\"{class}xx\"}}"),
                count.load(Ordering::Relaxed) as f64,
            );
        }
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let seconds = get(&self.decode_ms) / 1000.0;
        let rate = if seconds > 0.0 { get(&self.answer_tokens) / seconds } else { 0.0 };
        let singles = [
            (
                "http_prompt_tokens_total",
                "counter",
                "prompt tokens of answered HTTP requests",
                get(&self.prompt_tokens),
            ),
            ("http_answer_tokens_total", "counter", "tokens of HTTP answers", get(&self.answer_tokens)),
            (
                "http_prefill_seconds_total",
                "counter",
                "time spent on reading their prompts",
                get(&self.prefill_ms) / 1000.0,
            ),
            ("http_decode_seconds_total", "counter", "time spent on their answers", seconds),
            ("http_answer_tokens_per_second", "gauge", "mean speed of one answer", rate),
            ("pool_queue_length_max", "gauge", "requests that may wait", pool.queue_len_max.into()),
        ];
        for (name, kind, words, value) in singles {
            metric(&mut page, name, kind, words);
            line(&mut page, name, "", value);
        }
        type Read = fn(&ModelStatus) -> f64;
        let models: [(&str, &str, &str, Read); 6] = [
            ("model_slots", "gauge", "answers that run side by side at most", |m| m.slots.into()),
            ("model_slots_used", "gauge", "answers that run", |m| m.slots_used.into()),
            ("model_queue_length", "gauge", "requests that wait", |m| m.queued.into()),
            ("model_restarts_total", "counter", "crashes of the worker", |m| m.crashes.into()),
            ("model_tokens_total", "counter", "tokens of all answers", |m| m.tokens as f64),
            ("model_prompt_tokens_total", "counter", "tokens of all prompts", |m| m.prompt_tokens as f64),
        ];
        for (name, kind, words, read) in models {
            metric(&mut page, name, kind, words);
            for model in &pool.models {
                line(&mut page, name, &format!("{{model=\"{}\"}}", model.id), read(model));
            }
        }
        of_channels(&mut page, channels);
        page
    }
}

fn of_channels(page: &mut String, channels: &[ChannelStatus]) {
    type Read = fn(&ChannelStatus) -> f64;
    let all: [(&str, &str, &str, Read); 8] = [
        ("channel_failed", "gauge", "whether only the owner can help", |c| {
            f64::from(u8::from(c.state == ActorState::Failed))
        }),
        ("channel_poll_age_seconds", "gauge", "since the last poll came back", |c| {
            c.polled_ago.map_or(f64::NAN, |ago| ago.as_secs_f64())
        }),
        (
            "channel_silence_max_seconds",
            "gauge",
            "the longest time without a poll that came back well",
            |c| c.silence_max.as_secs_f64(),
        ),
        ("channel_polls_hung_total", "counter", "polls that hung and were replaced", |c| c.replaced.into()),
        ("channel_messages_total", "counter", "messages that were taken", |c| c.received as f64),
        ("channel_delivered_total", "counter", "answers that were delivered", |c| c.delivered as f64),
        ("channel_given_up_total", "counter", "answers that were given up", |c| c.given_up as f64),
        ("channel_answers_waiting", "gauge", "answers that wait or are under way", |c| c.waiting.into()),
    ];
    for (name, kind, words, read) in all.iter().filter(|_| !channels.is_empty()) {
        metric(page, name, kind, words);
        for channel in channels {
            let labels = format!("{{archon=\"{}\",channel=\"{}\"}}", channel.archon, channel.channel);
            line(page, name, &labels, read(channel));
        }
    }
}

fn metric(page: &mut String, name: &str, kind: &str, words: &str) {
    // Writing to a string cannot fail.
    let _ = write!(page, "# HELP archond_{name} {words}\n# TYPE archond_{name} {kind}\n");
}

fn line(page: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(page, "archond_{name}{labels} {value}");
}
