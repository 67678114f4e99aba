//! Telegram, by its Bot API: one bot for each Archon. docs/adr/0038 says why it is made so.
//!
//! The requests are teloxide's; how updates are taken, in which order, and when one counts as taken is the house's own: [`polling`] and
//! [`webhook`]. [`update`] says who is heard; [`markup`], [`styled`] and [`split`] make messages of an answer; [`delivery`] sends them,
//! [`once`] sees to it that none comes twice, [`showing`] shows how they come, [`pace`] how often that may be.
mod delivery;
mod fault;
mod files;
mod greeting;
mod line;
mod markup;
mod once;
mod pace;
mod place;
mod polling;
mod questions;
mod receipt;
mod saying;
mod showing;
mod split;
mod styled;
mod update;
mod webhook;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archond_actors::domain::{
    Batch, ChannelId, Cursor, Enclosure, Inbound, ModelId, Parcel, PeerId, Receipt, ReplyTo, Shown,
    is_call_name,
};
use archond_actors::ports::{Channel, ChannelFault, Handed};
use async_trait::async_trait;
use teloxide::payloads::{AnswerCallbackQuerySetters, GetUpdatesSetters};
use teloxide::requests::Requester;
use teloxide::types::{AllowedUpdate, CallbackQueryId, ChatId, MessageId, Update};
use tokio::time::{Instant, timeout};

use self::fault::Failure;
pub use self::greeting::{BotFacts, probe};
use self::line::{Line, POLL_WAIT_S};
use self::once::{Intended, Numbers};
use self::pace::Pace;
use self::place::Place;
use self::polling::Offset;
use self::questions::{Press, Questions};
use self::update::{Came, Identity, Pressed};
use self::webhook::Listener;
use super::media::MediaFolder;
pub use crate::settings::platforms::telegram::{TelegramSettings, WebhookSettings};

/// Updates of one poll.
const BATCH_LEN: u8 = 50;
/// Longest that a poll takes: Telegram's own wait, and the time for its connection.
const POLL_MAX: Duration = Duration::from_secs(60);
/// Longest for a word to whoever pressed a button: a courtesy.
const COURTESY_MAX: Duration = Duration::from_secs(5);
/// Tries to fetch a file, which take some minutes.
const FETCH_TRIES_MAX: u32 = 10;
/// Questions for models that wait for their answers: these take no time.
const CHOOSING_MAX: usize = 64;
/// What is received.
const ALLOWED_UPDATES: [AllowedUpdate; 2] = [AllowedUpdate::Message, AllowedUpdate::CallbackQuery];

/// One Archon's bot.
pub struct Telegram {
    id: ChannelId,
    settings: TelegramSettings,
    media: MediaFolder,
    workspace: PathBuf,
    /// Those that may be chosen.
    models: Vec<ModelId>,
    state: Mutex<State>,
    listener: Listener,
}

/// What is known in this life of the daemon. Nothing of it has to outlive it.
struct State {
    line: Option<Arc<Line>>,
    me: Option<Arc<Identity>>,
    offset: Offset,
    /// Buttons that were pressed, whose presses are handed in.
    presses: Vec<(String, Option<Pressed>, &'static str)>,
    questions: Questions,
    /// Messages that ask which models there are: their answers have buttons.
    choosing: VecDeque<String>,
    pace: Pace,
    numbers: Numbers,
    intended: Intended,
    /// When the first words of an answer came that is not shown yet, by the key of its message.
    begun: HashMap<String, Instant>,
    /// Files that could not be fetched so far, and how often.
    unfetched: HashMap<String, u32>,
    /// No drafts before: Telegram, or the server in its place, knows none.
    drafts: Instant,
}

impl Telegram {
    /// The bot of an Archon. `workspace` is where the files are that go with its answers, `models` are those that people may choose. Nothing
    /// is opened or asked yet.
    pub fn new(
        id: ChannelId,
        settings: TelegramSettings,
        media: MediaFolder,
        workspace: PathBuf,
        models: Vec<ModelId>,
    ) -> Self {
        let now = Instant::now();
        let state = State {
            line: None,
            me: None,
            offset: Offset::default(),
            presses: Vec::new(),
            questions: Questions::default(),
            choosing: VecDeque::new(),
            pace: Pace::new(now),
            numbers: Numbers::default(),
            intended: Intended::default(),
            begun: HashMap::new(),
            unfetched: HashMap::new(),
            drafts: now,
        };
        let (state, listener) = (Mutex::new(state), Listener::default());
        Self { id, settings, media, workspace, models, state, listener }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is good after each of its changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connections that there are, or new ones.
    async fn line(&self) -> Result<Arc<Line>, Failure> {
        if let Some(line) = &self.state().line {
            return Ok(line.clone());
        }
        let line = Arc::new(Line::new(&self.settings).await?);
        Ok(self.state().line.get_or_insert(line).clone())
    }

    /// Who the bot is. The first time it also tells Telegram what it wants.
    async fn me(&self, line: &Line) -> Result<Arc<Identity>, Failure> {
        if let Some(me) = &self.state().me {
            return Ok(me.clone());
        }
        let me = Arc::new(greeting::greet(line, self.settings.webhook.as_ref()).await?);
        tracing::info!(bot = me.username, "the bot is there");
        self.state().me = Some(me.clone());
        Ok(me)
    }

    async fn next(&self) -> Result<Batch, Failure> {
        // All that was brought before is durable.
        self.listener.settle();
        let line = self.line().await?;
        self.settle(&line).await;
        if let Some(webhook) = &self.settings.webhook {
            self.listener.open(webhook).await?;
        }
        let me = self.me(&line).await?;
        let mut updates = match &self.settings.webhook {
            Some(_) => self.listener.next().await,
            None => self.poll(&line).await?,
        };
        updates.sort_by_key(|update| update.id);
        Ok(self.batch(&updates, &me))
    }

    async fn poll(&self, line: &Line) -> Result<Vec<Update>, Failure> {
        let offset = self.state().offset.begin();
        let mut request =
            line.slow.get_updates().limit(BATCH_LEN).timeout(POLL_WAIT_S).allowed_updates(ALLOWED_UPDATES);
        request.offset = offset;
        let updates = request.await.map_err(|error| Failure::of(&error))?;
        self.state().offset.came(updates.iter().map(|update| update.id.0).max());
        Ok(updates)
    }

    fn batch(&self, updates: &[Update], me: &Identity) -> Batch {
        let mut messages = Vec::new();
        for update in updates {
            match update::read(update, me) {
                Came::Message(inbound, place) => {
                    self.state().numbers.seen(place.chat, place.message);
                    self.said(&inbound, &place);
                    self.chooses(&inbound);
                    messages.push(*inbound);
                }
                Came::Press(pressed) if pressed.decides => messages.extend(self.pressed(*pressed)),
                Came::Press(pressed) => {
                    // The buttons stay: who changes his mind presses another one.
                    self.state().presses.push((pressed.press, None, ""));
                    messages.push(pressed.inbound);
                }
                Came::Nothing => {}
            }
        }
        Batch { messages, place: None }
    }

    /// Who asks which models there are gets them as buttons.
    fn chooses(&self, inbound: &Inbound) {
        if ["/model", "/models"].contains(&inbound.text.trim()) {
            let mut state = self.state();
            if state.choosing.len() >= CHOOSING_MAX {
                state.choosing.pop_front();
            }
            state.choosing.push_back(inbound.key.clone());
        }
    }

    /// Who decides by words has no use for the buttons any more.
    fn said(&self, inbound: &Inbound, place: &Place) {
        let decides = ["/approve", "/yes", "/deny", "/no", "/stop", "/cancel"];
        let mut words = inbound.text.split_whitespace();
        let word = words.next().unwrap_or_default();
        // About what is asked elsewhere.
        if words.any(is_call_name) {
            return;
        }
        let Ok(peer) = inbound.session_peer() else { return };
        if decides.contains(&word) {
            let mut state = self.state();
            for (chat, message) in state.questions.over(place, peer.as_str()) {
                let place = Place { chat, message, topic: None };
                let (press, person, inbound) = (String::new(), String::new(), inbound.clone());
                let pressed = Pressed { press, place, person, inbound, decides: true };
                state.presses.push((String::new(), Some(pressed), ""));
            }
        }
    }

    /// What a press of a button says, if it counts.
    fn pressed(&self, pressed: Pressed) -> Option<Inbound> {
        let mut state = self.state();
        let Pressed { press, place, person, inbound, .. } = &pressed;
        let means = state.questions.pressed(place.chat, place.message, person, press, Instant::now());
        let (word, inbound) = match means {
            Press::Counts => ("", Some(inbound.clone())),
            Press::NotYours => ("This is not for you to decide.", None),
            Press::Over => ("That is decided already, or nobody asks any more.", None),
        };
        let press = press.clone();
        state.presses.push((press, (means != Press::NotYours).then_some(pressed), word));
        inbound
    }

    /// Says to those who pressed buttons that it was heard, and takes the buttons away: what they said is durable now.
    async fn settle(&self, line: &Line) {
        let presses = std::mem::take(&mut self.state().presses);
        let all = presses.into_iter().map(|(press, pressed, word)| async move {
            if !press.is_empty() {
                self.state().questions.settled(&press);
                let mut answer = line.quick.answer_callback_query(CallbackQueryId(press));
                if !word.is_empty() {
                    answer = answer.text(word);
                }
                let _ = timeout(COURTESY_MAX, answer).await;
            }
            if let Some(Pressed { place, .. }) = pressed {
                self.without_buttons(line, place.chat, place.message).await;
            }
        });
        futures::future::join_all(all).await;
    }

    /// Takes the buttons below a message away. A courtesy: those that stay do not count.
    async fn without_buttons(&self, line: &Line, chat: i64, message: i32) {
        let request = line.quick.edit_message_reply_markup(ChatId(chat), MessageId(message));
        let _ = timeout(COURTESY_MAX, request).await;
    }

    /// What a failure is for the house. After some of them nothing that was known is believed any more.
    fn told(&self, failure: Failure, place: Option<&Place>) -> ChannelFault {
        let mut state = self.state();
        let everywhere = match (&failure, place) {
            (Failure::Limited(after), Some(place)) => state.pace.limited(place, *after, Instant::now()),
            _ => true,
        };
        if matches!(failure, Failure::Barred(_)) {
            // There may be another token by the next time, and another bot behind it.
            (state.line, state.me) = (None, None);
        }
        failure.told(everywhere)
    }
}

#[async_trait]
impl Channel for Telegram {
    fn id(&self) -> ChannelId {
        self.id.clone()
    }

    fn leads_to(&self) -> String {
        self.state().me.as_ref().map_or_else(|| "Telegram".to_owned(), |me| format!("@{}", me.username))
    }

    fn poll_max(&self) -> Duration {
        POLL_MAX
    }

    async fn receive(&self, _after: Option<Cursor>) -> Result<Batch, ChannelFault> {
        self.next().await.map_err(|failure| self.told(failure, None))
    }

    async fn fetch(&self, enclosed: &str) -> Result<Enclosure, ChannelFault> {
        let fetched = match self.line().await {
            Ok(line) => files::fetch(&line, &self.media, enclosed).await,
            Err(failure) => Err(failure),
        };
        let mut state = self.state();
        let failure = match fetched {
            Ok(enclosure) => {
                state.unfetched.remove(enclosed);
                return Ok(enclosure);
            }
            Err(failure) => failure,
        };
        // A file that never comes must not hold up all that was written after it.
        let tries = state.unfetched.entry(enclosed.to_owned()).or_default();
        *tries += 1;
        let failure = match failure {
            Failure::Transient(detail) if *tries >= FETCH_TRIES_MAX => Failure::Refused(detail),
            other => other,
        };
        if matches!(failure, Failure::Refused(_)) {
            state.unfetched.remove(enclosed);
        }
        drop(state);
        Err(self.told(failure, None))
    }

    async fn deliver(&self, parcel: Parcel) -> Result<Handed, ChannelFault> {
        let place = Place::read(&parcel.reply_to);
        let place =
            place.ok_or_else(|| ChannelFault::Refused { reason: "it has no place in Telegram".into() })?;
        self.hand_over(&parcel, place).await.map_err(|failure| self.told(failure, Some(&place)))
    }

    async fn show(&self, to: Parcel, shown: Shown) -> Result<Option<Receipt>, ChannelFault> {
        let Some(place) = Place::read(&to.reply_to) else { return Ok(None) };
        self.show_at(&to, place, shown).await.map_err(|failure| self.told(failure, Some(&place)))
    }

    fn chat_with(&self, person: &PeerId) -> Option<ReplyTo> {
        // A chat with one person has his number.
        let chat = person.as_str().parse().ok().filter(|chat| *chat > 0)?;
        Place { chat, message: 0, topic: None }.written().ok()
    }

    fn show_period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn renew(&self) {
        let mut state = self.state();
        state.line = None;
        state.offset.renew();
        // They come again.
        state.presses.clear();
        drop(state);
        self.listener.renew();
    }
}
