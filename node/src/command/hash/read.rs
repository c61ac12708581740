//! Reading fields.

use shared::change::Kind;

use crate::command::context::Context;
use crate::command::scan::elements::scan_elements;
use crate::error::CommandResult;

pub(super) fn hget<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    match hash.and_then(|hash| hash.get(arguments[2])) {
        Some(value) => context.reply.bulk(&value),
        None => context.reply.null(),
    }
    Ok(())
}

pub(super) fn hmget<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, fields) = (context.key(arguments[1]), &arguments[2..]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    context.reply.array(fields.len());
    for field in fields {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => context.reply.bulk(&value),
            None => context.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn hlen<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    context.reply.integer(hash.map_or(0, |hash| hash.len()) as i64);
    Ok(())
}

pub(super) fn hstrlen<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    let value = hash.and_then(|hash| hash.get(arguments[2]));
    context.reply.integer(value.map_or(0, |value| value.len()) as i64);
    Ok(())
}

pub(super) fn hexists<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    context.reply.integer(hash.is_some_and(|hash| hash.contains(arguments[2])).into());
    Ok(())
}

pub(super) fn hkeys<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    context.reply.array(hash.map_or(0, |hash| hash.len()));
    for (field, _) in hash.iter().flat_map(|hash| hash.iter()) {
        context.reply.bulk(&field);
    }
    Ok(())
}

pub(super) fn hvals<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    context.reply.array(hash.map_or(0, |hash| hash.len()));
    for (_, value) in hash.iter().flat_map(|hash| hash.iter()) {
        context.reply.bulk(&value);
    }
    Ok(())
}

pub(super) fn hgetall<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    context.reply.map(hash.map_or(0, |hash| hash.len()));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        context.reply.bulk(&field);
        context.reply.bulk(&value);
    }
    Ok(())
}

pub(super) fn hscan<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    scan_elements(context, Kind::Hash, arguments)
}
