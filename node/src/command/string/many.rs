//! MGET, MSET and MSETNX.

use shared::change::CHANGE_OVERHEAD_BYTES;

use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::transaction::NewTtl;

pub(super) fn mget<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let keys = &arguments[1..];
    context.reply.array(keys.len());
    for bytes in keys {
        let key = context.key(bytes);
        match context.transaction.read_string(&key) {
            Ok(Some(value)) => context.reply.bulk(&value),
            Ok(None) | Err(CommandError::WrongType) => context.reply.null(),
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

pub(super) fn mset<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let pairs = pairs(arguments, "mset")?;
    set_all(context, pairs)?;
    context.reply.ok();
    Ok(())
}

pub(super) fn msetnx<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let pairs = pairs(arguments, "msetnx")?;
    let all_absent = pairs.iter().all(|[key, _]| !context.transaction.exists(&context.key(key)));
    if all_absent {
        set_all(context, pairs)?;
    }
    context.reply.integer(all_absent.into());
    Ok(())
}

/// The keys, each with its value.
fn pairs<'p, 'a>(arguments: &'p [&'a [u8]], command: &str) -> Result<&'p [[&'a [u8]; 2]], CommandError> {
    match arguments[1..].as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err(CommandError::WrongArity(command.to_owned())),
    }
}

/// Sets all of them or, if that is too much for one transaction, none.
fn set_all<'a>(context: &mut Context<'_, 'a>, pairs: &[[&'a [u8]; 2]]) -> CommandResult {
    let bytes = pairs.iter().map(|[key, value]| CHANGE_OVERHEAD_BYTES + key.len() + value.len()).sum();
    context.transaction.reserve(bytes)?;
    for [key, value] in pairs {
        let key = context.key(key);
        context.transaction.set(&key, *value, NewTtl::Clear)?;
        context.transaction.notify(Class::String, "set", &key);
    }
    Ok(())
}
