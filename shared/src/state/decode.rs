//! Reading pages: whatever the bytes are, it ends, takes memory in proportion to them, and does not panic.

use std::borrow::Cow;

use rmp::Marker;
use rmp::decode::{read_array_len, read_bin_len, read_int};

use super::{
    CellState, ContributionState, FORMAT, FORMAT_MIN, FlushState, KeyState, MarkState, ResetState, TtlState,
    shape,
};
use crate::change::{CellId, DATABASES, Kind, Sum, Value};
use crate::clock::Timestamp;
use crate::decimal::units_of;
use crate::id::Origin;
use crate::time::WallMillis;
use crate::version::Version;

/// Why bytes are no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Its author's build is newer or older than this one.
    #[error("page of keys has format {0}, this build reads {FORMAT_MIN} to {FORMAT}: upgrade the older side")]
    Format(u64),
    /// It is not what any build of this program writes.
    #[error("page of keys is malformed: {0}")]
    Malformed(&'static str),
}

/// A page whose head was read. Its keys are decoded as they are asked for.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    flushes: Vec<FlushState>,
    keys: Keys<'a>,
}

impl<'a> Page<'a> {
    /// Reads all but the keys.
    ///
    /// # Errors
    /// [`StateError`], saying what is wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StateError> {
        let mut reader = Reader { rest: bytes, moment: 0, origins: Vec::new() };
        if bytes.is_empty() {
            return Ok(Self { flushes: Vec::new(), keys: Keys { reader, left: 0 } });
        }
        if reader.array()? != 5 {
            return Err(StateError::Malformed("not an array of a page's five parts"));
        }
        match reader.uint()? {
            format if (FORMAT_MIN.into()..=FORMAT.into()).contains(&format) => {}
            format => return Err(StateError::Format(format)),
        }
        reader.moment = reader.uint()?;
        // Not reserved beforehand: what is announced need not be there.
        for _ in 0..reader.array()? {
            let origin = Origin(reader.uint()?);
            reader.origins.push(origin);
        }
        let mut flushes = Vec::new();
        for _ in 0..reader.array()? {
            flushes.push(reader.flush()?);
        }
        let left = reader.uint()?;
        Ok(Self { flushes, keys: Keys { reader, left } })
    }

    /// The flushes of databases that it tells of.
    #[must_use]
    pub fn flushes(&self) -> &[FlushState] {
        &self.flushes
    }

    /// How many keys it says that it holds.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.keys.left
    }

    /// Whether it holds no key.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.left == 0
    }

    /// Iterates over the keys. After an error nothing more comes; bytes behind the last are one.
    #[must_use]
    pub fn keys(&self) -> Keys<'a> {
        self.keys.clone()
    }
}

impl<'a> IntoIterator for Page<'a> {
    type Item = Result<KeyState<'a>, StateError>;
    type IntoIter = Keys<'a>;

    fn into_iter(self) -> Keys<'a> {
        self.keys
    }
}

/// The keys of a page. See [`Page::keys`].
#[derive(Clone, Debug)]
pub struct Keys<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Iterator for Keys<'a> {
    type Item = Result<KeyState<'a>, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let behind = std::mem::take(&mut self.reader.rest);
            return (!behind.is_empty()).then_some(Err(StateError::Malformed("bytes follow its last key")));
        }
        self.left -= 1;
        let read = self.reader.key();
        if read.is_err() {
            self.left = 0;
            self.reader.rest = &[];
        }
        Some(read)
    }
}

#[derive(Clone, Debug)]
struct Reader<'a> {
    rest: &'a [u8],
    moment: u64,
    origins: Vec<Origin>,
}

type Read<T> = Result<T, StateError>;

impl<'a> Reader<'a> {
    fn key(&mut self) -> Read<KeyState<'a>> {
        let tag = self.uint()?;
        let (form, db) = (u8::try_from(tag >> 4).unwrap_or(u8::MAX), (tag & 0xf) as u8);
        let mut state = KeyState::new(db, self.bytes()?);
        match form & !shape::HAS_TTL {
            shape::STRING => {
                let version = self.version()?;
                let value = Value::Bytes(Cow::Borrowed(self.bytes()?));
                let base = Some((version, Some(value)));
                state.reset = Some(ResetState { version, entry: version });
                state.cells.push(CellState { id: CellId::STRING, base, contributions: Vec::new() });
            }
            shape::RESET => {
                let version = self.version()?;
                state.reset = Some(ResetState { version, entry: version });
            }
            shape::FULL => self.full(&mut state)?,
            _ => return Err(StateError::Malformed("a key of unknown shape")),
        }
        if form & shape::HAS_TTL != 0 {
            let version = self.version()?;
            let expiry = if self.nil() { None } else { Some(self.wall()?) };
            state.ttl = Some(TtlState { version, expiry });
        }
        Ok(state)
    }

    fn full(&mut self, state: &mut KeyState<'a>) -> Read<()> {
        if !self.nil() {
            state.reset = Some(ResetState { version: self.version()?, entry: self.version()? });
        }
        if !self.nil() {
            let (reset, expiry, entry) = (self.version()?, self.wall()?, self.version()?);
            state.mark = Some(MarkState { reset, expiry, entry });
        }
        for _ in 0..self.uint()? {
            let cell = self.cell()?;
            if state.cells.last().is_some_and(|before| before.id >= cell.id) {
                return Err(StateError::Malformed("a key's cells are out of order"));
            }
            state.cells.push(cell);
        }
        Ok(())
    }

    fn cell(&mut self) -> Read<CellState<'a>> {
        let kind = u8::try_from(self.uint()?).ok().and_then(Kind::from_wire);
        let kind = kind.ok_or(StateError::Malformed("a cell of unknown kind"))?;
        let id = CellId { kind, element: Cow::Borrowed(self.bytes()?) };
        let base = if self.nil() { None } else { Some((self.version()?, self.value()?)) };
        let mut contributions: Vec<ContributionState> = Vec::new();
        for _ in 0..self.uint()? {
            let next = self.contribution()?;
            if contributions.last().is_some_and(|before| before.contributor >= next.contributor) {
                return Err(StateError::Malformed("a cell's contributions are out of order"));
            }
            contributions.push(next);
        }
        if base.is_none() && contributions.is_empty() {
            return Err(StateError::Malformed("a cell that holds nothing"));
        }
        Ok(CellState { id, base, contributions })
    }

    fn value(&mut self) -> Read<Option<Value<'a>>> {
        if self.nil() {
            return Ok(None);
        }
        let value =
            if self.at_float() { Value::Float(self.float()?) } else { Value::Bytes(self.bytes()?.into()) };
        Ok(Some(value))
    }

    fn contribution(&mut self) -> Read<ContributionState> {
        let (contributor, carrier) = (self.origin()?, self.origin()?);
        let (first, last, counted) = (self.timestamp()?, self.timestamp()?, self.timestamp()?);
        if first > last || counted > last {
            return Err(StateError::Malformed(
                "a contribution that ends before it begins, or before what is in it",
            ));
        }
        Ok(ContributionState { contributor, carrier, first, last, counted, sum: self.sum()? })
    }

    fn sum(&mut self) -> Read<Sum> {
        match self.rest.first().map(|byte| Marker::from_u8(*byte)) {
            Some(Marker::F64) => self.float().map(Sum::Float),
            Some(Marker::FixArray(2)) => {
                self.array()?;
                let places = u8::try_from(self.uint()?).ok();
                let digits = self.whole()?;
                let units = places.and_then(|places| units_of(places, digits));
                units.map(Sum::Decimal).ok_or(StateError::Malformed("a decimal sum out of range"))
            }
            _ => self.whole().map(Sum::Int),
        }
    }

    fn whole(&mut self) -> Read<i128> {
        if self.rest.first() != Some(&Marker::Bin8.to_u8()) {
            return self.sint().map(i128::from);
        }
        let bytes = self.bytes()?.try_into();
        let bytes = bytes.map_err(|_| StateError::Malformed("a large sum takes 16 bytes"))?;
        Ok(i128::from_be_bytes(bytes))
    }

    fn flush(&mut self) -> Read<FlushState> {
        let db = u8::try_from(self.uint()?).ok().filter(|db| *db < DATABASES);
        let db = db.ok_or(StateError::Malformed("a flush of an unknown database"))?;
        Ok(FlushState { db, version: self.version()?, entry: self.version()? })
    }

    fn version(&mut self) -> Read<Version> {
        Ok(Version { timestamp: self.timestamp()?, origin: self.origin()? })
    }

    fn origin(&mut self) -> Read<Origin> {
        let place = usize::try_from(self.uint()?).ok();
        let origin = place.and_then(|place| self.origins.get(place)).copied();
        origin.ok_or(StateError::Malformed("an origin that its table lacks"))
    }

    fn timestamp(&mut self) -> Read<Timestamp> {
        let (wall, counter) = (self.wall()?, self.uint()?);
        if wall.0 >= 1 << 48 || counter >= 1 << 16 {
            return Err(StateError::Malformed("a timestamp out of range"));
        }
        Ok(Timestamp(wall.0 << 16 | counter))
    }

    fn wall(&mut self) -> Read<WallMillis> {
        Ok(WallMillis(self.moment.wrapping_add(self.sint()?.cast_unsigned())))
    }

    fn array(&mut self) -> Read<u32> {
        read_array_len(&mut self.rest).map_err(|_| StateError::Malformed("an array is missing"))
    }

    fn uint(&mut self) -> Read<u64> {
        read_int(&mut self.rest).map_err(|_| StateError::Malformed("a number is missing"))
    }

    fn sint(&mut self) -> Read<i64> {
        read_int(&mut self.rest).map_err(|_| StateError::Malformed("a number is missing"))
    }

    fn float(&mut self) -> Read<f64> {
        let float = rmp::decode::read_f64(&mut self.rest).ok().filter(|float| !float.is_nan());
        float.ok_or(StateError::Malformed("a score or sum is not a number"))
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        const MISSING: StateError = StateError::Malformed("bytes are missing");
        let length = read_bin_len(&mut self.rest).map_err(|_| MISSING)? as usize;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(MISSING)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn at_float(&self) -> bool {
        self.rest.first() == Some(&Marker::F64.to_u8())
    }

    /// Passes over a nil, if there is one.
    fn nil(&mut self) -> bool {
        let found = self.rest.first() == Some(&Marker::Null.to_u8());
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }
}
