//! Asking for members.

use shared::change::Kind;

use crate::command::context::Context;
use crate::command::scan::elements::scan_elements;
use crate::error::CommandResult;

pub(super) fn scard<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::Set)?;
    context.reply.integer(set.map_or(0, |set| set.len()) as i64);
    Ok(())
}

pub(super) fn sismember<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::Set)?;
    context.reply.integer(set.is_some_and(|set| set.contains(arguments[2])).into());
    Ok(())
}

pub(super) fn smismember<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, members) = (context.key(arguments[1]), &arguments[2..]);
    let set = context.transaction.read_collection(&key, Kind::Set)?;
    context.reply.array(members.len());
    for member in members {
        context.reply.integer(set.is_some_and(|set| set.contains(member)).into());
    }
    Ok(())
}

pub(super) fn smembers<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::Set)?;
    context.reply.set(set.map_or(0, |set| set.len()));
    for (member, _) in set.iter().flat_map(|set| set.iter()) {
        context.reply.bulk(&member);
    }
    Ok(())
}

pub(super) fn sscan<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    scan_elements(context, Kind::Set, arguments)
}
