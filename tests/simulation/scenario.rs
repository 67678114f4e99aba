//! What a seed means: who writes what to whom, and how rough it gets. Drawn before anything runs, so that a seed stays the
//! same story whatever the house does.
use std::time::Duration;

use crate::disk::{Random, Tear};

/// The Archons of a large house; a small one has the first of them.
const ARCHONS: [&str; 3] = ["ezra", "electra", "allegro"];
/// What kills the worker that answers it, each time.
pub(crate) const POISON: &str = "cyanide";
/// Longest message that the simulated profiles allow, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: u32 = 2_000;

/// By which road a message comes, each with the habits of its platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Road {
    /// The writer repeats it until it is acknowledged, watches the answer or asks for it later.
    Cli,
    /// Updates are repeated in order until a later fetch confirms them. A sent answer may be sent again.
    Telegram,
    /// Several relays, each with its own order and gaps; after a reconnect everything comes again.
    Nostr,
    /// One call for each message, never repeated; a look at the list now and then finds what was missed.
    Gitea,
}

impl Road {
    pub(crate) const ALL: [Self; 4] = [Self::Cli, Self::Telegram, Self::Nostr, Self::Gitea];

    pub(crate) fn channel(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Telegram => "telegram",
            Self::Nostr => "nostr",
            Self::Gitea => "gitea",
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing.
    Calm,
    /// The sessions of the first Archon are killed in a loop, and nothing else.
    Siege,
    /// Anything, at any time.
    Wild,
}

/// How a life of the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is shut down.
    Shutdown,
    /// `kill -9`: what was written is there, synced or not.
    Kill,
    /// The power goes at this operation of the disk.
    PowerCut { operation: usize, tear: Tear },
}

/// One life of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) length: Duration,
    pub(crate) ending: Ending,
    /// Faults in it.
    pub(crate) faults: u64,
}

/// One message that somebody will write.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// After the one before it.
    pub(crate) gap: Duration,
    pub(crate) text: String,
}

/// One person who writes to one Archon by one road.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    pub(crate) road: Road,
    pub(crate) archon: &'static str,
    pub(crate) peer: String,
    pub(crate) planned: Vec<Planned>,
}

/// The whole story.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) weather: Weather,
    pub(crate) archons: Vec<&'static str>,
    pub(crate) chats: Vec<Chat>,
    /// The last one becomes calm and goes on until all is settled.
    pub(crate) lives: Vec<Life>,
    pub(crate) slots: u32,
    pub(crate) context_tokens: u32,
    pub(crate) token_delay: Duration,
    pub(crate) load_time: Duration,
    pub(crate) crashes_max: u32,
    pub(crate) inbox_len_max: u32,
}

impl Scenario {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The first numbers of neighbouring seeds resemble each other.
        for _ in 0..8 {
            random.below(2);
        }
        let weather = match random.below(20) {
            0 => Weather::Calm,
            1 => Weather::Siege,
            _ => Weather::Wild,
        };
        let few = if weather == Weather::Siege { 2 } else { 1 };
        let archons = ARCHONS[..pick(&mut random, few, ARCHONS.len())].to_vec();
        let mut chats = Vec::new();
        for number in 0..pick(&mut random, 1, 6) {
            let road = Road::ALL[pick(&mut random, 0, 3)];
            let archon = archons[pick(&mut random, 0, archons.len() - 1)];
            let planned = (0..pick(&mut random, 1, 8)).map(|_| plan(&mut random, weather)).collect();
            chats.push(Chat { road, archon, peer: format!("p{number}"), planned });
        }
        let mut lives = Vec::new();
        if weather == Weather::Wild {
            (0..pick(&mut random, 1, 4)).for_each(|_| lives.push(life(&mut random)));
            let (length, faults) = (Duration::from_secs(30), random.below(6));
            lives.push(Life { length, ending: Ending::Shutdown, faults });
        } else {
            let length = Duration::from_secs(20 + random.below(60));
            let life = Life { length, ending: Ending::Shutdown, faults: 0 };
            lives.extend([life.clone(), life]);
        }
        Self {
            seed,
            weather,
            archons,
            chats,
            lives,
            slots: 1 + u32::try_from(random.below(4)).unwrap(),
            context_tokens: if random.below(4) == 0 { 160 } else { 8192 },
            token_delay: Duration::from_millis([0, 1, 20, 200][pick(&mut random, 0, 3)]),
            load_time: Duration::from_millis([0, 300, 8_000][pick(&mut random, 0, 2)]),
            crashes_max: u32::try_from(3 + random.below(5)).unwrap(),
            inbox_len_max: if random.below(5) == 0 { 3 } else { 1_000 },
        }
    }

    /// Whether conversations may outgrow the context.
    pub(crate) fn is_narrow(&self) -> bool {
        self.context_tokens < 1_000
    }
}

/// A number from `from` to `to`, both included.
pub(crate) fn pick(random: &mut Random, from: usize, to: usize) -> usize {
    from + usize::try_from(random.below((to - from + 1) as u64)).unwrap()
}

fn life(random: &mut Random) -> Life {
    let ending = match random.below(5) {
        0 => Ending::Shutdown,
        1 | 2 => Ending::Kill,
        _ => {
            let tear = [Tear::Nothing, Tear::Writes, Tear::Sectors][pick(random, 0, 2)];
            Ending::PowerCut { operation: pick(random, 1, 400), tear }
        }
    };
    let length = Duration::from_millis(200 + random.below(40_000));
    Life { length, ending, faults: random.below(8) }
}

fn plan(random: &mut Random, weather: Weather) -> Planned {
    const WORDS: [&str; 8] = ["tea", "with", "some", "milk", "and", "a", "rather", "large"];
    let text = match random.below(40) {
        0 => "/status".to_owned(),
        1 => "/new".to_owned(),
        2 => "/stop".to_owned(),
        3 => "/frobnicate now".to_owned(),
        4 => " \n ".to_owned(),
        5 => "x".repeat(MESSAGE_BYTES_MAX as usize + 1),
        6 if weather == Weather::Wild => format!("a cup of {POISON}"),
        7..=9 => "/link".to_owned(),
        10..=12 => "/link CODE".to_owned(),
        13..=15 => "/handoff 1".to_owned(),
        16 => "/handoff from 1".to_owned(),
        _ => (0..pick(random, 1, 12)).map(|_| WORDS[pick(random, 0, 7)]).collect::<Vec<_>>().join(" "),
    };
    // Many come in quick succession, some after a pause that is longer than a life.
    let gap = match random.below(10) {
        0..=3 => Duration::ZERO,
        4..=8 => Duration::from_millis(random.below(5_000)),
        _ => Duration::from_secs(random.below(60)),
    };
    Planned { gap, text }
}
