//! The last step of what a link sends, and the first of what it is sent: compression.

use async_tungstenite::tungstenite::Message as SocketMessage;
use futures_util::SinkExt;
use shared::link::{Codec, Goodbye, Input, Now, Reason};

use super::{Driver, Ending};
use crate::compression::{COMPRESSED_LENGTHS, Compressor, Decompressor};
use crate::session::BatchSlice;

/// Both directions' streams, begun by their first messages.
#[derive(Default)]
pub(super) struct Packing {
    compressor: Option<Compressor>,
    decompressor: Decompressor,
}

impl Driver {
    /// Sends a message, compressed if the peer reads that and it is worth it.
    pub(super) fn send(&mut self, message: Vec<u8>) {
        let message = match self.link.codec().filter(|_| COMPRESSED_LENGTHS.contains(&message.len())) {
            Some(codec) => match self.packing.compress(codec, &message) {
                Ok(compressed) => compressed,
                Err(error) => {
                    self.end(Ending::Broken(format!("{} fails: {error}", codec.name())));
                    return;
                }
            },
            None => message,
        };
        self.is_flushed = false;
        if let Err(error) = self.socket.start_send_unpin(SocketMessage::binary(message)) {
            self.end(Ending::Broken(error.to_string()));
        }
    }

    /// Takes a message from the next piece of the peer's stream.
    pub(super) fn on_compressed(&mut self, codec: Codec, bytes: &[u8], length: usize, now: Now) {
        match self.packing.decompressor.decompress(codec, bytes, length) {
            Ok(message) => {
                let message = BatchSlice::from(message);
                self.link.handle(Input::Decompressed(&message), now);
                self.act(Some(&message), now);
            }
            Err(error) => {
                let goodbye = Goodbye::new(Reason::Malformed, error.to_string());
                self.handle(Input::Leave(goodbye), now);
            }
        }
    }
}

impl Packing {
    fn compress(&mut self, codec: Codec, message: &[u8]) -> std::io::Result<Vec<u8>> {
        if self.compressor.is_none() {
            self.compressor = Some(Compressor::new(codec)?);
        }
        self.compressor.as_mut().expect("it was begun just now, if not before").compress(message)
    }
}
