//! The table of commands: every row, found by name.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

use super::{Command, Keys};

/// A row in its place.
pub(crate) struct Row {
    command: Command,
    /// Counts the rows: each has its own.
    pub(crate) index: usize,
    /// Whether it takes about as long for every key: no matter how much that holds.
    pub(crate) is_light: bool,
    /// Whether it stands behind a container's name, and is no command by itself.
    pub(crate) is_subcommand: bool,
}

impl Deref for Row {
    type Target = Command;

    fn deref(&self) -> &Command {
        &self.command
    }
}

/// Commands that are light here, though Redis does not call them fast.
const LIGHT: &[&str] = &["set", "setex", "psetex", "setbit", "setrange", "getrange", "substr"];

fn is_light(command: &Command) -> bool {
    let ranges_over_all = matches!(command.keys, Keys::All);
    let is_simple = command.has_flag("fast") && !command.has_flag("blocking") && !ranges_over_all;
    is_simple || LIGHT.contains(&command.name)
}

type Names = HashMap<&'static [u8], &'static Row, FixedState>;

/// The rows, each family's beside its handlers.
static FAMILIES: &[&[Command]] = &[
    super::connection::COMMANDS,
    super::connection::client::COMMANDS,
    super::server::COMMANDS,
    super::info::COMMANDS,
    super::config::COMMANDS,
    super::introspect::COMMANDS,
    super::string::COMMANDS,
    super::bits::COMMANDS,
    super::bitfield::COMMANDS,
    super::hash::COMMANDS,
    super::list::COMMANDS,
    super::set::COMMANDS,
    super::sorted_set::COMMANDS,
    super::sort::COMMANDS,
    super::keys::COMMANDS,
    super::expire::COMMANDS,
    super::scan::COMMANDS,
    super::transaction::COMMANDS,
    super::pubsub::COMMANDS,
    super::monitor::COMMANDS,
    super::slowlog::COMMANDS,
    super::latency::COMMANDS,
    super::debug::COMMANDS,
    super::acl::COMMANDS,
    super::feed::COMMANDS,
];

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let commands = FAMILIES.iter().flat_map(|family| family.iter()).enumerate();
    commands
        .map(|(index, command)| Row {
            command: *command,
            index,
            is_light: is_light(command),
            is_subcommand: command.name.contains('|'),
        })
        .collect()
});

static NAMES: LazyLock<Names> = LazyLock::new(|| all().map(|row| (row.name.as_bytes(), row)).collect());

/// No command's name is longer, subcommands included.
const NAME_BYTES_MAX: usize = 40;

/// Every row, subcommands (`container|subcommand`) included.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    LazyLock::force(&ROWS).iter()
}

/// The row of a command, its name in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Row> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    NAMES.get(&*lower).copied()
}

/// The row of a container's subcommand, in any case.
pub(crate) fn find_subcommand(container: &Command, name: &[u8]) -> Option<&'static Row> {
    find(&[container.name.as_bytes(), b"|", name].concat())
}

/// The rows of a container's subcommands.
pub(crate) fn subcommands(container: &Command) -> impl Iterator<Item = &'static Row> {
    all().filter(move |row| row.name.strip_prefix(container.name).is_some_and(|rest| rest.starts_with('|')))
}
