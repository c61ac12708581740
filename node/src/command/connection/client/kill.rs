//! CLIENT KILL: whom it means, and their end.

use std::sync::atomic::Ordering;

use super::list::{Sort, ends};
use super::yes_or_no;
use crate::client::{After, ClientRecord};
use crate::command::arguments::{integer_within, is, quoted};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};

/// Whom CLIENT KILL means: those that fit all that is given.
#[derive(Default)]
struct Victims<'a> {
    id: Option<u64>,
    sort: Option<Sort>,
    address: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    with_self: bool,
}

impl<'a> Victims<'a> {
    fn parse(mut options: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut victims = Self::default();
        while let [option, value, rest @ ..] = options {
            victims.narrow(option, value)?;
            options = rest;
        }
        if options.is_empty() { Ok(victims) } else { Err(CommandError::Syntax) }
    }

    fn narrow(&mut self, option: &[u8], value: &'a [u8]) -> CommandResult {
        if is(option, "id") {
            let id = integer_within(value, 1..=i64::MAX);
            self.id =
                Some(id.map_err(|_| CommandError::text("ERR client-id should be greater than 0"))? as u64);
        } else if is(option, "type") {
            self.sort = Some(Sort::parse(value)?);
        } else if is(option, "addr") {
            self.address = Some(value);
        } else if is(option, "laddr") {
            self.local = Some(value);
        } else if is(option, "user") {
            if value != b"default" {
                return Err(CommandError::composed(format!("ERR No such user '{}'", quoted(value))));
            }
        } else if is(option, "skipme") {
            self.with_self = !yes_or_no(value, ("yes", "no"))?;
        } else {
            return Err(CommandError::Syntax);
        }
        Ok(())
    }

    fn include(&self, record: &ClientRecord, own_id: u64) -> bool {
        let (address, local) = ends(&record.address);
        self.id.is_none_or(|id| id == record.id)
            && self.sort.is_none_or(|sort| sort == Sort::of(record))
            && self.address.is_none_or(|given| given == address.as_bytes())
            && self.local.is_none_or(|given| given == local.as_bytes())
            && (self.with_self || record.id != own_id)
            && !record.killed.load(Ordering::Relaxed)
    }
}

pub(super) fn kill(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let by_address = match arguments {
        [_, _, address] => Some(Victims { address: Some(address), with_self: true, ..Victims::default() }),
        _ => None,
    };
    let in_old_form = by_address.is_some();
    let victims = by_address.map_or_else(|| Victims::parse(&arguments[2..]), Ok)?;
    let own_id = context.client.record.id;
    let mut killed = 0;
    for record in context.server.clients.list() {
        if !victims.include(&record, own_id) {
            continue;
        }
        killed += 1;
        if record.id == own_id {
            context.client.after = After::Close;
        } else {
            context.server.kill(&record);
        }
    }
    match (in_old_form, killed) {
        (true, 0) => return Err(CommandError::text("ERR No such client")),
        (true, _) => context.reply.ok(),
        (false, _) => context.reply.integer(killed),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(options: &[&[u8]], expected: &str) {
        assert_eq!(Victims::parse(options).err().map(|error| error.to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        check_error(&[b"id", b"0"], "ERR client-id should be greater than 0");
        check_error(&[b"id", b"x"], "ERR client-id should be greater than 0");
        check_error(&[b"type", b"nobody"], "ERR Unknown client type 'nobody'");
        check_error(&[b"user", b"nobody"], "ERR No such user 'nobody'");
        check_error(&[b"skipme", b"perhaps"], "ERR syntax error");
        check_error(&[b"id", b"1", b"addr"], "ERR syntax error");
        check_error(&[b"a", b"b"], "ERR syntax error");
    }
}
