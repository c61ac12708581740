//! What follows from a command's row, and the few traits of commands that do not.

use crate::command::docs::{self, Group};
use crate::command::{Access, Command, Keys};

/// Every flag that clients see, in the order in which Redis tells them. Rows have flags of the executor's besides.
const FLAGS: [&str; 15] = [
    "write",
    "readonly",
    "denyoom",
    "admin",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "fast",
    "no_auth",
    "no_async_loading",
    "no_multi",
    "allow_busy",
];

/// The flags of a row as COMMAND INFO tells them.
pub(super) fn flags(row: &Command) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().filter(|flag| match *flag {
        "write" => row.access == Access::Write,
        "readonly" => row.access == Access::Read,
        flag => row.has_flag(flag),
    })
}

/// Every category of ACLs that a command here may be in, in the order in which Redis tells them.
pub(super) const CATEGORIES: [&str; 17] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
];

/// The categories of a row, without the `@`.
pub(super) fn categories(row: &Command) -> impl Iterator<Item = &'static str> {
    CATEGORIES.into_iter().filter(|category| match *category {
        "read" => row.access == Access::Read,
        "write" => row.access == Access::Write,
        "set" | "sortedset" | "list" | "dangerous" if matches!(row.keys, Keys::Sort) => true,
        "admin" => is_admin(row),
        "dangerous" => is_admin(row) || matches!(row.name, "flushall" | "flushdb" | "info" | "keys"),
        "fast" => row.has_flag("fast"),
        "slow" => !row.has_flag("fast"),
        "blocking" => row.has_flag("blocking"),
        category => subject(row) == Some(category),
    })
}

fn is_admin(row: &Command) -> bool {
    row.has_flag("admin") || row.name == "role"
}

/// The category of what the command is about; containers have none, their subcommands do.
fn subject(row: &Command) -> Option<&'static str> {
    if row.name == "command" || row.name.starts_with("command|") || row.name == "wait" {
        return Some("connection");
    }
    if row.has_flag("container") || matches!(row.keys, Keys::Sort) {
        return None;
    }
    match docs::find(row.name).group {
        Group::Bitmap => Some("bitmap"),
        Group::Connection => Some("connection"),
        Group::Generic => Some("keyspace"),
        Group::Hash => Some("hash"),
        Group::List => Some("list"),
        Group::Set => Some("set"),
        Group::SortedSet => Some("sortedset"),
        Group::PubSub => Some("pubsub"),
        Group::Server => matches!(row.name, "dbsize" | "flushall" | "flushdb").then_some("keyspace"),
        Group::String => Some("string"),
        Group::Transactions => Some("transaction"),
    }
}

/// Keys of a command to which the same is done.
pub(super) struct KeySpec {
    pub(super) first: usize,
    /// Counts from the end if negative.
    pub(super) last: isize,
    pub(super) step: usize,
    /// In Redis's words: RO, RW, OW and RM (read, changed, overwritten, removed), and whether the value's data is
    /// told (access), changed (update, insert) or deleted.
    pub(super) flags: &'static [&'static str],
}

/// Where a command's keys stand, and what is done to them; nothing of keys that a function finds.
pub(super) fn key_specs(row: &Command) -> Vec<KeySpec> {
    const READ: &[&str] = &["RO", "access"];
    const TAKEN: &[&str] = &["RW", "access", "delete"];
    let Keys::Range { first, last, step } = row.keys else { return Vec::new() };
    // The first key, and then the others.
    let two = |one: &'static [&'static str], others: &'static [&'static str]| {
        vec![
            KeySpec { first, last: first as isize, step, flags: one },
            KeySpec { first: first + 1, last, step, flags: others },
        ]
    };
    match row.name {
        "rename" => two(TAKEN, &["OW", "update"]),
        "renamenx" => two(TAKEN, &["OW", "insert"]),
        "copy" => two(READ, &["OW", "update"]),
        "bitop" | "sunionstore" | "sdiffstore" => two(&["OW", "update"], READ),
        // Redis says so of this one alone.
        "sinterstore" => two(&["RW", "update"], READ),
        "smove" => two(TAKEN, &["RW", "insert"]),
        _ => vec![KeySpec { first, last, step, flags: key_flags(row) }],
    }
}

/// The flags of all keys of a command for which nothing else is said.
pub(super) fn key_flags(row: &Command) -> &'static [&'static str] {
    match row.name {
        "del" | "unlink" => &["RM", "delete"],
        "mset" | "setex" | "psetex" => &["OW", "update"],
        "msetnx" | "setnx" => &["OW", "insert"],
        "append" => &["RW", "insert"],
        "getdel" | "spop" => &["RW", "access", "delete"],
        "hdel" | "srem" => &["RW", "delete"],
        "hsetnx" | "sadd" => &["RW", "insert"],
        "hset" | "hmset" => &["RW", "update"],
        "setrange" | "expire" | "pexpire" | "expireat" | "pexpireat" | "persist" => &["RW", "update"],
        "set" | "bitfield" => &["RW", "access", "update", "variable_flags"],
        "strlen" | "exists" | "type" | "touch" | "watch" | "hlen" | "hstrlen" | "hexists" | "scard"
        | "sismember" => &["RO"],
        name if name.starts_with("object|") => &["RO"],
        _ if row.access == Access::Write => &["RW", "access", "update"],
        _ => &["RO", "access"],
    }
}

/// Whether there are keys among the command's arguments.
pub(super) const fn may_have_keys(row: &Command) -> bool {
    matches!(row.keys, Keys::Range { .. } | Keys::Counted { .. } | Keys::Sort)
}

/// Hints for clients of a cluster, and whose replies differ from call to call.
pub(super) fn tips(name: &str) -> &'static [&'static str] {
    match name {
        "ping" | "flushdb" | "flushall" => &["request_policy:all_shards", "response_policy:all_succeeded"],
        "config|set" => &["request_policy:all_nodes", "response_policy:all_succeeded"],
        "info" => &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        "dbsize" => &["request_policy:all_shards", "response_policy:agg_sum"],
        "wait" => &["request_policy:all_shards", "response_policy:agg_min"],
        "mget" => &["request_policy:multi_shard"],
        "mset" => &["request_policy:multi_shard", "response_policy:all_succeeded"],
        "msetnx" => &["request_policy:multi_shard", "response_policy:agg_min"],
        "del" | "unlink" | "exists" | "touch" => &["request_policy:multi_shard", "response_policy:agg_sum"],
        "keys" => &["request_policy:all_shards", "nondeterministic_output_order"],
        "scan" => &["nondeterministic_output", "request_policy:special"],
        "hkeys" | "hvals" | "hgetall" | "smembers" | "sinter" | "sunion" | "sdiff" => {
            &["nondeterministic_output_order"]
        }
        "hrandfield" | "hscan" | "spop" | "srandmember" | "sscan" => &["nondeterministic_output"],
        "randomkey" => &["request_policy:all_shards", "nondeterministic_output"],
        "client|list" | "client|info" | "time" | "ttl" | "pttl" | "object|encoding" | "object|freq"
        | "object|idletime" | "object|refcount" => &["nondeterministic_output"],
        "command" | "command|docs" | "command|info" | "command|list" => &["nondeterministic_output_order"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[track_caller]
    fn check(name: &str, expected_flags: &[&str], expected_categories: &[&str]) {
        let row = table::find(name.as_bytes()).unwrap();
        assert_eq!(flags(row).collect::<Vec<_>>(), expected_flags);
        assert_eq!(categories(row).collect::<Vec<_>>(), expected_categories);
    }

    #[test]
    fn the_executors_own_flags_are_not_told() {
        check(
            "quit",
            &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"],
            &["fast", "connection"],
        );
        check("client", &[], &["slow"]);
    }

    #[test]
    fn categories_follow_from_access_flags_and_group() {
        check("flushall", &["write"], &["keyspace", "write", "slow", "dangerous"]);
        check("config|get", &["admin", "noscript", "loading", "stale"], &["admin", "slow", "dangerous"]);
        check("role", &["noscript", "loading", "stale", "fast"], &["admin", "fast", "dangerous"]);
    }
}
