//! The file that joins an Archon to a platform: `channels/ARCHON/PLATFORM.ron`. That it is there is what switches the channel on, so a
//! shipped profile needs no copy for it.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archond_actors::domain::{AccessPolicy, ArchonId, ChannelId};

use super::fault::{Fault, nearest};
use super::platforms::gitea::GiteaSettings;
use super::platforms::nostr::{self, NostrSettings};
use super::platforms::telegram::{self, TelegramSettings};
use super::reader::{Group, Sheet};
use super::{Paths, profile_channels, read_settings_files, read_text};

/// The platforms that there are adapters for, by the names of their files.
pub const PLATFORMS: [&str; 3] = ["gitea", "nostr", "telegram"];

/// What a platform's own part of the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// Issues and pull requests of a Gitea, a Forgejo, or another that speaks their language.
    Gitea(GiteaSettings),
    /// Private messages over relays.
    Nostr(NostrSettings),
    /// A bot.
    Telegram(TelegramSettings),
}

/// A channel of an Archon, after all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelFile {
    /// The platform's name, which is the channel's.
    pub channel: ChannelId,
    /// Who may write.
    pub access: AccessPolicy,
    /// What is the platform's own.
    pub platform: Platform,
    /// Where it is written.
    pub path: PathBuf,
}

/// The channels of every Archon that has a folder.
pub type FoundChannels = BTreeMap<ArchonId, Vec<ChannelFile>>;

impl Platform {
    fn read(name: &str, top: &mut Group<'_>) -> Option<Self> {
        match name {
            "gitea" => GiteaSettings::read(top).map(Self::Gitea),
            "nostr" => nostr::read(top).map(Self::Nostr),
            "telegram" => telegram::read(top).map(Self::Telegram),
            _ => None,
        }
    }
}

/// Reads one file; answers all its faults when there is one.
pub fn read_channel_file(path: &Path) -> Result<ChannelFile, Vec<Fault>> {
    let text = read_text(path).map_err(|fault| vec![fault])?;
    let text = text.ok_or_else(|| vec![Fault::of_file(path, "there is no such file")])?;
    parse_channel_file(path, text)
}

/// Reads the text of one. Its platform is the file's name.
pub fn parse_channel_file(path: &Path, text: String) -> Result<ChannelFile, Vec<Fault>> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(channel) = ChannelId::new(&name).ok().filter(|_| PLATFORMS.contains(&name.as_str())) else {
        let hint = match nearest(&name, PLATFORMS.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`? Rename the file"),
            None => format!("this version has: {}; rename or remove the file", PLATFORMS.join(", ")),
        };
        return Err(vec![Fault::of_file(path, format!("there is no platform `{name}`")).with_hint(hint)]);
    };
    let sheet = Sheet::new(path, text);
    let read = sheet.top().map(|mut top| {
        let access = profile_channels::access(&mut top);
        let access = if name == nostr::NOSTR { nostr::by_keys(&top, access) } else { access };
        let platform = Platform::read(&name, &mut top);
        top.finish();
        (access, platform)
    });
    sheet.finish()?;
    match read {
        Some((access, Some(platform))) => {
            Ok(ChannelFile { channel, access, platform, path: path.to_owned() })
        }
        // Without a platform's part there is a fault, so this cannot be reached; said in a way that needs no panic.
        _ => Err(vec![Fault::of_file(path, "the channel could not be read")]),
    }
}

/// The channels of all Archons. One that cannot be read is a fault, and so is a folder that no Archon can have.
pub fn find_channels(paths: &Paths) -> (FoundChannels, Vec<Fault>) {
    let folder = paths.channels_dir();
    let (mut found, mut faults) = (FoundChannels::new(), Vec::new());
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (found, faults),
        Err(error) => return (found, vec![Fault::of_file(&folder, format!("cannot be read: {error}"))]),
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir() && !hidden(path));
    folders.sort();
    for folder in folders {
        match ArchonId::new(&folder.file_name().unwrap_or_default().to_string_lossy()) {
            Ok(archon) => {
                let (channels, more) = channels_of(paths, &archon);
                faults.extend(more);
                found.insert(archon, channels);
            }
            Err(error) => faults.push(
                Fault::of_file(&folder, error.to_string())
                    .with_hint("a folder here has the name of the Archon whose channels are in it"),
            ),
        }
    }
    (found, faults)
}

/// The channels of one Archon.
pub fn channels_of(paths: &Paths, archon: &ArchonId) -> (Vec<ChannelFile>, Vec<Fault>) {
    let folder = paths.channels_dir().join(archon.as_str());
    let files = match read_settings_files(&folder) {
        Ok(files) => files,
        Err(error) => return (Vec::new(), vec![Fault::of_file(&folder, format!("cannot be read: {error}"))]),
    };
    let (mut channels, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        match read_channel_file(&file) {
            Ok(channel) => channels.push(channel),
            Err(more) => faults.extend(more),
        }
    }
    (channels, faults)
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"(url: "http://127.0.0.1:3000", token: "env:T", secret: "env:S", listen: "127.0.0.1:9180", owners: ["1"], groups: [(id: "7")])"#;

    #[test]
    fn a_file_in_an_archons_folder_is_a_channel_and_all_else_is_a_fault() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::below(home.path());
        assert_eq!(find_channels(&paths), (FoundChannels::new(), Vec::new()));
        let write = |path: &str, text: &str| {
            let path = paths.channels_dir().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("ezra/gitea.ron", GOOD);
        let (found, faults) = find_channels(&paths);
        assert_eq!(faults, []);
        let ezra = &found[&ArchonId::new("ezra").unwrap()];
        assert_eq!((ezra.len(), ezra[0].channel.as_str()), (1, "gitea"));
        assert_eq!(ezra[0].access.owners, [archond_actors::domain::PeerId::new("1").unwrap()]);
        write("ezra/gitae.ron", GOOD);
        write("Ezra Two/gitea.ron", GOOD);
        write("electra/gitea.ron", "(acess: Open)");
        write(".trash/x.ron", "");
        let said: Vec<String> = find_channels(&paths).1.iter().map(ToString::to_string).collect();
        for expected in
            ["did you mean `gitea`", "the name of the Archon", "unknown field `acess`", "`token` is missing"]
        {
            assert!(said.iter().any(|fault| fault.contains(expected)), "{expected}: {said:?}");
        }
    }
}
