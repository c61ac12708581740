//! Which keys a command has changed, and how: for keyspace notifications. Nothing is noted unless somebody wants them.

use shared::change::Op;

use super::Transaction;
use crate::store::key::Key;

/// What a command has done to a key.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) db: u8,
    pub(crate) key: Box<[u8]>,
    pub(crate) existed: bool,
    pub(crate) exists: bool,
    /// It was there only because nobody had removed it since it expired.
    pub(crate) had_expired: bool,
    /// Its string, or any element, was written.
    pub(crate) is_written: bool,
    /// Any element was removed.
    pub(crate) is_removed: bool,
    /// It was ended whole.
    pub(crate) is_reset: bool,
    /// A TTL was set, or taken away.
    pub(crate) ttl: Option<bool>,
}

impl Transaction<'_> {
    /// Notes what is about to be done.
    pub(super) fn touch_by(&mut self, key: &Key<'_>, op: &Op<'_>) {
        let (existed, had_expired) = (self.exists(key), self.has_expired(key));
        let Some(touched) = &mut self.touched else { return };
        let known = touched.iter_mut().position(|touched| touched.db == key.db && *touched.key == *key.bytes);
        let place = known.unwrap_or_else(|| {
            touched.push(Touched {
                db: key.db,
                key: key.bytes.into(),
                existed,
                exists: existed,
                had_expired,
                is_written: false,
                is_removed: false,
                is_reset: false,
                ttl: None,
            });
            touched.len() - 1
        });
        let touched = &mut touched[place];
        match op {
            Op::Set(_) | Op::Cell(_, Some(_)) | Op::Count(..) => touched.is_written = true,
            Op::Cell(_, None) => touched.is_removed = true,
            Op::Reset => touched.is_reset = true,
            Op::Expire(expiry) => touched.ttl = Some(expiry.is_some()),
            _ => {}
        }
    }

    /// What was done since this was last asked, in the order in which the keys were first touched.
    pub(crate) fn take_touched(&mut self) -> Vec<Touched> {
        let Some(noted) = &mut self.touched else { return Vec::new() };
        let mut noted = std::mem::take(noted);
        for touched in &mut noted {
            touched.exists = self.exists(&Key::new(touched.db, &touched.key));
        }
        noted
    }
}
