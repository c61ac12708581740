//! CONFIG: the parameters that clients and tools ask for, under Redis's names. The table is [`parameters`].

mod parameters;

use std::sync::atomic::{AtomicU64, Ordering};

use self::parameters::{PARAMETERS, Parameter, Refusal};
use super::Command;
use super::arguments::lossy;
use super::context::Context;
use super::introspect::reply_help;
use super::scan::glob;
use crate::error::{CommandError, CommandResult};

const FLAGS: &[&str] = &["admin", "noscript", "loading", "stale"];

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("config", -2, &["container"], help),
    Command::without_keys("config|help", 2, &["loading", "stale"], help),
    Command::without_keys("config|get", -3, FLAGS, get),
    Command::without_keys("config|set", -4, FLAGS, set),
    Command::without_keys("config|resetstat", 2, FLAGS, reset_statistics),
    Command::without_keys("config|rewrite", 2, FLAGS, rewrite),
];

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "CONFIG",
        &[
            ("GET <pattern> [<pattern> ...]", "The parameters whose names match, with their values."),
            ("SET <parameter> <value> [<parameter> <value> ...]", "Change parameters, all of them or none."),
            ("RESETSTAT", "Count from zero what INFO tells of clients, commands and keys."),
            ("REWRITE", "Refused: the file given by --config is not written to."),
        ],
    );
    Ok(())
}

fn get(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let found = matching(&arguments[2..]);
    context.reply.map(found.len());
    for (name, parameter) in found {
        context.reply.bulk(&name);
        context.reply.bulk((parameter.get)(context.server).as_bytes());
    }
    Ok(())
}

/// The parameters that any of the patterns names, each once. One that is named in full is called as it was named.
fn matching(patterns: &[&[u8]]) -> Vec<(Vec<u8>, &'static Parameter)> {
    let mut found: Vec<(Vec<u8>, &Parameter)> = Vec::new();
    for pattern in patterns {
        let lower = pattern.to_ascii_lowercase();
        let is_glob = pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        for parameter in PARAMETERS {
            let name = parameter.name.as_bytes();
            let is_known = found.iter().any(|(_, known)| std::ptr::eq(*known, parameter));
            if is_known || !(if is_glob { glob::matches(&lower, name) } else { lower == name }) {
                continue;
            }
            found.push((if is_glob { name.to_vec() } else { pattern.to_vec() }, parameter));
        }
    }
    found
}

fn set(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let pairs = &arguments[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity("config|set".to_owned()));
    }
    let mut given: Vec<(&Parameter, &[u8])> = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let parameter = parameters::find(pair[0]).ok_or_else(|| unknown(pair[0]))?;
        if given.iter().any(|(other, _)| std::ptr::eq(*other, parameter)) {
            return Err(refused(parameter, &Refusal::text("duplicate parameter")));
        }
        given.push((parameter, pair[1]));
    }
    // All values are read before the first is set: one that is refused leaves all as they were.
    let mut changes = Vec::new();
    for (parameter, value) in given {
        let change =
            parameter.parse(value, context.server).map_err(|refusal| refused(parameter, &refusal))?;
        changes.extend(change);
    }
    let settings = &context.server.node.settings;
    changes.into_iter().for_each(|change| change.make(settings));
    context.server.node.take_role();
    context.server.node.agree_on_memory(context.server.mono_ms());
    // A worker that sleeps does not know yet that clients may time out.
    context.server.wake_workers();
    context.reply.ok();
    Ok(())
}

fn unknown(name: &[u8]) -> CommandError {
    CommandError::composed(format!(
        "ERR Unknown option or number of arguments for CONFIG SET - '{:.128}'",
        lossy(name)
    ))
}

fn refused(parameter: &Parameter, refusal: &Refusal) -> CommandError {
    let name = parameter.name;
    CommandError::composed(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {refusal}"
    ))
}

/// Replication's counters go on: what two nodes tell of one link is compared.
fn reset_statistics(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let stats = &context.server.stats;
    let counters: [&AtomicU64; 9] = [
        &stats.commands,
        &stats.connections_received,
        &stats.connections_rejected,
        &stats.error_replies,
        &stats.changes_made,
        &stats.expired_keys,
        &stats.evicted_keys,
        &stats.keyspace_hits,
        &stats.keyspace_misses,
    ];
    for counter in counters {
        counter.store(0, Ordering::Relaxed);
    }
    context.server.statistics.reset();
    context.reply.ok();
    Ok(())
}

fn rewrite(_: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    Err(CommandError::text(
        "ERR this server does not rewrite its configuration: put lasting settings into the file given by --config",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_matching(patterns: &[&str], expected: &[&str]) {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        let found = matching(&patterns);
        let names: Vec<_> = found.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn patterns_find_each_parameter_once_in_any_case() {
        check_matching(&["maxclients", "maxclients"], &["maxclients"]);
        check_matching(
            &["MAXMEMORY", "maxmemory*"],
            &["MAXMEMORY", "maxmemory-clients", "maxmemory-policy", "maxmemory-samples"],
        );
        check_matching(&["*-MAX-bulk-len"], &["proto-max-bulk-len"]);
        check_matching(&["nothing"], &[]);
    }
}
