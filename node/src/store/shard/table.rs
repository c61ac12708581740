//! A slot's keys: an open table in few bytes.
//!
//! Problem: a key's place in a table costs as much as a short string. A table that doubles is half empty at times, its
//! sizes lie just above those that an allocator gives out, and the thousands of tables, which all grow at about the same
//! time, leave holes of their old sizes behind.
//!
//! Idea: groups of eight places, as many as are needed, in one allocation that is full up to seven eighths and then grows by
//! about a fifth, to sizes that an allocator has. A key is put into the group that its hash tells, or, if that is full, into
//! one behind it. Sixteen bits of the hash stand beside the places: few other keys are looked at, and none to grow.

use crate::store::account::allocated;
use crate::store::entry::Entry;

/// Places that are looked at together.
const PLACES: usize = 8;

/// Of a place that holds nothing; whoever looks for a key goes no further than a group that has one.
const FREE: u16 = 0;
/// Of a place that held something while its group was full.
const LEFT: u16 = 1;

struct Group {
    tags: [u16; PLACES],
    entries: [Entry; PLACES],
}

impl Group {
    fn new() -> Self {
        Self { tags: [FREE; PLACES], entries: std::array::from_fn(|_| Entry::nothing()) }
    }

    /// The places with this tag.
    #[inline(always)]
    fn places(&self, tag: u16) -> impl Iterator<Item = usize> + use<> {
        let mut found =
            self.tags.iter().rev().fold(0_u8, |found, other| found << 1 | u8::from(*other == tag));
        std::iter::from_fn(move || {
            let place = found.trailing_zeros();
            found &= found.checked_sub(1)?;
            Some(place as usize)
        })
    }

    #[inline(always)]
    fn has(&self, tag: u16) -> bool {
        self.tags.iter().fold(false, |found, other| found | (*other == tag))
    }
}

/// The keys of a slot. See the module's documentation.
#[derive(Default)]
pub(super) struct Table {
    groups: Box<[Group]>,
    length: u32,
    /// Places that are not free.
    used: u32,
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.length as usize
    }

    /// What its places take of memory, in bytes.
    pub(super) const fn allocation_size(&self) -> usize {
        allocated(size_of::<Group>() * self.groups.len())
    }

    /// How many places it has.
    pub(super) const fn places(&self) -> usize {
        PLACES * self.groups.len()
    }

    /// What stands in the n-th place.
    pub(super) fn nth(&self, place: usize) -> Option<&Entry> {
        let group = self.groups.get(place / PLACES)?;
        let place = place % PLACES;
        (group.tags[place] > LEFT).then(|| &group.entries[place])
    }

    /// The entry with this hash for which this holds.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let (group, place) = self.seek(hash, is)?;
        Some(&self.groups[group].entries[place])
    }

    /// As [`Table::find`], to change it.
    #[inline(always)]
    pub(super) fn find_mut(&mut self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<&mut Entry> {
        let (group, place) = self.seek(hash, is)?;
        Some(&mut self.groups[group].entries[place])
    }

    #[inline(always)]
    fn seek(&self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<(usize, usize)> {
        let tag = tag_of(hash);
        let mut group = self.home(tag);
        // There is always a free place somewhere, but in a table that has none at all.
        for _ in 0..self.groups.len() {
            let here = &self.groups[group];
            if let Some(place) = here.places(tag).find(|place| is(&here.entries[*place])) {
                return Some((group, place));
            }
            if here.has(FREE) {
                return None;
            }
            group = self.behind(group);
        }
        None
    }

    /// What stands first in the group where an entry with this hash is, as a rule.
    #[inline(always)]
    pub(super) fn home_tag(&self, hash: u64) -> u16 {
        self.groups.get(self.home(tag_of(hash))).map_or(FREE, |group| group.tags[0])
    }

    /// The entry there that has this hash, most likely.
    #[inline(always)]
    pub(super) fn likely(&self, hash: u64) -> Option<&Entry> {
        let tag = tag_of(hash);
        let group = self.groups.get(self.home(tag))?;
        group.places(tag).next().map(|place| &group.entries[place])
    }

    /// Puts in an entry that is not there.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry) {
        if self.used as usize >= most(self.groups.len()) {
            self.grow();
        }
        self.put(tag_of(hash), entry);
    }

    /// Takes out the entry with this hash for which this holds.
    pub(super) fn remove(&mut self, hash: u64, is: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let (group, place) = self.seek(hash, is)?;
        let group = &mut self.groups[group];
        // Who looks for what went to a group behind a full one must still get there.
        let is_free = group.has(FREE);
        group.tags[place] = if is_free { FREE } else { LEFT };
        self.length -= 1;
        self.used -= u32::from(is_free);
        Some(std::mem::replace(&mut group.entries[place], Entry::nothing()))
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let held = |group: &Group, place: usize| group.tags[place] > LEFT;
        self.groups.iter().flat_map(move |group| {
            (0..PLACES).filter(move |place| held(group, *place)).map(|place| &group.entries[place])
        })
    }

    /// All entries with their tags, in no order.
    fn take_all(groups: Box<[Group]>) -> impl Iterator<Item = (u16, Entry)> {
        let all = groups.into_iter().flat_map(|group| group.tags.into_iter().zip(group.entries));
        all.filter(|(tag, _)| *tag > LEFT)
    }

    fn grow(&mut self) {
        // Places that were left come free: not so few that the next ones are soon used up, too.
        let wanted = self.length as usize + self.length as usize / 16 + 1;
        let count = (1..).map(size).find(|count| most(*count) >= wanted).unwrap_or(wanted);
        let groups = std::iter::repeat_with(Group::new).take(count).collect();
        let old = std::mem::replace(self, Self { groups, length: 0, used: 0 });
        Self::take_all(old.groups).for_each(|(tag, entry)| self.put(tag, entry));
    }

    /// Puts an entry into a table that has room.
    fn put(&mut self, tag: u16, entry: Entry) {
        let mut group = self.home(tag);
        loop {
            let here = &mut self.groups[group];
            if let Some(place) = here.tags.iter().position(|tag| *tag <= LEFT) {
                self.used += u32::from(here.tags[place] == FREE);
                self.length += 1;
                here.tags[place] = tag;
                here.entries[place] = entry;
                return;
            }
            group = self.behind(group);
        }
    }

    /// The group that a tag tells.
    #[inline(always)]
    const fn home(&self, tag: u16) -> usize {
        (tag as usize * self.groups.len()) >> u16::BITS
    }

    #[inline(always)]
    const fn behind(&self, group: usize) -> usize {
        if group + 1 == self.groups.len() { 0 } else { group + 1 }
    }
}

impl IntoIterator for Table {
    type Item = Entry;
    type IntoIter = Box<dyn Iterator<Item = Entry>>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(Self::take_all(self.groups).map(|(_, entry)| entry))
    }
}

/// The part of a hash that stands beside a place.
#[inline(always)]
fn tag_of(hash: u64) -> u16 {
    ((hash >> (u64::BITS - u16::BITS)) as u16).max(LEFT + 1)
}

/// How many places of so many groups are used at most.
const fn most(groups: usize) -> usize {
    groups * (PLACES - 1)
}

/// How many groups a table of the n-th size has, or of several small ones: as many as fit into what allocators give out,
/// which is a power of two and its quarters.
const fn size(nth: usize) -> usize {
    ((4 + nth % 4) << (nth / 4 + 4)) / size_of::<Group>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::clock::Timestamp;

    use super::*;
    use crate::store::entry::Packed;
    use crate::store::origins::OriginIndex;

    fn entry(number: u32) -> Entry {
        Packed::new(&number.to_le_bytes(), None, Timestamp(1), OriginIndex(0)).into()
    }

    fn hash(number: u32) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    fn is(number: u32) -> impl Fn(&Entry) -> bool {
        move |entry| entry.key() == number.to_le_bytes()
    }

    proptest! {
        /// Whatever comes and goes, what is there is found, and nothing else, however full the table is.
        #[test]
        fn a_table_holds_what_was_put_into_it(
            acts in prop::collection::vec((0..300_u32, any::<bool>()), 1..2000),
            few in 1..300_u32,
        ) {
            let (mut table, mut model) = (Table::default(), std::collections::BTreeSet::new());
            for (number, stays) in acts {
                let number = number % few;
                prop_assert_eq!(table.find(hash(number), is(number)).is_some(), model.contains(&number));
                if !stays {
                    prop_assert_eq!(table.remove(hash(number), is(number)).is_some(), model.remove(&number));
                } else if model.insert(number) {
                    table.insert(hash(number), entry(number));
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let keys = |entry: &Entry| u32::from_le_bytes(entry.key().try_into().expect("four bytes"));
            let mut held: Vec<u32> = table.iter().map(keys).collect();
            held.sort_unstable();
            prop_assert_eq!(&held, &model.iter().copied().collect::<Vec<_>>());
            let mut taken: Vec<u32> = table.into_iter().map(|entry| keys(&entry)).collect();
            taken.sort_unstable();
            prop_assert_eq!(taken, held);
        }
    }

    #[test]
    fn a_table_grows_by_a_quarter_at_most_once_it_is_no_longer_tiny() {
        for nth in 10..60 {
            let (before, after) = (size(nth), size(nth + 1));
            assert!(before < after && 4 * after <= 5 * before + 4, "{before} {after}");
        }
    }

    #[test]
    fn all_keys_of_one_hash_are_found() {
        let mut table = Table::default();
        (0..100).for_each(|number| table.insert(7, entry(number)));
        assert!((0..100).all(|number| table.find(7, is(number)).is_some()));
        assert!((0..100).all(|number| table.remove(7, is(number)).is_some()));
        assert!(table.find(7, is(0)).is_none() && table.iter().next().is_none());
    }
}
