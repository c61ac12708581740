//! Adding, removing and moving members.

use std::borrow::Cow;
use std::collections::HashSet;

use shared::change::{CHANGE_OVERHEAD_BYTES, Kind, Value};

use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;
use crate::transaction::Transaction;

pub(super) fn sadd<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, members) = (context.key(arguments[1]), &arguments[2..]);
    context.transaction.reserve_elements(&key, members.iter().map(|member| member.len()))?;
    let mut added = 0;
    for member in members {
        context.transaction.put_if(&key, Kind::Set, member, Value::Bytes(Cow::Borrowed(&[])), |held| {
            added += i64::from(held.is_none());
            held.is_none()
        })?;
    }
    if added > 0 {
        context.transaction.notify(Class::Set, "sadd", &key);
    }
    context.reply.integer(added);
    Ok(())
}

pub(super) fn srem<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, members) = (context.key(arguments[1]), &arguments[2..]);
    let present = present(context.transaction, &key, members)?;
    let mut seen = HashSet::new();
    let gone = members.iter().zip(present).filter(|(_, is_present)| *is_present);
    let gone: Vec<&'a [u8]> = gone.map(|(member, _)| *member).filter(|member| seen.insert(*member)).collect();
    context.transaction.reserve_elements(&key, gone.iter().map(|member| member.len()))?;
    for member in &gone {
        context.transaction.remove(&key, Kind::Set, *member)?;
    }
    if !gone.is_empty() {
        context.transaction.notify_taken(Class::Set, "srem", &key);
    }
    context.reply.integer(gone.len() as i64);
    Ok(())
}

pub(super) fn smove<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (source, target, member) = (context.key(arguments[1]), context.key(arguments[2]), arguments[3]);
    let transaction = &mut *context.transaction;
    let Some(set) = transaction.collection(&source, Kind::Set)? else {
        context.reply.integer(0);
        return Ok(());
    };
    let is_member = set.contains(member);
    let is_there = transaction.collection(&target, Kind::Set)?.is_some_and(|set| set.contains(member));
    if is_member && source != target {
        let bytes = source.bytes.len() + 2 * (target.bytes.len() + member.len());
        transaction.reserve(3 * CHANGE_OVERHEAD_BYTES + bytes)?;
        transaction.remove(&source, Kind::Set, member)?;
        transaction.notify_taken(Class::Set, "srem", &source);
        if !is_there {
            add(transaction, &target, member)?;
            transaction.notify(Class::Set, "sadd", &target);
        }
    }
    context.reply.integer(is_member.into());
    Ok(())
}

/// Adds a member.
pub(super) fn add<'a>(
    transaction: &mut Transaction<'a>,
    key: &Key<'a>,
    member: impl Into<Cow<'a, [u8]>>,
) -> CommandResult {
    transaction.put(key, Kind::Set, member, Value::Bytes(Cow::Borrowed(&[])))
}

/// Which of these are members of the set that the key holds, or would.
fn present(
    transaction: &Transaction<'_>,
    key: &Key<'_>,
    members: &[&[u8]],
) -> Result<Vec<bool>, CommandError> {
    let set = transaction.collection(key, Kind::Set)?;
    Ok(members.iter().map(|member| set.is_some_and(|set| set.contains(member))).collect())
}
