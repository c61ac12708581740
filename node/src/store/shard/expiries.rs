//! The keys that expire, by when; apart those whose TTL another member has set: that member removes them, and they are
//! passed over here for as long as it has time to, however many they are.

use std::collections::BTreeSet;

use shared::time::WallMillis;

use crate::store::entry::Entry;
use crate::store::origins::Origins;

/// When a key expires, and whether this node has said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    at: WallMillis,
    is_own: bool,
}

impl Expiry {
    pub(super) fn of(entry: &Entry, origins: &Origins) -> Option<Self> {
        let at = entry.expiry()?;
        Some(Self { at, is_own: entry.is_ttl_own(origins) })
    }
}

/// Before which moments keys have expired that are to be removed now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    /// Such as this node has given their TTL.
    pub(crate) own: WallMillis,
    /// Such as others have.
    pub(crate) others: WallMillis,
}

/// When keys expire, named by their hash, dead ones included.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expiries {
    own: BTreeSet<(WallMillis, u64)>,
    others: BTreeSet<(WallMillis, u64)>,
}

impl Expiries {
    pub(super) fn insert(&mut self, expiry: Expiry, hash: u64) {
        let of = if expiry.is_own { &mut self.own } else { &mut self.others };
        of.insert((expiry.at, hash));
    }

    pub(super) fn remove(&mut self, expiry: Expiry, hash: u64) {
        // It may have been inserted when it was not known yet that its author is this node.
        let (of, other) =
            if expiry.is_own { (&mut self.own, &mut self.others) } else { (&mut self.others, &mut self.own) };
        if !of.remove(&(expiry.at, hash)) {
            other.remove(&(expiry.at, hash));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn has_due(&self, due: Due) -> bool {
        let begins_before = |set: &BTreeSet<(WallMillis, u64)>, moment| {
            set.first().is_some_and(|(expiry, _)| *expiry < moment)
        };
        begins_before(&self.own, due.own) || begins_before(&self.others, due.others)
    }

    /// Those that are to be removed, own ones first, the longest expired of each first.
    pub(super) fn due(&self, due: Due) -> impl Iterator<Item = (WallMillis, u64)> {
        self.own.range(..(due.own, 0)).chain(self.others.range(..(due.others, 0))).copied()
    }

    /// When the first expires, and when the last.
    pub(super) fn bounds(&self) -> Option<(WallMillis, WallMillis)> {
        let first = self.own.first().into_iter().chain(self.others.first()).min()?;
        let last = self.own.last().into_iter().chain(self.others.last()).max()?;
        Some((first.0, last.0))
    }

    /// Those that expire from a moment on, in that order.
    pub(super) fn from(&self, moment: WallMillis) -> impl Iterator<Item = (WallMillis, u64)> {
        let mut own = self.own.range((moment, 0)..).peekable();
        let mut others = self.others.range((moment, 0)..).peekable();
        std::iter::from_fn(move || match (own.peek(), others.peek()) {
            (Some(one), Some(other)) if other < one => others.next(),
            (None, _) => others.next(),
            _ => own.next(),
        })
        .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(at: u64, is_own: bool) -> Expiry {
        Expiry { at: WallMillis(at), is_own }
    }

    #[test]
    fn what_others_are_to_remove_stands_in_nobodys_way() {
        let mut expiries = Expiries::default();
        (0..100).for_each(|hash| expiries.insert(expiry(10, false), hash));
        expiries.insert(expiry(20, true), 100);
        let due = |own, others| Due { own: WallMillis(own), others: WallMillis(others) };
        assert!(!expiries.has_due(due(20, 10)));
        assert_eq!(expiries.due(due(21, 0)).collect::<Vec<_>>(), [(WallMillis(20), 100)]);
        assert_eq!(expiries.due(due(21, 11)).count(), 101);
        assert_eq!(expiries.bounds(), Some((WallMillis(10), WallMillis(20))));
        assert_eq!(expiries.from(WallMillis(0)).last(), Some((WallMillis(20), 100)));
        expiries.remove(expiry(20, false), 100);
        assert!(!expiries.has_due(due(u64::MAX, 0)), "its author was not known to be this node");
    }
}
