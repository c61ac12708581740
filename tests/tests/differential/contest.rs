//! A sequence of commands, carried out by two servers, reply by reply.

use std::collections::BTreeSet;

use crate::likeness::{self, Likeness};
use crate::reply::Reply;
use crate::server::{Connection, Server};
use crate::step::{Command, Mark, Step};
use crate::tally::Tally;

/// So many commands are sent before their replies are read. That many hold no more bytes than a server takes while it
/// has not got rid of its replies.
const PIPELINE_COMMANDS: usize = 64;
/// No walk over a few keys takes more pages.
const PAGES_MAX: usize = 10_000;

/// Two servers.
pub(crate) struct Contest<'a> {
    pub(crate) left: &'a Server,
    pub(crate) right: &'a Server,
}

/// Where two servers first differ.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The place of the step, or the number of steps if it is what is left that differs.
    pub(crate) step: usize,
    /// The command, and what else is to be said.
    pub(crate) what: String,
    pub(crate) left: String,
    pub(crate) right: String,
}

impl Contest<'_> {
    /// Carries out the steps with empty servers, and compares each reply, and then what they hold.
    pub(crate) fn run(&self, steps: &[Step], tally: &mut Tally) -> Result<(), Box<Difference>> {
        let mut pair =
            Pair { left: self.left.connect(), right: self.right.connect(), queue: None, has_expired: false };
        pair.both(&[b"FLUSHALL"]);
        let mut sent: Vec<(usize, &Step, &Command)> = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            if step.waits() {
                pair.carry_out(&std::mem::take(&mut sent), tally)?;
                if pair.queue.is_none() {
                    step.commands
                        .iter()
                        .try_for_each(|command| pair.carry_out(&[(place, step, command)], tally))?;
                }
                continue;
            }
            sent.extend(step.commands.iter().map(|command| (place, step, command)));
            let walks = likeness::of(&step.commands[0].words) == Likeness::FirstPage;
            if walks || sent.len() >= PIPELINE_COMMANDS {
                pair.carry_out(&std::mem::take(&mut sent), tally)?;
            }
        }
        pair.carry_out(&sent, tally)?;
        pair.compare_what_is_left()
            .map_err(|difference| Box::new(Difference { step: steps.len(), ..difference }))
    }
}

/// A connection with each, and what is known of both.
struct Pair {
    left: Connection,
    right: Connection,
    /// Within a transaction: how the replies of what it has queued compare.
    queue: Option<Vec<Likeness>>,
    /// Whether a key has expired by the clock. Such keys count in DBSIZE until a server gets round to removing them.
    has_expired: bool,
}

impl Pair {
    fn both(&mut self, words: &[&[u8]]) -> (Reply, Reply) {
        (self.left.ask(words), self.right.ask(words))
    }

    /// Sends commands in one go, and compares their replies. One that waits, or walks, is the last.
    fn carry_out(
        &mut self,
        sent: &[(usize, &Step, &Command)],
        tally: &mut Tally,
    ) -> Result<(), Box<Difference>> {
        self.left.send(sent.iter().map(|(_, _, command)| command.words.as_slice()));
        self.right.send(sent.iter().map(|(_, _, command)| command.words.as_slice()));
        for (place, step, command) in sent {
            let (mut left, mut right) = (self.left.receive(), self.right.receive());
            if command.mark == Mark::UntilChanged {
                self.has_expired = true;
                self.left.ask_until_changed(&command.words, &mut left);
                self.right.ask_until_changed(&command.words, &mut right);
            }
            tally.count(step.family, &command.words, &left);
            let likeness = match command.mark {
                Mark::Exact => Likeness::Exact,
                _ if self.has_expired && likeness::name(&command.words) == "dbsize" => Likeness::ButIntegers,
                _ => likeness::of(&command.words),
            };
            let is_alike = if likeness::name(&command.words) == "exec" {
                self.is_alike_executed(&left, &right)
            } else {
                likeness.holds(&left, &right)
            };
            if !is_alike {
                return Err(difference(*place, command.to_string(), &left, &right));
            }
            self.follow(command, likeness, &left);
            if likeness == Likeness::FirstPage {
                self.walk(*place, command, &left, &right)?;
            }
        }
        Ok(())
    }

    /// Keeps what is known of the connections' state. The reply is that of either.
    fn follow(&mut self, command: &Command, likeness: Likeness, reply: &Reply) {
        let name = likeness::name(&command.words);
        match (&mut self.queue, name.as_str()) {
            (Some(queue), _) if reply.is("+QUEUED") => queue.push(likeness),
            (None, "multi") if reply.is("+OK") => self.queue = Some(Vec::new()),
            // EXEC ends it in any case, be it malformed.
            (Some(_), "exec") => self.queue = None,
            (Some(_), "discard" | "reset") if !reply.is_error() => self.queue = None,
            _ => {}
        }
    }

    fn is_alike_executed(&self, left: &Reply, right: &Reply) -> bool {
        match (left.items(), right.items(), &self.queue) {
            (Some(left), Some(right), Some(queue))
                if left.len() == queue.len() && right.len() == queue.len() =>
            {
                queue
                    .iter()
                    .zip(left.iter().zip(right))
                    .all(|(likeness, (left, right))| likeness.holds(left, right))
            }
            _ => left == right,
        }
    }

    /// Goes on with a SCAN at both until they have shown everything.
    fn walk(
        &mut self,
        place: usize,
        command: &Command,
        left: &Reply,
        right: &Reply,
    ) -> Result<(), Box<Difference>> {
        let cursor = if likeness::name(&command.words) == "scan" { 1 } else { 2 };
        let pair_width =
            if matches!(likeness::name(&command.words).as_str(), "hscan" | "zscan") { 2 } else { 1 };
        let all_left = self.left.walked(&command.words, cursor, pair_width, left);
        let all_right = self.right.walked(&command.words, cursor, pair_width, right);
        if all_left == all_right {
            return Ok(());
        }
        let shown = |all: Option<BTreeSet<Vec<Reply>>>| {
            Reply::Many(b'~', all.into_iter().flatten().flatten().collect())
        };
        let what = format!("{command}, and so on up to the end");
        Err(difference(place, what, &shown(all_left), &shown(all_right)))
    }

    /// Compares all that both hold.
    fn compare_what_is_left(&mut self) -> Result<(), Difference> {
        // Whatever the connections are about is over.
        self.both(&[b"RESET"]);
        for db in ["0", "1", "15"] {
            self.both(&[b"SELECT", db.as_bytes()]);
            let (left, right) = self.compare(&format!("SELECT {db}; KEYS *"), &[b"KEYS", b"*"])?;
            debug_assert!(Likeness::Unordered.holds(&left, &right), "they were compared so");
            for key in left.items().unwrap_or_default().iter().filter_map(Reply::bytes) {
                let (kind, _) = self.compare(&format!("SELECT {db}; TYPE"), &[b"TYPE", key])?;
                self.compare(&format!("SELECT {db}; PTTL"), &[b"PTTL", key])?;
                let words: &[&[u8]] = match kind.bytes() {
                    Some(b"string") => &[b"GET", key],
                    Some(b"hash") => &[b"HGETALL", key],
                    Some(b"list") => &[b"LRANGE", key, b"0", b"-1"],
                    Some(b"set") => &[b"SMEMBERS", key],
                    Some(b"zset") => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
                    _ => continue,
                };
                self.compare(&format!("SELECT {db}"), words)?;
            }
        }
        Ok(())
    }

    fn compare(&mut self, what: &str, words: &[&[u8]]) -> Result<(Reply, Reply), Difference> {
        let (left, right) = self.both(words);
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        if likeness::of(&words).holds(&left, &right) {
            return Ok((left, right));
        }
        let command = Command { words, mark: Mark::None };
        Err(*difference(0, format!("what is left: {what}; {command}"), &left, &right))
    }
}

fn difference(step: usize, what: String, left: &Reply, right: &Reply) -> Box<Difference> {
    Box::new(Difference { step, what, left: left.to_string(), right: right.to_string() })
}

impl Connection {
    fn ask_until_changed(&mut self, words: &[Vec<u8>], reply: &mut Reply) {
        tests::wait::wait_until("a key to expire", || {
            let is_changed = !reply.is(":1");
            if !is_changed {
                self.send(std::iter::once(words));
                *reply = self.receive();
            }
            is_changed
        });
    }

    /// All that a walk shows, whose first page is there. None if that is none.
    fn walked(
        &mut self,
        words: &[Vec<u8>],
        cursor: usize,
        width: usize,
        first: &Reply,
    ) -> Option<BTreeSet<Vec<Reply>>> {
        let (mut words, mut page) = (words.to_vec(), first.clone());
        let mut shown = BTreeSet::new();
        for _ in 0..PAGES_MAX {
            let [next, items] = page.items()? else { return None };
            shown.extend(items.items()?.chunks(width).map(<[Reply]>::to_vec));
            if next.bytes()? == b"0" {
                return Some(shown);
            }
            words[cursor] = next.bytes()?.to_vec();
            self.send(std::iter::once(words.as_slice()));
            page = self.receive();
        }
        panic!("a walk over a few keys does not end: {}", Command { words, mark: Mark::None });
    }
}
