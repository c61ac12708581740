//! What keyspace notifications say of a command: Redis's names.

use super::arguments::is;
use super::docs::{self, Group};
use crate::events::{Class, KeyEvent};
use crate::store::rich::parse_integer;
use crate::transaction::Touched;

/// The events of what a command has done to keys.
pub(super) fn events(command: &'static str, arguments: &[&[u8]], mut touched: Vec<Touched>) -> Vec<KeyEvent> {
    if matches!(command, "rename" | "renamenx" | "move") {
        // The source first.
        touched.sort_by_key(|touched| touched.is_written);
    }
    let (removed, written) = names(command, arguments);
    let class = class(command);
    let mut events = Vec::new();
    for touched in &touched {
        let mut push = |class, name| events.push(KeyEvent::new(class, name, touched.db, &touched.key));
        if touched.had_expired {
            push(Class::Expired, "expired");
        }
        if !touched.existed && touched.exists {
            push(Class::New, "new");
        }
        let is_ended = touched.is_reset && !touched.is_written;
        if is_ended && touched.existed {
            push(Class::Generic, ended(command));
        }
        if touched.is_removed && !touched.is_reset && touched.existed {
            push(class, removed);
        }
        if touched.is_written {
            push(class, written);
        }
        if touched.existed && !touched.exists && !is_ended {
            push(Class::Generic, "del");
        }
        if let Some(is_set) = touched.ttl.filter(|_| tells_of_ttl(command, arguments)) {
            push(Class::Generic, if is_set { "expire" } else { "persist" });
        }
    }
    events
}

/// Whether a TTL that a command writes is its own, and not moved with a key or kept.
fn tells_of_ttl(command: &str, arguments: &[&[u8]]) -> bool {
    match command {
        "set" => !arguments.iter().skip(3).any(|option| is(option, "keepttl")),
        "expire" | "expireat" | "pexpire" | "pexpireat" | "setex" | "psetex" | "getex" | "persist" => true,
        _ => false,
    }
}

fn ended(command: &str) -> &'static str {
    match command {
        "rename" | "renamenx" => "rename_from",
        "move" => "move_from",
        _ => "del",
    }
}

fn class(command: &str) -> Class {
    match docs::find(command).group {
        Group::String | Group::Bitmap => Class::String,
        Group::List => Class::List,
        Group::Set => Class::Set,
        Group::Hash => Class::Hash,
        Group::SortedSet => Class::SortedSet,
        _ if command == "sort" => Class::List,
        _ => Class::Generic,
    }
}

/// What it is called when the command removes elements, and when it writes.
fn names(command: &'static str, arguments: &[&[u8]]) -> (&'static str, &'static str) {
    let same = |name| (name, name);
    let pop = |end: &[u8]| if is(end, "left") { "lpop" } else { "rpop" };
    let push = |end: &[u8]| if is(end, "left") { "lpush" } else { "rpush" };
    let extreme = |end: &[u8]| if is(end, "min") { "zpopmin" } else { "zpopmax" };
    match command {
        "setnx" | "setex" | "psetex" | "getset" | "mset" | "msetnx" | "bitop" => same("set"),
        "incr" | "decr" | "decrby" => same("incrby"),
        "bitfield" => same("setbit"),
        "hmset" | "hsetnx" => same("hset"),
        "lpushx" => same("lpush"),
        "rpushx" => same("rpush"),
        "blpop" => same("lpop"),
        "brpop" => same("rpop"),
        "lmove" | "blmove" => (pop(arguments[3]), push(arguments[4])),
        "rpoplpush" | "brpoplpush" => ("rpop", "lpush"),
        "lmpop" => same(pop(behind_keys(arguments, 1))),
        "blmpop" => same(pop(behind_keys(arguments, 2))),
        "zmpop" => same(extreme(behind_keys(arguments, 1))),
        "bzmpop" => same(extreme(behind_keys(arguments, 2))),
        "bzpopmin" => same("zpopmin"),
        "bzpopmax" => same("zpopmax"),
        "smove" => ("srem", "sadd"),
        "zincrby" => same("zincr"),
        "zadd" if arguments.iter().skip(2).any(|option| is(option, "incr")) => same("zincr"),
        "sort" => same("sortstore"),
        "rename" | "renamenx" => same("rename_to"),
        "move" => same("move_to"),
        "copy" => same("copy_to"),
        command => same(command),
    }
}

/// The argument behind the keys whose number stands at this place. It is there: the command was carried out.
fn behind_keys<'a>(arguments: &[&'a [u8]], place: usize) -> &'a [u8] {
    let count = parse_integer(arguments[place]).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    arguments.get(place + 1 + count).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(key: &[u8], existed: bool, exists: bool) -> Touched {
        let key = Box::from(key);
        Touched {
            db: 0,
            key,
            existed,
            exists,
            had_expired: false,
            is_written: false,
            is_removed: false,
            is_reset: false,
            ttl: None,
        }
    }

    #[track_caller]
    fn check(command: &'static str, text: &str, touched: Vec<Touched>, expected: &[&str]) {
        let arguments: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let events = events(command, &arguments, touched);
        let told: Vec<String> = events
            .iter()
            .map(|event| format!("{} {}", event.name, String::from_utf8_lossy(&event.key)))
            .collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn events_have_the_names_of_redis() {
        let written = |key: &[u8]| Touched { is_written: true, ..touched(key, true, true) };
        let last = |key: &[u8]| Touched { is_removed: true, ..touched(key, true, false) };
        let ended = |key: &[u8]| Touched { is_reset: true, ..touched(key, true, false) };
        check(
            "set",
            "set a 1 ex 5",
            vec![Touched { ttl: Some(true), ..written(b"a") }],
            &["set a", "expire a"],
        );
        check("set", "set a 1 keepttl", vec![Touched { ttl: Some(true), ..written(b"a") }], &["set a"]);
        check(
            "blmove",
            "blmove a b left right 0",
            vec![last(b"a"), written(b"b")],
            &["lpop a", "del a", "rpush b"],
        );
        check("zmpop", "zmpop 2 a b min", vec![last(b"b")], &["zpopmin b", "del b"]);
        check(
            "rename",
            "rename a b",
            vec![Touched { ttl: Some(true), ..written(b"b") }, ended(b"a")],
            &["rename_from a", "rename_to b"],
        );
        check("sinterstore", "sinterstore a b", vec![ended(b"a")], &["del a"]);
        check(
            "sadd",
            "sadd a b",
            vec![Touched { existed: false, had_expired: true, ..written(b"a") }],
            &["expired a", "new a", "sadd a"],
        );
    }
}
