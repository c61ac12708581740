//! The peers that this agent dials, which may change while it runs: by an operator, or by the configuration file.
//!
//! Of those that dial this agent nothing is said here: the topology is all agents' lists together.

use std::sync::{Arc, Mutex, PoisonError};

use async_executor::Task;
use async_std::channel::{self, Receiver, Sender};
use shared::feed::LinkReport;
use slog::{Logger, info};

use crate::dial::{self, PeerAddress};
use crate::record::{Ledger, Record};
use crate::runtime;
use crate::session::Session;

/// So many peers may be dialled: a list beyond that is a mistake.
pub const PEERS_MAX: usize = 1_024;

/// The list of peers was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// It is there already.
    #[error("{0} is dialled already")]
    Known(PeerAddress),
    /// It is not there.
    #[error("{0} is not dialled; see tandem-agent peers for those that are")]
    Unknown(PeerAddress),
    /// The list is full.
    #[error("{PEERS_MAX} peers are dialled already")]
    Full,
}

/// The peers that an agent dials. Clones are of one list.
#[derive(Clone, Debug)]
pub struct Peers(Arc<Mutex<List>>);

#[derive(Debug)]
struct List {
    entries: Vec<Entry>,
    /// The contact with the node, while there is one.
    session: Option<Arc<Session>>,
    ledger: Arc<Mutex<Ledger>>,
    random: fastrand::Rng,
    logger: Logger,
}

#[derive(Debug)]
struct Entry {
    address: PeerAddress,
    record: Arc<Record>,
    /// Never sent to: that it is dropped is the message.
    _listed: Sender<()>,
    /// Closed when the entry is gone.
    removed: Receiver<()>,
    dialling: Option<Task<()>>,
}

impl Peers {
    pub(crate) fn new(addresses: &[PeerAddress], ledger: Arc<Mutex<Ledger>>, logger: Logger) -> Self {
        let list = List { entries: Vec::new(), session: None, ledger, random: fastrand::Rng::new(), logger };
        let peers = Self(Arc::new(Mutex::new(list)));
        peers.set(addresses);
        peers
    }

    /// Dials a peer from now on.
    ///
    /// # Errors
    /// If it is dialled already, or too many are.
    pub fn add(&self, address: &PeerAddress) -> Result<(), PeersError> {
        self.list().add(address)
    }

    /// Dials a peer no longer. A link to it that this side dialled ends; what was in flight is resumed elsewhere.
    ///
    /// # Errors
    /// If it is not dialled.
    pub fn remove(&self, address: &PeerAddress) -> Result<(), PeersError> {
        self.list().remove(address)
    }

    /// Dials these, and no others. Links to those that stay are left as they are. One that is listed twice is dialled
    /// once; none are dialled beyond the limit.
    pub fn set(&self, addresses: &[PeerAddress]) {
        let mut list = self.list();
        let gone: Vec<_> = list.entries.iter().map(|entry| entry.address.clone()).collect();
        for address in gone.iter().filter(|address| !addresses.contains(address)) {
            let _ = list.remove(address);
        }
        for address in addresses {
            let _ = list.add(address);
        }
    }

    /// What is known of each, under the address that it is dialled at.
    pub(crate) fn reports(&self) -> Vec<LinkReport> {
        self.list().entries.iter().map(|entry| entry.record.report()).collect()
    }

    /// A contact with the node begins: all are dialled.
    pub(crate) fn begin(&self, session: &Arc<Session>) {
        let mut list = self.list();
        let List { entries, random, .. } = &mut *list;
        for entry in entries {
            entry.dial(session.clone(), random.fork());
        }
        list.session = Some(session.clone());
    }

    /// The contact has ended. Returns the tasks that are still saying goodbye.
    pub(crate) fn end(&self) -> Vec<Task<()>> {
        let mut list = self.list();
        list.session = None;
        list.entries.iter_mut().filter_map(|entry| entry.dialling.take()).collect()
    }

    fn list(&self) -> std::sync::MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn add(&mut self, address: &PeerAddress) -> Result<(), PeersError> {
        if self.position(address).is_some() {
            return Err(PeersError::Known(address.clone()));
        }
        if self.entries.len() >= PEERS_MAX {
            return Err(PeersError::Full);
        }
        let record =
            self.ledger.lock().unwrap_or_else(PoisonError::into_inner).add_configured(&address.to_string());
        let (listed, removed) = channel::bounded(1);
        let mut entry = Entry { address: address.clone(), record, _listed: listed, removed, dialling: None };
        if let Some(session) = &self.session {
            info!(self.logger, "a peer is dialled from now on"; "address" => %address);
            entry.dial(session.clone(), self.random.fork());
        }
        self.entries.push(entry);
        Ok(())
    }

    fn remove(&mut self, address: &PeerAddress) -> Result<(), PeersError> {
        let position = self.position(address).ok_or_else(|| PeersError::Unknown(address.clone()))?;
        let entry = self.entries.swap_remove(position);
        info!(self.logger, "a peer is dialled no longer"; "address" => %address);
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).remove_configured(&entry.record);
        if let Some(dialling) = entry.dialling {
            // It says goodbye, and ends by itself.
            dialling.detach();
        }
        Ok(())
    }

    fn position(&self, address: &PeerAddress) -> Option<usize> {
        self.entries.iter().position(|entry| entry.address == *address)
    }
}

impl Entry {
    fn dial(&mut self, session: Arc<Session>, random: fastrand::Rng) {
        let (address, record, removed) = (self.address.clone(), self.record.clone(), self.removed.clone());
        self.dialling = Some(runtime::spawn(dial::run(address, record, session, removed, random)));
    }
}

#[cfg(test)]
mod tests {
    use slog::{Discard, o};

    use super::*;

    fn address(text: &str) -> PeerAddress {
        text.parse().unwrap()
    }

    #[test]
    fn the_list_changes_and_mistakes_are_told() {
        let (a, b, c) = (address("ws://a:1"), address("ws://b:1"), address("ws://c:1"));
        let ledger = Arc::<Mutex<Ledger>>::default();
        let peers =
            Peers::new(&[a.clone(), b.clone(), a.clone()], ledger.clone(), Logger::root(Discard, o!()));
        let dialled = || {
            let mut reports: Vec<_> = peers.reports().into_iter().map(|report| report.address).collect();
            reports.sort();
            reports
        };
        assert_eq!(dialled(), ["ws://a:1", "ws://b:1"]);
        assert_eq!(peers.add(&a), Err(PeersError::Known(a.clone())));
        assert_eq!(peers.remove(&c), Err(PeersError::Unknown(c.clone())));
        peers.add(&c).unwrap();
        peers.remove(&a).unwrap();
        assert_eq!(dialled(), ["ws://b:1", "ws://c:1"]);
        peers.set(&[c, a]);
        assert_eq!(dialled(), ["ws://a:1", "ws://c:1"]);
        assert_eq!(ledger.lock().unwrap().reports().len(), 2, "what is gone is not reported any more");
    }
}
