//! What goes wrong between Hermes, the harness and the sessions, and what the writer sees of it.
use super::*;

const SESSION: &str = "house/archons/ezra/sessions/cli/p/main#1";

/// What the observer of one message sees.
struct Watched {
    observer: crate::observer::TurnObserver,
    /// The text since the last try began.
    text: String,
    retries: u32,
}

impl Watched {
    async fn begin(world: &World, key: &str, text: &str) -> Self {
        let message = message("ezra", "p", key, text).unwrap();
        let observer = world.house.observers().observe(message.message_key());
        world.house.submit(message).await.unwrap();
        Self { observer, text: String::new(), retries: 0 }
    }

    async fn next(&mut self) -> Option<OutboxEntry> {
        match self.observer.next().await.unwrap() {
            TurnEvent::Text { text } => self.text.push_str(&text),
            TurnEvent::Retrying { .. } => {
                self.text.clear();
                self.retries += 1;
            }
            TurnEvent::Ended { answer } => return Some(answer),
            _ => {}
        }
        None
    }

    async fn until_words(&mut self, words: usize) {
        while self.text.split_whitespace().count() < words {
            assert_eq!(self.next().await, None, "it ended before");
        }
    }

    async fn end(&mut self) -> OutboxEntry {
        loop {
            if let Some(answer) = self.next().await {
                return answer;
            }
        }
    }
}

impl World {
    fn kill(&self, path: &str) {
        self.house.roster().kill(path).unwrap();
    }

    fn suspend(&self, path: &str, suspended: bool) {
        self.house.roster().suspend(path, suspended).unwrap();
    }

    async fn model_status(&self) -> crate::domain::ModelStatus {
        self.house.status().await.pool.models.remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_killed_leaves_no_answer_running() {
    let world = World::new().await;
    world.engine.set_slots(1);
    world.engine.set_token_delay(Duration::from_millis(100));
    world.engine.set_answer_tokens(Some(900));
    world.start("ezra").await;
    let mut watched = Watched::begin(&world, "1", "go on").await;
    watched.until_words(3).await;
    world.kill(SESSION);
    watched.until_words(1).await;
    pass(Duration::from_secs(5)).await;
    let status = world.model_status().await;
    assert_eq!((status.slots_used, status.queued), (1, 0), "nobody reads the first answer any more");
    assert_eq!(world.engine.requests().len(), 2);
}
