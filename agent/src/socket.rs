//! The WebSocket under a link.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_std::io::{Read, Write};
use async_std::net::TcpStream;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use shared::link::message::MESSAGE_BYTES_MAX;

/// The HTTP path of links.
pub(crate) const PATH: &str = "/link";

/// The WebSocket under a link.
pub(crate) type Socket = WebSocketStream<Metered>;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// So much is gathered before it is written without waiting for a pause, in bytes.
const WRITE_BYTES: usize = 64 << 10;

/// The limits of a link's WebSocket.
pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// A connection that counts its bytes: what a message costs, and that a long one on a slow network is a sign of life before
/// it is whole.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    received: u64,
    sent: u64,
}

impl Metered {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { stream, received: 0, sent: 0 }
    }

    /// The bytes received so far.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// The bytes sent so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }
}

impl Read for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = &polled {
            self.received += *count as u64;
        }
        polled
    }
}

impl Write for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            self.sent += *count as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
