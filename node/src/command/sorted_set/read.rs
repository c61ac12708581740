//! Asking for members, scores and ranks.

use shared::change::Kind;

use super::scores::{NameInterval, ScoreInterval, reply_head, reply_member};
use crate::command::arguments::is;
use crate::command::context::Context;
use crate::command::scan::elements::scan_elements;
use crate::command::scan::random::Sample;
use crate::error::{CommandError, CommandResult};

pub(super) fn zcard<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    context.reply.integer(set.map_or(0, |set| set.len()) as i64);
    Ok(())
}

pub(super) fn zcount<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let interval = ScoreInterval::parse(arguments[2], arguments[3])?;
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    context.reply.integer(set.map_or(0, |set| interval.ranks(set).len()) as i64);
    Ok(())
}

pub(super) fn zlexcount<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let interval = NameInterval::parse(arguments[2], arguments[3])?;
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    context.reply.integer(set.map_or(0, |set| interval.ranks(set).len()) as i64);
    Ok(())
}

pub(super) fn zscore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    match set.and_then(|set| set.score(arguments[2])) {
        Some(score) => context.reply.double(score),
        None => context.reply.null(),
    }
    Ok(())
}

pub(super) fn zmscore<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (key, members) = (context.key(arguments[1]), &arguments[2..]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    context.reply.array(members.len());
    for member in members {
        match set.and_then(|set| set.score(member)) {
            Some(score) => context.reply.double(score),
            None => context.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn zrank<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    match set.and_then(|set| set.rank(arguments[2])) {
        Some(rank) => context.reply.integer(rank as i64),
        None => context.reply.null(),
    }
    Ok(())
}

pub(super) fn zrevrank<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    match set.and_then(|set| Some(set.len() - 1 - set.rank(arguments[2])?)) {
        Some(rank) => context.reply.integer(rank as i64),
        None => context.reply.null(),
    }
    Ok(())
}

pub(super) fn zscan<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    scan_elements(context, Kind::SortedSet, arguments)
}

pub(super) fn zrandmember<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (sample, with_scores) = match arguments[2..] {
        [] => (None, false),
        [count] => (Some(Sample::parse(count)?), false),
        [count, option] if is(option, "withscores") => (Some(Sample::parse_paired(count)?), true),
        [count, ..] => {
            Sample::parse(count)?;
            return Err(CommandError::Syntax);
        }
    };
    let key = context.key(arguments[1]);
    let mut random = context.random();
    let set = context.transaction.read_collection(&key, Kind::SortedSet)?;
    let reply = &mut context.reply;
    match (sample, set) {
        (None, None) => reply.null(),
        (Some(_), None) => reply.array(0),
        (None, Some(set)) => match set.nth(random.below(set.len())) {
            Some((member, _)) => reply.bulk(&member),
            None => reply.null(),
        },
        (Some(sample), Some(set)) => {
            let places = sample.places(set.len(), &mut random);
            reply_head(reply, places.len(), with_scores);
            for (member, _) in places.into_iter().filter_map(|place| set.nth(place)) {
                reply_member(reply, &member, set.score(&member).unwrap_or_default(), with_scores);
            }
        }
    }
    Ok(())
}
