//! Commands that range over the keys of a database: KEYS, SCAN and RANDOMKEY.

pub(crate) mod glob;

pub(super) mod elements;

mod page;

pub(super) mod random;

use super::arguments::{integer, is};
use super::context::Context;
use super::{Access, Command, Handler, Keys};
use crate::error::{CommandError, CommandResult};
use crate::store::entry::Entry;
use crate::store::shard::Shard;

use self::page::{Cursor, Page};

pub(super) const COMMANDS: &[Command] =
    &[row("keys", 2, keys), row("scan", -2, scan), row("randomkey", 1, random_key)];

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command { name, arity, access: Access::Read, flags: &[], keys: Keys::All, handler }
}

fn keys<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (db, now) = (context.client.db, context.transaction.now());
    let pattern = Pattern::new(arguments[1]);
    let entries = context.transaction.shards().flat_map(|shard| shard.entries(db));
    let found: Vec<&Entry> =
        entries.filter(|entry| pattern.matches(entry.key()) && entry.visible_kind(now).is_some()).collect();
    context.reply.array(found.len());
    for entry in found {
        context.reply.bulk(entry.key());
    }
    Ok(())
}

fn scan<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let cursor = parse_cursor(arguments[1]).ok_or(CommandError::text("ERR invalid cursor"))?;
    let options = ScanOptions::parse(&arguments[2..], Scanned::Keys)?;
    let (db, now) = (context.client.db, context.transaction.now());
    // A cursor that no page ends with lies behind all keys.
    let page = Cursor::from_client(cursor).map_or_else(Page::default, |from| {
        Page::read(context.transaction.shards(), db, from, options.count, now)
    });
    let is_wanted = |entry: &&&Entry| {
        let kind = entry.visible_kind(now).map_or("none", |kind| kind.name());
        options.pattern.matches(entry.key()) && options.kind.is_none_or(|wanted| is(wanted, kind))
    };
    let found: Vec<&&Entry> = page.entries.iter().filter(is_wanted).collect();
    context.reply.array(2);
    context.reply.bulk(itoa::Buffer::new().format(page.next.to_client()).as_bytes());
    context.reply.array(found.len());
    for entry in found {
        context.reply.bulk(entry.key());
    }
    Ok(())
}

fn random_key(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let mut random = context.random();
    let shards: Vec<&Shard> = context.transaction.shards().collect();
    match random.entry(&shards, context.client.db, context.transaction.now()) {
        Some(entry) => context.reply.bulk(entry.key()),
        None => context.reply.null(),
    }
    Ok(())
}

/// What is walked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scanned {
    Keys,
    /// What one key holds: there are no kinds to choose from.
    Elements,
}

/// What stands behind SCAN's cursor.
struct ScanOptions<'a> {
    pattern: Pattern<'a>,
    /// How many keys are looked at, about.
    count: usize,
    /// The name of a kind; of one that does not exist there are no keys.
    kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    fn parse(arguments: &[&'a [u8]], scanned: Scanned) -> Result<Self, CommandError> {
        let mut options = Self { pattern: Pattern(None), count: 10, kind: None };
        let mut rest = arguments;
        loop {
            rest = match rest {
                [] => return Ok(options),
                [option, count, rest @ ..] if is(option, "count") => {
                    options.count = parse_count(count)?;
                    rest
                }
                [option, pattern, rest @ ..] if is(option, "match") => {
                    options.pattern = Pattern::new(pattern);
                    rest
                }
                [option, kind, rest @ ..] if is(option, "type") && scanned == Scanned::Keys => {
                    options.kind = Some(kind);
                    rest
                }
                _ => return Err(CommandError::Syntax),
            };
        }
    }
}

fn parse_count(argument: &[u8]) -> Result<usize, CommandError> {
    let count = integer(argument)?;
    if count < 1 {
        return Err(CommandError::Syntax);
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Reads a cursor as Redis does, by C's `strtoul`: a sign may stand before it, a zero byte ends it, and nothing at all is
/// zero.
fn parse_cursor(argument: &[u8]) -> Option<u64> {
    let text = argument.split(|byte| *byte == 0).next().unwrap_or_default();
    let (is_negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if is_negative { magnitude.wrapping_neg() } else { magnitude })
}

/// Which keys are wanted: those that match a glob, or all.
#[derive(Clone, Copy)]
struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    /// A lone star matches every key, the empty one included, which the glob itself would not.
    fn new(argument: &'a [u8]) -> Self {
        Self((argument != b"*").then_some(argument))
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.0.is_none_or(|pattern| glob::matches(pattern, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_by_strtoul() {
        for (argument, expected) in [
            (&b"0"[..], Some(0)),
            (b"", Some(0)),
            (b"+17", Some(17)),
            (b"-1", Some(u64::MAX)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"\0", Some(0)),
            (b"17\0x", Some(17)),
            (b"-", None),
            (b"+-1", None),
            (b" 1", None),
            (b"1x", None),
        ] {
            assert_eq!(parse_cursor(argument), expected, "{argument:?}");
        }
    }

    #[test]
    fn a_count_is_at_least_one() {
        assert_eq!(parse_count(b"9223372036854775807").unwrap(), i64::MAX as usize);
        assert!(matches!(parse_count(b"0"), Err(CommandError::Syntax)));
        assert!(matches!(parse_count(b"x"), Err(CommandError::NotInteger)));
    }
}
