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
    let none = GroupId::default();
    if hello.group_id != local.group_id && hello.group_id != none && local.group_id != none {
        let text = format!(
            "{us} is in the group \"{}\" with id {}, {them} in another of that name, with id {}: they never were one \
             group and cannot stream to each other",
            local.group, local.group_id, hello.group_id
        );
        return Err(Goodbye::new(Reason::WrongGroup, text));
    }
    Ok(())
}

/// A member as texts for people name it.
pub(super) fn described(member: &Member) -> String {
    format!("\"{}\" (node {})", member.name, member.node_id)
}
