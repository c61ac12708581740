//! What clients do: random commands over all that is implemented, on few keys, so that they meet.

use crate::ledger::Kept;
use crate::world::World;

/// The database in which counters are added to and nothing else is done, so that their sums must be exact.
pub(crate) const COUNTERS_DB: u8 = 9;

/// The database of keys that are written once only, and of counters that only grow: what was acknowledged is there in
/// the end, whatever way it went.
pub(crate) const KEPT_DB: u8 = 10;

/// Those counters: a string of whole numbers, and a hash's field of decimal ones.
pub(crate) const KEPT_COUNTERS: [&[u8]; 2] = [b"sum", b"decimal sum"];

/// The field of a hash that counts.
pub(crate) const FIELD: &[u8] = b"f";

/// What clients of one run are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// So many keys.
    pub(crate) keys: usize,
    /// So many databases.
    pub(crate) databases: u8,
    /// Of a thousand commands so many flush.
    pub(crate) flushes: u32,
    /// Expiries lie up to so many milliseconds ahead.
    pub(crate) expiry_ms: u64,
    /// Which commands come most often.
    pub(crate) taste: Taste,
    /// Keys hold hashes, sets, sorted sets and lists, too.
    pub(crate) collections: bool,
    /// Decimal numbers are counted, too, and every command on elements that writes is there.
    pub(crate) decimals: bool,
}

/// Which commands come most often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taste {
    /// All alike.
    Everything,
    Counters,
    Expiry,
    Deletions,
}

/// A command with its arguments.
pub(crate) type Command = Vec<Vec<u8>>;

impl Workload {
    pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
        let tastes = [Taste::Everything, Taste::Everything, Taste::Counters, Taste::Expiry, Taste::Deletions];
        Self {
            keys: [1, 2, 3, 3, 8, 40][random.usize(..6)],
            databases: [1, 1, 2, 3][random.usize(..4)],
            flushes: [0, 0, 2, 20][random.usize(..4)],
            expiry_ms: [3, 30, 300, 2_000][random.usize(..4)],
            taste: tastes[random.usize(..tastes.len())],
            collections: false,
            decimals: false,
        }
    }

    /// One client's next request, or transaction.
    pub(crate) fn act(&self, world: &mut World, host: usize) {
        match world.random.u32(..100) {
            0..6 => self.add(world, host),
            6..9 => self.keep(world, host),
            9..18 => self.transaction(world, host),
            18..22 => {
                let db = world.random.u8(..self.databases).to_string();
                execute(world, host, &[b"SELECT".to_vec(), db.into_bytes()]);
            }
            _ => {
                let command = self.command(&mut world.random);
                execute(world, host, &command);
            }
        }
    }

    /// A key of those that may go at any time.
    pub(crate) fn any_key(&self, random: &mut fastrand::Rng) -> (u8, Vec<u8>) {
        let of_collection = self.collections && random.u8(..3) > 0;
        let initial = if of_collection { ["h", "s", "z", "l"][random.usize(..4)] } else { "k" };
        let keys = if of_collection { self.keys.min(4) } else { self.keys };
        (random.u8(..self.databases), format!("{initial}{}", random.usize(..keys)).into_bytes())
    }

    /// Adds to a counter of those that nothing but increments touches. Some are whole numbers; to others both whole and
    /// decimal ones are added, in quarters, which `long double` holds exactly.
    fn add(&self, world: &mut World, host: usize) {
        let number = world.random.u8(..3);
        let by = 4 * i128::from(world.random.i64(-9..100));
        let select = |db: u8| [b"SELECT".to_vec(), db.to_string().into_bytes()];
        execute(world, host, &select(COUNTERS_DB));
        let kind = if self.decimals { world.random.u8(..6) } else { 0 };
        let (name, key, quarters) = match kind {
            0 | 1 => ("INCRBY", "n", by),
            2 => ("INCRBY", "d", by),
            3 => ("INCRBYFLOAT", "d", by + i128::from(world.random.u8(..4))),
            4 => ("HINCRBY", "h", by),
            _ => ("HINCRBYFLOAT", "h", by + i128::from(world.random.u8(..4))),
        };
        let key = format!("{key}{number}").into_bytes();
        let field = name.starts_with('H').then(|| FIELD.to_vec());
        let words = [Some(name.into()), Some(key.clone()), field, Some(quarters_text(quarters))];
        // One of a whole number may be refused, and then writes nothing.
        if let Some(Some(write)) = execute(world, host, &words.into_iter().flatten().collect::<Vec<_>>()) {
            world.ledger.increments.entry(write).or_default().push((key, quarters));
        }
        let db = world.random.u8(..self.databases);
        execute(world, host, &select(db));
    }

    /// Writes what must be there in the end.
    fn keep(&self, world: &mut World, host: usize) {
        let select = |db: u8| [b"SELECT".to_vec(), db.to_string().into_bytes()];
        execute(world, host, &select(KEPT_DB));
        let (command, kept) = if world.random.bool() {
            let key = format!("once{}", world.random.u64(..)).into_bytes();
            (vec![b"SET".to_vec(), key.clone(), b"1".to_vec()], Kept::Key(key))
        } else {
            self.growth(&mut world.random)
        };
        if let Some(Some(write)) = execute(world, host, &command) {
            world.ledger.kept.insert(write, kept);
        }
        let db = world.random.u8(..self.databases);
        execute(world, host, &select(db));
    }

    /// Adds to one of the counters that only grow.
    fn growth(&self, random: &mut fastrand::Rng) -> (Command, Kept) {
        let (by, [whole, decimal]) = (i128::from(random.u8(1..5)), KEPT_COUNTERS);
        if self.decimals && random.bool() {
            let (name, field) = (b"HINCRBYFLOAT".to_vec(), FIELD.to_vec());
            (vec![name, decimal.to_vec(), field, quarters_text(by)], Kept::Added(decimal, by))
        } else {
            let by = 4 * by;
            (vec![b"INCRBY".to_vec(), whole.to_vec(), quarters_text(by)], Kept::Added(whole, by))
        }
    }

    fn transaction(&self, world: &mut World, host: usize) {
        if world.random.u8(..4) == 0 {
            let key = self.key(&mut world.random);
            execute(world, host, &[b"WATCH".to_vec(), key]);
        }
        execute(world, host, &[b"MULTI".to_vec()]);
        for _ in 0..world.random.u8(1..6) {
            let command = self.command(&mut world.random);
            execute(world, host, &command);
        }
        execute(world, host, &[b"EXEC".to_vec()]);
    }

    fn key(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        format!("k{}", random.usize(..self.keys)).into_bytes()
    }

    /// A random command.
    fn command(&self, random: &mut fastrand::Rng) -> Command {
        if random.u32(..1_000) < self.flushes {
            return words(if random.bool() { "FLUSHALL" } else { "FLUSHDB" });
        }
        if self.collections && random.u8(..3) > 0 {
            let rest = self.decimals && random.u8(..4) == 0;
            let name = pick(random, if rest { REST_OF_COLLECTIONS } else { OF_COLLECTIONS });
            return self.with_elements(name, random);
        }
        let name = match (self.taste, random.u8(..3)) {
            (Taste::Counters, 0 | 1) => pick(random, &["INCR", "INCRBY", "DECRBY", "DEL", "SET n", "DECR"]),
            (Taste::Expiry, 0 | 1) => pick(
                random,
                &["SET px", "PEXPIRE", "PERSIST", "APPEND", "INCR", "GETEX", "SET", "SET keepttl"],
            ),
            (Taste::Deletions, 0 | 1) => pick(random, &["DEL", "SET", "RENAME", "APPEND", "INCR", "GETDEL"]),
            _ => pick(random, ALL),
        };
        self.with_arguments(name, random)
    }

    fn with_arguments(&self, name: &str, random: &mut fastrand::Rng) -> Command {
        let mut command = vec![name.split(' ').next().unwrap_or(name).as_bytes().to_vec()];
        let (key, other) = (self.key(random), self.key(random));
        let text = |number: u64| number.to_string().into_bytes();
        let value = value(random);
        let ms = random.u64(1..=self.expiry_ms);
        let small = random.u64(..20);
        let rest: Vec<Vec<u8>> = match name {
            "SET" | "APPEND" | "SETNX" | "GETSET" | "MSET" | "MSETNX" => vec![key, value],
            "SET n" => vec![key, text(small)],
            "SET px" => vec![key, value, b"PX".to_vec(), text(ms)],
            "SET keepttl" => vec![key, value, b"KEEPTTL".to_vec()],
            "SET nx get" => vec![key, value, b"XX".to_vec(), b"GET".to_vec()],
            "MSET 2" => vec![key, value.clone(), other, value],
            "PSETEX" => vec![key, text(ms), value],
            "SETEX" => vec![key, text(1 + ms / 1_000), value],
            "INCRBY" | "DECRBY" => vec![key, text(small)],
            "INCRBYFLOAT" => vec![key, b"0.5".to_vec()],
            "SETRANGE" => vec![key, text(small), value],
            "GETRANGE" | "SUBSTR" => vec![key, text(0), text(small)],
            "SETBIT" => vec![key, text(small), text(small % 2)],
            "GETBIT" | "BITPOS" => vec![key, text(small % 2)],
            "BITOP" => vec![b"OR".to_vec(), key, other.clone(), other],
            "BITFIELD" => vec![key, b"INCRBY".to_vec(), b"u8".to_vec(), text(small), text(3)],
            "BITFIELD_RO" => vec![key, b"GET".to_vec(), b"u8".to_vec(), text(small)],
            "PEXPIRE" => vec![key, text(ms)],
            "PEXPIRE gt" => vec![key, text(ms), b"GT".to_vec()],
            "EXPIRE" => vec![key, text(ms / 1_000)],
            "EXPIREAT" => vec![key, text(1_700_000_000 + ms)],
            "PEXPIREAT" => vec![key, text(1_700_000_000_000 + 10_000 + ms)],
            "GETEX" => vec![key, b"PX".to_vec(), text(ms)],
            "GETEX persist" => vec![key, b"PERSIST".to_vec()],
            "RENAME" | "RENAMENX" | "COPY" | "LCS" => vec![key, other],
            "COPY replace" => vec![key, other, b"REPLACE".to_vec()],
            "COPY db" => vec![key, other, b"DB".to_vec(), text(small % 3), b"REPLACE".to_vec()],
            "MOVE" => vec![key, text(small % 3)],
            "DEL 2" | "UNLINK" | "EXISTS" | "TOUCH" | "MGET" => vec![key, other],
            "OBJECT" => vec![b"ENCODING".to_vec(), key],
            "KEYS" => vec![b"*".to_vec()],
            "SCAN" => vec![text(0)],
            "DBSIZE" | "PING" | "DISCARD" | "UNWATCH" | "TIME" => Vec::new(),
            _ => vec![key],
        };
        command.extend(rest);
        command
    }
}

impl Workload {
    /// A command on elements. Kinds race on keys that strings share, and meet their own kind on others.
    fn with_elements(&self, name: &str, random: &mut fastrand::Rng) -> Command {
        let mut command = vec![name.split(' ').next().unwrap_or(name).as_bytes().to_vec()];
        let initial = match name {
            _ if random.u8(..8) == 0 => "k",
            name if name.starts_with('H') => "h",
            "PEXPIRE" | "RENAME" | "COPY" | "DEL h" => ["h", "s", "z", "l"][random.usize(..4)],
            name if name.starts_with('S') => "s",
            name if name.starts_with('Z') => "z",
            _ => "l",
        };
        let keys = self.keys.min(4);
        let mut key = || format!("{initial}{}", random.usize(..keys)).into_bytes();
        let (key, other) = (key(), key());
        let mut element = || format!("e{}", random.u8(..6)).into_bytes();
        let (one, two) = (element(), element());
        let number = random.i64(-3..6).to_string().into_bytes();
        let fraction = [&b"0.1"[..], b"-2.5", b"1e20", b"inf"][random.usize(..4)].to_vec();
        let end = || [&b"LEFT"[..], b"RIGHT"][usize::from(one < two)].to_vec();
        let rest: Vec<Vec<u8>> = match name {
            "HSET" => vec![key, one, value(random), two, number],
            "HSETNX" | "HINCRBY" => vec![key, one, number],
            "HINCRBYFLOAT" => vec![key, one, fraction],
            "SMOVE" => vec![key, other, one],
            "SPOP" => vec![key, b"2".to_vec()],
            "SUNIONSTORE" | "SDIFFSTORE" | "SINTERSTORE" => vec![key, other.clone(), other],
            "ZADD" => vec![key, number, one, fraction, two],
            "ZADD ch" => vec![key, b"GT".to_vec(), number, one],
            "ZINCRBY" => vec![key, if one < two { number } else { fraction }, one],
            "ZREMRANGEBYRANK" | "LTRIM" => vec![key, b"1".to_vec(), b"-2".to_vec()],
            "ZUNIONSTORE" | "ZINTERSTORE" | "ZDIFFSTORE" => vec![key, b"1".to_vec(), other],
            "ZADD incr" => vec![key, b"INCR".to_vec(), number, one],
            "ZREMRANGEBYSCORE" => vec![key, b"-1".to_vec(), b"(2".to_vec()],
            "ZREMRANGEBYLEX" => vec![key, b"[e1".to_vec(), b"(e3".to_vec()],
            "ZMPOP" => vec![b"1".to_vec(), key, b"MAX".to_vec(), b"COUNT".to_vec(), b"2".to_vec()],
            "LMPOP" => vec![b"2".to_vec(), key, other, end(), b"COUNT".to_vec(), b"2".to_vec()],
            "SORT" => vec![key, b"ALPHA".to_vec(), b"STORE".to_vec(), other],
            "HMSET" => vec![key, one, value(random)],
            "LPUSHX" | "RPUSHX" => vec![key, one],
            "RPOPLPUSH" => vec![key, other],
            "ZRANGESTORE" => vec![key, other, b"0".to_vec(), b"-1".to_vec()],
            "LPUSH" | "RPUSH" => vec![key, one, two, value(random)],
            "LMOVE" => vec![key, other, end(), end()],
            "LSET" => vec![key, number, value(random)],
            "LREM" => vec![key, number, one],
            "LINSERT" => vec![key, b"BEFORE".to_vec(), one, two],
            "LPOP" | "RPOP" | "ZPOPMIN" | "ZPOPMAX" | "DEL h" => vec![key],
            "PEXPIRE" => vec![key, random.u64(1..=self.expiry_ms).to_string().into_bytes()],
            "RENAME" | "COPY" => vec![key, other],
            _ => vec![key, one, two],
        };
        command.extend(rest);
        command
    }
}

const OF_COLLECTIONS: &[&str] = &[
    "HSET",
    "HSET",
    "HSETNX",
    "HDEL",
    "HINCRBY",
    "HINCRBY",
    "HINCRBYFLOAT",
    "SADD",
    "SADD",
    "SREM",
    "SMOVE",
    "SPOP",
    "SUNIONSTORE",
    "SDIFFSTORE",
    "SINTERSTORE",
    "ZADD",
    "ZADD",
    "ZADD ch",
    "ZINCRBY",
    "ZINCRBY",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ZPOPMIN",
    "ZPOPMAX",
    "ZUNIONSTORE",
    "ZRANGESTORE",
    "LPUSH",
    "RPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "LMOVE",
    "LSET",
    "LREM",
    "LTRIM",
    "LINSERT",
    "LINSERT",
    "PEXPIRE",
    "RENAME",
    "COPY",
    "DEL h",
];

/// The others that write.
const REST_OF_COLLECTIONS: &[&str] = &[
    "HMSET",
    "HINCRBYFLOAT",
    "LPUSHX",
    "RPUSHX",
    "RPOPLPUSH",
    "LMPOP",
    "SORT",
    "ZADD incr",
    "ZINTERSTORE",
    "ZDIFFSTORE",
    "ZREMRANGEBYSCORE",
    "ZREMRANGEBYLEX",
    "ZMPOP",
];

/// One of each, save those that end a connection, wait, or show what differs from run to run.
const ALL: &[&str] = &[
    "SET",
    "SET",
    "SET",
    "SET n",
    "SET px",
    "SET keepttl",
    "SET nx get",
    "SETNX",
    "GETSET",
    "MSET",
    "MSET 2",
    "MSETNX",
    "PSETEX",
    "SETEX",
    "APPEND",
    "INCR",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "INCRBYFLOAT",
    "SETRANGE",
    "GETRANGE",
    "SUBSTR",
    "STRLEN",
    "GET",
    "MGET",
    "GETDEL",
    "GETEX",
    "GETEX persist",
    "LCS",
    "SETBIT",
    "GETBIT",
    "BITCOUNT",
    "BITPOS",
    "BITOP",
    "BITFIELD",
    "BITFIELD_RO",
    "DEL",
    "DEL",
    "DEL 2",
    "UNLINK",
    "EXISTS",
    "TYPE",
    "TOUCH",
    "RENAME",
    "RENAMENX",
    "COPY",
    "COPY replace",
    "COPY db",
    "MOVE",
    "OBJECT",
    "PEXPIRE",
    "PEXPIRE",
    "PEXPIRE gt",
    "EXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "PERSIST",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "DBSIZE",
];

fn pick<'a>(random: &mut fastrand::Rng, names: &[&'a str]) -> &'a str {
    names[random.usize(..names.len())]
}

fn value(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..8) {
        0 => Vec::new(),
        1..4 => random.u16(..).to_string().into_bytes(),
        4..7 => format!("v{}", random.u16(..)).into_bytes(),
        _ => vec![b'x'; random.usize(..600)],
    }
}

/// So many quarters, in decimal.
pub(crate) fn quarters_text(quarters: i128) -> Vec<u8> {
    let sign = if quarters < 0 { "-" } else { "" };
    let fraction = ["", ".25", ".5", ".75"][(quarters.unsigned_abs() % 4) as usize];
    format!("{sign}{}{fraction}", quarters.unsigned_abs() / 4).into_bytes()
}

/// The words of a command.
pub(crate) fn words(text: &str) -> Command {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Carries out a command. Returns the version of what it wrote, unless the host is down.
pub(crate) fn execute(
    world: &mut World,
    host: usize,
    command: &[Vec<u8>],
) -> Option<Option<shared::version::Version>> {
    let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    world.execute(host, &words).map(|executed| executed.written)
}
