//! The options that SET and GETEX share.

use shared::time::WallMillis;

use crate::command::arguments::{integer, is};
use crate::error::CommandError;

/// How a time to live is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// In seconds from now.
    Ex,
    /// In milliseconds from now.
    Px,
    /// As seconds since the epoch.
    ExAt,
    /// As milliseconds since the epoch.
    PxAt,
}

impl Unit {
    fn named(argument: &[u8]) -> Option<Self> {
        let names = [("ex", Self::Ex), ("px", Self::Px), ("exat", Self::ExAt), ("pxat", Self::PxAt)];
        names.into_iter().find(|(name, _)| is(argument, name)).map(|(_, unit)| unit)
    }

    /// The moment that `argument` tells to `command`.
    pub(super) fn moment(
        self,
        argument: &[u8],
        now: WallMillis,
        command: &str,
    ) -> Result<WallMillis, CommandError> {
        let told = integer(argument)?;
        let moment = u64::try_from(told).ok().filter(|_| told > 0).and_then(|told| match self {
            Self::Ex => told.checked_mul(1_000)?.checked_add(now.0),
            Self::Px => told.checked_add(now.0),
            Self::ExAt => told.checked_mul(1_000),
            Self::PxAt => Some(told),
        });
        let moment = moment.filter(|moment| i64::try_from(*moment).is_ok()).map(WallMillis);
        moment
            .ok_or_else(|| CommandError::composed(format!("ERR invalid expire time in '{command}' command")))
    }
}

/// What to do to the key's TTL.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ttl<'a> {
    /// SET leaves it alone.
    Keep,
    /// GETEX removes it.
    Persist,
    /// It becomes this.
    Set(Unit, &'a [u8]),
}

impl Ttl<'_> {
    /// Whether both are one option, which may be repeated.
    fn is_same_option(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep, Self::Keep) | (Self::Persist, Self::Persist) => true,
            (Self::Set(unit, _), Self::Set(other, _)) => unit == other,
            _ => false,
        }
    }
}

/// Whether the key must or must not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It must not: NX.
    Absent,
    /// It must: XX.
    Present,
}

/// SET's options; GETEX knows only the TTL.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    pub(super) ttl: Option<Ttl<'a>>,
    pub(super) condition: Option<Condition>,
    /// The reply is the value that the key held.
    pub(super) returns_old: bool,
}

impl<'a> Options<'a> {
    /// The options of SET.
    pub(super) fn of_set(arguments: &[&'a [u8]]) -> Result<Self, CommandError> {
        Self::parse(arguments, |options, argument| {
            if is(argument, "nx") {
                options.require(Condition::Absent)
            } else if is(argument, "xx") {
                options.require(Condition::Present)
            } else if is(argument, "keepttl") {
                options.choose_ttl(Ttl::Keep)
            } else if is(argument, "get") {
                options.returns_old = true;
                Ok(())
            } else {
                Err(CommandError::Syntax)
            }
        })
    }

    /// The options of GETEX.
    pub(super) fn of_getex(arguments: &[&'a [u8]]) -> Result<Self, CommandError> {
        Self::parse(arguments, |options, argument| {
            if is(argument, "persist") { options.choose_ttl(Ttl::Persist) } else { Err(CommandError::Syntax) }
        })
    }

    /// Reads the options that take a time, and leaves the others to `read_other`.
    fn parse(
        arguments: &[&'a [u8]],
        read_other: impl Fn(&mut Self, &[u8]) -> Result<(), CommandError>,
    ) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match Unit::named(argument) {
                Some(unit) => {
                    let told = arguments.next().ok_or(CommandError::Syntax)?;
                    options.choose_ttl(Ttl::Set(unit, told))?;
                }
                None => read_other(&mut options, argument)?,
            }
        }
        Ok(options)
    }

    fn choose_ttl(&mut self, ttl: Ttl<'a>) -> Result<(), CommandError> {
        if self.ttl.is_some_and(|chosen| !chosen.is_same_option(&ttl)) {
            return Err(CommandError::Syntax);
        }
        self.ttl = Some(ttl);
        Ok(())
    }

    fn require(&mut self, condition: Condition) -> Result<(), CommandError> {
        if self.condition.is_some_and(|required| required != condition) {
            return Err(CommandError::Syntax);
        }
        self.condition = Some(condition);
        Ok(())
    }
}
