//! Cells of a key, side by side in few bytes.
//!
//! A cell says only in what it differs from the one before: most were written by one command, or one after the other. So
//! whoever changes a cell writes the one behind it anew, too, and nothing else, for what a cell leaves out depends on the
//! one before it alone.
//!
//! ```text
//! block  = count of origins, origin 8 each, cell...
//! cell   = (FULL, tag, (timestamp's difference, origin's number) if it was written | LATER, timestamp's difference)?,
//!          name, value if it has one, (length, sums) if there are any
//! tag    = kind, 3 bits; what was written, 3 bits; whether there are sums
//! name   of a list's element:  NEXT_INDEX | NEXT_POSITION | POSITION, position's difference, index | RAW_ID, length, bytes
//!        of all others:        length below 128 | LONG, length; bytes
//!                              INT + n, n bytes | INT_NEAR + 16 g + low bits, g bytes: a whole number's difference
//! value  of bytes:             length below 128 | LONG, length; bytes
//!                              INT + n, n bytes | INT_SMALL + a whole number of at most 95
//! ```
//!
//! Counts, numbers, lengths and differences are LEB128, what may be negative folded in a zigzag. The order of cells: a list's are in its own, a
//! set's whole numbers come first, in theirs, a sorted set's members in that of ranks, the dead ones last; all others, and a
//! hash's fields, come as they came.

mod bytes;

mod list;

mod name;

mod patch;

mod sums;

use std::borrow::Cow;
use std::ops::Range;

use shared::change::{CellId, Kind, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;
use smallvec::SmallVec;

use self::bytes::{LONG, Reader, put_bytes, put_signed, put_varint};
use self::name::Name;
use super::rich::{Cell, parse_integer, rank_order};

pub(crate) use self::list::{ListSeat, Tail};
pub(crate) use self::name::Text;
pub(crate) use self::patch::Patch;

/// A block has at most so many cells: each is looked at to find one.
pub(crate) const CELLS_MAX: usize = 128;

/// A block takes at most so many bytes: they are moved when one changes.
pub(crate) const BYTES_MAX: usize = 4096;

/// A cell with another tag or origin than the one before.
const FULL: u8 = 0xff;
/// A cell that was written at another time than the one before.
const LATER: u8 = 0xfe;

const KIND_BITS: u32 = 3;
const HAS_SUMS: u8 = 1 << 6;

const VALUE_INT: u8 = 0x80;
const VALUE_INT_SMALL: u8 = 0xa0;
const VALUE_SMALL_MAX: i64 = 0xff - 0xa0;

/// What was written to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Written<'b> {
    /// Nothing: it has but sums.
    Nothing,
    Removed,
    Empty,
    Bytes(&'b [u8]),
    Int(i64),
    Float(f64),
    /// A score that is a whole number.
    WholeFloat(i64),
}

/// Scores up to this are kept as whole numbers.
const WHOLE_FLOAT_MAX: f64 = (1_i64 << 50) as f64;

impl<'b> Written<'b> {
    fn of(value: Option<&'b Value<'_>>) -> Self {
        match value {
            None => Self::Removed,
            Some(Value::Bytes(bytes)) if bytes.is_empty() => Self::Empty,
            Some(Value::Bytes(bytes)) => parse_integer(bytes).map_or(Self::Bytes(bytes), Self::Int),
            Some(Value::Float(float)) => {
                let is_whole = float.abs() <= WHOLE_FLOAT_MAX && float.fract() == 0.0;
                // The two zeros differ in their bits, and are told apart by peers.
                if is_whole && !(*float == 0.0 && float.is_sign_negative()) {
                    Self::WholeFloat(*float as i64)
                } else {
                    Self::Float(*float)
                }
            }
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Removed => 1,
            Self::Empty => 2,
            Self::Bytes(_) | Self::Int(_) => 3,
            Self::Float(_) => 4,
            Self::WholeFloat(_) => 5,
        }
    }

    #[inline(always)]
    fn read(code: u8, reader: &mut Reader<'b>) -> Self {
        match code {
            0 => Self::Nothing,
            1 => Self::Removed,
            2 => Self::Empty,
            3 => match reader.byte() {
                LONG => {
                    let length = reader.varint() as usize;
                    Self::Bytes(reader.take(length))
                }
                length if length < LONG => Self::Bytes(reader.take(usize::from(length))),
                small if small >= VALUE_INT_SMALL => Self::Int(i64::from(small - VALUE_INT_SMALL)),
                lead => Self::Int(reader.int(usize::from(lead - VALUE_INT))),
            },
            4 => Self::Float(f64::from_bits(reader.int(8) as u64)),
            _ => Self::WholeFloat(reader.signed()),
        }
    }

    /// As [`Written::read`], only to know where it ends.
    #[inline(always)]
    fn skip(code: u8, reader: &mut Reader<'b>) {
        let length = match code {
            0..=2 => return,
            3 => match reader.byte() {
                LONG => reader.varint() as usize,
                length if length < LONG => usize::from(length),
                lead if lead < VALUE_INT_SMALL => usize::from(lead - VALUE_INT),
                _ => return,
            },
            4 => size_of::<f64>(),
            _ => {
                reader.varint();
                return;
            }
        };
        reader.take(length);
    }

    fn put(self, out: &mut Bytes) {
        match self {
            Self::Nothing | Self::Removed | Self::Empty => {}
            Self::Bytes(bytes) => {
                put_bytes(out, bytes);
            }
            Self::Int(int @ 0..=VALUE_SMALL_MAX) => out.push(VALUE_INT_SMALL + int as u8),
            Self::Int(int) => {
                let length = bytes::int_length(int);
                out.push(VALUE_INT + length as u8);
                out.extend_from_slice(&int.to_le_bytes()[..length]);
            }
            Self::Float(float) => out.extend_from_slice(&float.to_bits().to_le_bytes()),
            Self::WholeFloat(whole) => put_signed(out, whole),
        }
    }
}

type Bytes = SmallVec<[u8; 96]>;

/// When a cell was written: a timestamp, and the number of the origin in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    timestamp: u64,
    origin: u16,
}

/// What a cell's bytes leave out of it: what it has in common with the one before. Says nothing of any other cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    tag: u8,
    stamp: Stamp,
    name: name::Context,
}

impl Context {
    /// Before the first cell.
    const START: Self =
        Self { tag: u8::MAX, stamp: Stamp { timestamp: 0, origin: 0 }, name: name::Context::START };

    const fn kind(&self) -> Kind {
        Kind::ALL[(self.tag & 7) as usize]
    }

    /// See [`Written::code`].
    const fn written(&self) -> u8 {
        self.tag >> KIND_BITS & 7
    }
}

/// A cell as it lies in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockCell<'b> {
    pub(crate) kind: Kind,
    name: Name<'b>,
    /// Means nothing if nothing was written.
    stamp: Stamp,
    origin: Origin,
    written: Written<'b>,
    sums: &'b [u8],
}

impl<'b> BlockCell<'b> {
    /// Whether clients see it, for nothing in a block is hidden.
    pub(crate) const fn is_live(&self) -> bool {
        !matches!(self.written, Written::Removed | Written::Nothing) || !self.sums.is_empty()
    }

    pub(crate) fn id(&self) -> CellId<'b> {
        CellId { kind: self.kind, element: self.element().into_cow() }
    }

    pub(crate) fn element(&self) -> Text<'b> {
        self.name.text(self.version())
    }

    /// The version of what was written.
    fn version(&self) -> Version {
        Version::new(Timestamp(self.stamp.timestamp), self.origin)
    }

    /// The version of what was written, if anything was.
    pub(crate) fn base_version(&self) -> Version {
        if self.written == Written::Nothing { Version::ZERO } else { self.version() }
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.written == Written::Removed
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(crate) const fn ends_with_bytes(&self) -> bool {
        matches!(self.written, Written::Bytes(_)) && self.sums.is_empty()
    }

    /// What a client sees of it.
    pub(crate) fn text(&self, block: &Block<'b>) -> Option<Text<'b>> {
        if !self.sums.is_empty() {
            return self.cell(block).bytes(None).map(|bytes| Text::Owned(bytes.into_owned()));
        }
        match self.written {
            Written::Nothing | Written::Removed => None,
            Written::Empty => Some(Text::Borrowed(&[])),
            Written::Bytes(bytes) => Some(Text::Borrowed(bytes)),
            Written::Int(int) => Some(Text::of_int(int)),
            Written::Float(_) | Written::WholeFloat(_) => {
                self.cell(block).bytes(None).map(|bytes| Text::Owned(bytes.into_owned()))
            }
        }
    }

    /// A member's score.
    pub(crate) fn score(&self, block: &Block<'b>) -> Option<f64> {
        if !self.sums.is_empty() {
            return self.cell(block).score(None);
        }
        match self.written {
            Written::Nothing | Written::Removed => None,
            Written::Float(float) => Some(float),
            Written::WholeFloat(whole) => Some(whole as f64),
            Written::Empty | Written::Bytes(_) | Written::Int(_) => Some(0.0),
        }
    }

    /// The whole of it.
    pub(crate) fn cell(&self, block: &Block<'b>) -> Cell<'b> {
        let value = match self.written {
            Written::Nothing | Written::Removed => None,
            Written::Empty => Some(Value::Bytes(Cow::Borrowed(&[][..]))),
            Written::Bytes(bytes) => Some(Value::Bytes(Cow::Borrowed(bytes))),
            Written::Int(int) => {
                Some(Value::Bytes(Cow::Owned(itoa::Buffer::new().format(int).as_bytes().to_vec())))
            }
            Written::Float(float) => Some(Value::Float(float)),
            Written::WholeFloat(whole) => Some(Value::Float(whole as f64)),
        };
        let base = (self.written != Written::Nothing).then(|| (self.version(), value));
        Cell { base, contributions: sums::read(self.sums, block) }
    }

    const fn tag(&self) -> u8 {
        let sums = if self.sums.is_empty() { 0 } else { HAS_SUMS };
        self.kind as u8 | self.written.code() << KIND_BITS | sums
    }

    fn put(&self, before: &Context, out: &mut Bytes) -> Context {
        let tag = self.tag();
        let has_stamp = self.written != Written::Nothing;
        let stamp = if has_stamp { self.stamp } else { Context::START.stamp };
        let later = stamp.timestamp.wrapping_sub(before.stamp.timestamp) as i64;
        if tag != before.tag || stamp.origin != before.stamp.origin {
            out.extend_from_slice(&[FULL, tag]);
            if has_stamp {
                put_signed(out, later);
                put_varint(out, u64::from(stamp.origin));
            }
        } else if later != 0 {
            out.push(LATER);
            put_signed(out, later);
        }
        let name = self.name.put(&before.name, out);
        self.written.put(out);
        if !self.sums.is_empty() {
            put_varint(out, self.sums.len() as u64);
            out.extend_from_slice(self.sums);
        }
        Context { tag, stamp, name }
    }
}

/// A cell, and where in the block its bytes are.
#[derive(Clone)]
pub(crate) struct Spot<'b> {
    cell: BlockCell<'b>,
    place: Range<usize>,
    before: Context,
}

/// Where a cell lies in a block, or would.
pub(crate) enum Seat<'b> {
    Held(Spot<'b>),
    /// None has its name. With what comes before the block's end.
    Free(Context),
}

impl<'b> Seat<'b> {
    pub(crate) fn held(&self) -> Option<BlockCell<'b>> {
        match self {
            Self::Held(spot) => Some(spot.cell),
            Self::Free(_) => None,
        }
    }
}

/// Cells side by side: see the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'b> {
    origins: &'b [u8],
    cells: &'b [u8],
}

const ORIGIN_BYTES: usize = 8;

/// A block without cells.
pub(crate) const EMPTY: &[u8] = &[0];

impl<'b> Block<'b> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        let mut reader = Reader::new(bytes);
        let count = reader.varint() as usize;
        let (origins, cells) = bytes[bytes.len() - reader.left()..].split_at(ORIGIN_BYTES * count);
        Self { origins, cells }
    }

    fn origin(&self, number: u16) -> Origin {
        let start = ORIGIN_BYTES * usize::from(number);
        let bytes = self.origins[start..start + ORIGIN_BYTES].try_into();
        Origin(u64::from_le_bytes(bytes.expect("the slice is as long as the array")))
    }

    fn spots(self) -> Spots<'b> {
        Spots { block: self, at: 0, before: Context::START }
    }

    pub(crate) fn iter(self) -> Cells<'b> {
        Cells(self.spots())
    }

    pub(crate) fn find(self, id: &CellId<'_>) -> Option<BlockCell<'b>> {
        self.seat(id).held()
    }

    /// Where a cell of this name lies, or would.
    ///
    /// This is most of what writing to a packed collection takes: so of other cells no more is read than where they end.
    pub(crate) fn seat(self, id: &CellId<'_>) -> Seat<'b> {
        let wanted = name::Wanted::new(id);
        let mut spots = self.spots();
        while spots.at < self.cells.len() {
            let mut reader = Reader::new(&self.cells[spots.at..]);
            let (name, context) = spots.read_name(&mut reader);
            let version =
                || Version::new(Timestamp(context.stamp.timestamp), self.origin(context.stamp.origin));
            // A list's lie in order: what is pushed to its head is not looked for behind that.
            if id.kind == Kind::List && wanted.order(&name, version).is_gt() {
                return Seat::Free(spots.before);
            }
            if wanted.is(&name, version)
                && context.kind() == id.kind
                && let Some(spot) = spots.next()
            {
                return Seat::Held(spot);
            }
            Written::skip(context.written(), &mut reader);
            if context.tag & HAS_SUMS != 0 {
                let length = reader.varint() as usize;
                reader.take(length);
            }
            spots.at = self.cells.len() - reader.left();
            spots.before = context;
        }
        Seat::Free(spots.before)
    }

    /// Before which bytes a cell that is not there comes.
    fn place_of(self, id: &CellId<'_>, cell: &Cell<'_>) -> Option<Spot<'b>> {
        match id.kind {
            Kind::String | Kind::Hash => None,
            Kind::List => self.spots().find(|spot| *spot.cell.element() > *id.element),
            Kind::Set => {
                let int = parse_integer(&id.element)?;
                self.spots().find(|spot| spot.cell.name.int().is_none_or(|other| other > int))
            }
            Kind::SortedSet => {
                let score = cell.score(None)?;
                self.spots().find(|spot| self.ranks_above(&spot.cell, (score, &id.element)))
            }
        }
    }

    /// Whether a sorted set's member comes behind one of this score and name.
    fn ranks_above(self, cell: &BlockCell<'b>, (score, name): (f64, &[u8])) -> bool {
        match cell.score(&self) {
            None => true,
            Some(other) if other == score => *cell.element() > *name,
            Some(other) => other > score,
        }
    }

    /// The bytes of a block of these cells, after `prefix`.
    pub(crate) fn of<'c>(cells: impl IntoIterator<Item = (CellId<'c>, Cell<'c>)>, prefix: &[u8]) -> Vec<u8> {
        let mut cells: Vec<_> = cells.into_iter().collect();
        order(&mut cells);
        let mut origins = OriginTable::default();
        let mut out = Bytes::new();
        let mut before = Context::START;
        for (id, cell) in &cells {
            let sums = sums::bytes_of(cell, &mut origins);
            before = origins.cell(id, cell, &sums).put(&before, &mut out);
        }
        origins.block(prefix, [&out])
    }

    /// The bytes of a block of one cell, after `prefix`.
    pub(crate) fn single(id: &CellId<'_>, cell: &Cell<'_>, prefix: &[u8]) -> Vec<u8> {
        let mut origins = OriginTable::default();
        let sums = sums::bytes_of(cell, &mut origins);
        let mut out = Bytes::new();
        origins.cell(id, cell, &sums).put(&Context::START, &mut out);
        origins.block(prefix, [&out])
    }

    /// What puts a cell into its seat, or takes away what is there.
    pub(crate) fn with(self, seat: Seat<'b>, id: &CellId<'_>, cell: Option<&Cell<'_>>) -> Patch {
        let (before, place, cell) = match (seat, cell) {
            (Seat::Free(_), None) => return Patch::default(),
            (Seat::Held(old), None) => return self.splice(old.before, old.place, None, None),
            (Seat::Held(old), Some(cell)) if self.moves(&old, id, cell) => {
                let mut moved = OriginTable::of(self).block(&[], [self.cells]);
                self.splice(old.before, old.place, None, None).apply(&mut moved, 0);
                let without = Block::new(&moved);
                without.with(without.seat(id), id, Some(cell)).apply(&mut moved, 0);
                let moved = Block::new(&moved);
                let origins = (moved.origins.len() > self.origins.len()).then(|| OriginTable::of(moved));
                return Patch { place: 0..self.cells.len(), bytes: moved.cells.into(), origins };
            }
            (Seat::Held(old), Some(cell)) => (old.before, old.place, cell),
            (Seat::Free(end), Some(cell)) => match self.place_of(id, cell) {
                Some(next) => (next.before, next.place.start..next.place.start, cell),
                None => (end, self.cells.len()..self.cells.len(), cell),
            },
        };
        let mut origins = OriginTable::of(self);
        let sums = sums::bytes_of(cell, &mut origins);
        let new = origins.cell(id, cell, &sums);
        let has_more = ORIGIN_BYTES * origins.0.len() > self.origins.len();
        self.splice(before, place, Some(&new), has_more.then_some(origins))
    }

    /// Whether a sorted set's member has another rank with this cell than the one that is held.
    fn moves(self, old: &Spot<'b>, id: &CellId<'_>, cell: &Cell<'_>) -> bool {
        if id.kind != Kind::SortedSet {
            return false;
        }
        let next = cell.score(None).and_then(|score| {
            let mut others = self.spots().filter(|spot| spot.place != old.place);
            others.find(|spot| self.ranks_above(&spot.cell, (score, &id.element)))
        });
        next.map_or(self.cells.len(), |next| next.place.start) != old.place.end
    }

    fn splice(
        self,
        before: Context,
        place: Range<usize>,
        new: Option<&BlockCell<'_>>,
        origins: Option<OriginTable>,
    ) -> Patch {
        // What stood there is what the next one's bytes refer to.
        let old = if place.is_empty() { before } else { self.context_after(before, place.start) };
        let mut bytes = Bytes::new();
        let after = new.map_or(before, |new| new.put(&before, &mut bytes));
        let mut end = place.end;
        if let Some(next) = (Spots { block: self, at: place.end, before: old }).next() {
            next.cell.put(&after, &mut bytes);
            end = next.place.end;
        }
        Patch { place: place.start..end, bytes, origins }
    }

    fn context_after(self, before: Context, at: usize) -> Context {
        let mut spots = Spots { block: self, at, before };
        spots.next();
        spots.before
    }
}

/// The cells of a block.
pub(crate) struct Cells<'b>(Spots<'b>);

impl<'b> Iterator for Cells<'b> {
    type Item = BlockCell<'b>;

    #[inline]
    fn next(&mut self) -> Option<BlockCell<'b>> {
        self.0.next().map(|spot| spot.cell)
    }
}

/// The cells of a block with where they are.
struct Spots<'b> {
    block: Block<'b>,
    at: usize,
    before: Context,
}

impl<'b> Spots<'b> {
    /// Reads the next cell up to its name. Returns that, and what the one behind it leaves out.
    #[inline(always)]
    fn read_name(&self, reader: &mut Reader<'b>) -> (Name<'b>, Context) {
        let Context { mut tag, mut stamp, name } = self.before;
        match reader.peek() {
            FULL => {
                reader.byte();
                tag = reader.byte();
                if tag >> KIND_BITS & 7 == Written::Nothing.code() {
                    stamp = Context::START.stamp;
                } else {
                    stamp.timestamp = stamp.timestamp.wrapping_add(reader.signed() as u64);
                    stamp.origin = reader.varint() as u16;
                }
            }
            LATER => {
                reader.byte();
                stamp.timestamp = stamp.timestamp.wrapping_add(reader.signed() as u64);
            }
            _ => {}
        }
        let (read, name) = Name::read(Kind::ALL[usize::from(tag & 7)], &name, reader);
        (read, Context { tag, stamp, name })
    }
}

impl<'b> Iterator for Spots<'b> {
    type Item = Spot<'b>;

    // A block is searched from its start: this is nearly all that takes.
    #[inline(always)]
    fn next(&mut self) -> Option<Spot<'b>> {
        if self.at == self.block.cells.len() {
            return None;
        }
        let before = self.before;
        let mut reader = Reader::new(&self.block.cells[self.at..]);
        let (name, context) = self.read_name(&mut reader);
        let Context { tag, stamp, .. } = context;
        let written = Written::read(context.written(), &mut reader);
        let sums: &[u8] = if tag & HAS_SUMS == 0 {
            &[]
        } else {
            let length = reader.varint() as usize;
            reader.take(length)
        };
        let start = self.at;
        self.at = self.block.cells.len() - reader.left();
        self.before = context;
        let origin = if written == Written::Nothing { Origin::NONE } else { self.block.origin(stamp.origin) };
        Some(Spot {
            cell: BlockCell { kind: context.kind(), name, stamp, origin, written, sums },
            place: start..self.at,
            before,
        })
    }
}

/// The origins that a block's cells name.
#[derive(Clone, Debug, Default)]
struct OriginTable(SmallVec<[Origin; 4]>);

impl OriginTable {
    fn of(block: Block<'_>) -> Self {
        let count = block.origins.len() / ORIGIN_BYTES;
        Self((0..count as u16).map(|number| block.origin(number)).collect())
    }

    /// The origin's number. A node knows fewer origins than there are numbers.
    fn number(&mut self, origin: Origin) -> u16 {
        let known = self.0.iter().position(|known| *known == origin);
        let number = known.unwrap_or_else(|| {
            self.0.push(origin);
            self.0.len() - 1
        });
        number as u16
    }

    fn cell<'c>(&mut self, id: &'c CellId<'_>, cell: &'c Cell<'_>, sums: &'c [u8]) -> BlockCell<'c> {
        let (version, written) = match &cell.base {
            None => (Version::ZERO, Written::Nothing),
            Some((version, value)) => (*version, Written::of(value.as_ref())),
        };
        let origin = if cell.base.is_some() { self.number(version.origin) } else { 0 };
        BlockCell {
            kind: id.kind,
            name: Name::of(id, cell.base.as_ref().map(|(version, _)| *version)),
            stamp: Stamp { timestamp: version.timestamp.0, origin },
            origin: version.origin,
            written,
            sums,
        }
    }

    /// The bytes of a block whose cells name these origins.
    fn block<const N: usize>(&self, prefix: &[u8], cells: [&[u8]; N]) -> Vec<u8> {
        let mut count = Bytes::new();
        put_varint(&mut count, self.0.len() as u64);
        let of_cells: usize = cells.iter().map(|cells| cells.len()).sum();
        let length = prefix.len() + count.len() + ORIGIN_BYTES * self.0.len() + of_cells;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(prefix);
        bytes.extend_from_slice(&count);
        self.0.iter().for_each(|origin| bytes.extend_from_slice(&origin.0.to_le_bytes()));
        cells.iter().for_each(|cells| bytes.extend_from_slice(cells));
        bytes
    }
}

/// Brings cells into the order of a block.
fn order(cells: &mut [(CellId<'_>, Cell<'_>)]) {
    cells.sort_by(|(left, left_cell), (right, right_cell)| {
        left.kind.cmp(&right.kind).then_with(|| match left.kind {
            Kind::String | Kind::Hash => std::cmp::Ordering::Equal,
            Kind::List => left.element.cmp(&right.element),
            Kind::Set => {
                let key = |id: &CellId<'_>| parse_integer(&id.element).map_or((1, 0), |int| (0, int));
                key(left).cmp(&key(right))
            }
            Kind::SortedSet => match (left_cell.score(None), right_cell.score(None)) {
                (Some(l), Some(r)) => rank_order((l, &left.element), (r, &right.element)),
                (left, right) => left.is_none().cmp(&right.is_none()),
            },
        })
    });
}

#[cfg(test)]
mod tests;
