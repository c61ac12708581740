//! Commands about the connection itself. CLIENT stands in [`client`].

pub(crate) mod client;

use shared::announcement::Role;
use shared::change::DATABASES;
use shared::resp::Protocol;

use super::arguments::{integer, is, quoted};
use super::context::Context;
use super::{Command, monitor, pubsub, transaction};
use crate::client::{After, ReplyMode};
use crate::error::{CommandError, CommandResult};

/// The version of Redis whose replies and errors these commands give.
///
/// HELLO and INFO say `redis` and this version, not our own: client libraries decide by it which commands and
/// options they may send, and some refuse a server that calls itself otherwise.
pub(super) const REDIS_VERSION: &str = "7.0.15";

const FLAGS: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"];

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("ping", -1, &["fast"], ping),
    Command::without_keys("echo", 2, &["loading", "stale", "fast"], echo),
    Command::without_keys("hello", -1, FLAGS, hello),
    Command::without_keys("auth", -2, FLAGS, auth),
    Command::without_keys("select", 2, &["loading", "stale", "fast"], select),
    Command::without_keys(
        "quit",
        -1,
        &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy", "no_multi_queue"],
        quit,
    ),
    Command::without_keys(
        "reset",
        1,
        &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy", "no_multi_queue"],
        reset,
    ),
];

fn ping(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if context.client.subscriptions.is_some()
        && context.client.protocol == Protocol::Resp2
        && arguments.len() < 3
    {
        context.reply.array(2);
        context.reply.bulk(b"pong");
        context.reply.bulk(arguments.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match arguments {
        [_] => context.reply.simple("PONG"),
        [_, text] => context.reply.bulk(text),
        _ => return Err(CommandError::WrongArity("ping".to_owned())),
    }
    Ok(())
}

fn echo(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    context.reply.bulk(arguments[1]);
    Ok(())
}

/// Carries out HELLO's `[AUTH user password] [SETNAME name]`, in any order. As in Redis each takes effect before the next
/// is looked at, whatever is wrong with that.
fn carry_out_options(arguments: &[&[u8]], mut set_name: impl FnMut(String)) -> CommandResult {
    let mut options = arguments;
    while let [option, rest @ ..] = options {
        options = match rest {
            [user, _password, rest @ ..] if is(option, "auth") => {
                authenticate(user)?;
                rest
            }
            [name, rest @ ..] if is(option, "setname") => {
                set_name(client::name(name)?);
                rest
            }
            _ => {
                let text = format!("ERR Syntax error in HELLO option '{}'", quoted(option));
                return Err(CommandError::composed(text));
            }
        };
    }
    Ok(())
}

fn protocol(version: &[u8]) -> Result<Protocol, CommandError> {
    match integer(version) {
        Ok(2) => Ok(Protocol::Resp2),
        Ok(3) => Ok(Protocol::Resp3),
        Ok(_) => Err(CommandError::text("NOPROTO unsupported protocol version")),
        Err(_) => Err(CommandError::text("ERR Protocol version is not an integer or out of range")),
    }
}

fn hello(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let (version, options) = arguments[1..].split_at(1.min(arguments.len() - 1));
    let protocol = version.first().map(|version| protocol(version)).transpose()?;
    carry_out_options(options, |name| context.client.record.text.lock().name = name)?;
    if let Some(protocol) = protocol {
        context.client.set_protocol(protocol);
        context.reply.set_protocol(protocol);
    }
    let version = if context.client.protocol == Protocol::Resp3 { 3 } else { 2 };
    let reply = &mut context.reply;
    reply.map(7);
    for (field, text) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(version);
    reply.bulk(b"id");
    reply.integer(context.client.record.id as i64);
    let role = match context.server.node.settings.role() {
        Role::Active => "master",
        Role::ReadOnly => "replica",
    };
    for (field, text) in [("mode", "standalone"), ("role", role)] {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// There are no users yet but Redis's default one, which needs no password and so takes any.
fn authenticate(user: &[u8]) -> CommandResult {
    if user == b"default" {
        return Ok(());
    }
    Err(CommandError::text("WRONGPASS invalid username-password pair or user is disabled."))
}

fn auth(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    match arguments {
        [_, _password] => {
            return Err(CommandError::text(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        [_, user, _password] => authenticate(user)?,
        _ => return Err(CommandError::Syntax),
    }
    context.reply.ok();
    Ok(())
}

fn select(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    context.client.select(database(arguments[1])?);
    context.reply.ok();
    Ok(())
}

/// Reads the number of a database.
pub(crate) fn database(argument: &[u8]) -> Result<u8, CommandError> {
    let number = i32::try_from(integer(argument)?).map_err(|_| {
        CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    let database = u8::try_from(number).ok().filter(|database| *database < DATABASES);
    database.ok_or(CommandError::text("ERR DB index is out of range"))
}

fn quit(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.client.after = After::Close;
    context.reply.ok();
    Ok(())
}

/// The connection is as if it had just been made, but for its id and what the library said of itself.
fn reset(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let client = &mut *context.client;
    transaction::drop_queue(context.server, client);
    pubsub::ignore_all(context.server, client);
    monitor::leave(context.server, client);
    client.select(0);
    client.set_protocol(Protocol::Resp2);
    // A reply that CLIENT REPLY SKIP has left out stays so, as in Redis.
    if client.reply_mode != ReplyMode::Skip {
        client.reply_mode = ReplyMode::On;
    }
    client.record.text.lock().name.clear();
    context.reply.set_protocol(Protocol::Resp2);
    context.reply.simple("RESET");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_database(argument: &str, expected: Result<u8, &str>) {
        let found = database(argument.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{argument}");
    }

    #[test]
    fn a_database_is_one_of_sixteen() {
        check_database("0", Ok(0));
        check_database("15", Ok(15));
        check_database("16", Err("ERR DB index is out of range"));
        check_database("-1", Err("ERR DB index is out of range"));
        check_database("x", Err("ERR value is not an integer or out of range"));
        let beyond = "ERR value is out of range, value must between -2147483648 and 2147483647";
        check_database("99999999999", Err(beyond));
    }

    #[track_caller]
    fn check_options(arguments: &[&[u8]], expected: Result<(), &str>, expected_name: Option<&str>) {
        let mut name = None;
        let found = carry_out_options(arguments, |given| name = Some(given));
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        assert_eq!(name.as_deref(), expected_name);
    }

    #[test]
    fn hello_takes_its_options_in_any_order_and_case() {
        check_options(&[], Ok(()), None);
        check_options(&[b"SetName", b"ab", b"AUTH", b"default", b"any"], Ok(()), Some("ab"));
        check_options(&[b"setname", b"ab", b"setname", b"cd"], Ok(()), Some("cd"));
    }

    #[test]
    fn hello_says_what_is_wrong_first_and_keeps_what_came_before() {
        check_options(&[b"auth", b"default"], Err("ERR Syntax error in HELLO option 'auth'"), None);
        let wrong = Err("WRONGPASS invalid username-password pair or user is disabled.");
        check_options(&[b"setname", b"ab", b"auth", b"somebody", b"any", b"what"], wrong, Some("ab"));
    }

    #[test]
    fn hello_refuses_other_protocols() {
        let error = |version: &[u8]| protocol(version).err().map(|error| error.to_string());
        assert_eq!(error(b"4").as_deref(), Some("NOPROTO unsupported protocol version"));
        assert_eq!(error(b"x").as_deref(), Some("ERR Protocol version is not an integer or out of range"));
    }
}
