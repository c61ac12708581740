//! Commands as they were drawn, and how they are written down.

use std::fmt;

/// What is done with a command beside sending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing.
    None,
    /// Its replies are compared to the byte.
    Exact,
    /// It is sent until its reply is no longer 1.
    UntilChanged,
}

/// A command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// Its name and its arguments.
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) mark: Mark,
}

/// As one types it into redis-cli.
impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.words.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            let is_plain =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:+-*(){}[]@,#?^$!/=<>&|".contains(byte);
            if !word.is_empty() && word.iter().all(is_plain) {
                write!(out, "{gap}{}", String::from_utf8_lossy(word))?;
            } else {
                write!(out, "{gap}\"{}\"", quoted(word))?;
            }
        }
        Ok(())
    }
}

fn quoted(word: &[u8]) -> String {
    let sign = |byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    word.iter().map(sign).collect()
}

/// Commands that belong together: drawn at once, dropped at once.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Which family it is of, by its place among those that take part.
    pub(crate) family: usize,
    pub(crate) commands: Vec<Command>,
}

impl Step {
    /// Whether it waits, for which it must not be queued in a transaction.
    pub(crate) fn waits(&self) -> bool {
        self.commands.iter().any(|command| command.mark == Mark::UntilChanged)
    }
}
