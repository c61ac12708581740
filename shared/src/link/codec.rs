//! How messages may be compressed on a link: what is agreed on. The compressing itself is the driver's.
//!
//! Each side says in its Hello what it can read, and compresses what it sends as it was told to, if the other reads that;
//! otherwise not at all. So the two directions of a link may differ, and a side that knows nothing of all this is sent
//! nothing compressed.
//!
//! What a side compresses is one stream for as long as the connection lasts, cut into messages: each can be read when it
//! has come, and those before it are what it is compressed against.
//!
//! - zstd: one frame (RFC 8878) that never ends, flushed after each message, with a window of at most
//!   [`ZSTD_WINDOW_LOG_MAX`].
//! - LZ4: blocks, each with its length in four bytes before it as in the LZ4 frame format (the highest bit: stored as it
//!   is), that may refer to the last 64 KiB, whatever message they came in. A block holds at most 64 KiB.

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Little work, and a fair result.
    Lz4 = 1,
    /// More work, and a good result.
    Zstd = 2,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Lz4, Self::Zstd];

    /// Its name in flags and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub(super) fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == number)
    }
}

/// A window of a zstd stream has at most two to the power of this, in bytes; a stream with a larger one is refused.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 17;

/// Which codecs somebody can read: a bit for each, of its number. Bits that this build does not know mean nothing to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codecs(pub u64);

impl Codecs {
    /// None: what is sent must not be compressed.
    pub const NONE: Self = Self(0);

    /// All that this build knows.
    pub const ALL: Self = Self(1 << Codec::Lz4 as u64 | 1 << Codec::Zstd as u64);

    /// Whether one is among them.
    #[must_use]
    pub const fn contains(self, codec: Codec) -> bool {
        self.0 & 1 << codec as u64 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_a_promise() {
        assert_eq!(Codec::ALL.map(|codec| codec as u8), [1, 2]);
        assert_eq!(Codecs::ALL, Codecs(0b110));
        assert!(Codec::ALL.into_iter().all(|codec| Codecs::ALL.contains(codec)));
        assert!(Codec::ALL.into_iter().all(|codec| Codec::from_wire(codec as u8) == Some(codec)));
        assert!(!Codecs(1 | 1 << 40).contains(Codec::Lz4));
    }
}
