//! Fields as numbers.

use shared::change::{CellId, Kind};

use crate::command::arguments::integer;
use crate::command::context::Context;
use crate::command::string::long_double::LongDouble;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;

pub(super) fn hincrby<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, field) = (context.key(arguments[1]), arguments[2]);
    let by = integer(arguments[3])?;
    let cell = CellId { kind: Kind::Hash, element: field.into() };
    context.transaction.reserve_elements(&key, std::iter::once(field.len()))?;
    let not_a_number = CommandError::text("ERR hash value is not an integer");
    let sum = context.transaction.add_integer(&key, cell, by, not_a_number)?;
    context.transaction.notify(Class::Hash, "hincrby", &key);
    context.reply.integer(sum);
    Ok(())
}

/// HINCRBYFLOAT comes to the text that Redis gives, and adds to the field by just as much.
pub(super) fn hincrbyfloat<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, field) = (context.key(arguments[1]), arguments[2]);
    let by = LongDouble::parse(arguments[3]).ok_or(CommandError::NotFloat)?;
    if !by.is_finite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }
    let held = context.transaction.collection(&key, Kind::Hash)?.and_then(|hash| hash.get(field));
    let held = match held {
        Some(text) => LongDouble::parse(&text).ok_or(CommandError::text("ERR hash value is not a float"))?,
        None => LongDouble::ZERO,
    };
    let sum = held + by;
    if !sum.is_finite() {
        return Err(CommandError::text("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.to_string().into_bytes();
    let cell = CellId { kind: Kind::Hash, element: field.into() };
    context.transaction.reserve_elements(&key, std::iter::once(field.len() + text.len()))?;
    context.transaction.add_decimal(&key, cell, text.clone())?;
    context.transaction.notify(Class::Hash, "hincrbyfloat", &key);
    context.reply.bulk(&text);
    Ok(())
}
