//! The parameters of CONFIG: their names, how each is read, and how set.
//!
//! Besides what this node has, there are the parameters of Redis that clients and tools ask for before they begin,
//! with the answer that is true here: redis-benchmark wants `save` and `appendonly`, others `databases`,
//! `maxmemory-policy` and the like.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use shared::announcement::Role;
use shared::change::DATABASES;

use crate::command::arguments::lossy;
use crate::config::{Bytes, MAX_CHANGE_LIMIT};
use crate::memory::policy::Policy;
use crate::memory::settings::SAMPLES_MAX;
use crate::notifications::Wanted;
use crate::pubsub::Limits;
use crate::server::Server;
use crate::settings::{Fsync, REQUEST_BYTES_MAX, SavePoint, Settings};
use crate::store::rich::parse_integer;

/// A row of the table.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) get: fn(&Server) -> String,
    setting: Setting,
}

/// Whether a parameter may be set, and how.
enum Setting {
    /// It stays as it is while the node runs.
    Fixed,
    Number(Form, Set),
    OutputLimits,
    SavePoints,
}

/// Makes a value, which was read by its [`Form`], the setting.
type Set = fn(&Settings, u64);

/// A value that was read, and waits to be set.
pub(super) enum Change {
    Number(Set, u64),
    OutputLimits(OutputLimits),
    SavePoints(Vec<SavePoint>),
}

impl Change {
    pub(super) fn make(self, settings: &Settings) {
        match self {
            Self::Number(set, value) => set(settings, value),
            Self::OutputLimits(OutputLimits { normal, listener }) => {
                normal.into_iter().for_each(|bytes| settings.set_output_bytes_max(bytes));
                listener.into_iter().for_each(|limits| settings.set_listener_limits(limits));
            }
            Self::SavePoints(points) => settings.set_save_points(points),
        }
    }
}

/// The limits of some classes of clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OutputLimits {
    normal: Option<usize>,
    listener: Option<Limits>,
}

/// What values look like; whatever it is, it comes to a number.
enum Form {
    Integer(RangeInclusive<i64>),
    /// Bytes, with Redis's units.
    Memory(RangeInclusive<u64>),
    Fsync,
    Policy,
    Role,
    YesOrNo,
    /// Letters, for classes of events.
    KeyspaceEvents,
}

/// Why a value was refused: the end of CONFIG SET's error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal(Cow<'static, str>);

impl Refusal {
    pub(super) const fn text(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn fixed(name: &'static str, get: fn(&Server) -> String) -> Parameter {
    Parameter { name, get, setting: Setting::Fixed }
}

const fn settable(name: &'static str, get: fn(&Server) -> String, form: Form, set: Set) -> Parameter {
    Parameter { name, get, setting: Setting::Number(form, set) }
}

/// A limit of what OBJECT ENCODING calls packed.
macro_rules! encoding_limit {
    ($name:literal, $field:ident) => {
        settable(
            $name,
            |server| server.node.settings.encoding_limits.$field.load(Ordering::Relaxed).to_string(),
            Form::Memory(0..=i64::MAX as u64),
            |settings, value| settings.encoding_limits.$field.store(value as usize, Ordering::Relaxed),
        )
    };
}

/// How Redis would keep lists.
macro_rules! list_form {
    ($name:literal, $field:ident, $least:expr) => {
        settable(
            $name,
            |server| server.node.settings.encoding_limits.$field.load(Ordering::Relaxed).to_string(),
            Form::Integer($least..=INT_MAX),
            |settings, value| settings.encoding_limits.$field.store(value as i64, Ordering::Relaxed),
        )
    };
}

/// `slowlog-max-len` is at most this: a gigabyte or so.
const SLOW_LOG_ENTRIES_MAX: i64 = 1 << 20;

const INT_MIN: i64 = i32::MIN as i64;
const INT_MAX: i64 = i32::MAX as i64;

pub(super) const PARAMETERS: &[Parameter] = &[
    settable(
        "appendfsync",
        |server| server.node.settings.fsync().name().to_owned(),
        Form::Fsync,
        |settings, value| {
            settings.set_fsync(Fsync::ALL[value as usize]);
        },
    ),
    fixed("appendonly", |server| yes_or_no(server.config.dir.is_some())),
    fixed("bind", |server| server.config.bind.join(" ")),
    Parameter { name: "client-output-buffer-limit", get: output_limits, setting: Setting::OutputLimits },
    fixed("cluster-enabled", |_| yes_or_no(false)),
    fixed("daemonize", |_| yes_or_no(false)),
    fixed("databases", |_| DATABASES.to_string()),
    fixed("enable-debug-command", |server| server.config.debug.name().to_owned()),
    fixed("dir", |server| path(server.config.dir.as_ref())),
    encoding_limit!("hash-max-listpack-entries", hash_entries),
    encoding_limit!("hash-max-listpack-value", hash_value),
    encoding_limit!("hash-max-ziplist-entries", hash_entries),
    encoding_limit!("hash-max-ziplist-value", hash_value),
    list_form!("list-compress-depth", list_compress_depth, 0),
    list_form!("list-max-listpack-size", list_listpack_size, INT_MIN),
    list_form!("list-max-ziplist-size", list_listpack_size, INT_MIN),
    fixed("io-threads", |server| server.config.threads.to_string()),
    settable(
        "latency-monitor-threshold",
        |server| server.node.settings.latency_monitor_ms.load(Ordering::Relaxed).to_string(),
        Form::Integer(0..=i64::MAX),
        |settings, value| settings.latency_monitor_ms.store(value, Ordering::Relaxed),
    ),
    settable(
        "latency-tracking",
        |server| yes_or_no(server.node.settings.tracks_latency()),
        Form::YesOrNo,
        |settings, value| settings.set_tracks_latency(value != 0),
    ),
    fixed("latency-tracking-info-percentiles", |_| "50 99 99.9".to_owned()),
    fixed("log-memory", |server| server.config.log_memory.to_string()),
    settable(
        "log-retention",
        |server| server.node.settings.log_retention().to_string(),
        Form::Memory(0..=u64::MAX),
        Settings::set_log_retention,
    ),
    settable(
        "log-retention-age",
        |server| server.node.settings.log_retention_age_s().to_string(),
        Form::Integer(0..=INT_MAX),
        Settings::set_log_retention_age_s,
    ),
    fixed("log-segment", |server| server.config.log_segment.to_string()),
    fixed("loglevel", |server| server.config.log_level.as_str().to_ascii_lowercase()),
    settable(
        "max-change",
        |server| server.node.settings.max_change().to_string(),
        Form::Memory(1 << 10..=MAX_CHANGE_LIMIT as u64),
        |settings, value| settings.set_max_change(value as usize),
    ),
    fixed("max-clock-drift", |server| server.max_clock_drift_ms().to_string()),
    settable(
        "maxclients",
        |server| server.node.settings.max_clients().to_string(),
        Form::Integer(1..=u32::MAX as i64),
        |settings, value| settings.set_max_clients(value as usize),
    ),
    settable(
        "maxmemory",
        |server| server.node.settings.memory.limit().to_string(),
        Form::Memory(0..=isize::MAX as u64),
        |settings, value| settings.memory.set_limit(value as usize),
    ),
    fixed("maxmemory-clients", |_| "0".to_owned()),
    settable(
        "maxmemory-policy",
        |server| server.node.settings.memory.policy().name().to_owned(),
        Form::Policy,
        |settings, value| settings.memory.set_policy(Policy::ALL[value as usize]),
    ),
    settable(
        "maxmemory-samples",
        |server| server.node.settings.memory.samples().to_string(),
        Form::Integer(1..=SAMPLES_MAX as i64),
        |settings, value| settings.memory.set_samples(value as usize),
    ),
    settable(
        "lfu-decay-time",
        |server| server.node.settings.memory.decay_minutes().to_string(),
        Form::Integer(0..=INT_MAX),
        |settings, value| settings.memory.set_decay_minutes(value as u32),
    ),
    settable(
        "lfu-log-factor",
        |server| server.node.settings.memory.log_factor().to_string(),
        Form::Integer(0..=INT_MAX),
        |settings, value| settings.memory.set_log_factor(value as u32),
    ),
    fixed("member-timeout", |server| (server.config.member_timeout_ms / 1_000).to_string()),
    fixed("name", |server| server.config.name.clone()),
    settable(
        "notify-keyspace-events",
        |server| server.node.settings.notify_keyspace_events().to_string(),
        Form::KeyspaceEvents,
        |settings, value| settings.set_notify_keyspace_events(Wanted(value as u16)),
    ),
    fixed("port", |server| server.config.port.to_string()),
    settable(
        "proto-max-bulk-len",
        |server| server.node.settings.bulk_bytes_max().to_string(),
        Form::Memory(1 << 20..=REQUEST_BYTES_MAX as u64),
        |settings, value| settings.set_bulk_bytes_max(value as usize),
    ),
    fixed("replicaof", |_| String::new()),
    fixed("requirepass", |_| String::new()),
    settable(
        "role",
        |server| server.node.settings.role().name().to_owned(),
        Form::Role,
        |settings, value| {
            settings.set_read_only(value == Role::ReadOnly as u64);
        },
    ),
    Parameter { name: "save", get: save_points, setting: Setting::SavePoints },
    fixed("slaveof", |_| String::new()),
    encoding_limit!("set-max-intset-entries", set_integers),
    settable(
        "slowlog-log-slower-than",
        |server| server.node.settings.slow_log_us.load(Ordering::Relaxed).to_string(),
        Form::Integer(i64::MIN..=i64::MAX),
        |settings, value| settings.slow_log_us.store(value as i64, Ordering::Relaxed),
    ),
    settable(
        "slowlog-max-len",
        |server| server.node.settings.slow_log_entries_max.load(Ordering::Relaxed).to_string(),
        Form::Integer(0..=SLOW_LOG_ENTRIES_MAX),
        |settings, value| settings.slow_log_entries_max.store(value as usize, Ordering::Relaxed),
    ),
    settable(
        "snapshot-after",
        |server| server.node.settings.snapshot_after().to_string(),
        Form::Memory(0..=u64::MAX),
        Settings::set_snapshot_after,
    ),
    settable(
        "tcp-keepalive",
        |server| seconds(server.node.settings.tcp_keepalive()),
        Form::Integer(0..=INT_MAX),
        Settings::set_tcp_keepalive,
    ),
    settable(
        "timeout",
        |server| seconds(server.node.settings.idle_timeout()),
        Form::Integer(0..=INT_MAX),
        Settings::set_idle_timeout,
    ),
    settable(
        "tombstone-budget",
        |server| server.node.settings.tombstone_budget().to_string(),
        Form::Memory(0..=u64::MAX),
        |settings, value| settings.set_tombstone_budget(value as usize),
    ),
    fixed("unixsocket", |server| path(server.config.unix.as_ref())),
    encoding_limit!("zset-max-listpack-entries", sorted_set_entries),
    encoding_limit!("zset-max-listpack-value", sorted_set_value),
    encoding_limit!("zset-max-ziplist-entries", sorted_set_entries),
    encoding_limit!("zset-max-ziplist-value", sorted_set_value),
];

/// The parameter of this name, in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn path(path: Option<&std::path::PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn seconds(duration: Option<std::time::Duration>) -> String {
    duration.map_or(0, |duration| duration.as_secs()).to_string()
}

/// As Redis writes its schedule: `900 1 300 10`.
fn save_points(server: &Server) -> String {
    let points = server.node.settings.save_points();
    points.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect::<Vec<_>>().join(" ")
}

/// More points than that are a mistake.
const SAVE_POINTS_MAX: usize = 64;

fn parse_save_points(value: &str) -> Result<Vec<SavePoint>, Refusal> {
    const WRONG: Refusal = Refusal::text("Invalid save parameters");
    let numbers = value.split_whitespace().map(|word| word.parse::<u32>().map(u64::from));
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().map_err(|_| WRONG)?;
    let (pairs, rest) = numbers.as_chunks();
    let points: Vec<_> = pairs.iter().map(|&[seconds, changes]| SavePoint { seconds, changes }).collect();
    if !rest.is_empty() || points.len() > SAVE_POINTS_MAX || points.iter().any(|point| point.seconds == 0) {
        return Err(WRONG);
    }
    Ok(points)
}

/// Redis has a limit for each class of clients; here those of normal clients and replicas are one.
fn output_limits(server: &Server) -> String {
    let told = |bytes| if bytes == UNLIMITED { 0 } else { bytes };
    let bytes = told(server.node.settings.output_bytes_max());
    let Limits { hard, soft, soft_s } = server.node.settings.listener_limits();
    let (hard, soft) = (told(hard), told(soft));
    format!("normal {bytes} 0 0 slave {bytes} 0 0 pubsub {hard} {soft} {soft_s}")
}

const UNLIMITED: usize = usize::MAX;

impl Parameter {
    /// Reads a value for it. Returns none if there is nothing to change: what stays as it is may be set to what it
    /// is, as scripts do that say `CONFIG SET save ""` to every server.
    pub(super) fn parse(&self, value: &[u8], server: &Server) -> Result<Option<Change>, Refusal> {
        match &self.setting {
            Setting::Number(form, set) => Ok(Some(Change::Number(*set, form.parse(value)?))),
            Setting::OutputLimits => Ok(Some(Change::OutputLimits(parse_output_limits(&lossy(value))?))),
            Setting::SavePoints => Ok(Some(Change::SavePoints(parse_save_points(&lossy(value))?))),
            Setting::Fixed if (self.get)(server).as_bytes() == value => Ok(None),
            Setting::Fixed => Err(Refusal::text("can't set immutable config")),
        }
    }
}

impl Form {
    fn parse(&self, value: &[u8]) -> Result<u64, Refusal> {
        match self {
            Self::Integer(range) => parse_integer_within(value, range),
            Self::Memory(range) => parse_memory(value, range),
            Self::Fsync => parse_fsync(value),
            Self::Policy => parse_policy(value),
            Self::Role => parse_role(value),
            Self::YesOrNo => parse_yes_or_no(value),
            Self::KeyspaceEvents => {
                lossy(value).parse().map(|Wanted(bits)| bits.into()).map_err(Refusal::text)
            }
        }
    }
}

fn parse_integer_within(value: &[u8], range: &RangeInclusive<i64>) -> Result<u64, Refusal> {
    let number = parse_integer(value).ok_or(Refusal::text("argument couldn't be parsed into an integer"))?;
    if range.contains(&number) { Ok(number as u64) } else { Err(beyond(range.start(), range.end())) }
}

fn parse_memory(value: &[u8], range: &RangeInclusive<u64>) -> Result<u64, Refusal> {
    let bytes: Bytes = lossy(value).parse().map_err(|_| Refusal::text("argument must be a memory value"))?;
    let bytes = bytes.0 as u64;
    if range.contains(&bytes) { Ok(bytes) } else { Err(beyond(range.start(), range.end())) }
}

fn beyond(start: &impl fmt::Display, end: &impl fmt::Display) -> Refusal {
    Refusal(format!("argument must be between {start} and {end} inclusive").into())
}

fn parse_fsync(value: &[u8]) -> Result<u64, Refusal> {
    let place = Fsync::ALL.iter().position(|fsync| value.eq_ignore_ascii_case(fsync.name().as_bytes()));
    place
        .map(|place| place as u64)
        .ok_or(Refusal::text("argument(s) must be one of the following: everysec, always, no"))
}

fn parse_policy(value: &[u8]) -> Result<u64, Refusal> {
    lossy(value).parse().map(|policy: Policy| policy as u64).map_err(|_| {
        Refusal::text(
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, \
             allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        )
    })
}

fn parse_role(value: &[u8]) -> Result<u64, Refusal> {
    let role: Result<Role, _> = lossy(value).to_ascii_lowercase().parse();
    role.map(|role| role as u64)
        .map_err(|_| Refusal::text("argument(s) must be one of the following: active, read-only"))
}

fn parse_yes_or_no(value: &[u8]) -> Result<u64, Refusal> {
    match &*value.to_ascii_lowercase() {
        b"yes" => Ok(1),
        b"no" => Ok(0),
        _ => Err(Refusal::text("argument must be 'yes' or 'no'")),
    }
}

/// Reads Redis's `class hard soft seconds [...]`. What cannot be had is refused.
fn parse_output_limits(value: &str) -> Result<OutputLimits, Refusal> {
    let words: Vec<&str> = value.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err(Refusal::text("Wrong number of arguments in buffer limit configuration."));
    }
    let mut limits = OutputLimits::default();
    let mut replica = None;
    for words in words.chunks_exact(4) {
        match parse_output_limit(words)? {
            ("pubsub", limit) => limits.listener = Some(limit),
            (class, Limits { hard, soft: UNLIMITED, .. }) => {
                *(if class == "normal" { &mut limits.normal } else { &mut replica }) = Some(hard);
            }
            _ => return Err(Refusal::text("there is a soft limit for class pubsub only: give 0 for it")),
        }
    }
    if replica.is_some() && replica != limits.normal {
        return Err(Refusal::text(
            "classes normal and replica have one limit here: give that of class normal",
        ));
    }
    Ok(limits)
}

/// Reads the four words of a class.
fn parse_output_limit(words: &[&str]) -> Result<(&'static str, Limits), Refusal> {
    const CLASSES: [&str; 4] = ["normal", "slave", "replica", "pubsub"];
    let class = CLASSES.into_iter().find(|class| class.eq_ignore_ascii_case(words[0]));
    let class =
        class.ok_or(Refusal::text("Invalid client class specified in buffer limit configuration."))?;
    match (words[1].parse::<Bytes>(), words[2].parse::<Bytes>(), words[3].parse::<u32>()) {
        (Ok(Bytes(hard)), Ok(Bytes(soft)), Ok(seconds)) => {
            let limit = |bytes| if bytes == 0 { UNLIMITED } else { bytes };
            Ok((class, Limits { hard: limit(hard), soft: limit(soft), soft_s: seconds.into() }))
        }
        _ => Err(Refusal::text("Error in hard, soft or soft_seconds setting in buffer limit configuration.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: &Form, value: &str, expected: Result<u64, &'static str>) {
        assert_eq!(form.parse(value.as_bytes()), expected.map_err(Refusal::text), "{value}");
    }

    #[test]
    fn numbers_are_read_as_by_redis() {
        let form = Form::Integer(0..=100);
        check(&form, "0", Ok(0));
        check(&form, "100", Ok(100));
        check(&form, "101", Err("argument must be between 0 and 100 inclusive"));
        check(&form, "-1", Err("argument must be between 0 and 100 inclusive"));
        check(&form, "+1", Err("argument couldn't be parsed into an integer"));
        check(&form, "", Err("argument couldn't be parsed into an integer"));
    }

    #[test]
    fn memory_has_units() {
        let form = Form::Memory(1024..=1 << 20);
        check(&form, "2kb", Ok(2048));
        check(&form, "2k", Ok(2000));
        check(&form, "1MB", Ok(1 << 20));
        check(&form, "2mb", Err("argument must be between 1024 and 1048576 inclusive"));
        check(&form, "2x", Err("argument must be a memory value"));
        check(&form, "-2kb", Err("argument must be a memory value"));
    }

    #[test]
    fn fsync_is_one_of_three_words() {
        check(&Form::Fsync, "Always", Ok(0));
        check(&Form::Fsync, "often", Err("argument(s) must be one of the following: everysec, always, no"));
    }

    #[track_caller]
    fn check_save_points(value: &str, expected: Option<&[(u64, u64)]>) {
        let points = parse_save_points(value).ok();
        let points = points.map(|points| points.iter().map(|point| (point.seconds, point.changes)).collect());
        assert_eq!(points, expected.map(<[_]>::to_vec), "{value}");
    }

    #[test]
    fn the_schedule_has_the_form_of_redis() {
        check_save_points("", Some(&[]));
        check_save_points("900 1", Some(&[(900, 1)]));
        check_save_points("900 1 300 10  60 10000", Some(&[(900, 1), (300, 10), (60, 10_000)]));
        check_save_points("900", None);
        check_save_points("0 1", None);
        check_save_points("900 -1", None);
        check_save_points("900 x", None);
    }

    #[test]
    fn the_output_limit_has_the_form_of_redis() {
        let check = |value: &str, expected: Result<(Option<usize>, Option<Limits>), &'static str>| {
            let expected =
                expected.map(|(normal, listener)| OutputLimits { normal, listener }).map_err(Refusal::text);
            assert_eq!(parse_output_limits(value), expected, "{value}");
        };
        check("normal 1mb 0 0", Ok((Some(1 << 20), None)));
        check("normal 0 0 0", Ok((Some(UNLIMITED), None)));
        check("slave 5 0 0 normal 5 0 0", Ok((Some(5), None)));
        check("normal 5", Err("Wrong number of arguments in buffer limit configuration."));
        check("other 5 0 0", Err("Invalid client class specified in buffer limit configuration."));
        check("normal 5 1 1", Err("there is a soft limit for class pubsub only: give 0 for it"));
        let one = "classes normal and replica have one limit here: give that of class normal";
        check("normal 5 0 0 replica 6 0 0", Err(one));
        check("slave 6 0 0", Err(one));
        let listener = Some(Limits { hard: 6, soft: 2, soft_s: 60 });
        check("pubsub 6 2 60", Ok((None, listener)));
        check("normal 5 0 0 pubsub 6 2 60", Ok((Some(5), listener)));
        let form_error = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        check("normal x 0 0", Err(form_error));
    }
}
