//! Commands of every row that writes, in a form or more each, on few keys and elements, so that they meet.

use super::Numbers;
use crate::command::{Access, table};

/// What a client sends.
pub(super) type Words = Vec<Vec<u8>>;

/// A command's name, and what may stand behind it: words in lower case are slots, see [`slot`]; all others are meant as
/// they are.
pub(super) const FORMS: &[&str] = &[
    // Strings.
    "SET str val",
    "SET str int",
    "SET str val PX ms",
    "SET str int KEEPTTL",
    "SET str val XX GET",
    "SETNX str val",
    "SETEX str 1 val",
    "PSETEX str ms val",
    "GETSET str val",
    "GETDEL str",
    "GETEX str PX ms",
    "GETEX str PERSIST",
    "MSET str val str int",
    "MSETNX str val str val",
    "APPEND str val",
    "SETRANGE str off val",
    "INCR str",
    "DECR str",
    "INCRBY str int",
    "DECRBY str int",
    "INCRBYFLOAT str dec",
    "INCRBYFLOAT str dec",
    "SETBIT str off 1",
    "BITOP OR str str str",
    "BITFIELD str INCRBY u8 off int",
    // Keys of any kind.
    "DEL any",
    "DEL any any",
    "UNLINK any",
    "RENAME any any",
    "RENAMENX any any",
    "COPY any any",
    "COPY any any REPLACE",
    "COPY any any DB 1 REPLACE",
    "MOVE any 1",
    "EXPIRE any 0",
    "PEXPIRE any ms",
    "PEXPIRE any ms",
    "PEXPIRE any ms GT",
    "EXPIREAT any 1",
    "PEXPIREAT any 1",
    "PERSIST any",
    "FLUSHDB",
    "FLUSHALL",
    // Hashes.
    "HSET hash elem val",
    "HSET hash elem int elem dec",
    "HMSET hash elem val",
    "HSETNX hash elem int",
    "HDEL hash elem elem",
    "HINCRBY hash elem int",
    "HINCRBY hash elem int",
    "HINCRBYFLOAT hash elem dec",
    "HINCRBYFLOAT hash elem dec",
    // Sets.
    "SADD set elem elem",
    "SADD set elem",
    "SREM set elem",
    "SMOVE set set elem",
    "SPOP set",
    "SPOP set 2",
    "SINTERSTORE set set set",
    "SUNIONSTORE set set set",
    "SDIFFSTORE set set set",
    // Sorted sets.
    "ZADD zset int elem dec elem",
    "ZADD zset GT CH int elem",
    "ZADD zset INCR dec elem",
    "ZINCRBY zset dec elem",
    "ZINCRBY zset int elem",
    "ZREM zset elem",
    "ZREMRANGEBYRANK zset idx idx",
    "ZREMRANGEBYSCORE zset -1 3",
    "ZREMRANGEBYLEX zset - (c",
    "ZPOPMIN zset",
    "ZPOPMAX zset 2",
    "ZMPOP 1 zset MIN",
    "ZRANGESTORE zset zset 0 -2",
    "ZUNIONSTORE zset 2 zset set",
    "ZINTERSTORE zset 2 zset zset",
    "ZDIFFSTORE zset 2 zset zset",
    // Lists.
    "LPUSH list val elem",
    "RPUSH list elem elem elem",
    "RPUSH list int int",
    "LPUSHX list elem",
    "RPUSHX list elem",
    "LPOP list",
    "RPOP list 2",
    "LMOVE list list LEFT RIGHT",
    "LMOVE list list RIGHT RIGHT",
    "RPOPLPUSH list list",
    "LMPOP 1 list RIGHT COUNT 2",
    "LINSERT list BEFORE elem val",
    "LINSERT list AFTER elem elem",
    "LSET list idx val",
    "LREM list idx elem",
    "LTRIM list idx idx",
    "SORT list STORE list",
    "SORT any ALPHA DESC STORE list",
];

/// The words of a form, its slots filled by chance.
pub(super) fn fill(form: &str, random: &mut Numbers) -> Words {
    form.split(' ').map(|word| slot(word, random)).collect()
}

fn slot(word: &str, random: &mut Numbers) -> Vec<u8> {
    let mut one_of = |texts: &[&str]| texts[random.below(texts.len())].to_owned();
    let text = match word {
        // Of eight keys one is of another family: kinds race there.
        "str" | "hash" | "set" | "zset" | "list" => {
            let own = format!("{word}{}", one_of(&["1", "2"]));
            one_of(&[&own, &own, &own, &own, &own, &own, &own, "any"])
        }
        "any" => one_of(&[
            "str1", "str2", "hash1", "hash2", "set1", "set2", "zset1", "zset2", "list1", "list2", "any",
        ]),
        "elem" => one_of(&["a", "b", "c", "d", "7"]),
        "val" => one_of(&["", "v", "7", "-3", "10.50", "1e3", "0x10", "a", "inf"]),
        "int" => one_of(&["1", "-1", "5", "-20", "100", "9223372036854775807"]),
        "dec" => one_of(&["0.1", "-2.5", "0.25", "3", "1e20", "-1e20", "1e-10", "1e300"]),
        "idx" => one_of(&["0", "1", "2", "-1", "-2"]),
        "off" => one_of(&["0", "1", "9"]),
        "ms" => one_of(&["1", "3", "7", "14"]),
        other => other.to_owned(),
    };
    text.into_bytes()
}

/// A row that no form writes by would merge unseen. Those that wait do what their likes do that don't.
#[test]
fn every_command_that_writes_has_a_form() {
    let written = table::all().filter(|row| row.access == Access::Write && !row.has_flag("blocking"));
    let has_form = |name: &str| FORMS.iter().any(|form| form.split(' ').next() == Some(&name.to_uppercase()));
    let missing: Vec<_> = written.map(|row| row.name).filter(|name| !has_form(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
