//! Commands: a table of rows, and how one is carried out.
//!
//! A handler is a synchronous function from arguments to a reply, which knows nothing of I/O. What keys a command
//! touches stands in its row: the executor locks their shards before the handler runs.

pub(crate) mod arguments;

pub(crate) mod context;

pub(crate) mod execute;

pub(crate) mod table;

pub(crate) mod docs;

pub(crate) mod connection;

pub(crate) mod server;

pub(crate) mod info;

pub(crate) mod config;

pub(crate) mod introspect;

pub(crate) mod string;

pub(crate) mod bits;

pub(crate) mod bitfield;

pub(crate) mod hash;

mod absent;

mod out_of_memory;

pub(crate) mod blocking;

pub(crate) mod pubsub;

pub(crate) mod monitor;

mod slowlog;

mod latency;

mod debug;

mod acl;

mod popping;

pub(crate) mod list;

pub(crate) mod set;

pub(crate) mod sorted_set;

pub(crate) mod sort;

pub(crate) mod keys;

pub(crate) mod expire;

pub(crate) mod scan;

pub(crate) mod transaction;

pub(crate) mod feed;

use smallvec::SmallVec;

use self::context::Context;
use crate::error::CommandResult;
use crate::store::rich::parse_integer;

/// Carries out a command: writes its reply, or says why not.
pub(crate) type Handler = for<'c, 'a> fn(&mut Context<'c, 'a>, &[&'a [u8]]) -> CommandResult;

/// A row of the command table.
#[derive(Clone, Copy)]
pub(crate) struct Command {
    /// In lower case.
    pub(crate) name: &'static str,
    /// The number of arguments, the name included; at least that many if negative. As Redis counts.
    pub(crate) arity: i32,
    /// What it does to the store.
    pub(crate) access: Access,
    /// Redis's flags beside `write` and `readonly`, as COMMAND INFO tells them.
    pub(crate) flags: &'static [&'static str],
    pub(crate) keys: Keys,
    pub(crate) handler: Handler,
}

/// What a command does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    None,
    /// Reads keys.
    Read,
    /// May write keys: gets a timestamp, and the log.
    Write,
}

/// Which of a command's arguments are keys.
#[derive(Clone, Copy)]
pub(crate) enum Keys {
    /// None.
    None,
    /// From the first place to the last, which counts from the end if negative, each so many places.
    Range { first: usize, last: isize, step: usize },
    /// As many as the argument at this place says, right behind it; and, if so, the one at place 1 before them.
    Counted { count: usize, target: bool },
    /// Those of SORT: the first argument, what stands behind STORE, and keys that patterns name for each element.
    Sort,
    /// The command ranges over all keys.
    All,
}

impl Keys {
    /// The first argument.
    pub(crate) const ONE: Self = Self::Range { first: 1, last: 1, step: 1 };
    /// Every argument.
    pub(crate) const EVERY: Self = Self::Range { first: 1, last: -1, step: 1 };
    /// Every argument but the last.
    pub(crate) const ALL_BUT_LAST: Self = Self::Range { first: 1, last: -2, step: 1 };

    /// The key among `arguments`, if there is but one in any case.
    pub(crate) fn only<'a>(&self, arguments: &[&'a [u8]]) -> Option<&'a [u8]> {
        match *self {
            Self::Range { first, last, .. } if first as isize == last => arguments.get(first).copied(),
            _ => None,
        }
    }

    /// The keys among `arguments`, the command's name included.
    pub(crate) fn of<'a>(&self, arguments: &[&'a [u8]]) -> SmallVec<[&'a [u8]; 4]> {
        match *self {
            Self::None | Self::All => SmallVec::new(),
            Self::Sort => sort::named_keys(arguments),
            Self::Range { first, last, step } => {
                let end = if last < 0 {
                    arguments.len().saturating_add_signed(last + 1)
                } else {
                    last as usize + 1
                };
                let range = arguments.get(first..end.min(arguments.len())).unwrap_or_default();
                range.iter().step_by(step).copied().collect()
            }
            Self::Counted { count, target } => {
                let number = arguments.get(count).and_then(|number| parse_integer(number)).unwrap_or(0);
                let counted = arguments.iter().skip(count + 1).take(usize::try_from(number).unwrap_or(0));
                let target = arguments.get(1).filter(|_| target);
                target.into_iter().chain(counted).copied().collect()
            }
        }
    }
}

/// A row that says all.
const fn row(
    name: &'static str,
    arity: i32,
    access: Access,
    flags: &'static [&'static str],
    keys: Keys,
    handler: Handler,
) -> Command {
    Command { name, arity, access, flags, keys, handler }
}

impl Command {
    /// A command that touches no key.
    pub(crate) const fn without_keys(
        name: &'static str,
        arity: i32,
        flags: &'static [&'static str],
        handler: Handler,
    ) -> Self {
        Self { name, arity, access: Access::None, flags, keys: Keys::None, handler }
    }

    /// Whether a call with so many arguments, the name included, fits.
    pub(crate) fn accepts(&self, count: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= arity } else { count == arity }
    }

    /// A subcommand stands behind a container's name, as in `CLIENT LIST`.
    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }
}
