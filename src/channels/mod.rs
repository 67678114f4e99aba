//! The roads to platforms, as this program has them: which adapters an Archon gets, and the codes of strangers.
pub mod codes;
pub mod gitea;
pub mod media;
pub mod telegram;

use std::sync::Arc;

use archond_actors::domain::{ArchonSpec, CodeHash};
use archond_actors::ports::{Channel, ChannelShed, Clock};

use crate::settings::{ChannelFile, Paths, Platform, channels_of};
use crate::tools::Grounds;

/// The adapters of all platforms.
pub struct HouseChannels {
    paths: Paths,
    clock: Arc<dyn Clock>,
}

impl HouseChannels {
    /// As the files say, which are read when an Archon is started.
    pub fn new(paths: Paths, clock: Arc<dyn Clock>) -> Self {
        Self { paths, clock }
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
            Platform::Telegram(settings) => {
                let media = media::MediaFolder::new(self.paths.media_dir());
                let workspace = Grounds::of_archon(&self.paths.state, &archon.id).workspace;
                Arc::new(telegram::Telegram::new(file.channel, settings, media, workspace))
            }
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
}
