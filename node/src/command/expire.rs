//! Commands that set, tell and take away when a key expires.

use shared::time::WallMillis;

use super::arguments::{integer, is, quoted};
use super::context::Context;
use super::{Access, Command, Handler, Keys};
use crate::error::{CommandError, CommandResult};
use crate::notifications::Class;
use crate::store::key::Key;
use crate::transaction::Transaction;

pub(super) const COMMANDS: &[Command] = &[
    row("expire", -3, Access::Write, expire),
    row("pexpire", -3, Access::Write, pexpire),
    row("expireat", -3, Access::Write, expireat),
    row("pexpireat", -3, Access::Write, pexpireat),
    row("ttl", 2, Access::Read, ttl),
    row("pttl", 2, Access::Read, pttl),
    row("expiretime", 2, Access::Read, expiretime),
    row("pexpiretime", 2, Access::Read, pexpiretime),
    row("persist", 2, Access::Write, persist),
];

const fn row(name: &'static str, arity: i32, access: Access, handler: Handler) -> Command {
    Command { name, arity, access, flags: &["fast"], keys: Keys::ONE, handler }
}

fn expire<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    set_expiry(context, arguments, &Form { command: "expire", unit_ms: 1_000, is_relative: true })
}

fn pexpire<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    set_expiry(context, arguments, &Form { command: "pexpire", unit_ms: 1, is_relative: true })
}

fn expireat<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    set_expiry(context, arguments, &Form { command: "expireat", unit_ms: 1_000, is_relative: false })
}

fn pexpireat<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    set_expiry(context, arguments, &Form { command: "pexpireat", unit_ms: 1, is_relative: false })
}

/// How a command says when its key shall expire.
struct Form {
    command: &'static str,
    /// The unit of its number, in milliseconds.
    unit_ms: i64,
    /// Whether the number counts from now, or from the epoch.
    is_relative: bool,
}

impl Form {
    /// The moment, in milliseconds since the epoch; below zero if long past.
    fn moment(&self, argument: &[u8], now: WallMillis) -> Result<i64, CommandError> {
        let base = if self.is_relative { signed(now) } else { 0 };
        let moment = integer(argument)?.checked_mul(self.unit_ms).and_then(|offset| offset.checked_add(base));
        moment.ok_or_else(|| {
            CommandError::composed(format!("ERR invalid expire time in '{}' command", self.command))
        })
    }
}

fn set_expiry<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]], form: &Form) -> CommandResult {
    let conditions = Conditions::parse(&arguments[3..])?;
    let key = context.key(arguments[1]);
    let moment = form.moment(arguments[2], context.transaction.now())?;
    let sets = context.transaction.exists(&key)
        && conditions.allow(context.transaction.expiry(&key).map(signed), moment);
    if sets {
        expire_at(context.transaction, &key, moment)?;
    }
    context.transaction.touch(&key);
    context.reply.integer(sets.into());
    Ok(())
}

/// An expiry in the past deletes the key.
fn expire_at<'a>(transaction: &mut Transaction<'a>, key: &Key<'a>, moment: i64) -> CommandResult {
    match u64::try_from(moment) {
        Ok(moment) if moment > transaction.now().0 => {
            transaction.expire(key, Some(WallMillis(moment)))?;
            transaction.notify(Class::Generic, "expire", key);
            Ok(())
        }
        _ => transaction.delete(key).map(drop),
    }
}

/// When an expiry is set.
#[derive(Default)]
struct Conditions {
    /// Only if the key has none.
    nx: bool,
    /// Only if it has one.
    xx: bool,
    /// Only if it is later than the one before; none is later than any.
    gt: bool,
    /// Only if it is earlier than the one before.
    lt: bool,
}

impl Conditions {
    fn parse(arguments: &[&[u8]]) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for argument in arguments {
            let condition = match argument {
                option if is(option, "nx") => &mut conditions.nx,
                option if is(option, "xx") => &mut conditions.xx,
                option if is(option, "gt") => &mut conditions.gt,
                option if is(option, "lt") => &mut conditions.lt,
                other => {
                    return Err(CommandError::composed(format!("ERR Unsupported option {}", quoted(other))));
                }
            };
            *condition = true;
        }
        conditions.check_compatible()?;
        Ok(conditions)
    }

    fn check_compatible(&self) -> CommandResult {
        if self.nx && (self.xx || self.gt || self.lt) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if self.gt && self.lt {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(())
    }

    /// Whether they let `moment` take the place of `current`, both in milliseconds since the epoch.
    fn allow(&self, current: Option<i64>, moment: i64) -> bool {
        match current {
            None => !self.xx && !self.gt,
            Some(current) => !self.nx && (!self.gt || moment > current) && (!self.lt || moment < current),
        }
    }
}

fn ttl<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply_expiry(context, arguments, |expiry, now| to_seconds(remaining(expiry, now)))
}

fn pttl<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply_expiry(context, arguments, remaining)
}

fn expiretime<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply_expiry(context, arguments, |expiry, _| to_seconds(signed(expiry)))
}

fn pexpiretime<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    reply_expiry(context, arguments, |expiry, _| signed(expiry))
}

/// Replies -2 for a key that does not exist, -1 for one that does not expire.
fn reply_expiry<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    shown: impl Fn(WallMillis, WallMillis) -> i64,
) -> CommandResult {
    let key = context.key(arguments[1]);
    let transaction = &mut *context.transaction;
    let reply = match transaction.expiry(&key) {
        Some(expiry) => shown(expiry, transaction.now()),
        None if transaction.look_for(&key) => -1,
        None => -2,
    };
    context.reply.integer(reply);
    Ok(())
}

fn remaining(expiry: WallMillis, now: WallMillis) -> i64 {
    signed(WallMillis(expiry.0.saturating_sub(now.0)))
}

/// Rounded to the nearest, as Redis does.
const fn to_seconds(millis: i64) -> i64 {
    millis.saturating_add(500) / 1_000
}

fn signed(wall: WallMillis) -> i64 {
    i64::try_from(wall.0).unwrap_or(i64::MAX)
}

fn persist<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    let key = context.key(arguments[1]);
    let expires = context.transaction.expiry(&key).is_some();
    if expires {
        context.transaction.expire(&key, None)?;
        context.transaction.notify(Class::Generic, "persist", &key);
    }
    context.transaction.touch(&key);
    context.reply.integer(expires.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: &[&[u8]], current: Option<i64>, moment: i64, expected: bool) {
        let conditions = Conditions::parse(options).unwrap();
        assert_eq!(conditions.allow(current, moment), expected, "{current:?} -> {moment}");
    }

    #[test]
    fn conditions_compare_with_the_expiry_before() {
        check(&[], None, 5, true);
        check(&[b"NX"], None, 5, true);
        check(&[b"nx"], Some(4), 5, false);
        check(&[b"XX"], None, 5, false);
        check(&[b"XX"], Some(4), 5, true);
        check(&[b"GT"], Some(4), 5, true);
        check(&[b"GT"], Some(5), 5, false);
        check(&[b"LT"], Some(6), 5, true);
        check(&[b"LT"], Some(5), 5, false);
        check(&[b"XX", b"LT"], Some(6), 5, true);
    }

    #[test]
    fn no_expiry_is_later_than_any() {
        check(&[b"GT"], None, i64::MAX, false);
        check(&[b"LT"], None, i64::MAX, true);
        check(&[b"XX", b"LT"], None, 5, false);
    }

    #[test]
    fn moments_beyond_64_bits_are_refused() {
        let seconds = Form { command: "expire", unit_ms: 1_000, is_relative: true };
        let now = WallMillis(1_000_000);
        assert_eq!(seconds.moment(b"-3", now).unwrap(), 997_000);
        for argument in [&b"9223372036854775807"[..], b"-9223372036854775808", b"9223372036854775"] {
            let error = seconds.moment(argument, now).unwrap_err();
            assert_eq!(error.to_string(), "ERR invalid expire time in 'expire' command");
        }
    }
}
