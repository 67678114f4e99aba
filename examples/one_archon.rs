//! A house with one Archon, in memory: the smallest whole thing. It needs no model, the engine is a double that echoes.
//!
//! `cargo run --release --example one_archon`
use std::io::Write;
use std::sync::Arc;

use archond_actors::domain::{ModelId, TurnEvent};
use archond_actors::house::{House, HouseArgs};
use archond_actors::memory::MemorySettings;
use archond_actors::pool::PoolSettings;
use archond_actors::ports::{NoTools, RuntimeThreads};
use archond_actors::testkit::{FakeEngine, MemStore, StoppedClock, archon_spec, message};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let model = ModelId::new("echo")?;
    let house = House::start(HouseArgs {
        store: Arc::new(MemStore::new()),
        engine: Arc::new(FakeEngine::new([model.clone()])),
        tools: Arc::new(NoTools),
        media: Arc::new(archond_actors::ports::NoMedia),
        channels: Arc::new(archond_actors::ports::NoChannels),
        clock: Arc::new(StoppedClock),
        calls: Arc::new(RuntimeThreads),
        memory: MemorySettings::default(),
        pool: PoolSettings::default(),
        report: Arc::new(|_| {}),
    })
    .await?;
    house.start_archon(archon_spec("ezra", &model)?).await?;

    // A channel watches the message first and hands it in then, so that it misses nothing.
    let asked = message("ezra", "you", "1", "is anybody there?")?;
    let mut observer = house.observers().observe(asked.message_key());
    house.submit(asked).await?;
    let mut out = std::io::stdout();
    while let Some(event) = observer.next().await {
        match event {
            TurnEvent::Text { text } => write!(out, "{text}")?,
            TurnEvent::Ended { answer } => {
                writeln!(out, "\n[{} is durable, for {}]", answer.id, answer.session)?;
                break;
            }
            _ => {}
        }
    }
    Ok(house.shutdown().await?)
}
