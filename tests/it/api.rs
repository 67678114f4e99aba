//! A daemon with its API, and a client of bare sockets.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::{Daemon, TINY_ID, TestHouse};

/// Longest wait for anything: many times what it takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon, and where its API is.
pub(crate) struct Api {
    pub(crate) daemon: Daemon,
    pub(crate) house: TestHouse,
    pub(crate) address: String,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The pieces of a stream, without the mark at its end.
    pub(crate) fn pieces(&self) -> Vec<Value> {
        let lines = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let lines: Vec<&str> = lines.collect();
        assert_eq!(lines.last(), Some(&"[DONE]"), "{}", self.body);
        lines[..lines.len() - 1].iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Api {
    pub(crate) fn start(settings: &str) -> Self {
        Self::of(TestHouse::new(), settings)
    }

    /// In a house that was prepared.
    pub(crate) fn of(house: TestHouse, settings: &str) -> Self {
        std::fs::write(house.path().join("config/archond.ron"), settings).unwrap();
        let daemon = house.start(&["ezra"]);
        let status = house.run(&["ps", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let place = status["gateway"].as_str().unwrap();
        let address = place.strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap().to_owned();
        Self { daemon, house, address }
    }

    pub(crate) fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn request(&self, method: &str, path: &str, head: &str, body: &str) -> String {
        let host = if head.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.address)
        };
        format!(
            "{method} {path} HTTP/1.1\r\n{host}{head}Connection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub(crate) fn raw(&self, method: &str, path: &str, head: &str, body: &str) -> Reply {
        let mut stream = self.connect(&self.request(method, path, head, body));
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        let said = String::from_utf8(said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Reply { status, head: head.to_owned(), body }
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.raw("POST", path, "", &body.to_string())
    }

    /// Asserts that a request is refused with this status, in words that name this.
    #[track_caller]
    pub(crate) fn refuses(&self, path: &str, body: &Value, status: u16, word: &str) {
        let reply = self.post(path, body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
        let said = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.contains(word), "{said} says nothing of {word}");
    }

    pub(crate) fn chat(&self, more: &Value) -> Reply {
        let mut body = json!({
            "model": TINY_ID, "temperature": 0, "max_tokens": 48,
            "messages": [
                { "role": "system", "content": "You are Ezra, a helpful assistant." },
                { "role": "user", "content": "hello" },
            ],
        });
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        self.post("/v1/chat/completions", &body)
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}
