//! The worker's own log: one line per event on standard error, which the daemon reads.
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes `LEVEL text` lines. Spans are not kept: there is one thing going on in a worker.
pub(super) struct LineSubscriber;

/// An error told of memory that could not be had.
static MEMORY_RAN_SHORT: AtomicBool = AtomicBool::new(false);

/// Whether an error told of memory that could not be had. llama.cpp says so in its log only: "std::bad_alloc",
/// "failed to allocate".
pub(super) fn memory_ran_short() -> bool {
    MEMORY_RAN_SHORT.load(Ordering::Relaxed)
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _never = match field.name() {
            "message" | "text" => write!(self.0, "{value:?} "),
            "module" => Ok(()), // the text says it
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}

impl Subscriber for LineSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        if *event.metadata().level() == Level::ERROR && text.0.contains("alloc") {
            MEMORY_RAN_SHORT.store(true, Ordering::Relaxed);
        }
        let line = format!("{} {}\n", event.metadata().level(), text.0.trim().replace('\n', " "));
        // Nobody is left to be told that the log cannot be written.
        let _unheard = std::io::stderr().write_all(line.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
