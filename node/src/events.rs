//! Keyspace notifications: which are wanted, and what they say.

use shared::change::{Change, Kind, Op};

use crate::store::LockedShards;
use crate::store::key::Key;

/// What an event is about. Each has a letter in `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Generic,
    String,
    List,
    Set,
    Hash,
    SortedSet,
    Expired,
    New,
}

impl Class {
    pub(crate) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::String => Self::String,
            Kind::List => Self::List,
            Kind::Set => Self::Set,
            Kind::Hash => Self::Hash,
            Kind::SortedSet => Self::SortedSet,
        }
    }

    const fn letter(self) -> u8 {
        match self {
            Self::Generic => b'g',
            Self::String => b'$',
            Self::List => b'l',
            Self::Set => b's',
            Self::Hash => b'h',
            Self::SortedSet => b'z',
            Self::Expired => b'x',
            Self::New => b'n',
        }
    }
}

/// Which events are told, and how: the value of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted(u32);

/// The letters in the order in which Redis tells them. Of streams, evictions, modules and misses there are no events here.
const LETTERS: &[u8; 14] = b"g$lshzxetdnKEm";

/// What `A` stands for.
const ALL: &[u8] = b"g$lshzxetd";

impl Wanted {
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// None for an unknown letter.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let bit = |letter: &u8| match letter {
            b'A' => Some(Self::of(ALL)),
            letter => LETTERS.contains(letter).then(|| Self::of(&[*letter])),
        };
        text.iter().try_fold(Self::default(), |wanted, letter| Some(Self(wanted.0 | bit(letter)?.0)))
    }

    fn of(letters: &[u8]) -> Self {
        let is_in = |(place, letter): (usize, &u8)| u32::from(letters.contains(letter)) << place;
        Self(LETTERS.iter().enumerate().map(is_in).sum())
    }

    fn has(self, letter: u8) -> bool {
        self.0 & Self::of(&[letter]).0 != 0
    }

    /// Whether any channel is told of anything.
    pub(crate) fn is_on(self) -> bool {
        self.has(b'K') || self.has(b'E')
    }
}

/// As Redis tells it back.
impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = Self::of(ALL).0;
        let is_all = self.0 & all == all;
        let told = LETTERS.iter().filter(|letter| self.has(**letter) && !(is_all && ALL.contains(letter)));
        let text: String =
            is_all.then_some('A').into_iter().chain(told.map(|letter| char::from(*letter))).collect();
        f.write_str(&text)
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyEvent {
    pub(crate) class: Class,
    pub(crate) name: &'static str,
    pub(crate) db: u8,
    pub(crate) key: Box<[u8]>,
}

impl KeyEvent {
    pub(crate) fn new(class: Class, name: &'static str, db: u8, key: &[u8]) -> Self {
        Self { class, name, db, key: key.into() }
    }

    /// The channels that are told of it, each with what it is told.
    pub(crate) fn messages(&self, wanted: Wanted) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
        let is_wanted = wanted.has(self.class.letter());
        let keyspace = (is_wanted && wanted.has(b'K')).then(|| {
            let channel = [format!("__keyspace@{}__:", self.db).as_bytes(), &self.key].concat();
            (channel, self.name.as_bytes())
        });
        let keyevent = (is_wanted && wanted.has(b'E'))
            .then(|| (format!("__keyevent@{}__:{}", self.db, self.name).into_bytes(), &*self.key));
        keyspace.into_iter().chain(keyevent)
    }
}

/// A change that came from another master, before it is merged.
pub(crate) struct Remote<'c> {
    change: &'c Change<'c>,
    existed: bool,
}

impl<'c> Remote<'c> {
    /// None of what is no single key's.
    pub(crate) fn before(change: &'c Change<'c>, locked: &LockedShards<'_>) -> Option<Self> {
        let is_whole = matches!(change.op, Op::FlushDb | Op::FlushAll | Op::ObservedFlush(_));
        (!is_whole).then(|| Self { change, existed: exists(change, locked) })
    }

    /// What has happened, now that it is merged and has changed something. The command is not known: the events have the names
    /// of the commonest that make such a change.
    pub(crate) fn events(&self, locked: &LockedShards<'_>, events: &mut Vec<KeyEvent>) {
        let Change { db, key, op, .. } = self.change;
        let exists = exists(self.change, locked);
        let mut push = |class, name| events.push(KeyEvent::new(class, name, *db, key));
        if !self.existed && exists {
            push(Class::New, "new");
        }
        match op {
            Op::Set(_) => push(Class::String, "set"),
            Op::Cell(id, Some(_)) => push(Class::of(id.kind), written(id.kind)),
            Op::Cell(id, None) if self.existed => push(Class::of(id.kind), removed(id.kind)),
            Op::Count(id, _) => push(Class::of(id.kind), counted(id.kind)),
            Op::Expire(Some(_)) if exists => push(Class::Generic, "expire"),
            Op::Expire(None) if exists => push(Class::Generic, "persist"),
            Op::Mark { .. } if self.existed && !exists => push(Class::Expired, "expired"),
            _ => {}
        }
        if self.existed && !exists && !matches!(op, Op::Mark { .. }) {
            push(Class::Generic, "del");
        }
    }
}

fn exists(change: &Change<'_>, locked: &LockedShards<'_>) -> bool {
    let key = Key::new(change.db, &change.key);
    locked.of(&key).find(&key).is_some_and(|entry| entry.kind().is_some())
}

const fn written(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "set",
        Kind::List => "rpush",
        Kind::Set => "sadd",
        Kind::Hash => "hset",
        Kind::SortedSet => "zadd",
    }
}

const fn removed(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "del",
        Kind::List => "lrem",
        Kind::Set => "srem",
        Kind::Hash => "hdel",
        Kind::SortedSet => "zrem",
    }
}

const fn counted(kind: Kind) -> &'static str {
    match kind {
        Kind::SortedSet => "zincr",
        Kind::Hash => "hincrby",
        _ => "incrby",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_told_back_as_redis_does() {
        for (text, expected) in [
            ("", ""),
            ("KEA", "AKE"),
            ("K$l", "$lK"),
            ("KEg$lshzxetd", "AKE"),
            ("EKm", "KEm"),
            ("nxE", "xnE"),
        ] {
            assert_eq!(
                Wanted::parse(text.as_bytes()).map(|wanted| wanted.to_string()).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(Wanted::parse(b"Kq"), None);
    }

    #[test]
    fn an_event_goes_to_the_channels_that_are_wanted() {
        let event = KeyEvent::new(Class::List, "lpush", 9, b"key");
        let told = |text: &[u8]| {
            let wanted = Wanted::parse(text).unwrap();
            let messages = event.messages(wanted);
            messages
                .map(|(channel, said)| {
                    format!("{} {}", String::from_utf8_lossy(&channel), String::from_utf8_lossy(said))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(told(b"KEl"), ["__keyspace@9__:key lpush", "__keyevent@9__:lpush key"]);
        assert_eq!(told(b"EA"), ["__keyevent@9__:lpush key"]);
        assert!(told(b"KE$").is_empty() && told(b"l").is_empty());
    }
}
