use super::Command;

pub(super) const COMMANDS: &[Command] = &[];

/// Writes the reply of a container's HELP: its subcommands with what they do.
pub(crate) fn reply_help(reply: &mut shared::resp::ReplyWriter<'_>, container: &str, lines: &[(&str, &str)]) {
    reply.array(1 + 2 * lines.len() + 2);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, explanation) in lines.iter().chain(&[("HELP", "Prints this help.")]) {
        reply.simple(usage);
        reply.simple(&format!("    {explanation}"));
    }
}
