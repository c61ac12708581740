//! Changing what stands within a list.

use std::ops::Range;

use shared::change::{Kind, Value};

use super::place;
use crate::command::arguments::{integer, is, ranks_between};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::collection::Element;
use crate::store::key::Key;
use crate::store::list_id::ID_BYTES_MAX;

pub(super) fn lset<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let Some(list) = context.transaction.collection(&key, Kind::List)? else {
        return Err(CommandError::NoSuchKey);
    };
    let index = integer(arguments[2])?;
    let element = place(index, list.len()).and_then(|place| list.nth(place));
    let (id, _) = element.ok_or(CommandError::text("ERR index out of range"))?;
    let id = id.to_vec();
    context.transaction.put(&key, Kind::List, id, Value::Bytes(arguments[3].into()))?;
    context.transaction.notify(Class::List, "lset", &key);
    context.reply.ok();
    Ok(())
}

pub(super) fn linsert<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let behind = match arguments[2] {
        side if is(side, "before") => 0,
        side if is(side, "after") => 1,
        _ => return Err(CommandError::Syntax),
    };
    let key = context.key(arguments[1]);
    let Some(list) = context.transaction.collection(&key, Kind::List)? else {
        context.reply.integer(0);
        return Ok(());
    };
    let length = list.len();
    let Some(pivot) = list.iter().position(|(_, value)| *value == *arguments[3]) else {
        context.reply.integer(-1);
        return Ok(());
    };
    context.transaction.reserve_elements(&key, std::iter::once(ID_BYTES_MAX + arguments[4].len()))?;
    context.transaction.insert(&key, pivot + behind, arguments[4])?;
    context.transaction.notify(Class::List, "linsert", &key);
    context.reply.integer(length as i64 + 1);
    Ok(())
}

pub(super) fn lrem<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let count = integer(arguments[2])?;
    let limit = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let key = context.key(arguments[1]);
    let Some(list) = context.transaction.collection(&key, Kind::List)? else {
        context.reply.integer(0);
        return Ok(());
    };
    let equals = |(id, value): Element<'_>| (*value == *arguments[3]).then(|| id.to_vec());
    let ids: Vec<Vec<u8>> = if count < 0 {
        list.iter().rev().filter_map(equals).take(limit).collect()
    } else {
        list.iter().filter_map(equals).take(limit).collect()
    };
    context.reply.integer(ids.len() as i64);
    let takes = !ids.is_empty();
    remove_all(context, &key, ids)?;
    if takes {
        context.transaction.notify_taken(Class::List, "lrem", &key);
    }
    Ok(())
}

pub(super) fn ltrim<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (start, stop) = (integer(arguments[2])?, integer(arguments[3])?);
    let key = context.key(arguments[1]);
    let list = context.transaction.collection(&key, Kind::List)?;
    let mut ids = Vec::new();
    let is_there = list.is_some();
    if let Some(list) = list {
        let Range { start, end } = ranks_between(start, stop, list.len());
        let outside = list.range(0..start).chain(list.range(end..list.len()));
        ids.extend(outside.map(|(id, _)| id.to_vec()));
    }
    context.reply.ok();
    remove_all(context, &key, ids)?;
    if is_there {
        context.transaction.tell_watchers(&key);
        context.transaction.notify_taken(Class::List, "ltrim", &key);
    }
    Ok(())
}

fn remove_all<'a>(context: &mut Context<'_, 'a>, key: &Key<'a>, ids: Vec<Vec<u8>>) -> CommandResult {
    context.transaction.reserve_elements(key, ids.iter().map(Vec::len))?;
    ids.into_iter().try_for_each(|id| context.transaction.remove(key, Kind::List, id))
}
