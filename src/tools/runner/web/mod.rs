//! The tools that reach the web, in their process: asks for connections, speaks HTTP over them, and reads what comes.
//!
//! All of it is hostile input. So the process has no file, no socket of its own making and nothing to run: what it needs from the disk,
//! certificates, is read before it closes itself in.
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::RunnerFailure;
use super::confine::{self, Role};
use crate::tools::arguments::{self, ArgumentsError, WebFetch, WebSearch};
use crate::tools::order::{Answer, Order};
use crate::tools::web::line::{LineFault, Toolside};
use crate::tools::web::told::Brought;
use crate::tools::web::{FETCH, WebOrder};
use crate::web::{Place, PlaceFault};

mod body;
mod http;
mod page;
mod search;
mod trust;
mod words;

/// How often a page may say that it is elsewhere.
const MOVES_MAX: u32 = 5;
/// Most of a text that one answer carries, in characters: as many as a model can be shown at once (`output_chars_max`).
const TEXT_CHARS_MAX: usize = 100_000;
/// Kept of the time of a call, to tell how it ended.
const RESERVE: Duration = Duration::from_millis(500);
/// What a page may be.
const PAGES: &str = "text/html,application/xhtml+xml,text/*;q=0.9,application/json;q=0.9,*/*;q=0.1";

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
enum WebFault {
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    #[error(transparent)]
    Place(#[from] PlaceFault),
    #[error(transparent)]
    Line(#[from] LineFault),
    #[error("it took longer than {} s and was given up", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("`{0}` breaks off: {1}")]
    Broken(String, String),
    #[error(
        "the certificate of `{host}` is not believed ({why}); one of the owner's own network can be named in `web.authorities`"
    )]
    Certificate { host: String, why: String },
    #[error("{0} answers {1}")]
    Status(String, String),
    #[error("{0} says that it has moved, and not where to")]
    Nowhere(String),
    #[error("the page moves on more than {MOVES_MAX} times; the last place was {0}")]
    TooManyMoves(String),
    #[error("it is packed as `{0}`, which was not asked for and is not read")]
    Packing(String),
    #[error("it unfolds to more than {0} times its size, which no honest page does; it is not read")]
    Bomb(u64),
    #[error("it is damaged: {0}")]
    Damaged(io::Error),
    #[error("it is `{0}`; only text, HTML and JSON are read")]
    Kind(String),
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error(
        "what the search engine answers cannot be read ({0}); its settings must have `json` among `search.formats`"
    )]
    Search(String),
    #[error("there is no search engine; the owner can name his own as `web.searxng`")]
    NoEngine,
}

/// Makes the call. The process must have one thread.
pub(super) fn call(order: &Order) -> Result<Answer, RunnerFailure> {
    let system = |what| move |source| RunnerFailure::System { what, source };
    let web = order
        .web
        .as_ref()
        .ok_or(io::ErrorKind::InvalidInput.into())
        .map_err(system("a call without an order"))?;
    let line = take_line().map_err(system("the line to the daemon"))?;
    let tls = trust::config(web.authorities.as_deref()).map_err(system("the file of `web.authorities`"))?;
    // Before the lock: it makes a pair of sockets for signals.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("a runtime"))?;
    confine::close(order, Role::Fetches)?;
    let time_max = web.time_max.min(order.time_max.saturating_sub(RESERVE)).max(RESERVE);
    let brought = runtime.block_on(async {
        let deadline = Instant::now() + time_max;
        let client = Client { line: Toolside::new(line), tls: Arc::new(tls), order: web, deadline };
        let work = async {
            match order.tool.as_str() {
                FETCH => client.fetch(&arguments::read(FETCH, &order.arguments)?).await,
                tool => {
                    let wanted: WebSearch = arguments::read(tool, &order.arguments)?;
                    search::search(&client, &wanted).await
                }
            }
        };
        timeout_at(deadline, work).await.unwrap_or(Err(WebFault::TimedOut(time_max)))
    });
    Ok(match brought {
        Ok(brought) => Answer::Done(serde_json::to_string(&brought)?),
        Err(fault) => Answer::Failed(fault.to_string()),
    })
}

/// The line comes as the error output, which is free: a process is given no other stream. From here on errors go nowhere.
fn take_line() -> io::Result<OwnedFd> {
    let line = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), libc::STDERR_FILENO + 1)?;
    rustix::stdio::dup2_stderr(std::fs::File::options().write(true).open("/dev/null")?)?;
    Ok(line)
}

/// What a call has.
struct Client<'o> {
    line: Toolside,
    tls: Arc<ClientConfig>,
    order: &'o WebOrder,
    deadline: Instant,
}

impl Client<'_> {
    async fn fetch(&self, wanted: &WebFetch) -> Result<Brought, WebFault> {
        let (place, reply) = self.get(Place::parse(&wanted.url)?, PAGES).await?;
        let is_cut = reply.is_cut;
        let text = page::text(&reply)?;
        let offset = usize::try_from(wanted.offset.unwrap_or(0)).unwrap_or(usize::MAX);
        Ok(Brought { from: place.to_string(), is_cut, ..piece(&text, offset) })
    }

    /// Asks for a page, and follows it where it has moved to. Each place is one more question to the daemon.
    async fn get(&self, mut place: Place, kinds: &str) -> Result<(Place, body::Body), WebFault> {
        for _ in 0..=MOVES_MAX {
            let reply = http::get(self, &place, kinds).await?;
            match reply {
                http::Reply::Moved(location) => {
                    let location = location.ok_or_else(|| WebFault::Nowhere(place.authority()))?;
                    place = place.follow(&location)?;
                }
                http::Reply::Whole(packed) => {
                    let body = body::unfold(packed, self.order.body_bytes_max)?;
                    return Ok((place, body));
                }
            }
        }
        Err(WebFault::TooManyMoves(words::shorten(&place.to_string())))
    }
}

/// What is told of a text from this character on.
fn piece(text: &str, offset: usize) -> Brought {
    let total = text.chars().count();
    let rest = text.char_indices().nth(offset).map_or("", |(at, _)| text.get(at..).unwrap_or_default());
    let text = rest.chars().take(TEXT_CHARS_MAX).collect();
    Brought { from: String::new(), text, offset: offset.min(total), total, is_cut: false }
}
