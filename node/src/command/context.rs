//! What a handler works with.

use shared::resp::ReplyWriter;

use crate::client::Client;
use crate::random::Random;
use crate::server::Server;
use crate::store::key::Key;
use crate::transaction::{Clocks, Transaction};

/// What a handler works with: the client that asks, the store under lock, and where the reply goes.
pub(crate) struct Context<'c, 'a> {
    pub(crate) server: &'c Server,
    pub(crate) client: &'c mut Client,
    /// The command's key if it names but one, which was read to lock its shard.
    pub(crate) only: Option<Key<'a>>,
    pub(crate) transaction: &'c mut Transaction<'a>,
    pub(crate) reply: ReplyWriter<'c>,
    pub(crate) clocks: Clocks,
    /// Within EXEC commands don't block.
    pub(crate) in_exec: bool,
}

impl<'a> Context<'_, 'a> {
    /// A key of the client's database.
    pub(crate) fn key(&self, bytes: &'a [u8]) -> Key<'a> {
        match self.only {
            Some(only) if std::ptr::eq(only.bytes, bytes) => only,
            _ => Key::new(self.client.db, bytes),
        }
    }

    /// Randomness for this command.
    pub(crate) fn random(&self) -> Random {
        // The clock stands still while a pipeline or an EXEC is carried out, but its replies and writes grow.
        let place = (self.reply.position() as u64) << 32 ^ self.client.record.id;
        let written = self.transaction.change_count() as u64;
        Random::new(self.clocks.mono_us ^ place.rotate_left(16) ^ written.rotate_left(48))
    }
}
