//! The roads to platforms, as this program has them: which adapters an Archon gets, and the codes of strangers.
pub mod codes;
pub mod gitea;
pub mod media;
pub mod nostr;
mod shown;
pub mod taken;
pub mod telegram;

use std::sync::Arc;

use archond_actors::domain::{ArchonSpec, CodeHash, ModelId, Route};
use archond_actors::ports::{Channel, ChannelFault, ChannelShed, Clock, Store};

use self::media::MediaFolder;
use self::taken::Taken;
use crate::settings::{ChannelFile, Paths, Platform, channels_of};
use crate::tools::Grounds;

/// The adapters of all platforms.
pub struct HouseChannels {
    paths: Paths,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
}

impl HouseChannels {
    /// As the files say, which are read when an Archon is started.
    pub fn new(paths: Paths, clock: Arc<dyn Clock>, store: Arc<dyn Store>) -> Self {
        Self { paths, clock, store }
    }

    fn open(&self, archon: &ArchonSpec, file: ChannelFile) -> Arc<dyn Channel> {
        match file.platform {
            Platform::Gitea(settings) => {
                let repositories = file.access.groups.into_iter().map(|group| group.id).collect();
                Arc::new(gitea::Gitea::new(
                    archon.id.clone(),
                    file.channel,
                    settings,
                    repositories,
                    self.clock.clone(),
                ))
            }
            Platform::Nostr(settings) => {
                let taken = Taken::new(self.store.clone(), archon.id.clone(), file.channel.clone());
                let (id, clock) = (archon.id.clone(), self.clock.clone());
                Arc::new(nostr::Nostr::new(id, file.channel, settings, clock, taken))
            }
            Platform::Telegram(settings) => {
                let media = MediaFolder::new(self.paths.media_dir());
                let workspace = Grounds::of_archon(&self.paths.state, &archon.id).workspace;
                let models = models_of(&archon.route);
                Arc::new(telegram::Telegram::new(file.channel, settings, media, workspace, models))
            }
        }
    }
}

/// All models of a route, each once.
fn models_of(route: &Route) -> Vec<ModelId> {
    let mut models = Vec::new();
    let by_rules = route.rules.iter().map(|rule| &rule.model);
    for model in std::iter::once(&route.default).chain(by_rules).chain(&route.fallback) {
        if !models.contains(model) {
            models.push(model.clone());
        }
    }
    models
}

/// Asks a platform once what it knows of a channel: what it is called, and what that is.
pub async fn probe(file: &ChannelFile) -> Result<Vec<(&'static str, String)>, ChannelFault> {
    match &file.platform {
        Platform::Gitea(settings) => {
            let probed = gitea::probe(settings).await?;
            Ok(vec![
                ("server", format!("{}, Gitea {}", settings.url, probed.version)),
                ("account", format!("@{}, number {}", probed.login, probed.id)),
                ("webhooks", format!("http://{}/", settings.listen)),
            ])
        }
        Platform::Nostr(settings) => {
            let tried = nostr::probe(settings).await.map_err(ChannelFault::transient)?;
            let said = |relay: &nostr::RelayTried| match &relay.outcome {
                Ok(time) => ("relay", format!("{}, works, {} ms", relay.url, time.as_millis())),
                Err(why) => ("relay", format!("{}: {why}", relay.url)),
            };
            let works = tried.relays.iter().any(|relay| relay.is_inbox && relay.outcome.is_ok());
            let rows = std::iter::once(("key", tried.npub)).chain(tried.relays.iter().map(said));
            let rows: Vec<_> = rows.collect();
            if works {
                return Ok(rows);
            }
            let all = rows.iter().map(|(_, said)| said.as_str()).collect::<Vec<_>>().join("\n");
            Err(ChannelFault::transient(format!("no relay of the inbox works:\n{all}")))
        }
        Platform::Telegram(settings) => {
            let bot = telegram::probe(settings).await.map_err(ChannelFault::transient)?;
            let groups = match (bot.can_join_groups, bot.can_read_all_groups) {
                (false, _) => "may not be added to any",
                (true, false) => "hears what speaks to it",
                (true, true) => "hears everything",
            };
            let webhook = bot.webhook.unwrap_or_else(|| "none: it asks".to_owned());
            Ok(vec![
                ("server", settings.api.to_string()),
                ("bot", format!("@{}, number {}", bot.username, bot.id)),
                ("groups", groups.to_owned()),
                ("webhook", webhook),
            ])
        }
    }
}

impl ChannelShed for HouseChannels {
    fn channels(&self, archon: &ArchonSpec) -> Vec<Arc<dyn Channel>> {
        let (files, faults) = channels_of(&self.paths, &archon.id);
        for fault in faults {
            tracing::error!(archon = %archon.id, "a channel is left out: {fault}");
        }
        // Who may write is in the profile as it was read: a file that came since then is for the next start.
        let known = files.into_iter().filter(|file| archon.channels.contains(&file.channel));
        known.map(|file| self.open(archon, file)).collect()
    }

    fn draw_code(&self) -> Option<(String, CodeHash)> {
        codes::draw()
    }

    fn hash_code(&self, written: &str) -> CodeHash {
        codes::hash(written)
    }
}
