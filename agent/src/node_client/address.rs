//! Where the node is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use async_std::io::{Read, Write};
use async_std::net::TcpStream;
use async_std::os::unix::net::UnixStream;

use crate::runtime;

/// A node's address: `HOST:PORT`, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAddress {
    /// Host and port.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

/// Text that is no node's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a node's address (HOST:PORT or unix:PATH): {0:?}")]
pub struct AddressSyntax(pub String);

impl FromStr for NodeAddress {
    type Err = AddressSyntax;

    fn from_str(text: &str) -> Result<Self, AddressSyntax> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            None if has_port(text) => Ok(Self::Tcp(text.to_owned())),
            _ => Err(AddressSyntax(text.to_owned())),
        }
    }
}

/// Whether the text is a host, a colon and a port.
pub(crate) fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection to the node.
#[derive(Debug)]
pub(crate) enum NodeStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl NodeStream {
    pub(crate) async fn connect(address: &NodeAddress) -> io::Result<Self> {
        match address {
            NodeAddress::Tcp(address) => {
                let stream = TcpStream::connect(&runtime::resolve(address).await?[..]).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            NodeAddress::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }
}

impl Read for NodeStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for NodeStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_close(cx),
            Self::Unix(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        assert_eq!("127.0.0.1:6379".parse(), Ok(NodeAddress::Tcp("127.0.0.1:6379".into())));
        assert_eq!("[::1]:7001".parse(), Ok(NodeAddress::Tcp("[::1]:7001".into())));
        assert_eq!("unix:/run/node.sock".parse(), Ok(NodeAddress::Unix("/run/node.sock".into())));
        for wrong in ["", "unix:", "host", "host:", ":6379", "host:port", "host:70000"] {
            assert!(wrong.parse::<NodeAddress>().is_err(), "{wrong:?}");
        }
    }
}
