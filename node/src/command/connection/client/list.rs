//! CLIENT LIST and INFO: a line for each connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::time::WallMillis;

use crate::client::{Address, Client, ClientRecord};
use crate::command::arguments::{integer, is, quoted};
use crate::command::context::Context;
use crate::error::{CommandError, CommandResult};

pub(super) fn info(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let line = describe(&context.client.record, context.client, context.clocks.wall);
    context.reply.verbatim("txt", line.as_bytes());
    Ok(())
}

pub(super) fn list(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let mut records = context.server.clients.list();
    records.retain(|record| !record.killed.load(Ordering::Relaxed));
    match &arguments[2..] {
        [] => {}
        [option, name] if is(option, "type") => {
            let sort = Sort::parse(name)?;
            records.retain(|record| Sort::of(record) == sort);
        }
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => records = by_id(&records, ids)?,
        _ => return Err(CommandError::Syntax),
    }
    let (client, now) = (&*context.client, context.clocks.wall);
    let lines: String = records.iter().map(|record| describe(record, client, now)).collect();
    context.reply.verbatim("txt", lines.as_bytes());
    Ok(())
}

/// The records, which are in order of their ids, with these ids; those that nobody has are left out.
fn by_id(records: &[Arc<ClientRecord>], ids: &[&[u8]]) -> Result<Vec<Arc<ClientRecord>>, CommandError> {
    let mut found = Vec::new();
    for id in ids {
        let id = integer(id).map_err(|_| CommandError::text("ERR Invalid client ID"))?;
        let place = records.binary_search_by_key(&id, |record| record.id as i64);
        found.extend(place.ok().map(|place| Arc::clone(&records[place])));
    }
    Ok(found)
}

/// A line of CLIENT LIST, as `client` sees it. What there is no such thing of here is zero.
fn describe(record: &ClientRecord, client: &Client, now: WallMillis) -> String {
    let of_itself = record.id == client.record.id;
    let last_active = if of_itself { now.0 } else { record.last_active.load(Ordering::Relaxed) };
    let command = if of_itself { client.last_command } else { *record.last_command.lock() };
    let (address, local) = ends(&record.address);
    let input = record.input_bytes.load(Ordering::Relaxed);
    let output = record.output_bytes.load(Ordering::Relaxed);
    let text = record.text.lock().clone();
    format!(
        "id={} addr={address} laddr={local} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub=0 \
         multi={} qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem={output} \
         tot-mem={} events={} cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        record.id,
        record.descriptor,
        text.name,
        now.0.saturating_sub(record.created.0) / 1_000,
        now.0.saturating_sub(last_active) / 1_000,
        flags(record),
        record.db.load(Ordering::Relaxed),
        record.channels.load(Ordering::Relaxed),
        record.patterns.load(Ordering::Relaxed),
        record.queued.load(Ordering::Relaxed),
        input + output,
        if output > 0 { "rw" } else { "r" },
        record.protocol.load(Ordering::Relaxed),
        text.library_name,
        text.library_version,
    )
}

/// Both ends of a connection as Redis writes them.
pub(crate) fn ends(address: &Address) -> (String, String) {
    match address {
        Address::Tcp { remote, local } => (remote.to_string(), local.to_string()),
        Address::Unix { path } => (format!("{path}:0"), format!("{path}:0")),
    }
}

/// Redis's letters: stream of the feed (a replica), in MULTI, listening, shown all commands, waiting in a command, Unix socket, not to be evicted.
fn flags(record: &ClientRecord) -> String {
    let letters = [
        (Sort::of(record) == Sort::Replica, 'S'),
        (record.queued.load(Ordering::Relaxed) >= 0, 'x'),
        (record.is_listening(), 'P'),
        (record.is_monitor.load(Ordering::Relaxed), 'O'),
        (record.is_blocked.load(Ordering::Relaxed), 'b'),
        (matches!(record.address, Address::Unix { .. }), 'U'),
        (record.no_evict.load(Ordering::Relaxed), 'e'),
    ];
    let set: String = letters.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// What TYPE tells apart. Streams of the feed are replicas; nobody is a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Normal,
    Master,
    Replica,
    Subscriber,
}

impl Sort {
    pub(super) fn parse(name: &[u8]) -> Result<Self, CommandError> {
        const NAMES: [(&str, Sort); 5] = [
            ("normal", Sort::Normal),
            ("master", Sort::Master),
            ("slave", Sort::Replica),
            ("replica", Sort::Replica),
            ("pubsub", Sort::Subscriber),
        ];
        let found = NAMES.iter().find(|(known, _)| is(name, known)).map(|(_, sort)| *sort);
        found.ok_or_else(|| CommandError::composed(format!("ERR Unknown client type '{}'", quoted(name))))
    }

    pub(super) fn of(record: &ClientRecord) -> Self {
        match () {
            () if record.follows_feed.load(Ordering::Relaxed) => Self::Replica,
            () if record.is_listening() => Self::Subscriber,
            () => Self::Normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Clients;

    fn connected() -> (Clients, Client) {
        let clients = Clients::default();
        let remote = "127.0.0.1:50000".parse().unwrap();
        let local = "127.0.0.1:6379".parse().unwrap();
        let record = clients.connect(Address::Tcp { remote, local }, 0, 8, WallMillis(1_000));
        (clients, Client::new(record))
    }

    #[test]
    fn a_line_tells_what_the_connection_is() {
        let (clients, mut client) = connected();
        client.last_command = "client|list";
        client.select(3);
        client.record.text.lock().name = "worker".to_owned();
        let line = describe(&client.record, &client, WallMillis(6_500));
        assert!(
            line.starts_with("id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=worker age=5 idle=0 ")
        );
        assert!(
            line.contains(" flags=N db=3 ")
                && line.contains(" cmd=client|list user=default redir=-1 resp=2 ")
        );
        let unix = clients.connect(Address::Unix { path: "/run/node".to_owned() }, 0, 9, WallMillis(0));
        assert!(describe(&unix, &client, WallMillis(0)).contains("addr=/run/node:0 laddr=/run/node:0 fd=9"));
        assert!(describe(&unix, &client, WallMillis(0)).contains(" flags=U "));
    }

    #[test]
    fn ids_that_nobody_has_are_left_out() {
        let (clients, client) = connected();
        let records = clients.list();
        let found = by_id(&records, &[b"7", b"1", b"-1"]).unwrap();
        assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), [client.record.id]);
        assert_eq!(by_id(&records, &[b"x"]).unwrap_err().to_string(), "ERR Invalid client ID");
    }
}
