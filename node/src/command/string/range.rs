//! APPEND, STRLEN, GETRANGE and SETRANGE: strings as runs of bytes.

use std::ops::Range;

use crate::command::arguments::integer;
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;

pub(super) fn append<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let tail = arguments[2];
    let limit = context.server.node.settings.bulk_bytes_max();
    let Some(held) = context.transaction.string(&key)? else {
        context.reply.integer(tail.len() as i64);
        context.transaction.write_string(&key, tail)?;
        context.transaction.notify(Class::String, "append", &key);
        return Ok(());
    };
    let length = held.len() + tail.len();
    if length > limit {
        return Err(CommandError::StringTooLong);
    }
    context.reply.integer(length as i64);
    if !tail.is_empty() {
        let whole = [&*held, tail].concat();
        context.transaction.write_string(&key, whole)?;
    } else {
        context.transaction.tell_watchers(&key);
    }
    context.transaction.notify(Class::String, "append", &key);
    Ok(())
}

pub(super) fn strlen<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let length = context.transaction.read_string(&key)?.map_or(0, |value| value.len());
    context.reply.integer(length as i64);
    Ok(())
}

pub(super) fn getrange<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (start, end) = (integer(arguments[2])?, integer(arguments[3])?);
    let key = context.key(arguments[1]);
    let value = context.transaction.read_string(&key)?.unwrap_or_default();
    let part = span(start, end, value.len()).filter(|_| !is_backwards(start, end));
    context.reply.bulk(part.map_or(&[], |part| &value[part]));
    Ok(())
}

pub(super) fn setrange<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let offset = integer(arguments[2])?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let part = arguments[3];
    let key = context.key(arguments[1]);
    let limit = context.server.node.settings.bulk_bytes_max();
    let held = context.transaction.string(&key)?.unwrap_or_default();
    if part.is_empty() {
        context.reply.integer(held.len() as i64);
        return Ok(());
    }
    let end =
        offset.checked_add(part.len()).filter(|end| *end <= limit).ok_or(CommandError::StringTooLong)?;
    let length = end.max(held.len());
    context.transaction.reserve(length)?;
    let mut whole = Vec::with_capacity(length);
    whole.extend_from_slice(&held);
    whole.resize(length, 0);
    whole[offset..end].copy_from_slice(part);
    context.reply.integer(length as i64);
    context.transaction.write_string(&key, whole)?;
    context.transaction.notify(Class::String, "setrange", &key);
    Ok(())
}

/// Whether both ends count from the string's end and the first lies behind the last. GETRANGE and BITCOUNT look
/// at that before they cut the ends to the string, BITPOS does not.
pub(in crate::command) const fn is_backwards(start: i64, end: i64) -> bool {
    start < 0 && end < 0 && start > end
}

/// The part of `total` places from `start` to `end`, both included, where negative ones count from the end and
/// what lies outside is cut off; none if nothing is left.
pub(in crate::command) fn span(start: i64, end: i64, total: usize) -> Option<Range<usize>> {
    let place = |from: i64| match usize::try_from(from) {
        Ok(place) => place,
        Err(_) => total.saturating_sub(usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (first, last) = (place(start), place(end).min(total.checked_sub(1)?));
    (first <= last).then_some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(start: i64, end: i64, total: usize, expected: Option<Range<usize>>) {
        assert_eq!(span(start, end, total), expected);
    }

    #[test]
    fn ends_are_cut_to_what_there_is() {
        check(0, -1, 5, Some(0..5));
        check(1, 3, 5, Some(1..4));
        check(-3, -2, 5, Some(2..4));
        check(-100, 100, 5, Some(0..5));
        check(i64::MIN, i64::MAX, 5, Some(0..5));
        check(i64::MIN, i64::MIN, 5, Some(0..1));
    }

    #[test]
    fn nothing_is_left_of_what_lies_outside() {
        check(5, 9, 5, None);
        check(3, 2, 5, None);
        check(0, -1, 0, None);
        check(i64::MAX, i64::MAX, 5, None);
    }
}
