//! The table of commands: every row, found by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

use super::Command;

type Rows = HashMap<&'static [u8], &'static Command, FixedState>;

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
    super::feed::COMMANDS,
];

static ROWS: LazyLock<Rows> = LazyLock::new(|| all().map(|row| (row.name.as_bytes(), row)).collect());

/// No command's name is longer, subcommands included.
const NAME_BYTES_MAX: usize = 40;

/// Every row, subcommands (`container|subcommand`) included.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row of a command, its name in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    ROWS.get(&*lower).copied()
}

/// The row of a container's subcommand, in any case.
pub(crate) fn find_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    find(&[container.name.as_bytes(), b"|", name].concat())
}

/// The rows of a container's subcommands.
pub(crate) fn subcommands(container: &Command) -> impl Iterator<Item = &'static Command> {
    all().filter(move |row| row.name.strip_prefix(container.name).is_some_and(|rest| rest.starts_with('|')))
}
