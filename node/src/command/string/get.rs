//! GET, GETDEL and GETEX.

use super::options::{Options, Ttl, Unit};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;

pub(super) fn get<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    reply_value(context, &key)?;
    Ok(())
}

pub(super) fn getdel<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    if reply_value(context, &key)? {
        context.transaction.delete(&key)?;
    }
    Ok(())
}

pub(super) fn getex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let options = Options::of_getex(&arguments[2..])?;
    let key = context.key(arguments[1]);
    // What is wrong with the time is told only where there is a value.
    if !reply_value(context, &key)? {
        return Ok(());
    }
    match options.ttl {
        Some(Ttl::Set(unit, told)) => expire(context, &key, unit, told),
        Some(Ttl::Persist) if context.transaction.expiry(&key).is_some() => {
            context.transaction.expire(&key, None)?;
            context.transaction.notify(Class::Generic, "persist", &key);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Sets when the key expires; one that lies in the past removes the key.
fn expire<'a>(context: &mut Context<'_, 'a>, key: &Key<'a>, unit: Unit, told: &[u8]) -> CommandResult {
    let now = context.transaction.now();
    let expiry = unit.moment(told, now, "getex")?;
    if expiry <= now {
        context.transaction.delete(key)?;
        return Ok(());
    }
    context.transaction.expire(key, Some(expiry))?;
    context.transaction.notify(Class::Generic, "expire", key);
    Ok(())
}

/// Replies with the key's string, or with null. Returns whether there is one.
pub(super) fn reply_value(context: &mut Context<'_, '_>, key: &Key<'_>) -> Result<bool, CommandError> {
    match context.transaction.read_string(key)? {
        Some(value) => {
            context.reply.bulk(&value);
            Ok(true)
        }
        None => {
            context.reply.null();
            Ok(false)
        }
    }
}
