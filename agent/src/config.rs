//! What an agent is told: by flags, and by a file with the same names.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use shared::link::Codec;

use crate::dial::{PeerAddress, PeerSyntax};
use crate::node_client::{AddressSyntax, NodeAddress};

/// What an agent is told. The defaults are those of the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the node is.
    pub node: NodeAddress,
    /// Where to listen for peers, as `HOST:PORT`; not at all, if there is none.
    pub listen: Option<String>,
    /// The peers to dial.
    pub peers: Vec<PeerAddress>,
    /// The group's name.
    pub group: String,
    /// Where to listen for operators: the path of a Unix socket; not at all, if there is none.
    pub control: Option<PathBuf>,
    /// How what is sent to peers is compressed, where they read that.
    pub compress: Compression,
    /// Which messages are logged.
    pub log_level: LogLevel,
    /// How messages are logged.
    pub log_format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeAddress::Tcp("127.0.0.1:6379".into()),
            listen: None,
            peers: Vec::new(),
            group: "tandem".into(),
            control: None,
            compress: Compression(None),
            log_level: LogLevel(slog::Level::Info),
            log_format: LogFormat::Term,
        }
    }
}

/// How what is sent to peers is compressed, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression(pub Option<Codec>);

impl FromStr for Compression {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text == "none" {
            return Ok(Self(None));
        }
        let codec = Codec::ALL.into_iter().find(|codec| codec.name() == text);
        codec.map(|codec| Self(Some(codec))).ok_or_else(|| ConfigError::Compress(text.into()))
    }
}

/// Which messages are logged: those of this level, and graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(pub slog::Level);

impl FromStr for LogLevel {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let level = match text {
            "error" => slog::Level::Error,
            "warn" => slog::Level::Warning,
            "info" => slog::Level::Info,
            "debug" => slog::Level::Debug,
            "trace" => slog::Level::Trace,
            _ => return Err(ConfigError::LogLevel(text.into())),
        };
        Ok(Self(level))
    }
}

/// How messages are logged, to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Term,
    /// A JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text {
            "term" => Ok(Self::Term),
            "json" => Ok(Self::Json),
            _ => Err(ConfigError::LogFormat(text.into())),
        }
    }
}

/// Why a configuration cannot be used. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {0}: {1}")]
    Read(String, std::io::Error),
    /// The file is not TOML, or has a name that is none of the flags'.
    #[error("configuration file {0}: {1}")]
    Syntax(String, Box<toml::de::Error>),
    /// A node's address is none.
    #[error("--node: {0}")]
    Node(#[from] AddressSyntax),
    /// A peer's address is none.
    #[error("--peer: {0}")]
    Peer(#[from] PeerSyntax),
    /// A group's name is empty or too long.
    #[error("--group: a group's name has 1 to {GROUP_BYTES_MAX} bytes, and no control characters")]
    Group,
    /// There is no such way to compress.
    #[error("--compress: not one of none, lz4, zstd: {0:?}")]
    Compress(String),
    /// There is no such level.
    #[error("--log-level: not one of error, warn, info, debug, trace: {0:?}")]
    LogLevel(String),
    /// There is no such format.
    #[error("--log-format: not one of term, json: {0:?}")]
    LogFormat(String),
}

/// The longest name of a group that a node takes, in bytes.
const GROUP_BYTES_MAX: usize = 128;

/// The settings as they are written, in the file or as flags; what is missing is left to the other or the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// `node`
    pub node: Option<String>,
    /// `listen`
    pub listen: Option<String>,
    /// `peer`: a list.
    #[serde(default)]
    pub peer: Vec<String>,
    /// `group`
    pub group: Option<String>,
    /// `control`
    pub control: Option<PathBuf>,
    /// `compress`
    pub compress: Option<String>,
    /// `log-level`
    pub log_level: Option<String>,
    /// `log-format`
    pub log_format: Option<String>,
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// If it cannot be read, or says what no flag is called.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(name(), error))?;
        toml::from_str(&text).map_err(|error| ConfigError::Syntax(name(), Box::new(error)))
    }

    /// These settings, and where they say nothing, the others. Peers are not added up.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            node: self.node.or(others.node),
            listen: self.listen.or(others.listen),
            peer: if self.peer.is_empty() { others.peer } else { self.peer },
            group: self.group.or(others.group),
            control: self.control.or(others.control),
            compress: self.compress.or(others.compress),
            log_level: self.log_level.or(others.log_level),
            log_format: self.log_format.or(others.log_format),
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first that is not possible.
    pub fn parse(self) -> Result<Config, ConfigError> {
        let default = Config::default();
        let group = self.group.unwrap_or(default.group);
        if group.is_empty() || group.len() > GROUP_BYTES_MAX || group.chars().any(char::is_control) {
            return Err(ConfigError::Group);
        }
        Ok(Config {
            node: self.node.map_or(Ok(default.node), |node| node.parse())?,
            listen: self.listen,
            peers: self.peer.iter().map(|peer| peer.parse()).collect::<Result<_, _>>()?,
            group,
            control: self.control,
            compress: self.compress.map_or(Ok(default.compress), |compress| compress.parse())?,
            log_level: self.log_level.map_or(Ok(default.log_level), |level| level.parse())?,
            log_format: self.log_format.map_or(Ok(default.log_format), |format| format.parse())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_file() {
        let file: Settings = toml::from_str(
            "node = \"unix:/run/node.sock\"\npeer = [\"ws://a:1\", \"ws://b:2\"]\nlog-level = \"debug\"\n\
             compress = \"zstd\"\n",
        )
        .unwrap();
        let flags = Settings { node: Some("127.0.0.1:7001".into()), ..Settings::default() };
        let config = flags.or(file).parse().unwrap();
        assert_eq!(config.node, NodeAddress::Tcp("127.0.0.1:7001".into()));
        assert_eq!(config.peers.len(), 2);
        assert_eq!(config.log_level, LogLevel(slog::Level::Debug));
        assert_eq!(config.group, "tandem");
        assert_eq!(config.compress, Compression(Some(Codec::Zstd)));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(toml::from_str::<Settings>("nodes = \"x:1\"").is_err());
        let check = |settings: Settings, part: &str| {
            let error = settings.parse().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(Settings { node: Some("x".into()), ..Settings::default() }, "--node");
        check(Settings { peer: vec!["x".into()], ..Settings::default() }, "--peer");
        check(Settings { group: Some(String::new()), ..Settings::default() }, "--group");
        check(Settings { compress: Some("gzip".into()), ..Settings::default() }, "--compress");
        check(Settings { log_level: Some("loud".into()), ..Settings::default() }, "--log-level");
        check(Settings { log_format: Some("xml".into()), ..Settings::default() }, "--log-format");
    }
}
