//! A zstd frame without end, flushed after each message.

use std::io;

use shared::link::codec::ZSTD_WINDOW_LOG_MAX;
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::compress_bound;

use super::DecompressError;

/// Higher ones take more time for small messages, and gain nothing.
const LEVEL: i32 = 1;

/// Twice as much gains nothing for small writes; a link's stream then takes some 400 KiB to write, and 200 KiB to read.
const WINDOW_LOG: u32 = 16;

const _: () = assert!(WINDOW_LOG <= ZSTD_WINDOW_LOG_MAX);

/// What a flush adds to what the codec promises at most.
const FLUSH_BYTES: usize = 64;

pub(super) struct Compressor(Encoder<'static>);

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(LEVEL)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
        Ok(Self(encoder))
    }

    /// Appends what becomes of the message.
    pub(super) fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut input = InBuffer::around(message);
        while input.pos() < message.len() {
            out.reserve(compress_bound(message.len() - input.pos()) + FLUSH_BYTES);
            let position = out.len();
            self.0.run(&mut input, &mut OutBuffer::around_pos(out, position))?;
        }
        loop {
            out.reserve(FLUSH_BYTES);
            let position = out.len();
            if self.0.flush(&mut OutBuffer::around_pos(out, position))? == 0 {
                return Ok(());
            }
        }
    }
}

pub(super) struct Decompressor(Decoder<'static>);

impl Decompressor {
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self(decoder))
    }

    /// Up to `length` bytes.
    pub(super) fn decompress(&mut self, bytes: &[u8], length: usize) -> Result<Vec<u8>, DecompressError> {
        // A byte more than is due: if it stays free, the codec has nothing more to give.
        let mut out = Vec::with_capacity(length + 1);
        let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(&mut out));
        while input.pos() < bytes.len() {
            let before = (input.pos(), output.pos());
            let damaged = |error: io::Error| DecompressError::Damaged("zstd", error.to_string());
            self.0.run(&mut input, &mut output).map_err(damaged)?;
            if output.pos() > length || before == (input.pos(), output.pos()) {
                return Err(DecompressError::TooLong(length));
            }
        }
        Ok(out)
    }
}
