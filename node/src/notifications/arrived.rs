//! What a peer's write does to the keys here.
//!
//! A transaction of a peer's arrives as changes of cells. What lost against a later write has done nothing. Of several changes that
//! come to the same event of a key, as of a SADD of many members, one is told.

use std::collections::HashSet;

use shared::change::{Change, Contribution, Kind, Op, Sum};
use shared::version::Version;

use super::{Class, Event, Notices, Wanted, creates, ends_expired};
use crate::store::LockedShards;
use crate::store::key::Key;

/// The events of one transaction of a peer's, while it is merged.
pub(crate) struct Arrived {
    notices: Notices,
    at: Version,
    /// Keys that were there, and of which something is removed: in the order in which that was seen.
    lessened: Vec<(u8, Box<[u8]>)>,
    seen: HashSet<(u8, Box<[u8]>)>,
}

/// A change's key and event, and how the key stood before it.
pub(crate) struct Before {
    db: u8,
    key: Box<[u8]>,
    event: Option<(Class, &'static str)>,
    creates: bool,
    lessens: bool,
    is_mark: bool,
    was_there: bool,
    /// The key had expired, and nobody had removed it.
    ends_expired: bool,
}

impl Arrived {
    /// None if nothing is told.
    pub(crate) fn begin(wanted: Wanted, at: Version) -> Option<Self> {
        let (lessened, seen) = Default::default();
        wanted.is_any().then(|| Self { notices: Notices::new(wanted), at, lessened, seen })
    }

    /// Looks at a change's key before it is merged. None if it is of no single key.
    pub(crate) fn before(&self, change: &Change<'_>, locked: &LockedShards<'_>) -> Option<Before> {
        let op = &change.op;
        if matches!(op, Op::FlushAll | Op::FlushDb | Op::ObservedFlush(_)) {
            return None;
        }
        let key = Key::new(change.db, &change.key);
        let entry = locked.of(&key).find(&key).filter(|entry| entry.kind().is_some());
        let has_expired = entry.is_some_and(|entry| entry.visible_kind(self.at.timestamp.wall()).is_none());
        let is_mark = matches!(op, Op::Mark { .. });
        Some(Before {
            db: change.db,
            key: change.key.to_vec().into(),
            event: event_of(op),
            creates: creates(op),
            lessens: matches!(op, Op::Reset | Op::ObservedReset(_) | Op::Cell(_, None)),
            is_mark,
            was_there: entry.is_some(),
            ends_expired: entry.is_some() && ends_expired(op) && (has_expired || is_mark),
        })
    }

    /// Notes what the change has done to its key.
    pub(crate) fn after(&mut self, before: Before, locked: &LockedShards<'_>) {
        let Before { db, key: bytes, event, was_there, .. } = before;
        let key = Key::new(db, &bytes);
        let is_there = locked.of(&key).find(&key).is_some_and(|entry| entry.kind().is_some());
        let has_ended = before.ends_expired && !(before.is_mark && is_there);
        if has_ended {
            self.note(Class::Expired, "expired", &key);
        }
        if before.creates && is_there && (!was_there || has_ended) && !self.seen_of(&key) {
            self.note(Class::New, "new", &key);
        }
        if let Some((class, name)) = event {
            self.note(class, name, &key);
        }
        if before.lessens && was_there && !has_ended && self.seen.insert((db, bytes.clone())) {
            self.lessened.push((db, bytes));
        }
    }

    /// All that the transaction has done. A key of which nothing is left is told as deleted.
    pub(crate) fn finish(mut self, locked: &LockedShards<'_>) -> Notices {
        for (db, bytes) in std::mem::take(&mut self.lessened) {
            let key = Key::new(db, &bytes);
            if locked.of(&key).find(&key).is_none_or(|entry| entry.kind().is_none()) {
                self.note(Class::Generic, "del", &key);
            }
        }
        self.notices
    }

    /// Whether the key was there when the transaction began, and is only written anew.
    fn seen_of(&self, key: &Key<'_>) -> bool {
        self.seen.contains(&(key.db, Box::from(key.bytes)))
    }

    fn note(&mut self, class: Class, name: &'static str, key: &Key<'_>) {
        let is_same = |event: &Event| event.name == name && event.db == key.db && *event.key == *key.bytes;
        if !self.notices.events.last().is_some_and(is_same) {
            self.notices.note(class, name, key);
        }
    }
}

/// What a change is called by itself. Resets and marks are told by what they leave.
const fn event_of(op: &Op<'_>) -> Option<(Class, &'static str)> {
    Some(match op {
        Op::Set(_) => (Class::String, "set"),
        Op::Expire(Some(_)) => (Class::Generic, "expire"),
        Op::Expire(None) => (Class::Generic, "persist"),
        Op::Cell(cell, Some(_)) => match cell.kind {
            Kind::String => (Class::String, "set"),
            Kind::List => (Class::List, "rpush"),
            Kind::Set => (Class::Set, "sadd"),
            Kind::Hash => (Class::Hash, "hset"),
            Kind::SortedSet => (Class::SortedSet, "zadd"),
        },
        Op::Cell(cell, None) => match cell.kind {
            Kind::String => return None,
            Kind::List => (Class::List, "lrem"),
            Kind::Set => (Class::Set, "srem"),
            Kind::Hash => (Class::Hash, "hdel"),
            Kind::SortedSet => (Class::SortedSet, "zrem"),
        },
        Op::Count(cell, Contribution { sum, .. }) => match (cell.kind, sum) {
            (Kind::Hash, Sum::Decimal(_)) => (Class::Hash, "hincrbyfloat"),
            (Kind::Hash, _) => (Class::Hash, "hincrby"),
            (Kind::SortedSet, _) => (Class::SortedSet, "zincr"),
            (_, Sum::Decimal(_)) => (Class::String, "incrbyfloat"),
            _ => (Class::String, "incrby"),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use shared::change::{CellId, Value};
    use shared::id::Origin;
    use shared::time::WallMillis;

    use super::*;
    use crate::error::CommandError;
    use crate::log::segment::LogPosition;
    use crate::node::Node;
    use crate::node::tests::memory_node;
    use crate::store::ShardSet;
    use crate::transaction::{Clocks, End, NewTtl, Transaction};

    const KEY: &[u8] = b"k";

    /// A master that writes, and one that hears of it.
    struct Pair {
        author: Node,
        listener: Node,
        read: LogPosition,
        now_ms: u64,
    }

    impl Pair {
        fn new() -> Self {
            let (author, listener) = (memory_node(Origin(1)), memory_node(Origin(2)));
            listener.settings.set_notify_keyspace_events("KEAn".parse().expect("letters"));
            Self { author, listener, read: LogPosition::default(), now_ms: 1_000_000 }
        }

        /// What the listener tells of a transaction of the author's.
        #[track_caller]
        fn check(
            &mut self,
            write: impl for<'a> FnOnce(&mut Transaction<'a>, Key<'static>) -> Result<(), CommandError>,
            expected: &[&str],
        ) {
            self.now_ms += 10;
            let wall = WallMillis(self.now_ms);
            let clocks = Clocks { wall, mono_us: 0 };
            let mut transaction =
                Transaction::begin(&self.author, ShardSet::ALL, clocks, true).expect("it takes writes");
            write(&mut transaction, Key::new(0, KEY)).expect("nothing is too large");
            transaction.commit();
            self.author.log.seal(0);
            let mut told = Vec::new();
            for sealed in self.author.log.recent(self.read, usize::MAX).expect("all is in memory") {
                self.read = sealed.end();
                let tell = &mut |notices: Notices| told.extend(notices.events);
                self.listener.apply_and_tell(&sealed.bytes, None, wall, tell).expect("it is whole");
            }
            assert!(told.iter().all(|event| event.db == 0 && *event.key == *KEY));
            let names: Vec<&str> = told.iter().map(|event| event.name).collect();
            assert_eq!(names, expected);
        }
    }

    fn member(
        transaction: &mut Transaction<'_>,
        key: Key<'static>,
        member: &'static [u8],
    ) -> Result<(), CommandError> {
        transaction.put(&key, Kind::Set, member, Value::Bytes(Cow::Borrowed(&[])))
    }

    #[test]
    fn writes_are_told_by_what_changes() {
        let mut pair = Pair::new();
        pair.check(|t, key| t.set(&key, &b"1"[..], NewTtl::Clear), &["new", "set"]);
        pair.check(|t, key| t.increment(&key, 5).map(drop), &["incrby"]);
        pair.check(|t, key| t.add_decimal(&key, CellId::STRING, b"6.5".to_vec()), &["incrbyfloat"]);
        pair.check(|t, key| t.expire(&key, Some(WallMillis(2_000_000))), &["expire"]);
        pair.check(|t, key| t.expire(&key, None), &["persist"]);
        pair.check(|t, key| t.delete(&key).map(drop), &["del"]);
        pair.check(|t, key| member(t, key, b"a").and_then(|()| member(t, key, b"b")), &["new", "sadd"]);
        pair.check(|t, key| t.remove(&key, Kind::Set, &b"a"[..]), &["srem"]);
        pair.check(|t, key| t.remove(&key, Kind::Set, &b"b"[..]), &["srem", "del"]);
        let values = || [Cow::Borrowed(&b"x"[..]), Cow::Borrowed(&b"y"[..])].into_iter();
        pair.check(|t, key| t.push(&key, End::Head, values()).map(drop), &["new", "rpush"]);
        pair.check(|t, _| t.flush_db(0), &[]);
    }

    #[test]
    fn a_key_that_is_written_anew_is_not_deleted() {
        let mut pair = Pair::new();
        pair.check(|t, key| member(t, key, b"a"), &["new", "sadd"]);
        pair.check(|t, key| t.clear(&key).and_then(|()| member(t, key, b"b")), &["sadd"]);
    }

    #[test]
    fn an_expired_key_is_told_when_it_is_removed_or_written_over() {
        let mut pair = Pair::new();
        let soon = |pair: &Pair| NewTtl::At(WallMillis(pair.now_ms + 15));
        let ttl = soon(&pair);
        pair.check(|t, key| t.set(&key, &b"1"[..], ttl), &["new", "set", "expire"]);
        pair.check(|t, key| t.reap(&key), &["expired"]);
        let ttl = soon(&pair);
        pair.check(|t, key| t.set(&key, &b"1"[..], ttl), &["new", "set", "expire"]);
        pair.now_ms += 100;
        pair.check(|t, key| member(t, key, b"a"), &["expired", "new", "sadd"]);
    }

    #[test]
    fn what_loses_is_not_told() {
        let mut pair = Pair::new();
        let clocks = Clocks { wall: WallMillis(1_005_000), mono_us: 0 };
        let mut own =
            Transaction::begin(&pair.listener, ShardSet::ALL, clocks, true).expect("it takes writes");
        own.set(&Key::new(0, KEY), &b"later"[..], NewTtl::Clear).expect("it is small");
        own.commit();
        pair.check(|t, key| t.set(&key, &b"earlier"[..], NewTtl::Clear), &[]);
    }
}
