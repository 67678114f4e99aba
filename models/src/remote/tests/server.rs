//! A server of bare sockets that does what a script says.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// One request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: Value,
}

/// What is answered. Every answer ends its connection.
pub(super) enum Reply {
    /// These bytes.
    Raw(Vec<u8>),
    /// The head of a stream with this beginning, and then nothing, until the client leaves.
    Hang(String),
    /// The head of a stream, and then one event for ever.
    Endless,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        Self::Raw(format!("{head}Connection: close\r\n\r\n{body}").into_bytes())
    }
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

pub(super) fn stream(events: &[String]) -> Reply {
    Reply::Raw(format!("{STREAM}{}", events.concat()).into_bytes())
}

pub(super) fn chunk(words: &str) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": words } }] }))
}

pub(super) fn end(reason: &str, prompt_tokens: u32, answer_tokens: u32) -> String {
    let usage = json!({ "prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens });
    let end = json!({ "choices": [{ "delta": {}, "finish_reason": reason }] });
    format!("data: {end}\n\ndata: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage }))
}

pub(super) fn listing(models: &[&str]) -> Reply {
    let data: Vec<Value> = models.iter().map(|id| json!({ "id": id })).collect();
    Reply::json(200, &json!({ "data": data }))
}

/// A server, until it is dropped.
pub(super) struct ScriptedServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: Receiver<()>,
}

impl ScriptedServer {
    pub(super) fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (tell, closed) = channel();
        let (notes, script) = (asked.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (notes, script, tell) = (notes.clone(), script.clone(), tell.clone());
                std::thread::spawn(move || serve(stream, &notes, &*script, &tell));
            }
        });
        Self { address, asked, closed }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until a client has left a stream that hangs.
    pub(super) fn connection_closed(&self) {
        self.closed.recv_timeout(super::PATIENCE).unwrap();
    }
}

fn serve(
    mut stream: TcpStream,
    notes: &Mutex<Vec<Asked>>,
    script: &dyn Fn(&Asked) -> Reply,
    closed: &Sender<()>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let asked = Asked {
        path: head.split(' ').nth(1).unwrap_or_default().to_owned(),
        head,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    notes.lock().unwrap().push(asked.clone());
    match script(&asked) {
        Reply::Raw(bytes) => stream.write_all(&bytes).unwrap_or_default(),
        Reply::Hang(beginning) => {
            stream.write_all(format!("{STREAM}{beginning}").as_bytes()).unwrap();
            let _left = stream.read(&mut [0]);
            closed.send(()).unwrap_or_default();
        }
        Reply::Endless => {
            stream.write_all(format!("{STREAM}data: ").as_bytes()).unwrap();
            while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
        }
    }
}
