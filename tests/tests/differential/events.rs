//! Keyspace notifications: for each command the same events, in the same order, as Redis sends.

use crate::reply::Reply;
use crate::server::{Connection, Server};

/// Commands, each of which finds what those before it have left.
const COMMANDS: &[&str] = &[
    "set a 1",
    "set a 2 ex 100",
    "set a 3 get",
    "set nokey 3 get",
    "set nokey 3 nx",
    "set zz 3 xx",
    "set a 3 keepttl",
    "get past",
    "setnx s1 a",
    "setnx s1 a",
    "setex s2 10 a",
    "psetex s2 10000 a",
    "getset s1 b",
    "getset s1x b",
    "mset a 1 b 2",
    "msetnx a 1 m3 2",
    "msetnx m1 1 m3 2",
    "getdel m1",
    "getdel m1",
    "getex m3",
    "getex m3 ex 100",
    "getex m3 persist",
    "getex m3 persist",
    "getex m3 exat 1",
    "getex m3 ex 5",
    "append ap x",
    "append ap y",
    "append ap EMPTY",
    "append apx EMPTY",
    "setrange sr 2 x",
    "setrange sr 0 EMPTY",
    "setrange srr 0 EMPTY",
    "incr i",
    "decr i",
    "incrby i 3",
    "decrby i 3",
    "incrbyfloat i 1.5",
    "incrbyfloat if 1.5",
    "incr i",
    "setbit sb 1 1",
    "setbit sb 1 1",
    "setbit sbn 1 0",
    "bitfield bf set u8 0 1",
    "bitfield bf set u8 0 1",
    "bitfield bf get u8 0",
    "bitfield bfn get u8 0",
    "bitfield bf incrby u8 0 1",
    "bitop and d sb bf nonex",
    "bitop or d nonex",
    "bitop or d sb",
    "bitop not d sb",
    "del a b nonex",
    "unlink ap",
    "set a 1",
    "set b 2",
    "rename a a",
    "rename a b",
    "rename b c",
    "renamenx c d",
    "renamenx c cc",
    "copy cc cd",
    "copy cc cd",
    "copy cc cd replace",
    "copy cc cd db 2 replace",
    "move cc 1",
    "move cc 1",
    "expire cd 100",
    "expire nonex 100",
    "expire cd 100 nx",
    "expireat cd 99999999999",
    "persist cd",
    "persist cd",
    "expire cd -1",
    "exists cd d nonex",
    "type nonex",
    "type d",
    "ttl nonex",
    "ttl d",
    "pttl nonex",
    "expiretime nonex",
    "touch nonex d",
    "object encoding nonex",
    "strlen nonex",
    "getrange nonex 0 1",
    "mget d nonex",
    "hset h a 1 b 2",
    "hset h a 1",
    "hmset h a 1",
    "hsetnx h a 1",
    "hsetnx h c 1",
    "hincrby h n 1",
    "hincrby hn n 1",
    "hincrbyfloat h n 1.5",
    "hdel h a b nonex",
    "hdel h nonex",
    "hget h nonex",
    "hget nonex a",
    "hgetall nonex",
    "hlen nonex",
    "hdel h c n",
    "lpush l a b c",
    "rpush l d",
    "lpushx nonex a",
    "rpushx l e",
    "linsert l before a x",
    "linsert l before nonex x",
    "lset l 0 q",
    "lrem l 0 q",
    "lrem l 0 q",
    "ltrim l 0 -1",
    "ltrim l 0 1",
    "ltrim nonex 0 1",
    "llen nonex",
    "lrange nonex 0 1",
    "lpop nonex",
    "lpop l",
    "rpop l",
    "rpush l a b c d",
    "lpop l 0",
    "lpop l 2",
    "rpop l 2",
    "rpush l a",
    "lmove l l2 left right",
    "rpoplpush l2 l2",
    "rpush l2 b",
    "rpoplpush l2 l2",
    "lmove l2 l3 left left",
    "lmpop 2 nonex l2 left count 10",
    "blpop l3 1",
    "rpush l3 a b",
    "blmove l3 l4 left right 1",
    "brpoplpush l3 l4 1",
    "blmpop 1 1 l4 left",
    "lpos nonex a",
    "lindex nonex 0",
    "sadd s a b c",
    "sadd s a",
    "srem s a nonex",
    "srem s nonex",
    "smove s t b",
    "smove s t b",
    "smove s t c",
    "smove nonex t c",
    "smove t t c",
    "sadd s 1",
    "smove t s c",
    "smove s t c",
    "sadd t a b c",
    "sadd t a b c",
    "spop nonex",
    "sadd s1s a b",
    "sadd s2s b c",
    "sunionstore so s1s s2s",
    "sunionstore so s1s s2s",
    "sinterstore so s1s nonex",
    "sinterstore so s1s nonex",
    "sinterstore so s1s s2s",
    "sdiffstore so s1s s2s",
    "sdiffstore so s1s s1s",
    "sinter s1s nonex",
    "sunion s1s nonex",
    "smembers nonex",
    "sismember nonex a",
    "scard nonex",
    "sintercard 2 s1s nonex",
    "zadd z 1 a 2 b 3 c",
    "zadd z 1 a",
    "zadd z 2 a",
    "zadd z incr 2 a",
    "zincrby z 1 b",
    "zincrby z 0 b",
    "zrem z a nonex",
    "zrem z nonex",
    "zrem z b c",
    "zadd z 1 a 2 b 3 c",
    "zremrangebyscore z 1 1",
    "zremrangebyscore z 100 101",
    "zremrangebyrank z 0 0",
    "zremrangebylex z - +",
    "zadd z 1 a 2 b 3 c 4 d",
    "zpopmin z",
    "zpopmax z 2",
    "zpopmin z 0",
    "zpopmin z 10",
    "zpopmin z",
    "zadd z 1 a 2 b 3 c 4 d",
    "zmpop 1 z min count 2",
    "bzpopmin z 1",
    "bzmpop 1 1 z max",
    "zadd z1 1 a 2 b",
    "zadd z2 1 b 2 c",
    "zunionstore zo 2 z1 z2",
    "zunionstore zo 2 z1 z2",
    "zinterstore zo 2 z1 nonex",
    "zinterstore zo 2 z1 nonex",
    "zinterstore zo 2 z1 z2",
    "zdiffstore zo 2 z1 z2",
    "zdiffstore zo 2 z1 z1",
    "zrangestore zo z1 0 -1",
    "zrangestore zo z1 5 10",
    "zrangestore zo nonex 5 10",
    "zscore nonex a",
    "zrange nonex 0 1",
    "zunion 2 z1 nonex",
    "zcard nonex",
    "rpush lst 3 1 2",
    "sort lst store so2",
    "sort nonex store so2",
    "sort nonex store so2",
    "sort lst by nope_* get val_*",
    "sort nonex",
    "zadd z 1 a",
    "rename z1 z",
    "copy z zz2",
    "copy z zz2 replace",
    "multi",
    "set x 1",
    "incr x",
    "del x",
    "exec",
    "sadd e2 a",
    "flushdb",
    "flushall",
    "select 3",
    "set k v",
];

/// Words that are sent as an empty string.
const EMPTY: &str = "EMPTY";

/// A client's connection, and one that hears of what it does.
struct Heard {
    client: Connection,
    listener: Connection,
}

impl Heard {
    fn at(server: &Server) -> Self {
        let (mut client, mut listener) = (server.connect(), server.connect());
        client.ask(&[b"FLUSHALL"]);
        let set = client.ask(&[b"CONFIG", b"SET", b"notify-keyspace-events", b"KEAmn"]);
        assert!(set.is("+OK"), "{set}");
        listener.ask(&[b"PSUBSCRIBE", b"__key*@*"]);
        listener.ask(&[b"SUBSCRIBE", b"mark"]);
        Self { client, listener }
    }

    /// Carries out a command. Returns the messages that it makes.
    fn carry_out(&mut self, command: &str) -> Vec<Reply> {
        let words: Vec<&[u8]> = command
            .split_whitespace()
            .map(|word| if word == EMPTY { &b""[..] } else { word.as_bytes() })
            .collect();
        if self.client.ask(&words).is("+QUEUED") || command == "multi" {
            return Vec::new();
        }
        self.client.ask(&[b"PUBLISH", b"mark", b""]);
        let messages = std::iter::repeat_with(|| self.listener.receive());
        messages.take_while(|message| !is_mark(message)).collect()
    }
}

fn is_mark(message: &Reply) -> bool {
    message.items().and_then(|parts| parts.first()?.bytes()) == Some(b"message")
}

#[test]
fn the_node_tells_what_happens_to_keys_as_redis_does() {
    let (redis, node) = (Server::redis(&[]), Server::node());
    let (mut left, mut right) = (Heard::at(&redis), Heard::at(&node));
    let mut told = 0;
    for command in COMMANDS {
        let (expected, found) = (left.carry_out(command), right.carry_out(command));
        assert_eq!(expected, found, "at {command}");
        told += usize::from(!expected.is_empty());
    }
    assert!(told > COMMANDS.len() / 2, "most of these do something");
}

#[test]
fn the_setting_is_told_as_redis_tells_it() {
    let (redis, node) = (Server::redis(&[]), Server::node());
    let (mut left, mut right) = (redis.connect(), node.connect());
    for letters in ["", "KEA", "EK", "g$lshzxetdKE", "xKE$g", "AKE", "KEmn", "nA", "KEq", "A"] {
        let set: &[&[u8]] = &[b"CONFIG", b"SET", b"notify-keyspace-events", letters.as_bytes()];
        assert_eq!(left.ask(set), right.ask(set), "{letters}");
        let get: &[&[u8]] = &[b"CONFIG", b"GET", b"notify-keyspace-events"];
        assert_eq!(left.ask(get), right.ask(get), "{letters}");
    }
}
