//! SPOP and SRANDMEMBER.

use shared::change::Kind;

use crate::command::arguments::count;
use crate::command::context::Context;
use crate::command::scan::random::Sample;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;

pub(super) fn srandmember<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let sample = match arguments[2..] {
        [] => None,
        [count] => Some(Sample::parse(count)?),
        _ => return Err(CommandError::Syntax),
    };
    let key = context.key(arguments[1]);
    let mut random = context.random();
    let set = context.transaction.read_collection(&key, Kind::Set)?;
    let reply = &mut context.reply;
    match (sample, set) {
        (None, None) => reply.null(),
        (None, Some(set)) => match set.nth(random.below(set.len())) {
            Some((member, _)) => reply.bulk(&member),
            None => reply.null(),
        },
        (Some(_), None) => reply.array(0),
        (Some(sample), Some(set)) => {
            let places = sample.places(set.len(), &mut random);
            reply.array(places.len());
            for (member, _) in places.into_iter().filter_map(|place| set.nth(place)) {
                reply.bulk(&member);
            }
        }
    }
    Ok(())
}

pub(super) fn spop<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let count = match arguments[2..] {
        [] => None,
        [argument] => Some(count(argument)?),
        _ => return Err(CommandError::Syntax),
    };
    let key = context.key(arguments[1]);
    let mut random = context.random();
    let Some(set) = context.transaction.collection(&key, Kind::Set)? else {
        match count {
            None => context.reply.null(),
            Some(_) => context.reply.set(0),
        }
        return Ok(());
    };
    let places = Sample::Distinct(count.unwrap_or(1)).places(set.len(), &mut random);
    let members = places.into_iter().filter_map(|place| set.nth(place));
    let members: Vec<Vec<u8>> = members.map(|(member, _)| member.to_vec()).collect();
    context.transaction.reserve_elements(&key, members.iter().map(Vec::len))?;
    if count.is_some() {
        context.reply.set(members.len());
    }
    let takes = !members.is_empty();
    for member in members {
        context.reply.bulk(&member);
        context.transaction.remove(&key, Kind::Set, member)?;
    }
    if takes {
        context.transaction.notify_taken(Class::Set, "spop", &key);
    }
    Ok(())
}
