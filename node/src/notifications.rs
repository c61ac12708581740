//! Keyspace notifications: what happens to keys, as messages to those who listen to the channels of that.
//!
//! Commands say what they did under the name that Redis gives it. A peer's write arrives as changes of cells, without the
//! command that made them: what it did is told by these, see [`arrived`]. Either is noted while the keys are locked, and sent when
//! they are no longer. Each node tells its own clients; nothing of it goes over links.

pub(crate) mod arrived;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use shared::change::Op;

use crate::store::key::Key;

/// The letters of `notify-keyspace-events`, in the order in which Redis tells them: each is a bit of [`Wanted`].
const LETTERS: &[u8; 14] = b"g$lshzxetdnKEm";

/// What `A` stands for: the first ten letters.
const ALL: u16 = (1 << 10) - 1;

/// What an event is about. Redis's other classes, of streams and modules, have no events here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Generic = 0,
    String = 1,
    List = 2,
    Set = 3,
    Hash = 4,
    SortedSet = 5,
    Expired = 6,
    /// A key was removed for want of memory.
    Evicted = 7,
    /// A key is there that was not.
    New = 10,
    /// A key was read that is not there.
    Miss = 13,
}

/// Messages on the channel of the key.
const KEYSPACE: u16 = 1 << 11;
/// Messages on the channel of the event.
const KEYEVENT: u16 = 1 << 12;

/// Which events are told, and how: the setting `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted(pub(crate) u16);

impl Wanted {
    pub(crate) const fn has(self, class: Class) -> bool {
        self.0 & 1 << class as u16 != 0
    }

    /// Whether anything is told at all.
    pub(crate) const fn is_any(self) -> bool {
        self.0 != 0
    }

    /// As it is, or nothing if there is no channel on which to tell it.
    pub(crate) const fn effective(self) -> Self {
        if self.0 & (KEYSPACE | KEYEVENT) == 0 { Self(0) } else { self }
    }
}

impl FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bits = text.bytes().try_fold(0, |bits, letter| match letter {
            b'A' => Some(bits | ALL),
            letter => Some(bits | 1 << LETTERS.iter().position(|other| *other == letter)?),
        });
        bits.map(Self).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Behind an A Redis does not tell the n, though it holds.
        let told = if self.0 & ALL == ALL { self.0 & !(ALL | 1 << Class::New as u16) } else { self.0 };
        if self.0 & ALL == ALL {
            f.write_str("A")?;
        }
        let set = LETTERS.iter().enumerate().filter(|(place, _)| told & 1 << place != 0);
        set.map(|(_, letter)| char::from(*letter)).try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) db: u8,
    pub(crate) key: Box<[u8]>,
}

/// The events of a transaction, to be sent when its locks are released. Bounded by what the transaction names and changes.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub(crate) wanted: Wanted,
    events: Vec<Event>,
}

impl Notices {
    pub(crate) const fn new(wanted: Wanted) -> Self {
        Self { wanted, events: Vec::new() }
    }

    /// Notes an event, if events of its class are told.
    pub(crate) fn note(&mut self, class: Class, name: &'static str, key: &Key<'_>) {
        if self.wanted.has(class) {
            self.events.push(Event { name, db: key.db, key: key.bytes.into() });
        }
    }

    /// Notes that a key was looked for, and is not there.
    pub(crate) fn note_miss(&mut self, key: &Key<'_>) {
        self.note(Class::Miss, "keymiss", key);
    }

    /// Gives each event's messages, channel and payload, in order.
    pub(crate) fn send(self, mut publish: impl FnMut(&[u8], &[u8])) {
        for Event { name, db, key } in self.events {
            if self.wanted.0 & KEYSPACE != 0 {
                publish(&[format!("__keyspace@{db}__:").as_bytes(), &key].concat(), name.as_bytes());
            }
            if self.wanted.0 & KEYEVENT != 0 {
                publish(format!("__keyevent@{db}__:{name}").as_bytes(), &key);
            }
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Whether a change makes a key that is not there.
pub(crate) const fn creates(op: &Op<'_>) -> bool {
    matches!(op, Op::Set(_) | Op::Cell(_, Some(_)) | Op::Count(..))
}

/// Whether a change ends all that it meets of an expired key.
pub(crate) const fn ends_expired(op: &Op<'_>) -> bool {
    matches!(op, Op::Set(_) | Op::Reset | Op::ObservedReset(_) | Op::Mark { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let wanted: Wanted = text.parse().expect("all letters are known");
        assert_eq!(wanted.to_string(), expected);
    }

    #[test]
    fn the_setting_is_told_in_the_order_of_redis() {
        check("", "");
        check("KEA", "AKE");
        check("EK$lg", "g$lKE");
        check("g$lshzxetdKE", "AKE");
        check("mnKx", "xnKm");
        check("AKn", "AK");
        check("AmE", "AEm");
        assert!("KEq".parse::<Wanted>().is_err());
        assert_eq!("An".parse::<Wanted>().map(|wanted| wanted.has(Class::New)), Ok(true));
    }

    fn sent(wanted: &str) -> Vec<String> {
        let mut notices = Notices::new(wanted.parse::<Wanted>().expect("letters").effective());
        notices.note(Class::String, "set", &Key::new(3, b"k"));
        notices.note(Class::Generic, "expire", &Key::new(3, b"k"));
        let mut sent = Vec::new();
        notices.send(|channel, message| {
            sent.push([channel, b" ", message].concat());
        });
        sent.into_iter().map(|message| String::from_utf8(message).expect("text")).collect()
    }

    #[test]
    fn events_are_sent_on_the_channels_that_are_wanted() {
        assert_eq!(sent("K$"), ["__keyspace@3__:k set"]);
        assert_eq!(sent("Eg"), ["__keyevent@3__:expire k"]);
        assert_eq!(sent("KE$"), ["__keyspace@3__:k set", "__keyevent@3__:set k"]);
        assert_eq!(sent("KA").len(), 2);
        assert!(sent("A").is_empty(), "there is no channel");
        assert!(sent("KEl").is_empty());
    }
}
