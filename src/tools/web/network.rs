//! The network as the gate needs it.
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use async_trait::async_trait;

/// Looks names up and connects. Neither decides anything, and both are given up at a deadline by whoever asks.
#[async_trait]
pub trait Network: fmt::Debug + Send + Sync {
    /// All addresses of a name, in the order in which they are to be tried.
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// A connection to exactly this address.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream>;
}

/// The machine's own, by its own resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemNetwork;

#[async_trait]
impl Network for SystemNetwork {
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        tokio::net::TcpStream::connect(address).await?.into_std()
    }
}
