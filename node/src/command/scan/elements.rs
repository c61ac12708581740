//! HSCAN, SSCAN and ZSCAN.

use shared::change::Kind;

use super::{ScanOptions, Scanned, parse_cursor};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};

/// What Redis keeps packed comes whole, whatever the count: up to so many elements.
const WHOLE_MAX: usize = 128;

/// Replies with some of the elements, their values behind them if the kind has any.
pub(in crate::command) fn scan_elements<'a>(
    context: &mut Context<'_, 'a>,
    kind: Kind,
    arguments: &[&'a [u8]],
) -> CommandResult {
    let cursor = parse_cursor(arguments[2]).ok_or(CommandError::text("ERR invalid cursor"))?;
    let key = context.key(arguments[1]);
    let collection = context.transaction.read_collection(&key, kind)?;
    let Some(collection) = collection else {
        context.reply.array(2);
        context.reply.bulk(b"0");
        context.reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(&arguments[3..], Scanned::Elements)?;
    let count = if collection.len() <= WHOLE_MAX { WHOLE_MAX } else { options.count };
    let (next, mut found) = collection.scan(cursor, count);
    found.retain(|(element, _)| options.pattern.matches(element));
    let reply = &mut context.reply;
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(if kind == Kind::Set { found.len() } else { 2 * found.len() });
    for (element, value) in found {
        reply.bulk(&element);
        match kind {
            Kind::Set => {}
            Kind::SortedSet => {
                let score = collection.score(&element).unwrap_or_default();
                reply.bulk(shared::resp::format_double(score).as_bytes());
            }
            _ => reply.bulk(&value),
        }
    }
    Ok(())
}
