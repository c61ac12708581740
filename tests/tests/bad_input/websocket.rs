//! A WebSocket made by hand, to say what no library would.

use std::net::SocketAddr;

use shared::link::{Goodbye, Message};
use tests::raw::Raw;

/// The request that agents open their links with.
pub(crate) const UPGRADE: &str = "GET /link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The last frame of a message.
pub(crate) const FINAL: u8 = 0x80;

/// Kinds of frames.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// An agent's peer.
pub(crate) struct WebSocket {
    raw: Raw,
}

impl WebSocket {
    #[track_caller]
    pub(crate) fn connect(agent: SocketAddr) -> Self {
        let mut raw = Raw::connect(agent);
        raw.send(UPGRADE);
        assert_eq!(raw.read_line(), "HTTP/1.1 101 Switching Protocols");
        while !raw.read_line().is_empty() {}
        Self { raw }
    }

    /// Sends a frame: its first byte is a kind, and [`FINAL`] if it is the message's last.
    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) -> bool {
        self.raw.send(frame(first, payload))
    }

    /// Sends bytes that need not be a frame.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.raw.send(bytes)
    }

    /// The next binary message; none if the agent says that it closes.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            let head = self.raw.read_exact(2);
            let length = match head[1] {
                126 => u16::from_be_bytes(self.raw.read_exact(2).try_into().expect("two bytes")).into(),
                127 => u64::from_be_bytes(self.raw.read_exact(8).try_into().expect("eight bytes")),
                short => short.into(),
            };
            let payload = self.raw.read_exact(usize::try_from(length).expect("a length"));
            match head[0] & 0xf {
                BINARY => return Some(payload),
                CLOSE => return None,
                _ => {}
            }
        }
    }

    /// Reads until the agent says why it ends the link.
    #[track_caller]
    pub(crate) fn read_goodbye(&mut self) -> Goodbye {
        loop {
            let bytes = self.receive().expect("an agent says goodbye before it closes");
            if let Message::Goodbye(goodbye) = Message::decode(&bytes).expect("an agent sends messages") {
                return goodbye;
            }
        }
    }

    /// Reads until the agent closes.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        self.raw.read_to_end()
    }
}

/// A whole frame. Its mask is of zeros, and changes nothing.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&head(first, payload.len() as u64)[..], &[0; 4], payload].concat()
}

/// A whole binary message.
pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FINAL | BINARY, payload)
}

/// A frame's head, as a client's: it says that a mask follows.
pub(crate) fn head(first: u8, length: u64) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    match length {
        0..126 => vec![first, MASKED | length as u8],
        126..65_536 => [&[first, MASKED | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, MASKED | 127][..], &length.to_be_bytes()].concat(),
    }
}
