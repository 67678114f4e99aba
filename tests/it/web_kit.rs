//! Servers on the loopback that say what a test wants, and a network in which a test decides what names and addresses mean.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use archond::settings::WebSettings;
use archond::tools::{Network, WebAccess};
use archond::web::Named;
use archond_actors::domain::Outcome;
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::tools_kit::{AMPLE, Workshop};

/// What a server does with a connection, when it has read the head of the request.
pub(crate) type Serve = dyn Fn(&str, &mut TcpStream) + Send + Sync;

/// A server. It ends with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn new(serve: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", serve)
    }

    pub(crate) fn at(address: &str, serve: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, serve) = (heads.clone(), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (seen, serve) = (seen.clone(), serve.clone());
                std::thread::spawn(move || serve_one(connection, &seen, &*serve));
            }
        });
        Self { address, heads, _thread: thread }
    }

    /// The first lines of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn serve_one(mut connection: TcpStream, seen: &Mutex<Vec<String>>, serve: &Serve) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match connection.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap().push(head.clone());
    serve(&head, &mut connection);
}

/// Says an answer with this type and body.
pub(crate) fn page(kind: &str, body: &[u8]) -> Vec<u8> {
    with(&format!("Content-Type: {kind}\r\nContent-Length: {}", body.len()), body)
}

pub(crate) fn with(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").as_bytes(), body].concat()
}

pub(crate) fn moved(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// A server that always says the same.
pub(crate) fn saying(answer: Vec<u8>) -> Server {
    Server::new(move |_, connection| drop(connection.write_all(&answer)))
}

/// Everybody's network: what names lead to, one list for each look-up, and which server stands at an address.
#[derive(Debug, Default)]
pub(crate) struct World {
    names: BTreeMap<String, Vec<Vec<IpAddr>>>,
    servers: BTreeMap<IpAddr, SocketAddr>,
    looked_up: AtomicUsize,
    connected: Mutex<Vec<SocketAddr>>,
}

impl World {
    /// Each look-up of the name leads to the next of these; the last one stays.
    pub(crate) fn name(mut self, name: &str, leads_to: &[&[&str]]) -> Self {
        let addresses = leads_to.iter().map(|one| one.iter().map(|text| text.parse().unwrap()).collect());
        self.names.insert(name.to_owned(), addresses.collect());
        self
    }

    pub(crate) fn server(mut self, address: &str, server: &Server) -> Self {
        self.servers.insert(address.parse().unwrap(), server.address);
        self
    }

    pub(crate) fn looked_up(&self) -> usize {
        self.looked_up.load(Ordering::SeqCst)
    }

    /// What was connected to.
    pub(crate) fn connected(&self) -> Vec<String> {
        self.connected.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Network for World {
    async fn look_up(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        let count = self.looked_up.fetch_add(1, Ordering::SeqCst);
        let all = self.names.get(host).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(all[count.min(all.len() - 1)].clone())
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        self.connected.lock().unwrap().push(address);
        let server = self.servers.get(&address.ip()).ok_or(std::io::ErrorKind::ConnectionRefused)?;
        TcpStream::connect(server)
    }
}

/// Settings that name these hosts.
pub(crate) fn naming(hosts: &[String]) -> WebSettings {
    let hosts = hosts.iter().map(|host| Named::parse(host).unwrap()).collect();
    WebSettings { hosts, timeout: AMPLE, ..WebSettings::default() }
}

/// The tools of an Archon with this reach.
pub(crate) fn shop(settings: &WebSettings) -> Workshop {
    let mut shop = Workshop::new();
    shop.tools = shop.tools.clone().with_web(WebAccess::new(settings, 4000));
    shop
}

/// The same in this world.
pub(crate) fn shop_in(settings: &WebSettings, world: &Arc<World>) -> Workshop {
    let mut shop = Workshop::new();
    let access = WebAccess::new(settings, 4000).through(world.clone());
    shop.tools = shop.tools.clone().with_web(access);
    shop
}

/// A shop that may ask this server, by its address.
pub(crate) fn shop_for(server: &Server) -> Workshop {
    shop(&naming(&[server.address.to_string()]))
}

pub(crate) fn fetch(shop: &Workshop, url: &str) -> Result<String, String> {
    call(shop, "web_fetch", &json!({ "url": url }))
}

pub(crate) fn call(shop: &Workshop, name: &str, arguments: &Value) -> Result<String, String> {
    match shop.call_within(name, arguments, AMPLE) {
        Outcome::Done { text } => Ok(text),
        Outcome::Failed { text } => Err(text),
        Outcome::Unknown => panic!("{name} {arguments}"),
    }
}

#[track_caller]
pub(crate) fn refused(shop: &Workshop, url: &str, why: &str) {
    let said = fetch(shop, url).expect_err(url);
    assert!(said.contains(why), "{url}: {said}");
}
