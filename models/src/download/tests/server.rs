//! A small HTTP server that does what it is told, also what no honest server does: it cuts, stalls and lies about lengths.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request, as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Bytes of body that were sent for it.
    pub served: u64,
}

impl Request {
    /// The first byte that was asked for.
    pub(super) fn start(&self) -> Option<u64> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// How an answer ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Whole,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays.
    Stall(usize),
}

/// An answer.
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What the head says about the body's length; the truth when nothing is set.
    pub length: Option<u64>,
    pub end: End,
}

impl Reply {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), body: body.to_vec(), length: None, end: End::Whole }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    pub(super) fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// An honest file server's answer, with ranges.
    pub(super) fn file(request: &Request, body: &[u8], etag: &str) -> Self {
        let same = request.headers.get("if-range").is_none_or(|tag| tag == etag);
        let total = body.len();
        let reply = match request.start().filter(|_| same) {
            None => Self::new(200, body),
            Some(start) if start as usize >= total => {
                Self::new(416, b"").header("content-range", &format!("bytes */{total}"))
            }
            Some(start) => Self::new(206, &body[start as usize..])
                .header("content-range", &format!("bytes {start}-{}/{total}", total - 1)),
        };
        reply.header("etag", etag)
    }
}

/// A running server. It ends when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    ending: Arc<AtomicBool>,
    /// Stalled connections wait until this is gone.
    _stalled: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server that answers the n-th request, counted from 0, as the function says.
    pub(super) fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (stalled, waits) = channel();
        let (its_log, its_ending, answer) = (Arc::clone(&log), Arc::clone(&ending), Arc::new(answer));
        let waits = Arc::new(Mutex::new(waits));
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for connection in listener.incoming() {
                if its_ending.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = connection else { continue };
                let (log, answer, waits) = (Arc::clone(&its_log), Arc::clone(&answer), Arc::clone(&waits));
                connections.push(std::thread::spawn(move || {
                    // A client that goes away is what the tests are about.
                    let _ = serve(stream, &log, &*answer, &waits);
                }));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        Self { address, log, ending, _stalled: stalled, thread: Some(thread) }
    }

    /// A server of one file under every path.
    pub(super) fn of(body: Vec<u8>) -> Self {
        Self::start(move |_, request| Reply::file(request, &body, "\"one\""))
    }

    pub(super) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// Bytes of all bodies that were sent.
    pub(super) fn served(&self) -> u64 {
        self.log().iter().map(|request| request.served).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        drop(std::mem::replace(&mut self._stalled, channel().0));
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize, &Request) -> Reply + Send + Sync),
    waits: &Mutex<Receiver<()>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(path) = line.split(' ').nth(1).map(str::to_owned) else { return Ok(()) };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }
    let request = Request { path, headers, served: 0 };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    let reply = answer(number, &request);
    let length = reply.length.unwrap_or(reply.body.len() as u64);
    let mut head =
        format!("HTTP/1.1 {} X\r\ncontent-length: {length}\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let sent = match reply.end {
        End::Whole => reply.body.len(),
        End::Cut(count) | End::Stall(count) => count.min(reply.body.len()),
    };
    // Counted before it is sent: who has seen the bytes can rely on the count.
    log.lock().unwrap()[number].served = sent as u64;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body[..sent])?;
    if matches!(reply.end, End::Stall(_)) {
        let _ = waits.lock().unwrap().recv();
    }
    stream.shutdown(Shutdown::Write)
}
