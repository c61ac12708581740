//! Intersections, unions and differences.

use std::borrow::Cow;
use std::collections::BTreeSet;

use shared::change::Kind;

use super::members::add;
use crate::command::arguments::{key_count, limit};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::block::Text;
use crate::store::collection::Collection;
use crate::store::key::Key;
use crate::transaction::Transaction;

/// What is made of several sets.
#[derive(Clone, Copy)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

pub(super) fn sinter<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Operation::Intersection, &arguments[1..])
}

pub(super) fn sunion<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Operation::Union, &arguments[1..])
}

pub(super) fn sdiff<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply(context, Operation::Difference, &arguments[1..])
}

pub(super) fn sinterstore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    store(context, Operation::Intersection, "sinterstore", arguments)
}

pub(super) fn sunionstore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    store(context, Operation::Union, "sunionstore", arguments)
}

pub(super) fn sdiffstore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    store(context, Operation::Difference, "sdiffstore", arguments)
}

pub(super) fn sintercard<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let Some((keys, options)) = arguments[2..].split_at_checked(key_count(arguments[1])?) else {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    };
    let limit = limit(options)?;
    let sets = sets(context.transaction, context.client.db, keys)?;
    let cardinality = intersection(&sets).take(limit).count();
    context.reply.integer(cardinality as i64);
    Ok(())
}

fn reply<'a>(context: &mut Context<'_, 'a>, operation: Operation, keys: &[&'a [u8]]) -> CommandResult {
    let sets = sets(context.transaction, context.client.db, keys)?;
    let members = members(operation, &sets);
    context.reply.set(members.len());
    for member in members {
        context.reply.bulk(&member);
    }
    Ok(())
}

fn store<'a>(
    context: &mut Context<'_, 'a>,
    operation: Operation,
    name: &'static str,
    arguments: &[&'a [u8]],
) -> CommandResult {
    let sets = sets(context.transaction, context.client.db, &arguments[2..])?;
    let members = members(operation, &sets).into_iter().map(Text::into_owned).collect();
    let target = context.key(arguments[1]);
    let count = replace(context.transaction, &target, members)?;
    if count > 0 {
        context.transaction.notify(Class::Set, name, &target);
    }
    context.reply.integer(count as i64);
    Ok(())
}

/// Makes the key hold these members and nothing else; none, and it is gone.
pub(in crate::command) fn replace<'a>(
    transaction: &mut Transaction<'a>,
    key: &Key<'a>,
    members: Vec<Vec<u8>>,
) -> Result<usize, CommandError> {
    let count = members.len();
    if members.is_empty() {
        transaction.delete(key)?;
        return Ok(0);
    }
    transaction.reserve_elements(key, members.iter().map(Vec::len))?;
    transaction.clear(key)?;
    for member in members {
        add(transaction, key, Cow::Owned(member))?;
    }
    Ok(count)
}

/// The sets that the keys hold; an absent one is empty. Their keys count as used.
fn sets<'c>(
    transaction: &'c mut Transaction<'_>,
    db: u8,
    keys: &[&[u8]],
) -> Result<Vec<Option<Collection<'c>>>, CommandError> {
    // To note a key's use needs the transaction alone: so this comes before any set is held.
    for key in keys {
        transaction.read_collection(&Key::new(db, key), Kind::Set)?;
    }
    keys.iter().map(|key| transaction.collection(&Key::new(db, key), Kind::Set)).collect()
}

fn members<'c>(operation: Operation, sets: &[Option<Collection<'c>>]) -> Vec<Text<'c>> {
    let all = |set: Option<Collection<'c>>| set.into_iter().flat_map(|set| set.iter()).map(|(name, _)| name);
    match operation {
        Operation::Intersection => intersection(sets).collect(),
        Operation::Union => sets.iter().copied().flat_map(all).collect::<BTreeSet<_>>().into_iter().collect(),
        Operation::Difference => {
            let Some((first, others)) = sets.split_first() else { return Vec::new() };
            let is_elsewhere = |name: &[u8]| others.iter().flatten().any(|set| set.contains(name));
            all(*first).filter(|name| !is_elsewhere(name)).collect()
        }
    }
}

/// By looking for each member of the smallest set in the others.
fn intersection<'s, 'c>(sets: &'s [Option<Collection<'c>>]) -> impl Iterator<Item = Text<'c>> + use<'s, 'c> {
    let smallest = sets.iter().min_by_key(|set| set.map_or(0, |set| set.len()));
    let candidates = smallest.copied().flatten().into_iter().flat_map(|set| set.iter());
    let is_everywhere = move |name: &[u8]| sets.iter().all(|set| set.is_some_and(|set| set.contains(name)));
    candidates.map(|(name, _)| name).filter(move |name| is_everywhere(name))
}
