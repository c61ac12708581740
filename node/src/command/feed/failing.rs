//! What failing memory does, for tests of whole processes. Only builds with the feature `simulation` have it.

use super::check_permitted;
use crate::command::context::Context;
use crate::error::CommandResult;

/// FEED CORRUPT key: flips a bit of the key's value, without a new version. Answers whether there was one.
pub(super) fn corrupt<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    check_permitted(context)?;
    let is_done = context.server.node.store.flip_a_bit(&context.key(arguments[2]));
    context.reply.integer(i64::from(is_done));
    Ok(())
}

/// FEED LOSE key: loses the key without a trace. Answers whether there was one.
pub(super) fn lose<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    check_permitted(context)?;
    let is_done = context.server.node.store.lose(&context.key(arguments[2]));
    context.reply.integer(i64::from(is_done));
    Ok(())
}
