//! Taking the members with the lowest or highest scores.

use shared::change::Kind;
use shared::resp::Protocol;

use super::scores::reply_head;
use crate::command::arguments::{integer, is};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::store::key::Key;

/// Which end of a sorted set is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Extreme {
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
        [count] => match integer(count) {
            Ok(count @ 0..) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => return Err(CommandError::text("ERR value is out of range, must be positive")),
        },
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
    let popping = Popping::parse(&arguments[1..])?;
    if !popping.carry_out(context)? {
        context.reply.null_array();
    }
    Ok(())
}

/// What ZMPOP and BZMPOP are asked for.
pub(in crate::command) struct Popping<'r, 'a> {
    keys: &'r [&'a [u8]],
    end: Extreme,
    count: usize,
}

impl<'r, 'a> Popping<'r, 'a> {
    /// Reads it from the number of keys on.
    pub(in crate::command) fn parse(arguments: &'r [&'a [u8]]) -> Result<Self, CommandError> {
        let number = match integer(arguments[0]) {
            Ok(number @ 1..) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => return Err(CommandError::text("ERR numkeys should be greater than 0")),
        };
        let (keys, rest) = arguments[1..].split_at_checked(number).ok_or(CommandError::Syntax)?;
        let (end, rest) = rest.split_first().ok_or(CommandError::Syntax)?;
        let end = Extreme::parse(end)?;
        let count = match rest {
            [] => 1,
            [option, count, rest @ ..] if is(option, "count") => match integer(count) {
                Ok(1..) if !rest.is_empty() => return Err(CommandError::Syntax),
                Ok(count @ 1..) => usize::try_from(count).unwrap_or(usize::MAX),
                _ => return Err(CommandError::text("ERR count should be greater than 0")),
            },
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self { keys, end, count })
    }

    /// Takes from the first of the keys that holds anything, and replies with that. Says whether there was one.
    pub(in crate::command) fn carry_out(&self, context: &mut Context<'_, 'a>) -> Result<bool, CommandError> {
        for name in self.keys {
            let key = context.key(name);
            let popped = take(context, &key, self.end, self.count)?;
            if popped.is_empty() {
                continue;
            }
            context.reply.array(2);
            context.reply.bulk(name);
            context.reply.array(popped.len());
            for (member, score) in popped {
                context.reply.array(2);
                context.reply.bulk(&member);
                context.reply.double(score);
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// Takes up to `count` members from an end of the key's set.
pub(in crate::command) fn take<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    end: Extreme,
    count: usize,
) -> Result<Vec<(Vec<u8>, f64)>, CommandError> {
    let Some(set) = context.transaction.collection(key, Kind::SortedSet)? else { return Ok(Vec::new()) };
    let owned = |(member, score): (&[u8], f64)| (member.to_vec(), score);
    let popped: Vec<_> = match end {
        Extreme::Min => set.ranked(0..count.min(set.len())).map(owned).collect(),
        Extreme::Max => set.ranked(set.len().saturating_sub(count)..set.len()).rev().map(owned).collect(),
    };
    context.transaction.reserve_elements(key, popped.iter().map(|(member, _)| member.len()))?;
    for (member, _) in &popped {
        context.transaction.remove(key, Kind::SortedSet, member.clone())?;
    }
    Ok(popped)
}
