//! SET and the older commands that are shorthands of it.

use super::get::reply_value;
use super::options::{Condition, Options, Ttl, Unit};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;
use crate::transaction::NewTtl;

pub(super) fn set<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let options = Options::of_set(&arguments[3..])?;
    let key = context.key(arguments[1]);
    let ttl = match options.ttl {
        Some(Ttl::Set(unit, told)) => NewTtl::At(unit.moment(told, context.transaction.now(), "set")?),
        Some(Ttl::Keep) => NewTtl::Keep,
        Some(Ttl::Persist) | None => NewTtl::Clear,
    };
    if options.returns_old {
        reply_value(context, &key)?;
    }
    if options.condition.is_none_or(|condition| holds(context, &key, condition)) {
        write(context, &key, arguments[2], ttl)?;
        if !options.returns_old {
            context.reply.ok();
        }
    } else if !options.returns_old {
        context.reply.null();
    }
    Ok(())
}

fn holds(context: &Context<'_, '_>, key: &Key<'_>, condition: Condition) -> bool {
    context.transaction.exists(key) == (condition == Condition::Present)
}

pub(super) fn setnx<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let absent = !context.transaction.exists(&key);
    if absent {
        write(context, &key, arguments[2], NewTtl::Clear)?;
    }
    context.reply.integer(absent.into());
    Ok(())
}

pub(super) fn setex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    set_for(context, arguments, Unit::Ex, "setex")
}

pub(super) fn psetex<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    set_for(context, arguments, Unit::Px, "psetex")
}

fn set_for<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    unit: Unit,
    command: &str,
) -> CommandResult {
    let expiry = unit.moment(arguments[2], context.transaction.now(), command)?;
    let key = context.key(arguments[1]);
    write(context, &key, arguments[3], NewTtl::At(expiry))?;
    context.reply.ok();
    Ok(())
}

pub(super) fn getset<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    reply_value(context, &key)?;
    write(context, &key, arguments[2], NewTtl::Clear)
}

/// Writes a string whole. One that has already expired removes the key: that is all that anybody could see of
/// it, and so a key's expiry never lies before its writing, as its removal by the reaper presumes.
fn write<'a>(
    context: &mut Context<'_, 'a>,
    key: &Key<'a>,
    value: &'a [u8],
    ttl: NewTtl,
) -> Result<(), CommandError> {
    if let NewTtl::At(expiry) = ttl
        && expiry < context.transaction.now()
    {
        context.transaction.take_away(key)?;
        notify(context, key, ttl);
        context.transaction.notify(Class::Expired, "expired", key);
        return Ok(());
    }
    context.transaction.set(key, value, ttl)?;
    notify(context, key, ttl);
    Ok(())
}

fn notify(context: &mut Context<'_, '_>, key: &Key<'_>, ttl: NewTtl) {
    context.transaction.notify(Class::String, "set", key);
    if matches!(ttl, NewTtl::At(_)) {
        context.transaction.notify(Class::Generic, "expire", key);
    }
}
