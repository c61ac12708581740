//! Removing members, by name and by range.

use std::collections::HashSet;
use std::ops::Range;

use shared::change::Kind;

use super::scores::{NameInterval, ScoreInterval};
use crate::command::arguments::{integer, ranks_between};
use crate::command::context::Context;
use crate::error::CommandResult;
use crate::notifications::Class;
use crate::store::collection::Collection;

pub(super) fn zrem<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.collection(&key, Kind::SortedSet)?;
    let mut seen = HashSet::new();
    let named = arguments[2..].iter().copied();
    let gone = named.filter(|member| set.is_some_and(|set| set.contains(member)) && seen.insert(*member));
    let gone: Vec<&'a [u8]> = gone.collect();
    context.transaction.reserve_elements(&key, gone.iter().map(|member| member.len()))?;
    for member in &gone {
        context.transaction.remove(&key, Kind::SortedSet, *member)?;
    }
    if !gone.is_empty() {
        context.transaction.notify_taken(Class::SortedSet, "zrem", &key);
    }
    context.reply.integer(gone.len() as i64);
    Ok(())
}

pub(super) fn zremrangebyrank<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (start, stop) = (integer(arguments[2])?, integer(arguments[3])?);
    remove_range(context, "zremrangebyrank", arguments[1], |set| ranks_between(start, stop, set.len()))
}

pub(super) fn zremrangebyscore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let interval = ScoreInterval::parse(arguments[2], arguments[3])?;
    remove_range(context, "zremrangebyscore", arguments[1], |set| interval.ranks(set))
}

pub(super) fn zremrangebylex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let interval = NameInterval::parse(arguments[2], arguments[3])?;
    remove_range(context, "zremrangebylex", arguments[1], |set| interval.ranks(set))
}

fn remove_range<'a>(
    context: &mut Context<'_, 'a>,
    event: &'static str,
    key: &'a [u8],
    ranks: impl Fn(Collection<'_>) -> Range<usize>,
) -> CommandResult {
    let key = context.key(key);
    let set = context.transaction.collection(&key, Kind::SortedSet)?;
    let members = set.into_iter().flat_map(|set| set.ranked(ranks(set)));
    let members: Vec<Vec<u8>> = members.map(|(member, _)| member.to_vec()).collect();
    context.transaction.reserve_elements(&key, members.iter().map(Vec::len))?;
    context.reply.integer(members.len() as i64);
    let takes = !members.is_empty();
    for member in members {
        context.transaction.remove(&key, Kind::SortedSet, member)?;
    }
    if takes {
        context.transaction.notify_taken(Class::SortedSet, event, &key);
    }
    Ok(())
}
