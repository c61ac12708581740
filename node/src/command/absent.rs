//! Commands of Redis that are left out on purpose: the error says so, and what to do instead.
//!
//! The errors begin as Redis's for an unknown command, or as those of a Redis without its cluster mode, for clients tell by
//! these what a server can do. README.md has the same list.

use crate::error::CommandError;

/// A family of commands that is left out.
struct Family {
    names: &'static [&'static str],
    what: &'static str,
    instead: &'static str,
}

const FAMILIES: &[Family] = &[
    Family {
        names: &["eval", "eval_ro", "evalsha", "evalsha_ro", "script", "fcall", "fcall_ro", "function"],
        what: "scripts and functions",
        instead: "WATCH, MULTI and EXEC change several keys at once",
    },
    Family {
        names: &[
            "xack",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
        ],
        what: "streams",
        instead: "lists with BLMOVE hand out work, and tandem-agent tail tells every write",
    },
    Family {
        names: &[
            "geoadd",
            "geodist",
            "geohash",
            "geopos",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
            "geosearch",
            "geosearchstore",
        ],
        what: "geographic indexes",
        instead: "a sorted set whose members begin with a geohash, and ZRANGE BYLEX",
    },
    Family {
        names: &["pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest"],
        what: "HyperLogLogs",
        instead: "a set and SCARD, or a bitmap and BITCOUNT",
    },
    Family { names: &["module"], what: "modules", instead: "there is nothing to be loaded into a node" },
    Family {
        names: &["spublish", "ssubscribe", "sunsubscribe"],
        what: "channels of shards",
        instead: "PUBLISH and SUBSCRIBE reach all masters",
    },
    Family {
        names: &["dump", "migrate", "restore", "restore-asking"],
        what: "values in Redis's own format",
        instead: "COPY within a node; a node that joins a group is given all its keys",
    },
    Family {
        names: &["swapdb"],
        what: "exchanging databases",
        instead: "SELECT another one, or RENAME keys",
    },
    Family {
        names: &["failover", "psync", "replconf", "sync"],
        what: "Redis's replication",
        instead: "tandem-agent run --peer links masters, and every one of them takes writes",
    },
];

/// Commands of a cluster, to which a Redis without that mode gives an error of its own.
const CLUSTER: &[&str] = &["asking", "cluster", "readonly", "readwrite"];

/// The error of a command that is left out on purpose; none of one that Redis does not know either.
pub(super) fn error(name: &[u8]) -> Option<CommandError> {
    let is_named = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if is_named(CLUSTER) {
        return Some(CommandError::text(
            "ERR This instance has cluster support disabled: each master holds all keys",
        ));
    }
    let family = FAMILIES.iter().find(|family| is_named(family.names))?;
    Some(CommandError::composed(format!(
        "ERR unknown command '{}': Tandem leaves out {} on purpose; instead: {}",
        String::from_utf8_lossy(name),
        family.what,
        family.instead,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn what_is_left_out_says_so_and_what_to_do() {
        let text = |name: &[u8]| error(name).map(|error| error.to_string());
        assert_eq!(
            text(b"SwapDB").as_deref(),
            Some(
                "ERR unknown command 'SwapDB': Tandem leaves out exchanging databases on purpose; instead: \
                 SELECT another one, or RENAME keys"
            )
        );
        assert!(
            text(b"cluster")
                .is_some_and(|text| text.starts_with("ERR This instance has cluster support disabled"))
        );
        assert_eq!(text(b"get"), None);
        assert_eq!(text(b"nonsense"), None);
    }

    #[test]
    fn nothing_is_both_there_and_left_out() {
        let names = FAMILIES.iter().flat_map(|family| family.names).chain(CLUSTER);
        names.for_each(|name| assert!(table::find(name.as_bytes()).is_none(), "{name}"));
    }
}
