//! Flags, the configuration file, and what they come to.

use std::path::{Path, PathBuf};

use argh::FromArgs;
use serde::Deserialize;
use shared::announcement::Role;
use shared::batch::BATCH_BYTES_MAX;

use crate::log::segment::SEGMENT_BYTES_MAX;
use crate::memory::policy::Policy;
use crate::memory::settings::{InitialMemory, SAMPLES_MAX};
use crate::notifications::Wanted;
use crate::settings::{Fsync, InitialSettings};

/// A lean Redis-protocol store whose writes are replicated by tandem-agent. A flag's value follows it after a
/// space. The same names, without the dashes, stand in the file given by --config; flags win over it.
#[derive(FromArgs, Debug, Default)]
pub(crate) struct Flags {
    /// read settings from this TOML file
    #[argh(option)]
    config: Option<PathBuf>,
    /// this member's name, one of a kind in its group (default: the host's name)
    #[argh(option)]
    name: Option<String>,
    /// active takes writes; read-only refuses clients' writes and gets those of its peers (default: active; CONFIG SET role
    /// changes it while the node runs)
    #[argh(option)]
    role: Option<Role>,
    /// address to listen on, repeatable (default: 127.0.0.1)
    #[argh(option)]
    bind: Vec<String>,
    /// TCP port to listen on; 0 for none (default: 6379)
    #[argh(option)]
    port: Option<u16>,
    /// unix socket to listen on; a stale one is replaced (default: none)
    #[argh(option)]
    unix: Option<PathBuf>,
    /// directory of the log; made if it is not there (default: tandem-data)
    #[argh(option)]
    dir: Option<PathBuf>,
    /// keep nothing on disk: after a restart the data comes from peers
    #[argh(switch)]
    memory: bool,
    /// with --memory: bytes of writes kept at most while a peer is away (default: 256mb)
    #[argh(option)]
    log_memory: Option<Bytes>,
    /// bytes of the log before a snapshot that stay on disk, for peers that were away (default: 1gb)
    #[argh(option)]
    log_retention: Option<Bytes>,
    /// seconds after which the log before a snapshot goes even within --log-retention, but for what a known member still
    /// needs; 0 for never (default: 0)
    #[argh(option)]
    log_retention_age: Option<u64>,
    /// bytes of a segment of the log, which is removed segment by segment (default: 64mb; at least 64kb)
    #[argh(option)]
    log_segment: Option<Bytes>,
    /// a snapshot is written when the log has grown by so many bytes, and by the last one's length; 0 for never (default:
    /// 256mb)
    #[argh(option)]
    snapshot_after: Option<Bytes>,
    /// a snapshot is written after so many seconds, too, if there was any change; 0 for never (default: 0; CONFIG SET save
    /// changes it while the node runs)
    #[argh(option)]
    snapshot_every: Option<u64>,
    /// when the log is made durable: always, everysec or no (default: everysec)
    #[argh(option)]
    fsync: Option<Fsync>,
    /// threads that serve clients (default: the number of cores, at most 4)
    #[argh(option)]
    threads: Option<usize>,
    /// clients at once; further ones are refused (default: 10000)
    #[argh(option)]
    max_clients: Option<usize>,
    /// bytes that one command or transaction may write (default: 64mb; at most 256mb)
    #[argh(option)]
    max_change: Option<Bytes>,
    /// milliseconds that the clocks of linked nodes may lie apart (default: 5000)
    #[argh(option)]
    max_clock_drift: Option<u64>,
    /// seconds of silence after which a member is evicted: tombstones wait for it no longer, and it comes back by taking over
    /// the group's state (default: 86400)
    #[argh(option)]
    member_timeout: Option<u64>,
    /// bytes that tombstones may take while they wait for a member that is away; then that one is evicted (default: 64mb, or
    /// a twentieth of --maxmemory if that is given)
    #[argh(option)]
    tombstone_budget: Option<Bytes>,
    /// bytes that data may take; the smallest limit of a group's members holds for all; 0 for no limit (default: 0)
    #[argh(option)]
    maxmemory: Option<Bytes>,
    /// what is removed when data take more: noeviction (writes are refused), allkeys-lru, allkeys-lfu, allkeys-random,
    /// volatile-lru, volatile-lfu, volatile-random or volatile-ttl (default: noeviction)
    #[argh(option)]
    maxmemory_policy: Option<Policy>,
    /// keys looked at for each that is removed: more find better ones, and take longer (default: 5; at most 64)
    #[argh(option)]
    maxmemory_samples: Option<usize>,
    /// under an LFU policy: how many more uses it takes to count as used more often (default: 10)
    #[argh(option)]
    lfu_log_factor: Option<u32>,
    /// under an LFU policy: in so many minutes without use a key comes to count as used less; 0 for never (default: 1)
    #[argh(option)]
    lfu_decay_time: Option<u32>,
    /// seconds after which a silent client is disconnected; 0 for never (default: 0)
    #[argh(option)]
    timeout: Option<u64>,
    /// seconds of silence after which TCP probes a client; 0 for never (default: 300)
    #[argh(option)]
    tcp_keepalive: Option<u64>,
    /// bytes of replies a client may leave unread before it is disconnected (default: 1gb)
    #[argh(option)]
    output_buffer_limit: Option<Bytes>,
    /// which events of keys clients are told, in Redis's letters such as Ex (default: none)
    #[argh(option)]
    notify_keyspace_events: Option<Wanted>,
    /// microseconds from which on SLOWLOG tells a command; negative for never (default: 10000)
    #[argh(option)]
    slowlog_log_slower_than: Option<i64>,
    /// commands that SLOWLOG keeps (default: 128)
    #[argh(option)]
    slowlog_max_len: Option<usize>,
    /// milliseconds from which on LATENCY notes a command; 0 for never (default: 0)
    #[argh(option)]
    latency_monitor_threshold: Option<u64>,
    /// who may use DEBUG: no (nobody), local (clients on this host) or yes (default: no)
    #[argh(option)]
    enable_debug_command: Option<Permission>,
    /// error, warn, info, debug or trace (default: info)
    #[argh(option)]
    log_level: Option<String>,
    /// term (for people) or json, on standard error (default: term)
    #[argh(option)]
    log_format: Option<LogFormat>,
    /// print the version and stop
    #[argh(switch)]
    pub(crate) version: bool,
    #[argh(subcommand)]
    pub(crate) operation: Option<Operation>,
}

/// What is done in place of running a node.
#[derive(FromArgs, Clone, Debug)]
#[argh(subcommand)]
pub(crate) enum Operation {
    Backup(BackupFlags),
    Restore(RestoreFlags),
}

/// Copies all that a running node of this host holds into a new directory, and verifies the copy.
#[derive(FromArgs, Clone, Debug)]
#[argh(subcommand, name = "backup")]
pub(crate) struct BackupFlags {
    /// the directory to write to; it must be empty, or not be there
    #[argh(positional)]
    pub(crate) target: PathBuf,
    /// the node: HOST:PORT, or unix:PATH (default: 127.0.0.1:6379)
    #[argh(option, default = "String::from(\"127.0.0.1:6379\")")]
    pub(crate) node: String,
}

/// Makes of a backup the directory of a new node, which then joins its group as any new one, and brings what the group
/// has not seen.
#[derive(FromArgs, Clone, Debug)]
#[argh(subcommand, name = "restore")]
pub(crate) struct RestoreFlags {
    /// the directory that backup has written; it stays as it is
    #[argh(positional)]
    pub(crate) backup: PathBuf,
    /// the directory to make; it must be empty, or not be there
    #[argh(option)]
    pub(crate) dir: PathBuf,
    /// the new member's name, one of a kind in its group (default: the host's name)
    #[argh(option)]
    name: Option<String>,
}

impl RestoreFlags {
    pub(crate) fn name(&self) -> Result<String, ConfigError> {
        member_name(self.name.clone())
    }
}

/// The configuration file: the flags' names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    name: Option<String>,
    role: Option<Role>,
    bind: Option<OneOrMore>,
    port: Option<u16>,
    unix: Option<PathBuf>,
    dir: Option<PathBuf>,
    memory: Option<bool>,
    log_memory: Option<Bytes>,
    log_retention: Option<Bytes>,
    log_retention_age: Option<u64>,
    log_segment: Option<Bytes>,
    snapshot_after: Option<Bytes>,
    snapshot_every: Option<u64>,
    fsync: Option<Fsync>,
    threads: Option<usize>,
    max_clients: Option<usize>,
    max_change: Option<Bytes>,
    max_clock_drift: Option<u64>,
    member_timeout: Option<u64>,
    tombstone_budget: Option<Bytes>,
    maxmemory: Option<Bytes>,
    maxmemory_policy: Option<Policy>,
    maxmemory_samples: Option<usize>,
    lfu_log_factor: Option<u32>,
    lfu_decay_time: Option<u32>,
    timeout: Option<u64>,
    tcp_keepalive: Option<u64>,
    output_buffer_limit: Option<Bytes>,
    notify_keyspace_events: Option<Wanted>,
    slowlog_log_slower_than: Option<i64>,
    slowlog_max_len: Option<usize>,
    latency_monitor_threshold: Option<u64>,
    enable_debug_command: Option<Permission>,
    log_level: Option<String>,
    log_format: Option<LogFormat>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A number of bytes, with a unit as Redis takes them: `1k` is 1000, `1kb` is 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &lower[digits.len()..] {
            "" | "b" => 1,
            "k" => 1_000,
            "kb" => 1 << 10,
            "m" => 1_000_000,
            "mb" => 1 << 20,
            "g" => 1_000_000_000,
            "gb" => 1 << 30,
            unit => return Err(format!("unknown unit '{unit}': use b, k, kb, m, mb, g or gb")),
        };
        let number: usize = digits.parse().map_err(|_| format!("not a number of bytes: '{text}'"))?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("too many bytes: '{text}'"))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Number(usize),
            Text(String),
        }
        match Given::deserialize(deserializer)? {
            Given::Number(bytes) => Ok(Self(bytes)),
            Given::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// How the process logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Term,
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "term" => Ok(Self::Term),
            "json" => Ok(Self::Json),
            _ => Err("expected term or json".to_owned()),
        }
    }
}

/// Who may use a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Permission {
    #[default]
    No,
    /// Clients on this host.
    Local,
    Yes,
}

impl Permission {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Local => "local",
            Self::Yes => "yes",
        }
    }
}

impl std::str::FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::No, Self::Local, Self::Yes].into_iter().find(|known| known.name() == text);
        found.ok_or_else(|| "expected no, local or yes".to_owned())
    }
}

/// What the node runs by; what may change while it runs stands in [`crate::settings`].
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) bind: Vec<String>,
    /// 0 for no TCP.
    pub(crate) port: u16,
    pub(crate) unix: Option<PathBuf>,
    /// None to keep nothing on disk.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) log_memory: usize,
    /// At how many bytes a segment of the log is full.
    pub(crate) log_segment: u64,
    pub(crate) threads: usize,
    pub(crate) max_clock_drift_ms: u64,
    /// After how long of silence a member is evicted, in milliseconds.
    pub(crate) member_timeout_ms: u64,
    pub(crate) log_level: slog::Level,
    pub(crate) log_format: LogFormat,
    /// Who may use DEBUG.
    pub(crate) debug: Permission,
    pub(crate) initial: InitialSettings,
}

/// A configuration that the node does not start with. Names the flag and what it takes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("--config {}: {error}", path.display())]
    File { path: PathBuf, error: String },
    #[error("--{flag}: {problem}")]
    Value { flag: &'static str, problem: String },
}

/// A transaction of the largest `--max-change` fits into a batch.
pub(crate) const MAX_CHANGE_LIMIT: usize = 256 << 20;
const _: () = assert!(MAX_CHANGE_LIMIT < BATCH_BYTES_MAX);

impl Config {
    /// Puts flags, file and defaults together.
    pub(crate) fn new(flags: Flags) -> Result<Self, ConfigError> {
        let file = flags.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let value = |flag, problem: &str| ConfigError::Value { flag, problem: problem.to_owned() };
        let name = member_name(flags.name.or(file.name))?;
        let bind = match (flags.bind, file.bind) {
            (given, None) if given.is_empty() => vec!["127.0.0.1".to_owned()],
            (given, Some(OneOrMore::One(one))) if given.is_empty() => vec![one],
            (given, Some(OneOrMore::More(more))) if given.is_empty() => more,
            (given, _) => given,
        };
        let in_memory = flags.memory || (flags.dir.is_none() && file.memory.unwrap_or(false));
        if flags.memory && flags.dir.is_some() {
            return Err(value("memory", "does not go together with --dir"));
        }
        let dir = flags.dir.or(file.dir).unwrap_or_else(|| PathBuf::from("tandem-data"));
        let max_change = bytes(flags.max_change, file.max_change, 64 << 20);
        if !(1 << 10..=MAX_CHANGE_LIMIT).contains(&max_change) {
            return Err(value("max-change", "expected 1kb to 256mb"));
        }
        let log_segment = bytes(flags.log_segment, file.log_segment, SEGMENT_BYTES_MAX as usize) as u64;
        if !(64 << 10..=4 << 30).contains(&log_segment) {
            return Err(value("log-segment", "expected 64kb to 4gb"));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = flags.threads.or(file.threads).unwrap_or_else(|| cores.min(4));
        if !(1..=256).contains(&threads) {
            return Err(value("threads", "expected 1 to 256"));
        }
        let usual = InitialMemory::default();
        let memory = InitialMemory {
            limit: bytes(flags.maxmemory, file.maxmemory, usual.limit),
            policy: flags.maxmemory_policy.or(file.maxmemory_policy).unwrap_or(usual.policy),
            samples: flags.maxmemory_samples.or(file.maxmemory_samples).unwrap_or(usual.samples),
            log_factor: flags.lfu_log_factor.or(file.lfu_log_factor).unwrap_or(usual.log_factor),
            decay_minutes: flags.lfu_decay_time.or(file.lfu_decay_time).unwrap_or(usual.decay_minutes),
        };
        if !(1..=SAMPLES_MAX).contains(&memory.samples) {
            return Err(value("maxmemory-samples", "expected 1 to 64"));
        }
        let level = flags.log_level.or(file.log_level).unwrap_or_else(|| "info".to_owned());
        let log_level = level
            .to_uppercase()
            .parse()
            .or_else(|()| if level == "warn" { Ok(slog::Level::Warning) } else { Err(()) })
            .map_err(|()| value("log-level", "expected error, warn, info, debug or trace"))?;
        Ok(Self {
            name,
            bind,
            port: flags.port.or(file.port).unwrap_or(6379),
            unix: flags.unix.or(file.unix),
            dir: (!in_memory).then_some(dir),
            log_memory: bytes(flags.log_memory, file.log_memory, 256 << 20),
            log_segment,
            threads,
            max_clock_drift_ms: flags.max_clock_drift.or(file.max_clock_drift).unwrap_or(5_000).max(1),
            member_timeout_ms: flags.member_timeout.or(file.member_timeout).unwrap_or(86_400).max(1) * 1_000,
            log_level,
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            debug: flags.enable_debug_command.or(file.enable_debug_command).unwrap_or_default(),
            initial: InitialSettings {
                role: flags.role.or(file.role).unwrap_or_default(),
                fsync: flags.fsync.or(file.fsync).unwrap_or_default(),
                max_change,
                max_clients: flags.max_clients.or(file.max_clients).unwrap_or(10_000).max(1),
                idle_timeout_s: flags.timeout.or(file.timeout).unwrap_or(0),
                tcp_keepalive_s: flags.tcp_keepalive.or(file.tcp_keepalive).unwrap_or(300),
                output_bytes_max: bytes(flags.output_buffer_limit, file.output_buffer_limit, 1 << 30),
                log_retention: bytes(flags.log_retention, file.log_retention, 1 << 30) as u64,
                log_retention_age_s: flags.log_retention_age.or(file.log_retention_age).unwrap_or(0),
                snapshot_every_s: flags.snapshot_every.or(file.snapshot_every).unwrap_or(0),
                snapshot_after: bytes(flags.snapshot_after, file.snapshot_after, 256 << 20) as u64,
                tombstone_budget: flags.tombstone_budget.or(file.tombstone_budget).map(|bytes| bytes.0),
                memory,
                notify_keyspace_events: flags
                    .notify_keyspace_events
                    .or(file.notify_keyspace_events)
                    .unwrap_or_default(),
                slow_log_us: flags.slowlog_log_slower_than.or(file.slowlog_log_slower_than).unwrap_or(10_000),
                slow_log_entries_max: flags.slowlog_max_len.or(file.slowlog_max_len).unwrap_or(128),
                latency_monitor_ms: flags
                    .latency_monitor_threshold
                    .or(file.latency_monitor_threshold)
                    .unwrap_or(0),
            },
        })
    }
}

/// The name that was given, or the host's.
fn member_name(given: Option<String>) -> Result<String, ConfigError> {
    let problem = |problem: &str| ConfigError::Value { flag: "name", problem: problem.to_owned() };
    let of_host = || hostname::get().ok().and_then(|name| name.into_string().ok());
    let name = given.or_else(of_host).ok_or_else(|| problem("the host has no name to use: give one"))?;
    if name.is_empty() || name.len() > 128 || name.chars().any(|c| c.is_control() || c == ' ') {
        return Err(problem("expected 1 to 128 bytes of text without spaces"));
    }
    Ok(name)
}

fn bytes(flag: Option<Bytes>, file: Option<Bytes>, default: usize) -> usize {
    flag.or(file).map_or(default, |bytes| bytes.0)
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let problem = |error: String| ConfigError::File { path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    toml::from_str(&text).map_err(|error| problem(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bytes(text: &str, expected: Option<usize>) {
        assert_eq!(text.parse::<Bytes>().ok().map(|bytes| bytes.0), expected, "{text}");
    }

    #[test]
    fn bytes_take_the_units_of_redis() {
        check_bytes("0", Some(0));
        check_bytes("1k", Some(1_000));
        check_bytes("64MB", Some(64 << 20));
        check_bytes("2gb", Some(2 << 30));
        check_bytes("1x", None);
        check_bytes("mb", None);
        check_bytes("99999999999gb", None);
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "port = 7000\nname = \"a\"\nlog-memory = \"1mb\"\n").unwrap();
        let flags = Flags { config: Some(file.path().to_owned()), port: Some(7001), ..Flags::default() };
        let config = Config::new(flags).unwrap();
        assert_eq!((config.port, &*config.name, config.log_memory), (7001, "a", 1 << 20));
    }

    #[test]
    fn what_clients_are_told_may_stand_in_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "notify-keyspace-events = \"Ex\"\nslowlog-log-slower-than = -1\n")
            .unwrap();
        let config = Config::new(Flags { config: Some(file.path().to_owned()), ..Flags::default() }).unwrap();
        assert_eq!(config.initial.notify_keyspace_events, "Ex".parse().unwrap());
        assert_eq!((config.initial.slow_log_us, config.debug), (-1, Permission::No));
        std::fs::write(file.path(), "notify-keyspace-events = \"?\"\n").unwrap();
        assert!(Config::new(Flags { config: Some(file.path().to_owned()), ..Flags::default() }).is_err());
    }

    #[test]
    fn unknown_names_in_the_file_are_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "prot = 7000\n").unwrap();
        let flags = Flags { config: Some(file.path().to_owned()), ..Flags::default() };
        assert!(Config::new(flags).unwrap_err().to_string().contains("prot"));
    }
}
