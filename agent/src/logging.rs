//! The root logger.

use slog::{Drain, Level, LevelFilter, Logger, Never, o};
use slog_async::{Async, AsyncGuard};

use crate::config::{LogFormat, LogLevel};

/// So many messages may wait for standard error; further ones are dropped, and counted in a message.
const MESSAGES_MAX: usize = 1_024;

/// The logger of a program, to standard error. What is logged is written out when the guard is dropped.
pub(crate) fn root(level: LogLevel, format: LogFormat) -> (Logger, AsyncGuard) {
    match format {
        LogFormat::Term => {
            let decorator = slog_term::TermDecorator::new().stderr().build();
            start(slog_term::FullFormat::new(decorator).use_utc_timestamp().build().fuse(), level.0)
        }
        LogFormat::Json => {
            start(std::sync::Mutex::new(slog_json::Json::default(std::io::stderr())).fuse(), level.0)
        }
    }
}

fn start<D>(drain: D, level: Level) -> (Logger, AsyncGuard)
where
    D: Drain<Ok = (), Err = Never> + Send + 'static,
    LevelFilter<D>: Drain,
{
    let (drain, guard) = Async::new(drain).chan_size(MESSAGES_MAX).build_with_guard();
    (Logger::root(LevelFilter::new(drain, level).fuse(), o!()), guard)
}
