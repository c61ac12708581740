//! What follows from a command's row, and the few traits of commands that do not.

use crate::command::arguments::is;
use crate::command::docs::{self, Group};
use crate::command::{Access, Command, Keys};

/// Every flag that clients see, in the order in which Redis tells them. Rows have flags of the executor's besides.
const FLAGS: [&str; 17] = [
    "write",
    "readonly",
    "denyoom",
    "admin",
    "pubsub",
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
    "movablekeys",
];

/// The flags of a row as COMMAND INFO tells them.
pub(super) fn flags(row: &Command) -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter().filter(|flag| match *flag {
        "write" => row.access == Access::Write,
        "readonly" => row.access == Access::Read,
        "movablekeys" => matches!(row.keys, Keys::Counted { .. } | Keys::Sort),
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
    row.has_flag("admin") || matches!(row.name, "role" | "lastsave")
}

/// The category of what the command is about; containers have none, their subcommands do.
fn subject(row: &Command) -> Option<&'static str> {
    if row.name == "command" || row.name.starts_with("command|") || row.name == "wait" {
        return Some("connection");
    }
    if row.has_flag("container")
        || row.name == "pubsub|help"
        || row.name.starts_with("memory|")
        || matches!(row.keys, Keys::Sort)
    {
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
    /// None if it is not the place that tells them, but other arguments or the keys' values.
    pub(super) keys: Option<Keys>,
    /// In Redis's words: RO, RW, OW and RM (read, changed, overwritten, removed), and whether the value's data is
    /// told (access), changed (update, insert) or deleted.
    pub(super) flags: &'static [&'static str],
}

const READ: &[&str] = &["RO", "access"];
const TAKEN: &[&str] = &["RW", "access", "delete"];
const OVERWRITTEN: &[&str] = &["OW", "update"];

/// Where a command's keys stand, and what is done to them.
pub(super) fn key_specs(row: &Command) -> Vec<KeySpec> {
    let spec = |keys, flags| KeySpec { keys, flags };
    match row.keys {
        Keys::None | Keys::All => Vec::new(),
        Keys::Range { first, last, step } => range_specs(row, first, last, step),
        Keys::Counted { count, target } => {
            let counted = spec(Some(Keys::Counted { count, target: false }), counted_flags(row));
            let target = target.then(|| spec(Some(Keys::ONE), OVERWRITTEN));
            target.into_iter().chain([counted]).collect()
        }
        Keys::Sort => {
            let stored = (row.access == Access::Write).then(|| spec(None, OVERWRITTEN));
            [spec(Some(Keys::ONE), READ), spec(None, READ)].into_iter().chain(stored).collect()
        }
    }
}

/// What is done to keys that are counted: where a target is written, they are read.
fn counted_flags(row: &Command) -> &'static [&'static str] {
    if row.name.ends_with("mpop") { TAKEN } else { READ }
}

fn range_specs(row: &Command, first: usize, last: isize, step: usize) -> Vec<KeySpec> {
    // The first key, and then the others.
    let two = |one: &'static [&'static str], others: &'static [&'static str]| {
        let range = |first, last| Some(Keys::Range { first, last, step });
        vec![
            KeySpec { keys: range(first, first as isize), flags: one },
            KeySpec { keys: range(first + 1, last), flags: others },
        ]
    };
    match row.name {
        "rename" => two(TAKEN, &["OW", "update"]),
        "renamenx" => two(TAKEN, &["OW", "insert"]),
        "copy" => two(READ, &["OW", "update"]),
        "bitop" | "sunionstore" | "sdiffstore" | "zrangestore" => two(OVERWRITTEN, READ),
        // Redis says so of this one alone.
        "sinterstore" => two(&["RW", "update"], READ),
        "smove" | "lmove" | "blmove" | "rpoplpush" | "brpoplpush" => two(TAKEN, &["RW", "insert"]),
        _ => vec![KeySpec { keys: Some(row.keys), flags: key_flags(row) }],
    }
}

/// The flags of all keys of a command for which nothing else is said.
pub(super) fn key_flags(row: &Command) -> &'static [&'static str] {
    match row.name {
        "del" | "unlink" => &["RM", "delete"],
        "mset" | "setex" | "psetex" => &["OW", "update"],
        "msetnx" | "setnx" => &["OW", "insert"],
        "append" => &["RW", "insert"],
        "getdel" | "spop" | "lpop" | "rpop" | "blpop" | "brpop" | "zpopmin" | "zpopmax" | "bzpopmin"
        | "bzpopmax" => TAKEN,
        "hdel" | "srem" | "lrem" | "ltrim" | "zrem" | "zremrangebylex" | "zremrangebyrank"
        | "zremrangebyscore" => &["RW", "delete"],
        "hsetnx" | "sadd" | "linsert" | "lpush" | "lpushx" | "rpush" | "rpushx" => &["RW", "insert"],
        "hset" | "hmset" | "lset" | "zadd" => &["RW", "update"],
        "setrange" | "expire" | "pexpire" | "expireat" | "pexpireat" | "persist" => &["RW", "update"],
        "set" | "bitfield" => &["RW", "access", "update", "variable_flags"],
        "strlen" | "exists" | "type" | "touch" | "watch" | "hlen" | "hstrlen" | "hexists" | "scard"
        | "sismember" | "llen" | "zcard" | "memory|usage" | "debug|object" => &["RO"],
        name if name.starts_with("object|") => &["RO"],
        _ if row.access == Access::Write => &["RW", "access", "update"],
        _ => READ,
    }
}

/// The flags of a call's keys where these depend on its options.
pub(super) fn flags_of_call(row: &Command, arguments: &[&[u8]]) -> Option<&'static [&'static str]> {
    let has = |option: &str| arguments.iter().skip(2).any(|argument| is(argument, option));
    match row.name {
        "set" if arguments.iter().skip(3).any(|argument| is(argument, "get")) => {
            Some(&["RW", "access", "update"])
        }
        "set" => Some(OVERWRITTEN),
        "bitfield" if has("set") || has("incrby") => Some(&["RW", "access", "update"]),
        "bitfield" => Some(READ),
        _ => None,
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
        "hrandfield" | "hscan" | "spop" | "srandmember" | "sscan" | "zrandmember" | "zscan" | "lastsave" => {
            &["nondeterministic_output"]
        }
        "latency|reset" | "slowlog|reset" => &["request_policy:all_nodes", "response_policy:all_succeeded"],
        name if name.starts_with("latency|") && name != "latency|help" => {
            &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]
        }
        "slowlog|get" => &["request_policy:all_nodes", "nondeterministic_output"],
        "slowlog|len" => &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        "memory|purge" => &["request_policy:all_shards", "response_policy:all_succeeded"],
        "memory|doctor" | "memory|malloc-stats" | "memory|stats" => {
            &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]
        }
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
    fn keys_that_are_counted_or_named_by_options_are_movable() {
        let is_movable =
            |name: &str| flags(table::find(name.as_bytes()).unwrap()).any(|flag| flag == "movablekeys");
        for name in ["zunionstore", "zmpop", "sintercard", "sort", "sort_ro"] {
            assert!(is_movable(name), "{name}");
        }
        for name in ["get", "mset", "lmove", "blpop", "bitfield", "memory|usage"] {
            assert!(!is_movable(name), "{name}");
        }
    }

    #[test]
    fn categories_follow_from_access_flags_and_group() {
        check("flushall", &["write"], &["keyspace", "write", "slow", "dangerous"]);
        check("config|get", &["admin", "noscript", "loading", "stale"], &["admin", "slow", "dangerous"]);
        check("role", &["noscript", "loading", "stale", "fast"], &["admin", "fast", "dangerous"]);
    }
}
