//! INCR and its family, and INCRBYFLOAT.

use shared::change::CellId;

use super::long_double::LongDouble;
use crate::command::arguments::integer;
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;

pub(super) fn incr<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    add(context, arguments[1], 1)
}

pub(super) fn decr<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    add(context, arguments[1], -1)
}

pub(super) fn incrby<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    add(context, arguments[1], integer(arguments[2])?)
}

pub(super) fn decrby<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let by = integer(arguments[2])?.checked_neg();
    add(context, arguments[1], by.ok_or_else(|| CommandError::text("ERR decrement would overflow"))?)
}

fn add<'a>(context: &mut Context<'_, 'a>, key: &'a [u8], by: i64) -> CommandResult {
    let key = context.key(key);
    let sum = context.transaction.increment(&key, by)?;
    context.transaction.notify(Class::String, "incrby", &key);
    context.reply.integer(sum);
    Ok(())
}

/// INCRBYFLOAT comes to the text that Redis gives, and adds to the string by just as much.
pub(super) fn incrbyfloat<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let held = match context.transaction.string(&key)? {
        Some(text) => LongDouble::parse(&text).ok_or(CommandError::NotFloat)?,
        None => LongDouble::ZERO,
    };
    let by = LongDouble::parse(arguments[2]).ok_or(CommandError::NotFloat)?;
    let sum = held + by;
    if !sum.is_finite() {
        return Err(CommandError::text("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.to_string().into_bytes();
    context.reply.bulk(&text);
    context.transaction.reserve_elements(&key, std::iter::once(text.len()))?;
    context.transaction.add_decimal(&key, CellId::STRING, text)?;
    context.transaction.notify(Class::String, "incrbyfloat", &key);
    Ok(())
}
