//! Stands before a real relay, for the tests, and makes it a bad one.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nostr::types::RelayUrl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What it does wrong.
#[derive(Default)]
pub(super) struct Vices {
    /// The ends of lists are left out.
    pub(super) endless: AtomicBool,
    /// Nothing of what the relay says is passed on.
    pub(super) silent: AtomicBool,
    /// Each event is passed on twice.
    pub(super) twice: AtomicBool,
    /// No connection is taken.
    pub(super) away: AtomicBool,
    /// Connections that were taken.
    pub(super) taken: AtomicU32,
    /// All connections end.
    pub(super) cut: Notify,
}

pub(super) struct Proxy {
    pub(super) url: RelayUrl,
    pub(super) vices: Arc<Vices>,
    _running: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn before(relay: &RelayUrl) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = RelayUrl::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        let to = relay.as_str().trim_start_matches("ws://").trim_end_matches('/').to_owned();
        let vices = Arc::new(Vices::default());
        let mut running = JoinSet::new();
        running.spawn(serve(listener, to, vices.clone()));
        Self { url, vices, _running: running }
    }
}

async fn serve(listener: TcpListener, to: String, vices: Arc<Vices>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if vices.away.load(Ordering::Acquire) {
            continue;
        }
        vices.taken.fetch_add(1, Ordering::AcqRel);
        let relay = TcpStream::connect(&to).await.unwrap();
        connections.spawn(pass(client, relay, vices.clone()));
    }
}

async fn pass(client: TcpStream, relay: TcpStream, vices: Arc<Vices>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_relay, mut to_relay) = relay.into_split();
    let there = async { tokio::io::copy(&mut from_client, &mut to_relay).await.map(drop) };
    let back = async {
        let mut handshake = Vec::new();
        while !handshake.ends_with(b"\r\n\r\n") {
            handshake.push(from_relay.read_u8().await?);
        }
        to_client.write_all(&handshake).await?;
        loop {
            let (frame, text) = frame(&mut from_relay).await?;
            let is_end = text.starts_with(b"[\"EOSE\"");
            if vices.silent.load(Ordering::Acquire) || is_end && vices.endless.load(Ordering::Acquire) {
                continue;
            }
            to_client.write_all(&frame).await?;
            if text.starts_with(b"[\"EVENT\"") && vices.twice.load(Ordering::Acquire) {
                to_client.write_all(&frame).await?;
            }
        }
        #[expect(unreachable_code, reason = "says the type of what ends it")]
        Ok::<(), std::io::Error>(())
    };
    tokio::select! {
        _ = there => {}
        _ = back => {}
        () = vices.cut.notified() => {}
    }
}

/// One frame of a server (RFC 6455): not masked.
async fn frame(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut frame = vec![from.read_u8().await?, from.read_u8().await?];
    let extended = match frame[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut length = u64::from(frame[1] & 0x7f);
    if extended > 0 {
        let mut bytes = vec![0; extended];
        from.read_exact(&mut bytes).await?;
        length = bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        frame.extend(bytes);
    }
    let mut text = vec![0; usize::try_from(length).unwrap()];
    from.read_exact(&mut text).await?;
    frame.extend(&text);
    Ok((frame, text))
}
