//! Pushing.

use std::borrow::Cow;

use shared::change::Kind;

use crate::command::context::Context;
use crate::error::CommandResult;
use crate::notifications::Class;
use crate::store::list_id::ID_BYTES_MAX;
use crate::transaction::End;

pub(super) fn lpush<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    push(context, End::Head, false, arguments)
}

pub(super) fn rpush<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    push(context, End::Tail, false, arguments)
}

pub(super) fn lpushx<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    push(context, End::Head, true, arguments)
}

pub(super) fn rpushx<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    push(context, End::Tail, true, arguments)
}

fn push<'a>(
    context: &mut Context<'_, 'a>,
    end: End,
    only_existing: bool,
    arguments: &[&'a [u8]],
) -> CommandResult {
    let (key, values) = (context.key(arguments[1]), &arguments[2..]);
    if only_existing && context.transaction.collection(&key, Kind::List)?.is_none() {
        context.reply.integer(0);
        return Ok(());
    }
    let lengths = values.iter().map(|value| ID_BYTES_MAX + value.len());
    context.transaction.reserve_elements(&key, lengths)?;
    let held = context.transaction.push(&key, end, values.iter().map(|value| Cow::Borrowed(*value)))?;
    context.transaction.notify(Class::List, pushed(end), &key);
    context.reply.integer((held + values.len()) as i64);
    Ok(())
}

/// The event of a push to this end.
pub(super) const fn pushed(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}
