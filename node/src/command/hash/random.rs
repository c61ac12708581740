//! HRANDFIELD.

use shared::change::Kind;
use shared::resp::{Protocol, ReplyWriter};

use crate::command::arguments::is;
use crate::command::context::Context;
use crate::command::scan::random::Sample;
use crate::error::{CommandError, CommandResult};

pub(super) fn hrandfield<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let (sample, with_values) = match arguments[2..] {
        [] => (None, false),
        [count] => (Some(Sample::parse(count)?), false),
        [count, option] if is(option, "withvalues") => (Some(Sample::parse_paired(count)?), true),
        [count, ..] => {
            Sample::parse(count)?;
            return Err(CommandError::Syntax);
        }
    };
    let key = context.key(arguments[1]);
    let mut random = context.random();
    let hash = context.transaction.read_collection(&key, Kind::Hash)?;
    let reply = &mut context.reply;
    let Some(sample) = sample else {
        match hash.and_then(|hash| hash.nth(random.below(hash.len()))) {
            Some((field, _)) => reply.bulk(&field),
            None => reply.null(),
        }
        return Ok(());
    };
    let Some(hash) = hash else {
        reply.array(0);
        return Ok(());
    };
    let places = sample.places(hash.len(), &mut random);
    head(reply, places.len(), with_values);
    for (field, value) in places.into_iter().filter_map(|place| hash.nth(place)) {
        if with_values && reply.protocol() == Protocol::Resp3 {
            reply.array(2);
        }
        reply.bulk(&field);
        if with_values {
            reply.bulk(&value);
        }
    }
    Ok(())
}

/// Pairs stand in arrays of their own, but for clients that know RESP2 only.
fn head(reply: &mut ReplyWriter<'_>, count: usize, paired: bool) {
    let flat = paired && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { 2 * count } else { count });
}
