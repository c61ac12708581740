//! What a client's commands take.
//!
//! To read a clock costs as much as a tenth of a GET in a pipeline. So a light command, whose time no value of a key can make long, is
//! timed by itself only where that costs little beside the rest: when it comes alone. Of several that come at once, light
//! ones that follow each other are a *run*, and one batch of four is timed, run by run; in the others they are only counted, and taken
//! to be as fast. Everything else is timed call by call:
//!
//! - commands that are not light, such as LRANGE, SORT, KEYS or EXEC;
//! - light ones with many or long arguments;
//! - all commands of a connection that was once sent a long reply;
//! - all commands, while SLOWLOG is to tell of what takes less than a millisecond.
//!
//! The time is that of the command from its locks to its last write, with what it waits for other clients at the same keys.

use std::sync::atomic::Ordering;

use crate::client::ClientRecord;
use crate::command::Command;
use crate::command::table::Row;
use crate::latency::Event;
use crate::server::Server;
use crate::slow_log;

/// A light command is timed by itself if its request is longer, in bytes, or it has more arguments.
const LIGHT_BYTES_MAX: usize = 4 << 10;
const LIGHT_ARGUMENTS_MAX: usize = 16;

/// From a longer reply on, all commands of the connection are timed.
const LIGHT_REPLY_BYTES_MAX: usize = 16 << 10;

/// So many batches of several light commands make one that is timed.
const BATCHES_PER_TIMED: u8 = 4;

/// So many different commands are counted before they are told to the statistics.
const RUN_COMMANDS_MAX: usize = 4;

/// How closely the commands of a batch are timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// There is no batch: nothing is timed, nor counted.
    #[default]
    Off,
    /// Light commands are counted.
    Counts,
    /// Light commands are timed together.
    Runs,
    /// Every command is timed.
    Each,
}

/// Times the commands of one client.
#[derive(Default)]
pub(crate) struct Stopwatch {
    mode: Mode,
    /// When the clock was read last, in nanoseconds since the node's start, in a batch that is timed.
    read_ns: u64,
    /// The light commands since then, each with the number of its calls.
    run: [Option<(&'static Row, u32)>; RUN_COMMANDS_MAX],
    /// Whether all commands are timed from now on.
    is_close: bool,
    batches: u8,
    /// The length of the request that is carried out.
    pub(crate) request_bytes: usize,
}

/// When a command that is timed by itself was begun.
pub(crate) type Began = Option<u64>;

impl Stopwatch {
    /// A batch of commands begins: those that were read at once. None is under way.
    pub(crate) fn begin_batch(&mut self, server: &Server, holds_several: bool) {
        self.mode = if !holds_several || self.is_close || server.node.settings.times_each_command() {
            Mode::Each
        } else {
            self.batches = (self.batches + 1) % BATCHES_PER_TIMED;
            if self.batches == 0 { Mode::Runs } else { Mode::Counts }
        };
        if self.mode != Mode::Counts {
            self.read_ns = server.mono_ns();
        }
    }

    /// Ends the batch, if there is one.
    pub(crate) fn end_batch(&mut self, server: &Server, worker: usize) {
        self.end_run(server, worker);
        self.mode = Mode::Off;
    }

    /// A command begins.
    #[inline]
    pub(crate) fn begin(&mut self, server: &Server, worker: usize, row: &Row, arguments: &[&[u8]]) -> Began {
        match self.mode {
            Mode::Off => None,
            Mode::Each => Some(self.read_ns),
            Mode::Counts | Mode::Runs if row.is_light && is_short(arguments.len(), self.request_bytes) => {
                None
            }
            Mode::Counts => Some(server.mono_ns()),
            Mode::Runs => {
                self.end_run(server, worker);
                Some(self.read_ns)
            }
        }
    }

    /// A command that is not timed by itself is over, and has written so much of a reply.
    #[inline]
    pub(crate) fn end_light(
        &mut self,
        server: &Server,
        worker: usize,
        row: &'static Row,
        reply_bytes: usize,
    ) {
        if self.mode == Mode::Off {
            return;
        }
        self.is_close |= reply_bytes > LIGHT_REPLY_BYTES_MAX;
        match &mut self.run[0] {
            Some((first, calls)) if std::ptr::eq(*first, row) => *calls += 1,
            _ => self.note_another(server, worker, row),
        }
    }

    /// A command that is timed by itself is over. If it waits for something, only what it has taken so far is counted.
    pub(crate) fn end(&mut self, server: &Server, call: &Call<'_>, began: u64, reply_bytes: usize) {
        if self.mode == Mode::Runs && self.run[0].is_some() {
            // What EXEC has carried out.
            self.end_run(server, call.client.worker);
        }
        let now_ns = server.mono_ns();
        self.read_ns = now_ns;
        self.is_close |= reply_bytes > LIGHT_REPLY_BYTES_MAX && call.row.is_light;
        server.statistics.count_calls(call.client.worker, call.row, 1);
        call.tell(server, call.client.worker, now_ns.saturating_sub(began));
    }

    fn note_another(&mut self, server: &Server, worker: usize, row: &'static Row) {
        let is_its = |place: &Option<(&Row, u32)>| place.is_none_or(|(other, _)| std::ptr::eq(other, row));
        let place = self.run.iter().position(is_its).unwrap_or_else(|| {
            self.end_run(server, worker);
            0
        });
        self.run[place].get_or_insert((row, 0)).1 += 1;
    }

    /// Counts what the run has taken.
    fn end_run(&mut self, server: &Server, worker: usize) {
        let is_timed = self.mode == Mode::Runs;
        let began = self.read_ns;
        if is_timed {
            self.read_ns = server.mono_ns();
        }
        if self.run[0].is_none() {
            return;
        }
        let elapsed = self.read_ns.saturating_sub(began);
        let all: u64 = self.run.iter().flatten().map(|(_, calls)| u64::from(*calls)).sum();
        for place in &mut self.run {
            let Some((row, calls)) = place.take() else { break };
            let calls = u64::from(calls);
            server.statistics.count_calls(worker, row, calls);
            if is_timed {
                let tracked = server.node.settings.tracks_latency();
                server.statistics.count_time(worker, row, calls, elapsed * calls / all, tracked);
            }
        }
    }
}

const fn is_short(arguments: usize, bytes: usize) -> bool {
    arguments <= LIGHT_ARGUMENTS_MAX && bytes <= LIGHT_BYTES_MAX
}

/// A command as a client has called it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'c> {
    pub(crate) client: &'c ClientRecord,
    pub(crate) row: &'static Row,
    pub(crate) arguments: &'c [&'c [u8]],
    /// Whether it goes on to wait for something, and is told of when that is over.
    pub(crate) waits: bool,
}

impl Call<'_> {
    /// Counts what it took, and tells of it if that was long.
    pub(crate) fn tell(&self, server: &Server, counter: usize, ns: u64) {
        let settings = &server.node.settings;
        server.statistics.count_time(counter, self.row, 1, ns, settings.tracks_latency());
        let least_us = settings.slow_log_us.load(Ordering::Relaxed);
        let us = ns / 1_000;
        if !self.waits && least_us >= 0 && us >= least_us as u64 && !self.row.has_flag("skip_slowlog") {
            server.slow_log.push(slow_log::Entry::new(self, us), settings);
        }
        if ns >= 1_000_000 {
            let event = if self.row.has_flag("fast") { Event::FastCommand } else { Event::Command };
            server.note_latency(event, ns);
        }
    }

    /// The arguments without what is secret in them, as SLOWLOG and MONITOR show them.
    pub(crate) fn shown(&self) -> Vec<&[u8]> {
        let mut shown = self.arguments.to_vec();
        let secret = secret_places(self.row, self.arguments);
        for place in secret {
            if let Some(argument) = shown.get_mut(place) {
                *argument = b"(redacted)";
            }
        }
        shown
    }
}

/// Which arguments are secret: names and passwords of users.
fn secret_places(row: &Command, arguments: &[&[u8]]) -> std::ops::Range<usize> {
    match row.name {
        "auth" => 1..arguments.len(),
        "hello" => {
            let auth = arguments.iter().skip(2).position(|argument| argument.eq_ignore_ascii_case(b"auth"));
            auth.map_or(0..0, |place| place + 3..place + 5)
        }
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[track_caller]
    fn check_secret(command: &str, expected: std::ops::Range<usize>) {
        let arguments: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let row = table::find(arguments[0]).unwrap();
        assert_eq!(secret_places(row, &arguments), expected, "{command}");
    }

    #[test]
    fn names_and_passwords_are_secret() {
        check_secret("get auth", 0..0);
        check_secret("auth word", 1..2);
        check_secret("auth name word", 1..3);
        check_secret("hello", 0..0);
        check_secret("hello 3 setname x AUTH name word", 5..7);
    }
}
