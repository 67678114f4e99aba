//! One request over one connection. It carries nothing that says who asks: no cookie, no referrer, no language.
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, LOCATION,
    USER_AGENT,
};
use hyper::rt::{Read, Write};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body::Packed;
use super::{Client, WebFault, words};
use crate::web::Place;

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most lines of a head.
const HEADERS_MAX: usize = 100;
/// Who asks, as far as that is anybody's affair.
const AGENT: &str = concat!("archond/", env!("CARGO_PKG_VERSION"));

/// What a server answers.
pub(super) enum Reply {
    /// The page is elsewhere, if it says where.
    Moved(Option<String>),
    /// The page.
    Whole(Packed),
}

/// Asks for a page.
pub(super) async fn get(client: &Client<'_>, place: &Place, kinds: &str) -> Result<Reply, WebFault> {
    let left = client.deadline.saturating_duration_since(tokio::time::Instant::now());
    let connection = client.line.connect(place.host(), place.port(), left)?;
    let broken = |error: &dyn std::error::Error| WebFault::Broken(place.authority(), cause(error));
    connection.set_nonblocking(true).map_err(|error| broken(&error))?;
    let connection = TcpStream::from_std(connection).map_err(|error| broken(&error))?;
    if !place.is_tls() {
        return ask(client, place, kinds, TokioIo::new(connection)).await;
    }
    let name = ServerName::try_from(place.host().to_owned()).map_err(|error| broken(&error))?;
    let connector = TlsConnector::from(Arc::clone(&client.tls));
    let connection = connector.connect(name, connection).await.map_err(|error| {
        let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match rustls {
            Some(rustls::Error::InvalidCertificate(why)) => WebFault::Certificate {
                host: place.host().to_owned(),
                why: words::shorten(&format!("{why:?}")),
            },
            _ => broken(&error),
        }
    })?;
    ask(client, place, kinds, TokioIo::new(connection)).await
}

async fn ask(
    client: &Client<'_>,
    place: &Place,
    kinds: &str,
    connection: impl Read + Write + Unpin,
) -> Result<Reply, WebFault> {
    let broken = |error: hyper::Error| WebFault::Broken(place.authority(), cause(&error));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, driver) = builder.handshake(connection).await.map_err(broken)?;
    let request = Request::get(place.target())
        .header(HOST, place.authority())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, kinds)
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| WebFault::Broken(place.authority(), cause(&error)))?;
    let work = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(response, client.order.body_bytes_max, place).await
    };
    // The driver moves what is said and heard; it ends first when the server has said all.
    match select(pin!(work), pin!(driver)).await {
        Either::Left((reply, _)) => reply,
        Either::Right((_, work)) => work.await,
    }
}

async fn read(response: Response<Incoming>, bytes_max: u64, place: &Place) -> Result<Reply, WebFault> {
    let header = |name: HeaderName| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let status = response.status();
    let moved = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if moved.contains(&status) {
        return Ok(Reply::Moved(header(LOCATION)));
    }
    if !status.is_success() {
        return Err(WebFault::Status(place.authority(), status.to_string()));
    }
    let (kind, packing) = (header(CONTENT_TYPE), header(CONTENT_ENCODING));
    let mut packed = Packed { kind, packing, bytes: Vec::new(), is_cut: false };
    let mut body = pin!(response.into_body());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| WebFault::Broken(place.authority(), cause(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(packed.bytes.len());
        packed.bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            packed.is_cut = true;
            break;
        }
    }
    Ok(Reply::Whole(packed))
}

/// The innermost cause, which says most.
fn cause(error: &dyn std::error::Error) -> String {
    let (mut reason, mut source) = (error.to_string(), error.source());
    while let Some(inner) = source {
        (reason, source) = (inner.to_string(), inner.source());
    }
    words::shorten(&reason)
}
