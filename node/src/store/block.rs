//! Cells of a key, side by side in few bytes.
//!
//! A cell says only in what it differs from the one before: most were written by one command, or one after the other. So
//! whoever changes a cell writes the one behind it anew, too, and nothing else, for what a cell leaves out depends on the
//! one before it alone. Besides, names that begin alike leave out what they have in common: the block's base, which is
//! chosen once.
//!
//! ```text
//! block  = 2 * count of origins + (1 if there is a base), origin 8 each, (length, base)?, cell...
//! cell   = head, stamp, name, value if it has one, (length, sums) if there are any
//! head   = stamp's form, 3 bits; name's form, 5 bits
//! stamp  by form:  0 that of the cell before | 1..=6 so many bytes: the timestamp's difference
//!                  7 tag, (timestamp's difference, origin's number) if it was written
//! tag    = kind, 3 bits; what was written, 3 bits; whether there are sums
//! name   by form, of a list's element:  0..=11, 12..=23 none: at the next index or position, with a value of 1 to 12 bytes
//!                  24, 25 none: at the next index or position | 26 position's difference, index | 27 length, bytes
//!        of all others:  0..=11 so many bytes | 12 length, bytes | 13..=18 base and 0 to 5 bytes
//!                  19 how much of the base, length, bytes | 20..=24 a whole number of 1, 2, 3, 4 or 8 bytes
//!                  25..=27 a whole number's difference of 1 to 3 bytes | 28..=31 none: the difference is 0 to 3
//! value  of bytes:             length below 128 | LONG, length; bytes
//!                              INT + n, n bytes | INT_SMALL + a whole number of at most 95
//! ```
//!
//! Counts, numbers, lengths and differences behind a tag are LEB128, what may be negative folded in a zigzag. The order of
//! cells: a list's are in its own, a set's whole numbers come first, in theirs, a sorted set's members in that of ranks, the
//! dead ones last; all others, and a hash's fields, come as they came.

mod bytes;

mod change;

mod head;

mod list;

mod name;

mod patch;

mod seat;

mod skim;

mod spots;

mod sums;

mod text;

mod written;

use std::borrow::Cow;
use std::ops::Range;

use shared::change::{CellId, Kind, Value};
use shared::clock::Timestamp;
use shared::id::Origin;
use shared::version::Version;

use self::bytes::{Reader, int_length, put_int, put_signed, put_varint};
use self::head::Head;
use self::name::{FORM_BITS, Name};
use self::spots::Spots;
use self::written::Written;
use super::rich::{Cell, parse_integer, rank_order};

pub(crate) use self::list::{ListSeat, Tail};
pub(crate) use self::patch::{Patch, Splice};
pub(crate) use self::seat::Seat;
pub(crate) use self::spots::Cells;
pub(crate) use self::text::Text;

/// A block has at most so many cells: each is looked at to find one.
pub(crate) const CELLS_MAX: usize = 128;

/// A block takes at most so many bytes: they are moved when one changes.
pub(crate) const BYTES_MAX: usize = 4096;

/// The form of a stamp with another tag or origin than the one before, or at quite another time.
const FULL: u8 = 7;
/// Differences of timestamps up to so many bytes have a form of their own.
const LATER_BYTES_MAX: usize = 6;

const KIND_BITS: u32 = 3;
const KIND_MASK: u8 = (1 << KIND_BITS) - 1;
const HAS_SUMS: u8 = 1 << 6;

type Bytes = Vec<u8>;

/// A cell takes so many bytes, as a rule.
const CELL_BYTES: usize = 64;

/// What a cell's bytes leave out of it: what it has in common with the one before. Says nothing of any other cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// When it was written.
    timestamp: u64,
    name: name::Context,
    /// The number in the block of the origin that wrote it.
    origin: u16,
    tag: u8,
}

impl Context {
    /// Before the first cell.
    const START: Self =
        Self { timestamp: 0, name: name::Context::start(Kind::String), origin: 0, tag: u8::MAX };

    const fn kind(&self) -> Kind {
        Kind::ALL[(self.tag & KIND_MASK) as usize]
    }

    /// See [`Written::code`].
    const fn written(&self) -> u8 {
        self.tag >> KIND_BITS & 7
    }

    /// With another tag: names of another kind leave out nothing of those before.
    const fn tagged(self, tag: u8) -> Self {
        if tag & KIND_MASK == self.tag & KIND_MASK {
            return Self { tag, ..self };
        }
        let name = name::Context::start(Kind::ALL[(tag & KIND_MASK) as usize]);
        Self { tag, name, ..self }
    }
}

/// A cell as it lies in a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockCell<'b> {
    pub(crate) kind: Kind,
    name: Name<'b>,
    /// Mean nothing if nothing was written.
    timestamp: u64,
    origin_number: u16,
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
    const fn version(&self) -> Version {
        Version::new(Timestamp(self.timestamp), self.origin)
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

    /// Writes it behind a cell that left `before`, into a block with a base of this length.
    fn put(&self, before: &Context, base: usize, out: &mut Bytes) -> Context {
        let has_stamp = self.written != Written::Nothing;
        let (timestamp, origin) = if has_stamp { (self.timestamp, self.origin_number) } else { (0, 0) };
        let later = timestamp.wrapping_sub(before.timestamp) as i64;
        let tagged = before.tagged(self.tag());
        let is_alike = tagged.tag == before.tag && origin == before.origin;
        let stamp = match int_length(later) {
            _ if is_alike && later == 0 => 0,
            length if is_alike && length <= LATER_BYTES_MAX => length as u8,
            _ => FULL,
        };
        let short = match self.written {
            Written::Bytes(bytes) => Some(bytes.len()),
            _ => None,
        };
        let (form, is_short) = self.name.form(&tagged.name, base, short);
        out.push(stamp << FORM_BITS | form);
        match stamp {
            FULL => {
                out.push(tagged.tag);
                if has_stamp {
                    put_signed(out, later);
                    put_varint(out, u64::from(origin));
                }
            }
            length => put_int(out, later, usize::from(length)),
        }
        let name = self.name.put(form, &tagged.name, out);
        match self.written {
            Written::Bytes(bytes) if is_short => out.extend_from_slice(bytes),
            written => written.put(out),
        }
        if !self.sums.is_empty() {
            put_varint(out, self.sums.len() as u64);
            out.extend_from_slice(self.sums);
        }
        Context { timestamp, name, origin, tag: tagged.tag }
    }
}

/// A cell, and where in the block its bytes are.
#[derive(Clone)]
pub(crate) struct Spot<'b> {
    cell: BlockCell<'b>,
    place: Range<usize>,
    before: Context,
    after: Context,
}

/// Cells side by side: see the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'b> {
    origins: &'b [u8],
    base: &'b [u8],
    cells: &'b [u8],
}

const ORIGIN_BYTES: usize = 8;

/// A block without cells.
pub(crate) const EMPTY: &[u8] = &[0];

impl<'b> Block<'b> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        let mut reader = Reader::new(bytes, 0);
        let lead = reader.varint() as usize;
        let origins = reader.take(ORIGIN_BYTES * (lead >> 1));
        let base = if lead & 1 == 0 {
            &[]
        } else {
            let length = reader.byte();
            reader.take(usize::from(length))
        };
        Self { origins, base, cells: &bytes[reader.at()..] }
    }

    #[inline(always)]
    fn origin(&self, number: u16) -> Origin {
        let start = ORIGIN_BYTES * usize::from(number);
        let bytes = self.origins[start..start + ORIGIN_BYTES].try_into();
        Origin(u64::from_le_bytes(bytes.expect("the slice is as long as the array")))
    }

    /// How many bytes stand before the cells.
    const fn head_length(&self) -> usize {
        let base = if self.base.is_empty() { 0 } else { 1 + self.base.len() };
        let lead = (self.origins.len() / ORIGIN_BYTES) << 1 | 1;
        bytes::varint_length(lead as u64) + self.origins.len() + base
    }

    const fn spots(self) -> Spots<'b> {
        Spots { block: self, at: 0, before: Context::START }
    }

    pub(crate) fn iter(self) -> Cells<'b> {
        Cells(self.spots())
    }

    pub(crate) fn find(self, id: &CellId<'_>) -> Option<BlockCell<'b>> {
        self.seat(id, None).held()
    }

    /// The bytes of a block of these cells, after `prefix`.
    pub(crate) fn of<'c>(cells: impl IntoIterator<Item = (CellId<'c>, Cell<'c>)>, prefix: &[u8]) -> Vec<u8> {
        let mut cells: Vec<_> = cells.into_iter().collect();
        order(&mut cells);
        let mut head = Head::default();
        if let [(first, _), .., (last, _)] = &*cells {
            let name = |id| Name::of(id, None, &[]);
            head.base = name(first).common_base(&name(last));
        }
        let mut out = Bytes::new();
        let mut before = Context::START;
        for (id, cell) in &cells {
            let sums = sums::bytes_of(cell, &mut head);
            before = head.cell(id, cell, &sums).put(&before, head.base.len(), &mut out);
        }
        head.block(prefix, &out)
    }

    /// The bytes of a block of one cell, after `prefix`.
    pub(crate) fn single(id: &CellId<'_>, cell: &Cell<'_>, prefix: &[u8]) -> Vec<u8> {
        let mut head = Head::default();
        let sums = sums::bytes_of(cell, &mut head);
        let mut out = Bytes::with_capacity(CELL_BYTES);
        head.cell(id, cell, &sums).put(&Context::START, 0, &mut out);
        head.block(prefix, &out)
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
