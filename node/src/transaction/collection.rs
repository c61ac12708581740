//! Reading and writing the elements of hashes, sets, sorted sets and lists.
//!
//! Every write is one cell's, and merges with what others write at the same time by itself: so two nodes that add to one
//! set keep both. Commands that make several changes [reserve](Transaction::reserve) room for all of them first.

use std::borrow::Cow;
use std::collections::HashSet;

use shared::change::{CHANGE_OVERHEAD_BYTES, CellId, Change, Kind, Op, Value};

use super::{NewTtl, Transaction};
use crate::error::CommandError;
use crate::notifications::Class;
use crate::store::collection::Collection;
use crate::store::entry::{Entry, Put};
use crate::store::key::Key;
use crate::store::list_id::{ID_BYTES_MAX, Position};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Head,
    Tail,
}

impl End {
    /// The place of the outermost element of a list that is so long.
    pub(crate) const fn place(self, length: usize) -> usize {
        match self {
            Self::Head => 0,
            Self::Tail => length.saturating_sub(1),
        }
    }
}

impl<'a> Transaction<'a> {
    /// The elements that the key holds, if it exists and is of this kind.
    pub(crate) fn collection(
        &self,
        key: &Key<'_>,
        kind: Kind,
    ) -> Result<Option<Collection<'_>>, CommandError> {
        let Some(entry) = self.locked.of(key).find(key) else { return Ok(None) };
        match entry.visible_kind(self.now) {
            None => Ok(None),
            Some(visible) if visible == kind => Ok(entry.collection(kind)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// As [`Transaction::collection`], and notes that a client used the key.
    pub(crate) fn read_collection(
        &mut self,
        key: &Key<'_>,
        kind: Kind,
    ) -> Result<Option<Collection<'_>>, CommandError> {
        let now = self.now;
        let is_use = |entry: &Entry| entry.visible_kind(now) == Some(kind);
        let entry = self.locked.of_mut(key).find_used(key, self.usage, is_use);
        let Some(entry) = entry.filter(|entry| entry.visible_kind(now).is_some()) else {
            self.lookups.misses += 1;
            self.notices.note_miss(key);
            return Ok(None);
        };
        self.lookups.hits += 1;
        if entry.kind() != Some(kind) {
            return Err(CommandError::WrongType);
        }
        Ok(entry.collection(kind))
    }

    /// [Reserves](Transaction::reserve) room for changes of elements whose names and values have these lengths.
    pub(crate) fn reserve_elements(
        &self,
        key: &Key<'_>,
        lengths: impl Iterator<Item = usize>,
    ) -> Result<(), CommandError> {
        let change = CHANGE_OVERHEAD_BYTES + key.bytes.len();
        self.reserve(lengths.fold(change, |sum, length| sum.saturating_add(change + length)))
    }

    /// Writes an element: a field's value, a member with nothing, a member's score. The caller has seen that the key holds
    /// this kind, or nothing.
    pub(crate) fn put(
        &mut self,
        key: &Key<'a>,
        kind: Kind,
        element: impl Into<Cow<'a, [u8]>>,
        value: Value<'a>,
    ) -> Result<(), CommandError> {
        let op = Op::Cell(CellId { kind, element: element.into() }, Some(value));
        match self.put_at_one_look(key, op, &mut |_| true)? {
            Some(op) => self.put_anew(key, op),
            None => Ok(()),
        }
    }

    /// Writes an element if `decide` wants it, which is told the score of what is there, zero if it has none. Of a key of
    /// another kind nothing is written.
    pub(crate) fn put_if(
        &mut self,
        key: &Key<'a>,
        kind: Kind,
        element: &'a [u8],
        value: Value<'a>,
        mut decide: impl FnMut(Option<f64>) -> bool,
    ) -> Result<(), CommandError> {
        let op = Op::Cell(CellId { kind, element: Cow::Borrowed(element) }, Some(value));
        let Some(op) = self.put_at_one_look(key, op, &mut decide)? else { return Ok(()) };
        let held = self.collection(key, kind)?.and_then(|elements| elements.score(element));
        if decide(held) { self.put_anew(key, op) } else { Ok(()) }
    }

    /// As [`Transaction::put_if`], where the key holds a packed collection of the kind. Else returns what is to be done, and
    /// nothing was asked.
    fn put_at_one_look(
        &mut self,
        key: &Key<'a>,
        op: Op<'a>,
        decide: &mut dyn FnMut(Option<f64>) -> bool,
    ) -> Result<Option<Op<'a>>, CommandError> {
        let change = Change::new(key.db, key.bytes, op);
        let bytes = change.encoded_bytes_max();
        self.reserve(bytes)?;
        let (writer, origins) = (self.writer_of(key.db, key.bytes), &self.node.store.origins);
        match self.locked.of_mut(key).put_element(key, &change.op, writer, self.now, origins, decide) {
            Put::Elsewhere => return Ok(Some(change.op)),
            Put::Declined => {}
            Put::Unpacked => self.emit(key, change.op)?,
            Put::Done(_) => self.note_change(change, bytes),
        }
        Ok(None)
    }

    fn put_anew(&mut self, key: &Key<'a>, op: Op<'a>) -> Result<(), CommandError> {
        self.begin_afresh(key)?;
        self.emit(key, op)
    }

    /// Removes an element, which is there. With its last element a key is gone.
    pub(crate) fn remove(
        &mut self,
        key: &Key<'a>,
        kind: Kind,
        element: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), CommandError> {
        self.emit(key, Op::Cell(CellId { kind, element: element.into() }, None))
    }

    /// Ends whatever the key holds, its TTL too, for what is written next to be all of it: `*STORE` and its like. A key of
    /// which nothing is known here may be written elsewhere at the same time: of two whole values the later stands.
    pub(crate) fn clear(&mut self, key: &Key<'a>) -> Result<(), CommandError> {
        self.replaced = self.exists(key).then_some(*key);
        self.emit(key, Op::Reset)
    }

    /// Puts values to an end of the key's list, one after the other: the last one ends up outermost. Returns how long the
    /// list was before.
    pub(crate) fn push(
        &mut self,
        key: &Key<'a>,
        end: End,
        values: impl ExactSizeIterator<Item = Cow<'a, [u8]>>,
    ) -> Result<usize, CommandError> {
        let list = self.collection(key, Kind::List)?;
        let length = list.map_or(0, |list| list.len());
        let outermost = list.and_then(|list| list.nth(end.place(length)));
        let outermost = outermost.as_ref().map(|(id, _)| &**id);
        let position = match end {
            End::Head => Position::between(None, outermost),
            End::Tail => Position::between(outermost, None),
        };
        let Some(position) = position else {
            self.renumber(key)?;
            return self.push(key, end, values);
        };
        if length == 0 {
            self.begin_afresh(key)?;
        }
        let count = values.len();
        for (index, value) in values.enumerate() {
            let place = if end == End::Head { count - 1 - index } else { index };
            let element = position.id(self.writer.at, place as u32).into();
            self.emit(key, Op::Cell(CellId { kind: Kind::List, element }, Some(Value::Bytes(value))))?;
        }
        Ok(length)
    }

    /// Puts a value into the key's list, which exists, so that it comes to stand at this place, at most its length.
    pub(crate) fn insert(
        &mut self,
        key: &Key<'a>,
        place: usize,
        value: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), CommandError> {
        let Some(list) = self.collection(key, Kind::List)? else { return Err(CommandError::NoSuchKey) };
        let lower = place.checked_sub(1).and_then(|place| list.nth(place));
        let upper = list.nth(place);
        let position =
            Position::between(lower.as_ref().map(|(id, _)| &**id), upper.as_ref().map(|(id, _)| &**id));
        let Some(position) = position else {
            self.renumber(key)?;
            return self.insert(key, place, value);
        };
        let id = position.id(self.writer.at, 0);
        self.put(key, Kind::List, id, Value::Bytes(value.into()))
    }

    /// Writes a list anew, as one push, for there is no room between two of its elements. What others push at the same time
    /// is not lost: only what is held here is replaced.
    fn renumber(&mut self, key: &Key<'a>) -> Result<(), CommandError> {
        let Some(list) = self.collection(key, Kind::List)? else { return Ok(()) };
        let elements: Vec<(Vec<u8>, Vec<u8>)> =
            list.iter().map(|(id, value)| (id.to_vec(), value.into_owned())).collect();
        let written = elements.iter().map(|(_, value)| ID_BYTES_MAX + value.len());
        self.reserve_elements(key, written.chain(elements.iter().map(|(id, _)| id.len())))?;
        let renewed = |index: usize| Position::first().id(self.writer.at, index as u32);
        let ids: HashSet<Vec<u8>> = (0..elements.len()).map(renewed).collect();
        let mut outdated = Vec::new();
        for (index, (id, value)) in elements.into_iter().enumerate() {
            self.put(
                key,
                Kind::List,
                Position::first().id(self.writer.at, index as u32),
                Value::Bytes(value.into()),
            )?;
            if !ids.contains(&id) {
                outdated.push(id);
            }
        }
        outdated.into_iter().try_for_each(|id| self.remove(key, Kind::List, id))
    }

    /// Makes `target` hold what `source`, which exists, does, the TTL included, whatever it held before.
    pub(crate) fn copy(&mut self, source: &Key<'a>, target: &Key<'a>) -> Result<(), CommandError> {
        let expiry = self.expiry(source);
        let entry = self.locked.of(source).find(source);
        let Some((entry, kind)) = entry.and_then(|entry| Some((entry, entry.visible_kind(self.now)?))) else {
            return Err(CommandError::NoSuchKey);
        };
        let Some(collection) = entry.collection(kind).filter(|_| kind != Kind::String) else {
            let value = entry.string().into_owned();
            let keys = source.bytes.len() + 2 * target.bytes.len();
            self.reserve(3 * CHANGE_OVERHEAD_BYTES + keys + value.len())?;
            // What stood there is deleted first, as Redis has it: the copy is a new key.
            if self.exists(target) {
                self.notify(Class::New, "new", target);
            }
            return self.set(target, value, expiry.map_or(NewTtl::Clear, NewTtl::At));
        };
        let mut cells: Vec<(Vec<u8>, Value<'static>)> = Vec::with_capacity(collection.len());
        if kind == Kind::SortedSet {
            let members = collection.ranked(0..collection.len());
            cells.extend(members.map(|(member, score)| (member.to_vec(), Value::Float(score))));
        } else {
            let elements = collection.iter();
            cells.extend(elements.map(|(id, value)| (id.to_vec(), Value::Bytes(value.into_owned().into()))));
        }
        if kind == Kind::List {
            let position = Position::first();
            for (index, (id, _)) in cells.iter_mut().enumerate() {
                *id = position.id(self.writer.at, index as u32);
            }
        }
        let bytes = cells.iter().map(|(element, value)| {
            let value = if let Value::Bytes(bytes) = value { bytes.len() } else { 0 };
            CHANGE_OVERHEAD_BYTES + target.bytes.len() + element.len() + value
        });
        self.reserve(
            3 * (CHANGE_OVERHEAD_BYTES + target.bytes.len()) + source.bytes.len() + bytes.sum::<usize>(),
        )?;
        self.emit(target, Op::Reset)?;
        for (element, value) in cells {
            self.put(target, kind, element, value)?;
        }
        if expiry.is_some() {
            self.expire(target, expiry)?;
        }
        Ok(())
    }
}
