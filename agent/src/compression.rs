//! Compresses what a link sends, and reads what its peer compressed. What the two agree on is
//! [`shared::link::codec`]'s.
//!
//! Problem: most messages hold few writes. Each by itself hardly shrinks, though all look alike.
//!
//! Idea: what a link sends is one stream, flushed after each message. So each is compressed against those before it, and can
//! be read at once. The stream begins with the connection and ends with it; nothing of it outlives a fault.
//!
//! Memory is bounded by the codecs' windows, and by the longest message: what comes is never decompressed beyond the length
//! that it says it has, which is checked first.

use std::io;
use std::ops::RangeInclusive;

use shared::link::message::MESSAGE_BYTES_MAX;
use shared::link::{Codec, Compressed, Message};

mod lz4;

mod zstd;

/// Messages of these lengths, in bytes, are compressed: shorter ones are not worth the work, and longer ones could become too
/// long if there is nothing to save.
pub(crate) const COMPRESSED_LENGTHS: RangeInclusive<usize> = 64..=MESSAGE_BYTES_MAX - (1 << 10);

/// Compresses what a link sends.
pub(crate) struct Compressor {
    codec: Codec,
    stream: CompressorStream,
    /// Room for what the codec makes of a message.
    buffer: Vec<u8>,
}

enum CompressorStream {
    Lz4(Box<lz4::Compressor>),
    Zstd(zstd::Compressor),
}

impl Compressor {
    /// The beginning of a stream.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(crate) fn new(codec: Codec) -> io::Result<Self> {
        let stream = match codec {
            Codec::Lz4 => CompressorStream::Lz4(Box::default()),
            Codec::Zstd => CompressorStream::Zstd(zstd::Compressor::new()?),
        };
        Ok(Self { codec, stream, buffer: Vec::new() })
    }

    /// The message that carries this one. It must be sent, and after those before it.
    ///
    /// # Errors
    /// If the codec fails: the stream is broken.
    pub(crate) fn compress(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.buffer.clear();
        match &mut self.stream {
            CompressorStream::Lz4(stream) => stream.compress(message, &mut self.buffer)?,
            CompressorStream::Zstd(stream) => stream.compress(message, &mut self.buffer)?,
        }
        let compressed = Compressed { codec: self.codec, length: message.len(), bytes: &self.buffer };
        Ok(Message::Compressed(compressed).encode())
    }
}

/// Reads what a peer compressed.
#[derive(Default)]
pub(crate) struct Decompressor {
    /// Begun by the first message.
    stream: Option<DecompressorStream>,
}

enum DecompressorStream {
    Lz4(lz4::Decompressor),
    Zstd(zstd::Decompressor),
}

/// Why a message cannot be decompressed. The peer, or the way to it, is at fault; the stream is broken, and the link ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecompressError {
    /// The codec makes nothing of it.
    #[error("what {0} compressed is damaged: {1}")]
    Damaged(&'static str, String),
    /// It is longer than it says, maybe without end.
    #[error("what is compressed in a message is longer than the {0} bytes that it says it has")]
    TooLong(usize),
    /// It ends too early.
    #[error("what is compressed in a message has {0} bytes, and not {1} as it says")]
    TooShort(usize, usize),
    /// It belongs to another stream.
    #[error("the peer goes over to {0} within a stream")]
    Mixed(&'static str),
    /// There is no memory for the stream.
    #[error("there is no memory to decompress with: {0}")]
    Memory(io::Error),
}

impl Decompressor {
    /// What is compressed in the next message of the stream: exactly `length` bytes.
    ///
    /// # Errors
    /// [`DecompressError`]
    pub(crate) fn decompress(
        &mut self,
        codec: Codec,
        bytes: &[u8],
        length: usize,
    ) -> Result<Vec<u8>, DecompressError> {
        debug_assert!(length <= MESSAGE_BYTES_MAX, "a link takes no longer message");
        let out = match (self.stream(codec)?, codec) {
            (DecompressorStream::Lz4(stream), Codec::Lz4) => stream.decompress(bytes, length)?,
            (DecompressorStream::Zstd(stream), Codec::Zstd) => stream.decompress(bytes, length)?,
            _ => return Err(DecompressError::Mixed(codec.name())),
        };
        if out.len() < length { Err(DecompressError::TooShort(out.len(), length)) } else { Ok(out) }
    }

    fn stream(&mut self, codec: Codec) -> Result<&mut DecompressorStream, DecompressError> {
        if self.stream.is_none() {
            self.stream = Some(match codec {
                Codec::Lz4 => DecompressorStream::Lz4(lz4::Decompressor::default()),
                Codec::Zstd => {
                    DecompressorStream::Zstd(zstd::Decompressor::new().map_err(DecompressError::Memory)?)
                }
            });
        }
        Ok(self.stream.as_mut().expect("it was begun just now, if not before"))
    }
}

#[cfg(test)]
mod tests;
