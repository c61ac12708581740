//! A connection without a protocol: bytes out, bytes in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::wait::{PATIENCE, wait_for};

/// A connection to a node or an agent.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects. Reads give up after [`PATIENCE`].
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream =
            wait_for("a connection", || TcpStream::connect(address).map_err(|error| error.to_string()));
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("a connection takes the option");
        Self { stream }
    }

    /// Sends bytes. Says whether the other side has taken them so far.
    ///
    /// # Panics
    /// If it neither takes them nor closes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => true,
            Err(error) if is_closed(error.kind()) => false,
            Err(error) => panic!("cannot send: {error}"),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        // The other side may have closed meanwhile.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// If they do not come.
    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("bytes come");
        bytes
    }

    /// Reads up to the end of a line, and returns the line without that.
    ///
    /// # Panics
    /// If it does not come.
    pub fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.read_exact(1));
        }
        line.truncate(line.len() - 2);
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Reads until the other side closes, and returns what came before.
    ///
    /// # Panics
    /// If it does not close.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if is_closed(error.kind()) => bytes,
            Err(error) => panic!("was not closed: {error}; after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }

    /// Breaks the connection, as a process that dies with bytes unread does; leaves no port waiting.
    pub fn reset(self) {
        // Without, the port is taken for a minute: a nuisance at most.
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}
