//! DEBUG: what tests and tools ask of a server's inside, as far as there is such a thing here. `--enable-debug-command` opens it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::arguments::{lossy, quoted};
use super::context::Context;
use super::introspect::reply_help;
use super::{Access, Command, Handler, Keys};
use crate::config::{Bytes, Permission};
use crate::error::{CommandError, CommandResult};

const FLAGS: &[&str] = &["admin", "noscript", "loading", "stale"];

/// DEBUG SLEEP looks so often whether the node stops.
const SLEEP_STEP: Duration = Duration::from_millis(50);

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("debug", -2, &["container", "admin", "noscript", "loading", "stale"], help),
    Command::without_keys("debug|help", 2, FLAGS, help),
    with_key("debug|object", object),
    Command::without_keys("debug|protocol", 3, FLAGS, protocol),
    Command::without_keys("debug|quicklist-packed-threshold", 3, FLAGS, packed_threshold),
    Command::without_keys("debug|set-active-expire", 3, FLAGS, set_active_expire),
    Command::without_keys("debug|sleep", 3, FLAGS, sleep),
];

const fn with_key(name: &'static str, handler: Handler) -> Command {
    let keys = Keys::Range { first: 2, last: 2, step: 1 };
    Command { name, arity: 3, access: Access::Read, flags: FLAGS, keys, handler }
}

fn check_permitted(context: &Context<'_, '_>) -> CommandResult {
    match context.server.config.debug {
        Permission::Yes => Ok(()),
        Permission::Local if context.client.record.address.is_local() => Ok(()),
        Permission::Local | Permission::No => Err(CommandError::text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from \
             a local connection, otherwise you need to set this option in the configuration file, and then restart \
             the server.",
        )),
    }
}

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    reply_help(
        &mut context.reply,
        "DEBUG",
        &[
            (
                "OBJECT <key>",
                "Where the key lies, what Redis would call its form, the bytes that it takes here\n\
                 (serializedlength), and for how long it was not used.",
            ),
            (
                "PROTOCOL <type>",
                "A reply of this type: string, integer, double, bignum, null, array, set, map, attrib,\n\
                 push, verbatim, true, false.",
            ),
            ("QUICKLIST-PACKED-THRESHOLD <size>", "Accepted: lists are kept in another form here."),
            (
                "SET-ACTIVE-EXPIRE <0|1>",
                "Whether this node removes expired keys; they are hidden all the same.",
            ),
            ("SLEEP <seconds>", "Serve none of the clients that share a thread with this one for so long."),
        ],
    );
    Ok(())
}

fn sleep(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let seconds: f64 = lossy(arguments[2]).parse().unwrap_or(0.0);
    let mut left = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    while !left.is_zero() && !context.server.is_stopping() {
        let step = left.min(SLEEP_STEP);
        std::thread::sleep(step);
        left -= step;
    }
    context.reply.ok();
    Ok(())
}

fn set_active_expire(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    context.server.reaps.store(arguments[2] != b"0", Ordering::Relaxed);
    context.reply.ok();
    Ok(())
}

fn packed_threshold(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let size: Option<Bytes> = lossy(arguments[2]).parse().ok();
    if size.is_none_or(|Bytes(size)| size >> 32 != 0) {
        return Err(CommandError::text(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        ));
    }
    context.reply.ok();
    Ok(())
}

fn object<'a>(context: &mut Context<'_, 'a>, arguments: &[&'a [u8]]) -> CommandResult {
    check_permitted(context)?;
    let key = context.key(arguments[2]);
    let place = context.transaction.place(&key).ok_or(CommandError::NoSuchKey)?;
    let encoding = super::keys::encoding_of(context, &key)?;
    let bytes = context.transaction.memory(&key).unwrap_or(0);
    let idle_s = context.transaction.idle_seconds(&key).unwrap_or(0);
    let used = (context.clocks.wall.0 / 1_000).saturating_sub(idle_s.into()) % (1 << 24);
    context.reply.simple(&format!(
        "Value at:{place} refcount:1 encoding:{encoding} serializedlength:{bytes} lru:{used} lru_seconds_idle:{idle_s}"
    ));
    Ok(())
}

/// A reply of each type, as Redis's tests of clients expect them.
#[expect(clippy::approx_constant, reason = "the number that Redis tells, which is no constant")]
fn protocol(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    check_permitted(context)?;
    let reply = &mut context.reply;
    match &*arguments[2].to_ascii_lowercase() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12_345),
        b"double" => reply.double(3.141),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.begin_attributes(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            let text = format!(
                "ERR Wrong protocol type name '{:.128}'. Please use one of the following: string|integer|double|\
                 bignum|null|array|set|map|attrib|push|verbatim|true|false",
                quoted(arguments[2])
            );
            return Err(CommandError::composed(text));
        }
    }
    Ok(())
}
