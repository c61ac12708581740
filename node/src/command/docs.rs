//! What COMMAND DOCS tells of each command.
