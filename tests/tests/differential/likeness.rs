//! When two replies to one command count as equal.
//!
//! As a rule when they are the same, to the byte. Redis promises less for some commands: no order, no certain choice,
//! no certain moment. What is promised of those stands in [`of`], and is all that is compared.

use crate::reply::Reply;

/// How a command's replies are compared. Errors and nulls are always compared exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// To the byte.
    Exact,
    /// Sorted.
    Unordered,
    /// To the byte, but for the order of texts that C takes for shorter than they are, for there are zero bytes in them.
    Collated,
    /// Pairs, sorted: a map, or a flat array of RESP2.
    UnorderedPairs,
    /// Types and lengths only: the choice is free.
    Kind,
    /// Integers may be any.
    ButIntegers,
    /// Times, of so many milliseconds each: they tick, and the servers do not run a command at the same moment.
    Clock(i64),
    /// The first page of a walk: sorted, if it is the last one as well. Of others only the type, for where a page ends is
    /// free; whole walks are compared elsewhere.
    FirstPage,
    /// A page from where a client may have guessed that one begins: there may be anything on it.
    AnyPage,
}

/// Two servers run the same command this much apart at most, in milliseconds; lifetimes that are drawn lie further
/// apart than that.
const APART_MS_MAX: i64 = 40_000;

/// How replies to a command are compared.
pub(crate) fn of(words: &[Vec<u8>]) -> Likeness {
    match name(words).as_str() {
        "keys" | "smembers" | "sinter" | "sunion" | "sdiff" | "hkeys" | "hvals" => Likeness::Unordered,
        "hgetall" => Likeness::UnorderedPairs,
        "randomkey" | "srandmember" | "hrandfield" | "zrandmember" | "spop" | "time" | "lastsave" => {
            Likeness::Kind
        }
        "scan" => of_page(words, 1),
        "sscan" | "hscan" | "zscan" => of_page(words, 2),
        "ttl" | "expiretime" => Likeness::Clock(1_000),
        "pttl" | "pexpiretime" => Likeness::Clock(1),
        "sort" | "sort_ro" => of_sort(words),
        // HELLO tells the connection's id.
        "hello" => Likeness::ButIntegers,
        "client" if is_word(words, 1, "id") => Likeness::ButIntegers,
        // What a key's history left behind in Redis; the node tells what a fresh key's would be. README says so. Fresh
        // keys' are compared exactly.
        "object" if is_word(words, 1, "encoding") => Likeness::Kind,
        // A value that a queued SET wrote is counted twice in Redis, as long as the transaction lasts.
        "object" if is_word(words, 1, "refcount") || is_word(words, 1, "idletime") => Likeness::ButIntegers,
        _ => Likeness::Exact,
    }
}

fn of_page(words: &[Vec<u8>], cursor: usize) -> Likeness {
    if words.get(cursor).is_some_and(|cursor| cursor == b"0") {
        Likeness::FirstPage
    } else {
        Likeness::AnyPage
    }
}

/// Elements are left in their order in the key if the pattern of BY has no star, and a set has none. STORE sorts them
/// nevertheless.
fn of_sort(words: &[Vec<u8>]) -> Likeness {
    let has = |option: &str| (2..words.len()).any(|place| is_word(words, place, option));
    let by =
        (2..words.len()).find(|place| is_word(words, *place, "by")).and_then(|place| words.get(place + 1));
    match by {
        Some(pattern) if !pattern.contains(&b'*') && has("limit") => Likeness::Kind,
        Some(pattern) if !pattern.contains(&b'*') => Likeness::Unordered,
        _ if has("alpha") => Likeness::Collated,
        _ => Likeness::Exact,
    }
}

/// The command's name in lower case, without a subcommand.
pub(crate) fn name(words: &[Vec<u8>]) -> String {
    words.first().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default()
}

fn is_word(words: &[Vec<u8>], place: usize, expected: &str) -> bool {
    words.get(place).is_some_and(|word| word.eq_ignore_ascii_case(expected.as_bytes()))
}

impl Likeness {
    /// Whether the two count as equal.
    pub(crate) fn holds(self, left: &Reply, right: &Reply) -> bool {
        if left == right || is_same_error(left, right) {
            return true;
        }
        match (self, left, right) {
            (Self::Clock(unit_ms), ..) => match (left.integer(), right.integer()) {
                // Below zero it is no time.
                (Some(left), Some(right)) if left >= 0 && right >= 0 => {
                    left.abs_diff(right) as i64 <= APART_MS_MAX / unit_ms
                }
                _ => false,
            },
            (Self::ButIntegers, Reply::Line(_), Reply::Line(_)) => {
                left.integer().is_some() && right.integer().is_some()
            }
            (Self::Kind, Reply::Line(left), Reply::Line(right)) => left[0] == right[0] && left[0] != b'-',
            (Self::Kind, Reply::Bulk(left, _), Reply::Bulk(right, _)) => left == right,
            (Self::Kind | Self::ButIntegers, Reply::Many(sign, left), Reply::Many(other, right)) => {
                sign == other
                    && left.len() == right.len()
                    && left.iter().zip(right).all(|(left, right)| self.holds(left, right))
            }
            (Self::Unordered, Reply::Many(sign, left), Reply::Many(other, right)) => {
                sign == other && sorted(left, 1) == sorted(right, 1)
            }
            (Self::Collated, Reply::Many(_, left), Reply::Many(_, right)) => {
                let has_zero = |item: &Reply| item.bytes().is_some_and(|bytes| bytes.contains(&0));
                left.len() == right.len() && left.iter().chain(right).any(has_zero)
            }
            (Self::UnorderedPairs, Reply::Many(sign, left), Reply::Many(other, right)) => {
                sign == other && sorted(left, 2) == sorted(right, 2)
            }
            (Self::FirstPage, Reply::Many(_, left), Reply::Many(_, right)) => match (&left[..], &right[..]) {
                ([end, left], [other_end, right]) if end.bytes() == Some(b"0") && end == other_end => {
                    Self::Unordered.holds(left, right)
                }
                _ => left.len() == right.len(),
            },
            (Self::AnyPage, Reply::Many(_, left), Reply::Many(_, right)) => left.len() == right.len(),
            _ => false,
        }
    }
}

/// Redis quotes arguments in errors byte by byte, the node as text.
fn is_same_error(left: &Reply, right: &Reply) -> bool {
    match (left, right) {
        (Reply::Line(left), Reply::Line(right)) if left[0] == b'-' => {
            String::from_utf8_lossy(left) == String::from_utf8_lossy(right)
        }
        _ => false,
    }
}

/// The items in runs of `width`, sorted.
pub(crate) fn sorted(items: &[Reply], width: usize) -> Vec<&[Reply]> {
    let mut runs: Vec<&[Reply]> = items.chunks(width).collect();
    runs.sort();
    runs
}
