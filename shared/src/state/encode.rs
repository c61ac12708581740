//! Writing pages.

use std::collections::HashMap;

use rmp::encode::{ValueWriteError, write_array_len, write_bin, write_nil, write_sint, write_uint};

use super::{ContributionState, FORMAT, FlushState, KeyState, MarkState, ResetState, TtlState, shape};
use crate::change::{write_sum, write_value};
use crate::clock::Timestamp;
use crate::id::Origin;
use crate::time::WallMillis;
use crate::version::Version;

/// A page being filled. Pages have no limit of their own: whoever fills one looks at [`PageBuilder::bytes`] between
/// keys. A key is never split.
#[derive(Debug, Default)]
pub struct PageBuilder {
    /// The first moment told, which all are told by; none as long as none was.
    moment: Option<u64>,
    origins: Vec<Origin>,
    places: HashMap<Origin, u64>,
    flushes: u32,
    flush_bytes: Vec<u8>,
    keys: u64,
    key_bytes: Vec<u8>,
}

impl PageBuilder {
    /// An empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// About how many bytes the page takes so far.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.key_bytes.len() + self.flush_bytes.len() + self.origins.len() * ORIGIN_BYTES
    }

    /// How many keys it holds.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Whether it holds neither a key nor a flush.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys == 0 && self.flushes == 0
    }

    /// Adds a key.
    pub fn push(&mut self, key: &KeyState<'_>) {
        let mut bytes = std::mem::take(&mut self.key_bytes);
        Writer { page: self, out: &mut bytes }.key(key).expect("a vector takes every byte");
        self.key_bytes = bytes;
        self.keys += 1;
    }

    /// Adds a database's flush.
    pub fn push_flush(&mut self, flush: &FlushState) {
        let mut bytes = std::mem::take(&mut self.flush_bytes);
        Writer { page: self, out: &mut bytes }.flush(flush).expect("a vector takes every byte");
        self.flush_bytes = bytes;
        self.flushes += 1;
    }

    /// The page's bytes; none if it holds nothing, as most slots of a small store do.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut page = Vec::with_capacity(self.bytes() + HEADER_BYTES_MAX);
        self.header(&mut page).expect("a vector takes every byte");
        page.extend_from_slice(&self.key_bytes);
        page
    }

    fn header(&self, out: &mut Vec<u8>) -> Result<(), ValueWriteError> {
        write_array_len(out, 5)?;
        write_uint(out, FORMAT.into())?;
        write_uint(out, self.moment.unwrap_or(0))?;
        write_array_len(out, u32::try_from(self.origins.len()).expect("origins are interned in 16 bits"))?;
        for origin in &self.origins {
            write_uint(out, origin.0)?;
        }
        write_array_len(out, self.flushes)?;
        out.extend_from_slice(&self.flush_bytes);
        write_uint(out, self.keys).map(drop)
    }

    fn place(&mut self, origin: Origin) -> u64 {
        // Runs of one origin are the rule.
        if self.origins.first() == Some(&origin) {
            return 0;
        }
        let origins = &mut self.origins;
        *self.places.entry(origin).or_insert_with(|| {
            origins.push(origin);
            origins.len() as u64 - 1
        })
    }
}

const ORIGIN_BYTES: usize = 9;
/// The markers and numbers before the keys, but for origins and flushes.
const HEADER_BYTES_MAX: usize = 1 + 1 + 9 + 5 + 5 + 9;

struct Writer<'w> {
    page: &'w mut PageBuilder,
    out: &'w mut Vec<u8>,
}

type Written = Result<(), ValueWriteError>;

impl Writer<'_> {
    fn key(&mut self, key: &KeyState<'_>) -> Written {
        let plain = key.plain();
        let bare = plain.is_none().then(|| key.plain_reset().filter(|_| key.cells.is_empty())).flatten();
        let shape = match (plain, bare) {
            (Some(_), _) => shape::STRING,
            (None, Some(_)) => shape::RESET,
            (None, None) => shape::FULL,
        };
        let ttl = if key.ttl.is_some() { shape::HAS_TTL } else { 0 };
        write_uint(self.out, u64::from((shape | ttl) << 4 | key.db))?;
        write_bin(self.out, key.key)?;
        match (plain, bare) {
            (Some((version, value)), _) => {
                self.version(version)?;
                write_bin(self.out, value)?;
            }
            (None, Some(version)) => self.version(version)?,
            (None, None) => self.full(key)?,
        }
        key.ttl.map_or(Ok(()), |ttl| self.ttl(ttl))
    }

    fn full(&mut self, key: &KeyState<'_>) -> Written {
        match key.reset {
            None => write_nil(self.out).map_err(ValueWriteError::InvalidMarkerWrite)?,
            Some(ResetState { version, entry }) => {
                self.version(version)?;
                self.version(entry)?;
            }
        }
        match key.mark {
            None => write_nil(self.out).map_err(ValueWriteError::InvalidMarkerWrite)?,
            Some(MarkState { reset, expiry, entry }) => {
                self.version(reset)?;
                self.moment(expiry)?;
                self.version(entry)?;
            }
        }
        write_uint(self.out, key.cells.len() as u64)?;
        for cell in &key.cells {
            write_uint(self.out, cell.id.kind as u64)?;
            write_bin(self.out, &cell.id.element)?;
            match &cell.base {
                None => write_nil(self.out).map_err(ValueWriteError::InvalidMarkerWrite)?,
                Some((version, value)) => {
                    self.version(*version)?;
                    match value {
                        None => write_nil(self.out).map_err(ValueWriteError::InvalidMarkerWrite)?,
                        Some(value) => write_value(self.out, value)?,
                    }
                }
            }
            write_uint(self.out, cell.contributions.len() as u64)?;
            cell.contributions.iter().try_for_each(|contribution| self.contribution(contribution))?;
        }
        Ok(())
    }

    fn contribution(&mut self, contribution: &ContributionState) -> Written {
        let ContributionState { contributor, carrier, first, last, counted, sum } = *contribution;
        debug_assert!(first <= last && counted <= last, "nobody could read it: {contribution:?}");
        self.origin(contributor)?;
        self.origin(carrier)?;
        self.timestamp(first)?;
        self.timestamp(last)?;
        self.timestamp(counted)?;
        write_sum(self.out, sum)
    }

    fn flush(&mut self, flush: &FlushState) -> Written {
        write_uint(self.out, flush.db.into())?;
        self.version(flush.version)?;
        self.version(flush.entry)
    }

    fn ttl(&mut self, ttl: TtlState) -> Written {
        self.version(ttl.version)?;
        match ttl.expiry {
            None => write_nil(self.out).map_err(ValueWriteError::InvalidMarkerWrite),
            Some(expiry) => self.moment(expiry),
        }
    }

    fn version(&mut self, version: Version) -> Written {
        self.timestamp(version.timestamp)?;
        self.origin(version.origin)
    }

    fn origin(&mut self, origin: Origin) -> Written {
        let place = self.page.place(origin);
        write_uint(self.out, place).map(drop)
    }

    fn timestamp(&mut self, timestamp: Timestamp) -> Written {
        self.moment(timestamp.wall())?;
        write_uint(self.out, timestamp.0 & COUNTER).map(drop)
    }

    /// The distance to the page's moment, around the end of the numbers if that is shorter: any two 64-bit moments
    /// have one.
    fn moment(&mut self, wall: WallMillis) -> Written {
        let moment = *self.page.moment.get_or_insert(wall.0);
        write_sint(self.out, wall.0.wrapping_sub(moment).cast_signed()).map(drop)
    }
}

/// The bits of a timestamp below its milliseconds.
const COUNTER: u64 = 0xffff;
