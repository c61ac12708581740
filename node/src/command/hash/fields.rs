//! Writing and removing fields.

use std::collections::HashSet;

use shared::change::{Kind, Value};

use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;

pub(super) fn hset<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let added = write(context, "hset", arguments)?;
    context.reply.integer(added);
    Ok(())
}

pub(super) fn hmset<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    write(context, "hmset", arguments)?;
    context.reply.ok();
    Ok(())
}

pub(super) fn hsetnx<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, field) = (context.key(arguments[1]), arguments[2]);
    let mut is_free = false;
    let value = Value::Bytes(arguments[3].into());
    context.transaction.put_if(&key, Kind::Hash, field, value, |held| {
        is_free = held.is_none();
        is_free
    })?;
    if is_free {
        context.transaction.notify(Class::Hash, "hset", &key);
    }
    context.reply.integer(is_free.into());
    Ok(())
}

pub(super) fn hdel<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, fields) = (context.key(arguments[1]), &arguments[2..]);
    let Some(hash) = context.transaction.collection(&key, Kind::Hash)? else {
        context.reply.integer(0);
        return Ok(());
    };
    let mut seen = HashSet::new();
    let present: Vec<&'a [u8]> =
        fields.iter().copied().filter(|field| hash.contains(field) && seen.insert(*field)).collect();
    context.transaction.reserve_elements(&key, present.iter().map(|field| field.len()))?;
    for field in &present {
        context.transaction.remove(&key, Kind::Hash, *field)?;
    }
    if !present.is_empty() {
        context.transaction.notify_taken(Class::Hash, "hdel", &key);
    }
    context.reply.integer(present.len() as i64);
    Ok(())
}

/// Writes pairs of fields and values. Returns how many fields are new.
fn write<'a>(context: &mut Context<'_, 'a>, name: &str, arguments: &[&'a [u8]]) -> Result<i64, CommandError> {
    let (pairs, rest) = arguments[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CommandError::WrongArity(name.to_owned()));
    }
    let key = context.key(arguments[1]);
    context
        .transaction
        .reserve_elements(&key, pairs.iter().map(|[field, value]| field.len() + value.len()))?;
    let mut added = 0;
    for [field, value] in pairs {
        let value = Value::Bytes((*value).into());
        context.transaction.put_if(&key, Kind::Hash, field, value, |held| {
            added += i64::from(held.is_none());
            true
        })?;
    }
    context.transaction.notify(Class::Hash, "hset", &key);
    Ok(added)
}
