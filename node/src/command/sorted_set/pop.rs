//! Taking the members with the lowest or highest scores.

use shared::change::Kind;
use shared::resp::Protocol;

use super::scores::reply_head;
use crate::command::arguments::{count, is};
use crate::command::blocking::{Attempt, Wanted, take_or_wait};
use crate::command::context::Context;
use crate::command::popping::Popping;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::block::Text;
use crate::store::key::Key;

/// Which end of a sorted set is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extreme {
    Min,
    Max,
}

impl Extreme {
    fn parse(argument: &[u8]) -> Result<Self, CommandError> {
        match argument {
            end if is(end, "min") => Ok(Self::Min),
            end if is(end, "max") => Ok(Self::Max),
            _ => Err(CommandError::Syntax),
        }
    }
}

pub(super) fn zpopmin<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    pop(context, Extreme::Min, arguments)
}

pub(super) fn zpopmax<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    pop(context, Extreme::Max, arguments)
}

fn pop<'a>(context: &mut Context<'_, 'a>, end: Extreme, arguments: &[&'a [u8]]) -> CommandResult {
    let count = match arguments[2..] {
        [] => None,
        [argument] => Some(count(argument)?),
        _ => return Err(CommandError::Syntax),
    };
    let key = context.key(arguments[1]);
    let popped = take(context, &key, end, count.unwrap_or(1))?;
    match count {
        Some(_) => reply_head(&mut context.reply, popped.len(), true),
        None => context.reply.array(2 * popped.len()),
    }
    for (member, score) in popped {
        if count.is_some() && context.reply.protocol() == Protocol::Resp3 {
            context.reply.array(2);
        }
        context.reply.bulk(&member);
        context.reply.double(score);
    }
    Ok(())
}

pub(super) fn zmpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let popping = Popping::parse(&arguments[1..], Extreme::parse)?;
    for name in popping.keys {
        if reply_taken(context, name, &popping)? {
            return Ok(());
        }
    }
    context.reply.null_array();
    Ok(())
}

pub(super) fn bzmpop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let keys = Popping::parse(&arguments[2..], Extreme::parse)?.keys;
    let attempt: Attempt = |context, key, arguments| {
        reply_taken(context, key, &Popping::parse(&arguments[2..], Extreme::parse)?)
    };
    let timeout = arguments[1];
    take_or_wait(context, arguments, Wanted { kind: Kind::SortedSet, keys, target: None, timeout, attempt })
}

pub(super) fn bzpopmin<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    blocking_pop(context, arguments, |context, key, _| reply_outermost(context, key, Extreme::Min))
}

pub(super) fn bzpopmax<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    blocking_pop(context, arguments, |context, key, _| reply_outermost(context, key, Extreme::Max))
}

fn blocking_pop<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    attempt: Attempt,
) -> CommandResult {
    let (keys, timeout) = (&arguments[1..arguments.len() - 1], arguments[arguments.len() - 1]);
    take_or_wait(context, arguments, Wanted { kind: Kind::SortedSet, keys, target: None, timeout, attempt })
}

/// Takes a member from an end of the key's set, and replies with the key, it and its score. Says whether there was one.
fn reply_outermost<'a>(
    context: &mut Context<'_, 'a>,
    name: &'a [u8],
    end: Extreme,
) -> Result<bool, CommandError> {
    let key = context.key(name);
    let taken = take(context, &key, end, 1)?;
    if let Some((member, score)) = taken.first() {
        context.reply.array(3);
        context.reply.bulk(name);
        context.reply.bulk(member);
        context.reply.double(*score);
    }
    Ok(!taken.is_empty())
}

/// Takes what is asked for from the key's set, and replies with the key and that. Says whether there was anything.
fn reply_taken<'a>(
    context: &mut Context<'_, 'a>,
    name: &'a [u8],
    popping: &Popping<'_, 'a, Extreme>,
) -> Result<bool, CommandError> {
    let key = context.key(name);
    let taken = take(context, &key, popping.end, popping.count)?;
    if !taken.is_empty() {
        context.reply.array(2);
        context.reply.bulk(name);
        context.reply.array(taken.len());
        for (member, score) in &taken {
            context.reply.array(2);
            context.reply.bulk(member);
            context.reply.double(*score);
        }
    }
    Ok(!taken.is_empty())
}

/// Takes up to `count` members from an end of the key's set.
fn take<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    end: Extreme,
    count: usize,
) -> Result<Vec<(Vec<u8>, f64)>, CommandError> {
    let Some(set) = context.transaction.collection(key, Kind::SortedSet)? else { return Ok(Vec::new()) };
    let owned = |(member, score): (Text<'_>, f64)| (member.into_owned(), score);
    let popped: Vec<_> = match end {
        Extreme::Min => set.ranked(0..count.min(set.len())).map(owned).collect(),
        Extreme::Max => set.ranked(set.len().saturating_sub(count)..set.len()).rev().map(owned).collect(),
    };
    context.transaction.reserve_elements(key, popped.iter().map(|(member, _)| member.len()))?;
    for (member, _) in &popped {
        context.transaction.remove(key, Kind::SortedSet, member.clone())?;
    }
    if !popped.is_empty() {
        let event = if end == Extreme::Min { "zpopmin" } else { "zpopmax" };
        context.transaction.notify_taken(Class::SortedSet, event, key);
    }
    Ok(popped)
}
