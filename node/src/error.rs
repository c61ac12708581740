//! Why a command was refused.

use std::borrow::Cow;

use crate::log::WriteRefused;
use crate::store::origins::TooManyOrigins;

/// The outcome of a command whose reply is already written.
pub(crate) type CommandResult = Result<(), CommandError>;

/// Why a command was refused: its text, with Redis's wording and error code, is the reply. The client's fault
/// unless said otherwise; the connection goes on, and the refused command changed nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The key holds another kind of value.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Options that do not fit together, or are not known.
    #[error("ERR syntax error")]
    Syntax,
    /// A number was expected.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A floating-point number was expected.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// The key is needed and absent.
    #[error("ERR no such key")]
    NoSuchKey,
    /// The result would leave 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// Too few or too many arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(String),
    /// A string would grow beyond the protocol's limit.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// The command's changes are larger than a batch may be.
    #[error(
        "ERR this command's changes are larger than max-change ({limit} bytes): write less at once, or raise it at every node"
    )]
    ChangeTooLarge { limit: usize },
    /// The node takes no writes at the moment: not the client's fault.
    #[error(transparent)]
    Refused(#[from] WriteRefused),
    /// A limit of this node that only an operator can lift.
    #[error("ERR {0}")]
    TooManyOrigins(#[from] TooManyOrigins),
    /// Any other, its code included.
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl CommandError {
    /// An error of Redis's that is worded at the one place that gives it; code included.
    pub(crate) const fn text(text: &'static str) -> Self {
        Self::Other(Cow::Borrowed(text))
    }

    /// As [`CommandError::text`], composed.
    pub(crate) const fn composed(text: String) -> Self {
        Self::Other(Cow::Owned(text))
    }
}
