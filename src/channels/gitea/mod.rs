//! Issues and pull requests of a Gitea or Forgejo: who names an Archon's account there, or assigns an issue to it, is answered by a comment.
//!
//! Reading order: `events` (what is meant for the Archon; pure), `hook` (the listener), `api` (what is asked of the server),
//! `looking` (finds what no webhook told), and here the port.
mod api;
mod events;
mod hook;
mod looking;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archond_actors::domain::{ArchonId, Batch, ChannelId, Cursor, Parcel, PeerId, Question, Receipt, Shown};
use archond_actors::ports::{Channel, ChannelFault, Clock, Handed};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use crate::settings::platforms::gitea::{GiteaSettings, Rule};
use api::Api;
use events::{MARKER, Place, Reader, User};
use hook::{Hook, Hooked};

/// Longest that one `receive` waits for a webhook.
const POLL: Duration = Duration::from_secs(25);
/// Webhooks that are handed in at once.
const BATCH_LEN_MAX: usize = 50;
/// Between two looks for what no webhook told.
const LOOK_PERIOD: Duration = Duration::from_secs(300);
/// The same after one that failed.
const LOOK_RETRY: Duration = Duration::from_secs(30);
/// One sign that a message is read is enough.
const SHOW_PERIOD: Duration = Duration::from_secs(3600);

/// What somebody sees of a channel that is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The account's name.
    pub login: String,
    /// The account's number.
    pub id: u64,
    /// The server's version.
    pub version: String,
}

/// Asks the server once who the token belongs to.
pub async fn probe(settings: &GiteaSettings) -> Result<Probed, ChannelFault> {
    let (api, account) = enter(settings).await?;
    Ok(Probed { login: account.login, id: account.id, version: api.version().await? })
}

/// The number of an account that is known by its name.
pub async fn person(settings: &GiteaSettings, login: &str) -> Result<String, ChannelFault> {
    Ok(enter(settings).await?.0.user(login).await?.id.to_string())
}

/// The number of a repository that is known as `owner/name`.
pub async fn repository(settings: &GiteaSettings, name: &str) -> Result<String, ChannelFault> {
    Ok(enter(settings).await?.0.repository_named(name).await?.id.to_string())
}

async fn enter(settings: &GiteaSettings) -> Result<(Api, User), ChannelFault> {
    let token = secret(settings.token.clone(), "the token").await?;
    let api = Api::new(&settings.url, &token).map_err(|detail| ChannelFault::Barred { detail })?;
    let account = api.account().await?;
    Ok((api, account))
}

async fn secret(place: crate::settings::KeyReference, what: &'static str) -> Result<String, ChannelFault> {
    let read = tokio::task::spawn_blocking(move || place.reveal()).await;
    let secret = read.map_err(|error| ChannelFault::transient(error.to_string()))?;
    let barred = |detail| ChannelFault::Barred { detail };
    match secret {
        Ok(secret) if secret.is_empty() => Err(barred(format!("{what} is empty"))),
        Ok(secret) => Ok(secret),
        Err(error) => Err(barred(format!("{what} {error}"))),
    }
}

/// The channel of one Archon.
pub struct Gitea {
    archon: ArchonId,
    id: ChannelId,
    settings: GiteaSettings,
    /// The numbers of the repositories in which it listens.
    repositories: Vec<PeerId>,
    clock: Arc<dyn Clock>,
    entered: tokio::sync::Mutex<Option<(Api, User)>>,
    receiving: tokio::sync::Mutex<Option<Receiving>>,
    /// Those whose webhooks were handed in last, and who wait until that is durable.
    waiting: Mutex<Vec<oneshot::Sender<bool>>>,
    is_stale: AtomicBool,
}

/// What is open while it receives.
struct Receiving {
    api: Api,
    reader: Reader,
    queue: mpsc::Receiver<Hooked>,
    next_look: Instant,
    /// The listener, which ends with this.
    _listener: JoinSet<()>,
}

impl Gitea {
    /// Opens nothing yet.
    pub fn new(
        archon: ArchonId,
        id: ChannelId,
        settings: GiteaSettings,
        repositories: Vec<PeerId>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            archon,
            id,
            settings,
            repositories,
            clock,
            entered: tokio::sync::Mutex::default(),
            receiving: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
            is_stale: AtomicBool::default(),
        }
    }

    /// The server, and the account there; asked for once.
    async fn enter(&self) -> Result<(Api, User), ChannelFault> {
        let mut entered = self.entered.lock().await;
        if let Some(entered) = &*entered {
            return Ok(entered.clone());
        }
        Ok(entered.insert(enter(&self.settings).await?).clone())
    }

    async fn open(&self) -> Result<Receiving, ChannelFault> {
        let (api, account) = self.enter().await?;
        let secret = secret(self.settings.secret.clone(), "the webhooks' secret").await?.into_bytes();
        let listener = hook::bind(self.settings.listen).await;
        let listener = listener.map_err(|detail| ChannelFault::Barred { detail })?;
        let (sender, queue) = mpsc::channel(hook::QUEUE_LEN_MAX);
        let mut task = JoinSet::new();
        task.spawn(hook::serve(listener, Arc::new(Hook { secret, queue: sender })));
        let reader = Reader { account, rules: self.settings.answers.clone() };
        Ok(Receiving { api, reader, queue, next_look: Instant::now(), _listener: task })
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<oneshot::Sender<bool>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What webhooks brought, as soon as there is something.
    async fn hooked(&self, receiving: &mut Receiving) -> Batch {
        let until = (Instant::now() + POLL).min(receiving.next_look);
        let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut next = timeout(wait, receiving.queue.recv()).await.ok().flatten();
        let mut batch = Batch::default();
        while let Some(Hooked { event, delivery, acknowledge }) = next {
            match receiving.reader.delivery(&event, &delivery) {
                Some(inbound) => {
                    batch.messages.push(inbound);
                    self.waiting().push(acknowledge);
                }
                None => drop(acknowledge.send(true)),
            }
            next = (batch.messages.len() < BATCH_LEN_MAX).then(|| receiving.queue.try_recv().ok()).flatten();
        }
        batch
    }

    /// Where a parcel goes.
    fn place(parcel: &Parcel) -> Result<Place, ChannelFault> {
        let lost = |error| ChannelFault::Refused { reason: format!("nobody knows where that goes: {error}") };
        serde_json::from_str(parcel.reply_to.as_str()).map_err(lost)
    }
}

#[async_trait]
impl Channel for Gitea {
    fn id(&self) -> ChannelId {
        self.id.clone()
    }

    fn leads_to(&self) -> String {
        let Self { settings: GiteaSettings { url, listen, .. }, .. } = self;
        format!("{url}, webhooks to {listen}")
    }

    async fn receive(&self, after: Option<Cursor>) -> Result<Batch, ChannelFault> {
        for acknowledge in self.waiting().drain(..) {
            // One that did not wait so long is found by looking.
            let _left = acknowledge.send(true);
        }
        let mut receiving = self.receiving.lock().await;
        if self.is_stale.swap(false, Ordering::Relaxed) {
            *receiving = None;
            *self.entered.lock().await = None;
        }
        let receiving = match &mut *receiving {
            Some(receiving) => receiving,
            closed => closed.insert(self.open().await?),
        };
        if Instant::now() >= receiving.next_look {
            let since = after.as_ref().map(|after| after.place.as_ref());
            let looked = looking::look(
                &receiving.api,
                &receiving.reader,
                &self.repositories,
                since,
                self.clock.now_unix_ms(),
            );
            match looked.await {
                Ok(batch) => {
                    receiving.next_look = Instant::now() + LOOK_PERIOD;
                    return Ok(batch);
                }
                Err(fault) => {
                    receiving.next_look = Instant::now() + LOOK_RETRY;
                    if receiving.queue.is_empty() {
                        return Err(fault);
                    }
                }
            }
        }
        Ok(self.hooked(receiving).await)
    }

    async fn deliver(&self, parcel: Parcel) -> Result<Handed, ChannelFault> {
        let place = Self::place(&parcel)?;
        let (api, account) = self.enter().await?;
        let marker = match parcel.outbox {
            Some(id) => format!("{MARKER}{}:{id} -->", self.archon),
            None => format!("{MARKER}{} -->", self.archon),
        };
        // Between the comment and the mark in the store the daemon may have ended: what is there is not said again.
        if parcel.outbox.is_some() {
            let since = looking::since(parcel.created_unix_ms);
            if api.is_posted(&place, &account, &marker, &since).await? {
                return Ok(Handed::Whole);
            }
        }
        let files: String = parcel
            .attachments
            .iter()
            .map(|file| {
                format!("\n\n*A file goes with this, which cannot be posted here: {}*", file.summary())
            })
            .collect();
        api.comment(&place, &format!("{marker}\n{}{files}", parcel.text)).await?;
        Ok(Handed::Whole)
    }

    async fn show(&self, to: Parcel, shown: Shown) -> Result<Option<Receipt>, ChannelFault> {
        let (place, (api, account)) = (Self::place(&to)?, self.enter().await?);
        match shown {
            Shown::Working => api.look_at(&place).await?,
            Shown::Text(_) | Shown::Void => {}
            Shown::Asked(Question { tool, shown, why, timeout_s, .. }) => {
                let (name, marker) = (&account.login, format!("{MARKER}{} -->", self.archon));
                let minutes = timeout_s.div_ceil(60);
                let text = format!(
                    "{marker}\nMay I use `{tool}`? {why}\n\n{}\n\nMy owner answers `@{name} /approve` or `@{name} /deny` within {minutes} min; then it is no.",
                    fenced(&shown)
                );
                api.comment(&place, &text).await?;
            }
        }
        Ok(None)
    }

    fn show_period(&self) -> Duration {
        SHOW_PERIOD
    }

    fn renew(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
        self.waiting().clear();
    }
}

/// As code, whatever is in it.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{text}\n{fence}")
}
