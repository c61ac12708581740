//! Commands that wait for an element, and how they are given it.
//!
//! ```text
//!  BLPOP finds nothing ──► waits at its keys (store::waiters), longest wait first
//!  any change of a key ──► notes the key as ready, if somebody waits at it
//!  whoever made the change, once it is done and before its reply is sent:
//!      carries out the longest waiting client's command for it, at the key that is ready,
//!      and leaves the reply for the client's own worker to send
//! ```
//!
//! So what is pushed has been handed on when the push is answered, whether a client of this node or a peer's batch brought it.
//! One thread at a time does this: clients are served in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use shared::change::Kind;
use shared::resp::{Protocol, ReplyWriter};
use shared::time::MonoMillis;
use shared::version::Version;
use smallvec::SmallVec;

use super::context::Context;
use super::execute::{check_role, find, finish};
use super::sorted_set::scores::parse_score;
use crate::client::{After, Client, ClientRecord};
use crate::error::{CommandError, CommandResult};
use crate::server::Server;
use crate::stopwatch::Call;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::transaction::Transaction;

/// Takes what is asked for from one of the keys, and replies with it. Says whether there was anything.
pub(super) type Attempt =
    for<'a> fn(&mut Context<'_, 'a>, &'a [u8], &[&'a [u8]]) -> Result<bool, CommandError>;

/// What a command waits for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'r, 'a> {
    pub(super) kind: Kind,
    pub(super) keys: &'r [&'a [u8]],
    /// Where elements are moved to, if they are.
    pub(super) target: Option<&'a [u8]>,
    /// In seconds.
    pub(super) timeout: &'a [u8],
    pub(super) attempt: Attempt,
}

/// Takes from the first of the keys that holds anything; if none does, the client waits.
pub(super) fn take_or_wait<'a>(
    context: &mut Context<'_, 'a>,
    arguments: &[&'a [u8]],
    wanted: Wanted<'_, 'a>,
) -> CommandResult {
    let timeout_ms = parse_timeout(wanted.timeout)?;
    for key in wanted.keys {
        if (wanted.attempt)(context, key, arguments)? {
            return Ok(());
        }
    }
    if context.in_exec {
        match wanted.target {
            Some(_) => context.reply.null(),
            None => context.reply.null_array(),
        }
        return Ok(());
    }
    let now = MonoMillis(context.clocks.mono_us / 1_000);
    let deadline = timeout_ms.map(|timeout| MonoMillis(now.0.saturating_add(timeout)));
    let client = &mut *context.client;
    let blocked = Arc::new(Blocked {
        record: Arc::clone(&client.record),
        db: client.db,
        protocol: client.protocol,
        kind: wanted.kind,
        keys: wanted.keys.iter().map(|key| Box::from(*key)).collect(),
        target: wanted.target.map(Box::from),
        arguments: arguments.iter().map(|argument| Box::from(*argument)).collect(),
        attempt: wanted.attempt,
        state: Mutex::new(State::Waiting),
    });
    context.server.blocked.add(&blocked);
    for key in wanted.keys {
        let key = Key::new(blocked.db, key);
        context.transaction.shard_mut(&key).wait_at(&key, blocked.record.id);
    }
    context.client.after = After::Block { blocked, deadline, silent: false };
    Ok(())
}

/// A timeout in milliseconds; zero is for ever.
fn parse_timeout(argument: &[u8]) -> Result<Option<u64>, CommandError> {
    let seconds = parse_score(argument)
        .map_err(|_| CommandError::text("ERR timeout is not a float or out of range"))?;
    let milliseconds = (seconds * 1_000.0).ceil();
    if milliseconds < 0.0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    if milliseconds >= i64::MAX as f64 {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok(Some(milliseconds as u64).filter(|timeout| *timeout > 0))
}

/// What CLIENT UNBLOCK ERROR tells who waits.
pub(crate) const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// A client that waits for an element.
pub(crate) struct Blocked {
    record: Arc<ClientRecord>,
    db: u8,
    protocol: Protocol,
    kind: Kind,
    keys: Vec<Box<[u8]>>,
    target: Option<Box<[u8]>>,
    arguments: Vec<Box<[u8]>>,
    attempt: Attempt,
    /// Locked behind everything else: nothing is locked, nor waited for, by who holds it but the client's turn.
    state: Mutex<State>,
}

/// How far a wait is.
enum State {
    Waiting,
    /// It is over, and the client has not been told.
    Over(Over),
    Told,
}

/// What a wait came to.
pub(crate) struct Over {
    pub(crate) reply: Vec<u8>,
    /// What was written for the client.
    pub(crate) written: Option<Version>,
}

/// What came of looking after a client.
enum Served {
    /// Its wait is over.
    Over,
    /// The key holds another kind than it waits for.
    OtherKind,
    /// There is nothing for anybody.
    Nothing,
}

impl Blocked {
    /// Ends the wait with this reply, unless it is over.
    fn end(&self, server: &Server, write: impl FnOnce(&mut ReplyWriter<'_>)) -> bool {
        let mut state = self.state.lock();
        if !matches!(*state, State::Waiting) {
            return false;
        }
        let mut reply = Vec::new();
        write(&mut ReplyWriter::new(&mut reply, self.protocol));
        *state = State::Over(Over { reply, written: None });
        server.wake_client(&self.record);
        true
    }

    /// Ends the wait as if its time had come.
    pub(crate) fn time_out(&self, server: &Server) -> bool {
        self.end(server, |reply| reply.null_array())
    }

    /// Ends the wait with an error, for CLIENT UNBLOCK.
    pub(crate) fn unblock(&self, server: &Server) -> bool {
        let is_unblocked = self.end(server, |reply| reply.error(UNBLOCKED));
        if is_unblocked {
            server.count_error(UNBLOCKED);
            let arguments: SmallVec<[&[u8]; 8]> = self.arguments.iter().map(|argument| &**argument).collect();
            if let Ok(row) = find(&arguments) {
                server.statistics.count_failed(server.statistics.server_of_waiting(), row);
            }
        }
        is_unblocked
    }

    /// What the wait came to, once it is over: told once.
    pub(crate) fn take_over(&self) -> Option<Over> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Told) {
            State::Over(over) => Some(over),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Gives the client what the key holds. The client's wait may have ended meanwhile.
    fn serve(&self, server: &Server, ready: &Key<'_>) -> Served {
        let arguments: SmallVec<[&[u8]; 8]> = self.arguments.iter().map(|argument| &**argument).collect();
        let touched = self.keys.iter().chain(&self.target).map(|key| Key::new(self.db, key).shard());
        let set = touched.fold(ShardSet::EMPTY, ShardSet::with);
        let (clocks, began_ns) = (server.clocks(), server.mono_ns());
        let begun =
            check_role(server).and_then(|()| Ok(Transaction::begin(&server.node, set, clocks, true)?));
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(refused) => {
                self.end(server, |reply| reply.error(&refused.to_string()));
                self.leave(server);
                return Served::Over;
            }
        };
        match transaction.kind(ready) {
            None => return Served::Nothing,
            Some(kind) if kind != self.kind => return Served::OtherKind,
            Some(_) => {}
        }
        let Some(key) = self.keys.iter().find(|key| ***key == *ready.bytes) else { return Served::OtherKind };
        let mut state = self.state.lock();
        if matches!(*state, State::Waiting) {
            let mut client = Client::new(Arc::clone(&self.record));
            (client.db, client.protocol) = (self.db, self.protocol);
            let mut out = Vec::new();
            let reply = ReplyWriter::new(&mut out, self.protocol);
            let mut context = Context {
                server,
                client: &mut client,
                only: None,
                transaction: &mut transaction,
                reply,
                clocks,
                in_exec: true,
            };
            match (self.attempt)(&mut context, key, &arguments) {
                Ok(true) => {}
                Ok(false) => return Served::Nothing,
                Err(error) => {
                    out.clear();
                    let text = error.to_string();
                    server.count_error(&text);
                    ReplyWriter::new(&mut out, self.protocol).error(&text);
                }
            }
            self.leave_in(&mut transaction);
            finish(server, &mut client, transaction);
            self.note_served(server, began_ns, &arguments);
            *state = State::Over(Over { reply: out, written: client.last_write });
            server.wake_client(&self.record);
        } else {
            self.leave_in(&mut transaction);
        }
        Served::Over
    }

    /// Counts what it took to serve the client, under its command.
    fn note_served(&self, server: &Server, began_ns: u64, arguments: &[&[u8]]) {
        let Ok(row) = find(arguments) else { return };
        let call = Call { client: &self.record, row, arguments, waits: false };
        let ns = server.mono_ns().saturating_sub(began_ns);
        call.tell(server, server.statistics.server_of_waiting(), ns);
    }

    fn leave_in(&self, transaction: &mut Transaction<'_>) {
        for key in &self.keys {
            let key = Key::new(self.db, key);
            transaction.shard_mut(&key).leave(&key, self.record.id);
        }
    }

    /// Waits no longer at any key.
    pub(crate) fn leave(&self, server: &Server) {
        for key in &self.keys {
            let key = Key::new(self.db, key);
            server.node.store.lock_shard(key.shard()).leave(&key, self.record.id);
        }
        server.blocked.remove(self.record.id);
    }
}

/// The clients that wait for elements, by id. Bounded by `--max-clients`.
#[derive(Default)]
pub(crate) struct BlockedClients {
    clients: Mutex<HashMap<u64, Arc<Blocked>>>,
    /// Held by who serves them: taken before any other lock.
    serving: Mutex<()>,
}

impl BlockedClients {
    fn add(&self, blocked: &Arc<Blocked>) {
        self.clients.lock().insert(blocked.record.id, Arc::clone(blocked));
    }

    fn remove(&self, id: u64) {
        self.clients.lock().remove(&id);
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Blocked>> {
        self.clients.lock().get(&id).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.clients.lock().len()
    }
}

/// Serves the clients that wait at keys which have changed. Nothing may be locked.
pub(crate) fn serve(server: &Server) {
    let ready = &server.node.store.ready;
    if ready.is_empty() {
        return;
    }
    let serving = server.blocked.serving.lock();
    while let Some((db, name)) = ready.next() {
        serve_key(server, &Key::new(db, &name));
        ready.done();
    }
    drop(serving);
}

fn serve_key(server: &Server, key: &Key<'_>) {
    server.node.store.lock_shard(key.shard()).begin_serving(key);
    let mut passed_over = 0;
    loop {
        let waiter = server.node.store.lock_shard(key.shard()).waiter(key, passed_over);
        let Some(id) = waiter else { return };
        let Some(blocked) = server.blocked.get(id) else {
            server.node.store.lock_shard(key.shard()).leave(key, id);
            continue;
        };
        match blocked.serve(server, key) {
            Served::Over => {}
            Served::OtherKind => passed_over += 1,
            Served::Nothing => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_with_fractions_and_zero_is_for_ever() {
        for (text, expected) in
            [("0", None), ("0.0", None), ("1", Some(1_000)), ("0.0001", Some(1)), ("2.5", Some(2_500))]
        {
            assert_eq!(parse_timeout(text.as_bytes()).ok(), Some(expected), "{text}");
        }
        for (text, expected) in [
            ("x", "ERR timeout is not a float or out of range"),
            ("-1", "ERR timeout is negative"),
            ("9223372036854775807", "ERR timeout is out of range"),
            ("inf", "ERR timeout is out of range"),
        ] {
            let error = parse_timeout(text.as_bytes()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(expected), "{text}");
        }
    }
}
