//! Whether two that greet each other may talk.

use super::Local;
use super::message::{Goodbye, Hello, Reason};
use crate::announcement::Member;
use crate::batch::FORMAT;
use crate::id::GroupId;

/// Refuses a peer that this side must not talk to. Both sides come to the same result, each by itself.
pub(super) fn check(hello: &Hello, local: &Local) -> Result<(), Goodbye> {
    let (us, them) = (&local.member, &hello.member);
    if hello.batch_format != FORMAT {
        let (theirs, them) = (hello.batch_format, described(them));
        let text = format!(
            "{them} uses batch format {theirs}, {} uses {FORMAT}: upgrade the older side",
            described(us)
        );
        return Err(Goodbye::new(Reason::Version, text));
    }
    check_group(hello, local)?;
    if us.node_id == them.node_id {
        let text = format!(
            "{} and {} have one node id: an agent was told to dial itself, or a data directory was copied; start the \
             copy with an empty directory",
            described(us),
            described(them)
        );
        return Err(Goodbye::new(Reason::NodeIdTaken, text));
    }
    if us.name == them.name {
        let text = format!(
            "two members have one name: {} and {}; give each its own --name",
            described(us),
            described(them)
        );
        return Err(Goodbye::new(Reason::NameTaken, text));
    }
    Ok(())
}

fn check_group(hello: &Hello, local: &Local) -> Result<(), Goodbye> {
    let (us, them) = (described(&local.member), described(&hello.member));
    if hello.group != local.group {
        let text = format!(
            "{us} is in group \"{}\", {them} in group \"{}\": give their agents one --group, or do not link them",
            local.group, hello.group
        );
        return Err(Goodbye::new(Reason::WrongGroup, text));
    }
    Ok(())
}

/// Whether two that may talk may stream to each other, too: both are members of one group, and neither is only about to
/// join it. Others converse until they are.
#[must_use]
pub fn are_related(local: &Local, hello: &Hello) -> bool {
    let is_group = local.group_id != GroupId::default();
    let is_same = hello.group == local.group && hello.group_id == local.group_id;
    is_group && is_same && !hello.joining && !local.joining
}

/// A member as texts for people name it.
pub(super) fn described(member: &Member) -> String {
    format!("\"{}\" (node {})", member.name, member.node_id)
}
