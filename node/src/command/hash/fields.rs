//! Writing and removing fields.

use std::borrow::Cow;
use std::collections::HashSet;

use shared::change::{Kind, Value};

use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;

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
    let hash = context.transaction.collection(&key, Kind::Hash)?;
    let is_free = !hash.is_some_and(|hash| hash.contains(field));
    if is_free {
        put(context, &key, field, arguments[3])?;
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
    let length = |context: &Context<'_, '_>| -> Result<usize, CommandError> {
        Ok(context.transaction.collection(&key, Kind::Hash)?.map_or(0, |hash| hash.len()))
    };
    let before = length(context)?;
    context
        .transaction
        .reserve_elements(&key, pairs.iter().map(|[field, value]| field.len() + value.len()))?;
    for [field, value] in pairs {
        context.transaction.put(&key, Kind::Hash, *field, Value::Bytes((*value).into()))?;
    }
    let added = length(context)? - before;
    context.transaction.notify(Class::Hash, "hset", &key);
    Ok(added as i64)
}

/// Writes one field.
fn put<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    field: &'a [u8],
    value: impl Into<Cow<'a, [u8]>>,
) -> CommandResult {
    let value = value.into();
    context.transaction.reserve_elements(key, std::iter::once(field.len() + value.len()))?;
    context.transaction.put(key, Kind::Hash, field, Value::Bytes(value))
}
