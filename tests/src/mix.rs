//! Random commands: every sort that writes strings, on a few keys, so that masters meet on them.

use fastrand::Rng;

/// A client's random commands. The same seed gives the same.
#[derive(Debug)]
pub struct Mix {
    random: Rng,
    keys: usize,
    written: u64,
}

/// A run holds this many commands, transactions' brackets not counted.
const RUN_COMMANDS: usize = 16;

impl Mix {
    /// Commands on so many keys.
    #[must_use]
    pub fn new(seed: u64, keys: usize) -> Self {
        Self { random: Rng::with_seed(seed), keys, written: 0 }
    }

    /// The keys that the commands are about, in databases 0 and 1.
    pub fn keys(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.keys).map(|key| format!("mix:{key}"))
    }

    /// The next commands, to be sent in one go: some within MULTI and EXEC. A few of them fail.
    pub fn run(&mut self) -> Vec<String> {
        let mut run = vec![format!("SELECT {}", self.random.u8(..2))];
        let mut in_block = false;
        for _ in 0..RUN_COMMANDS {
            if self.random.u8(..4) == 0 {
                run.push(if in_block { "EXEC" } else { "MULTI" }.to_owned());
                in_block = !in_block;
            }
            let command = self.command();
            run.push(command);
        }
        if in_block {
            run.push("EXEC".to_owned());
        }
        run
    }

    fn command(&mut self) -> String {
        let (key, other) = (self.key(), self.key());
        match self.random.u16(..400) {
            0 => "FLUSHDB".to_owned(),
            1..=4 => format!("SELECT {}", self.random.u8(..2)),
            5..=8 => format!("MOVE {key} {}", self.random.u8(..2)),
            9..=20 => format!("MSET {key} {} {other} {}", self.value(), self.value()),
            21..=30 => format!("MSETNX {key} {} {other} {}", self.value(), self.value()),
            31..=50 => format!("RENAME {key} {other}"),
            51..=60 => format!("RENAMENX {key} {other}"),
            61..=75 => format!("COPY {key} {other} DB {} REPLACE", self.random.u8(..2)),
            76..=85 => format!("BITOP {} {key} {key} {other}", self.one_of(&["AND", "OR", "XOR"])),
            86..=90 => format!("DEL {key} {other}"),
            91..=170 => self.write_or_delete(&key),
            171..=270 => self.change_in_place(&key),
            271..=340 => self.count(&key),
            _ => self.expire(&key),
        }
    }

    fn write_or_delete(&mut self, key: &str) -> String {
        let value = self.value();
        match self.random.u8(..10) {
            0..=2 => format!("SET {key} {value}"),
            3 => format!("SET {key} {value} {}", self.one_of(&["NX", "XX", "KEEPTTL", "GET"])),
            4 => format!("SET {key} {value} PX {}", self.lifetime_ms()),
            5 => format!("GETSET {key} {value}"),
            6 => format!("SETNX {key} {value}"),
            7 => format!("GETDEL {key}"),
            8 => format!("UNLINK {key}"),
            _ => format!("DEL {key}"),
        }
    }

    fn change_in_place(&mut self, key: &str) -> String {
        match self.random.u8(..6) {
            0..=2 => format!("APPEND {key} {}", self.value()),
            3 => format!("SETRANGE {key} {} {}", self.random.u8(..8), self.value()),
            4 => format!("SETBIT {key} {} {}", self.random.u8(..64), self.random.u8(..2)),
            _ => format!("BITFIELD {key} INCRBY u8 {} 7", 8 * self.random.u8(..4)),
        }
    }

    fn count(&mut self, key: &str) -> String {
        match self.random.u8(..6) {
            0..=1 => format!("INCR {key}"),
            2 => format!("DECR {key}"),
            3 => format!("INCRBY {key} {}", self.random.i32(-100..100)),
            4 => format!("SET {key} {}", self.random.i32(..)),
            _ => format!("INCRBYFLOAT {key} {}.5", self.random.i8(..)),
        }
    }

    fn expire(&mut self, key: &str) -> String {
        let lifetime_ms = self.lifetime_ms();
        match self.random.u8(..7) {
            0..=2 => format!("PEXPIRE {key} {lifetime_ms}"),
            3 => format!("PEXPIRE {key} {lifetime_ms} {}", self.one_of(&["NX", "XX", "GT", "LT"])),
            4 => format!("GETEX {key} PX {lifetime_ms}"),
            5 => format!("EXPIRE {key} {}", self.random.i16(-1..2) * 10_000),
            _ => format!("PERSIST {key}"),
        }
    }

    /// Over at once, or long after every test.
    fn lifetime_ms(&mut self) -> u64 {
        if self.random.bool() { self.random.u64(1..20) } else { self.random.u64(10_000_000..20_000_000) }
    }

    fn key(&mut self) -> String {
        format!("mix:{}", self.random.usize(..self.keys))
    }

    /// A number now and then, so that counting works at times.
    fn value(&mut self) -> String {
        self.written += 1;
        if self.random.u8(..3) == 0 { self.written.to_string() } else { format!("v{}", self.written) }
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.random.usize(..choices.len())]
    }
}
