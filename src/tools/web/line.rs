//! The line between a tool's process and the gate: whole messages, one question and one answer at a time. With a good answer comes an
//! open connection.
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Longest message, in bytes: a host, or the reason of a refusal.
const MESSAGE_BYTES_MAX: usize = 4096;

/// A connection that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Asked {
    pub(in crate::tools) host: String,
    pub(in crate::tools) port: u16,
}

/// What is said to it; where it is good, the connection comes with it.
type Said = Result<(), String>;

/// Both ends. The first is the gate's.
pub(in crate::tools) fn pair() -> io::Result<(Gateside, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    // Tokio's stream is what it waits by; messages are read and sent here, each whole.
    Ok((Gateside(UnixStream::from_std(ours.into())?), theirs))
}

/// The gate's end.
#[derive(Debug)]
pub(in crate::tools) struct Gateside(UnixStream);

impl Gateside {
    /// The next question; none when nobody is there any more, or what is there does not keep to the form.
    pub(in crate::tools) async fn hear(&self) -> Option<Asked> {
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let read = || Ok(recv(&self.0, message.as_mut_slice(), RecvFlags::empty())?);
        let (_, length) = self.0.async_io(Interest::READABLE, read).await.ok()?;
        // One that was cut is no JSON, either.
        serde_json::from_slice(message.get(..length)?).ok()
    }

    /// Answers it.
    pub(in crate::tools) async fn say(&self, said: Result<TcpStream, String>) -> io::Result<()> {
        let words: Said = said.as_ref().map(|_| ()).map_err(Clone::clone);
        let message = serde_json::to_vec(&words)?;
        let connection = said.ok();
        let handed: Vec<BorrowedFd<'_>> = connection.iter().map(AsFd::as_fd).collect();
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !handed.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&handed));
            }
            sendmsg(&self.0, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
            Ok(())
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::tools) enum LineFault {
    #[error("{0}")]
    Refused(String),
    #[error("the daemon gives no connection: {0}")]
    Broken(#[from] io::Error),
}

impl From<Errno> for LineFault {
    fn from(error: Errno) -> Self {
        Self::Broken(error.into())
    }
}

/// The process's end.
#[derive(Debug)]
pub(in crate::tools) struct Toolside(OwnedFd);

impl Toolside {
    pub(in crate::tools) fn new(line: OwnedFd) -> Self {
        Self(line)
    }

    /// Asks for a connection, and waits for it no longer than this.
    pub(in crate::tools) fn connect(
        &self,
        host: &str,
        port: u16,
        time_max: Duration,
    ) -> Result<TcpStream, LineFault> {
        let asked = serde_json::to_vec(&Asked { host: host.to_owned(), port }).map_err(io::Error::from)?;
        rustix::net::send(&self.0, &asked, SendFlags::NOSIGNAL)?;
        let time = Timespec::try_from(time_max).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&time))? == 0 {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut message)];
        let length = recvmsg(&self.0, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
        let said: Said =
            serde_json::from_slice(message.get(..length).unwrap_or_default()).map_err(io::Error::from)?;
        said.map_err(LineFault::Refused)?;
        let handed = control.drain().find_map(|part| match part {
            RecvAncillaryMessage::ScmRights(mut handed) => handed.next(),
            _ => None,
        });
        Ok(TcpStream::from(handed.ok_or(io::ErrorKind::NotConnected).map_err(io::Error::from)?))
    }
}
