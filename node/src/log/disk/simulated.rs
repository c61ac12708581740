//! A disk in memory that loses at a crash all that a real one may lose.
//!
//! It keeps what was promised to be durable apart from what was merely written. At a power cut each write that was
//! not synced is kept, lost, torn at any byte, or replaced by zeros or garbage, each independently of the others, and so
//! are names that were created, renamed or removed. It draws all of that from a seed and reads no clock.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskError, DiskFile};

mod stored;

pub(crate) use stored::Random;

use stored::{Luck, Names, Naming, Pending, Stored};

/// The disk; clones are the same disk. Operations that change something are counted, and can be made to fail.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

/// What ends the run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process dies: the kernel keeps all that was written, and makes none of it durable.
    Process,
    /// The power goes: only what was synced is sure to be there.
    Power,
}

/// How operations are made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No room: files are not made, and of a write only a part is done. Everything else works.
    Full,
    /// Nothing works: of a write only a part is done, and a sync loses what it should have made durable.
    Broken,
}

impl SimulatedDisk {
    /// An empty disk whose luck is drawn from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// How many operations that change something were tried.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Makes the disk stop at the operation of this number, counted from 0: it is done partly or not at all, and all
    /// after it fail until [`SimulatedDisk::restart`].
    pub(crate) fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// Whether the crash has happened.
    pub(crate) fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// Makes the operations of these numbers fail.
    pub(crate) fn fail(&self, operations: Range<u64>, failure: Failure) {
        self.state().failing = Some((operations, failure));
    }

    /// Ends the run, if it has not crashed yet, and leaves what survives. Files that are still open are dead.
    pub(crate) fn restart(&self, crash: Crash) {
        let mut state = self.state();
        state.crashed = false;
        state.crash_at = None;
        state.failing = None;
        state.run += 1;
        if crash == Crash::Power {
            state.lose_power();
        }
    }

    /// Flips bits of a file on the disk, as wear does.
    pub(crate) fn damage(&self, name: &str, offset: u64, mask: u8) {
        let mut state = self.state();
        let State { names, files, .. } = &mut *state;
        let file = &mut files[names.seen[name]];
        file.durable[index(offset)] ^= mask;
        file.forget();
    }

    /// All that there is to see in a file, if there is one.
    pub(crate) fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.seen.get(name).map(|file| state.files[*file].seen.clone())
    }

    /// Puts a file on the disk, durably.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        state.files.push(Stored::durable(bytes));
        let file = state.files.len() - 1;
        state.names.seen.insert(name.to_owned(), file);
        state.names.durable.insert(name.to_owned(), file);
    }

    /// Another disk that holds what a reader sees on this one, durably; its luck is drawn from `seed`.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn copy(&self, seed: u64) -> Self {
        let copied = Self::new(seed);
        let state = self.state();
        for (name, file) in &state.names.seen {
            copied.put(name, &state.files[*file].seen);
        }
        drop(state);
        copied
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn list(&self) -> Result<Vec<String>, DiskError> {
        let state = self.state();
        state.alive("list", "")?;
        Ok(state.names.seen.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> Result<SimulatedFile, DiskError> {
        let mut state = self.state();
        let fate = state.begin(true);
        if state.is_done(fate) {
            state.create(name);
        }
        fate.result("create", name)?;
        Ok(self.file(&state, name))
    }

    fn open(&self, name: &str) -> Result<Option<SimulatedFile>, DiskError> {
        let state = self.state();
        state.alive("open", name)?;
        Ok(state.names.seen.contains_key(name).then(|| self.file(&state, name)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.name_change("rename", from, |names| {
            let file = names.seen[from];
            Naming::Rename { from: from.to_owned(), to: to.to_owned(), file }
        })
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.name_change("remove", name, |_| Naming::Remove(name.to_owned()))
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        let mut state = self.state();
        let fate = state.begin(false);
        if fate == Fate::Done {
            state.names.sync();
        }
        fate.result("sync", "the directory")
    }
}

impl SimulatedDisk {
    fn file(&self, state: &State, name: &str) -> SimulatedFile {
        SimulatedFile { disk: self.clone(), name: name.into(), file: state.names.seen[name], run: state.run }
    }

    fn name_change(
        &self,
        operation: &'static str,
        name: &str,
        naming: impl FnOnce(&Names) -> Naming,
    ) -> Result<(), DiskError> {
        let mut state = self.state();
        let fate = state.begin(false);
        if state.is_done(fate) {
            let naming = naming(&state.names);
            state.names.change(naming);
        }
        fate.result(operation, name)
    }
}

/// An open file of a [`SimulatedDisk`].
#[derive(Clone, Debug)]
pub(crate) struct SimulatedFile {
    disk: SimulatedDisk,
    name: Arc<str>,
    file: usize,
    run: u64,
}

impl SimulatedFile {
    /// Starts an operation that changes the file, if the run that opened it still lasts.
    fn begin(&self, takes_room: bool) -> (MutexGuard<'_, State>, Fate) {
        let mut state = self.disk.state();
        let fate = if state.run == self.run { state.begin(takes_room) } else { Fate::Dead };
        (state, fate)
    }

    fn look(&self, operation: &'static str) -> Result<MutexGuard<'_, State>, DiskError> {
        let state = self.disk.state();
        state.alive(operation, &self.name)?;
        if state.run == self.run { Ok(state) } else { Err(dead(operation, &self.name)) }
    }
}

impl DiskFile for SimulatedFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn length(&self) -> Result<u64, DiskError> {
        Ok(self.look("look at")?.files[self.file].seen.len() as u64)
    }

    fn read(&self, offset: u64, bytes_max: usize, into: &mut Vec<u8>) -> Result<(), DiskError> {
        let state = self.look("read")?;
        let seen = &state.files[self.file].seen;
        let start = index(offset).min(seen.len());
        let end = start.saturating_add(bytes_max).min(seen.len());
        into.extend_from_slice(&seen[start..end]);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let (mut state, fate) = self.begin(true);
        let taken = match fate {
            Fate::Done => bytes.len(),
            Fate::Dead => 0,
            Fate::Stopped | Fate::Failed(_) => state.random.below(bytes.len() + 1),
        };
        if taken > 0 {
            let change =
                Pending::Write { offset: index(offset), bytes: bytes[..taken].to_vec(), lost: false };
            state.files[self.file].change(change);
        }
        fate.result("write", &self.name)
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        let (mut state, fate) = self.begin(false);
        if state.is_done(fate) {
            state.files[self.file].change(Pending::Truncate(index(length)));
        }
        fate.result("truncate", &self.name)
    }

    fn sync(&self) -> Result<(), DiskError> {
        let (mut state, fate) = self.begin(false);
        let State { files, random, .. } = &mut *state;
        match fate {
            Fate::Done => files[self.file].sync(),
            Fate::Failed(_) => files[self.file].fail_sync(random),
            Fate::Stopped | Fate::Dead => {}
        }
        fate.result("sync", &self.name)
    }

    fn forget_cached(&self) {
        if let Ok(mut state) = self.look("read") {
            state.files[self.file].forget();
        }
    }
}

/// What becomes of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It succeeds.
    Done,
    /// It fails.
    Failed(Failure),
    /// The crash comes in the midst of it.
    Stopped,
    /// The crash came before it, or it belongs to a run before the last.
    Dead,
}

impl Fate {
    fn result(self, operation: &'static str, file: &str) -> Result<(), DiskError> {
        let kind = match self {
            Self::Done => return Ok(()),
            Self::Failed(Failure::Full) => io::ErrorKind::StorageFull,
            Self::Failed(Failure::Broken) => io::ErrorKind::Other,
            Self::Stopped | Self::Dead => return Err(dead(operation, file)),
        };
        Err(DiskError { operation, file: file.to_owned(), source: kind.into() })
    }
}

fn dead(operation: &'static str, file: &str) -> DiskError {
    DiskError { operation, file: file.to_owned(), source: io::Error::other("the simulated disk has crashed") }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits in memory")
}

#[derive(Debug)]
struct State {
    random: Random,
    files: Vec<Stored>,
    names: Names,
    operations: u64,
    crash_at: Option<u64>,
    failing: Option<(Range<u64>, Failure)>,
    crashed: bool,
    /// Counts restarts, so that files opened before one are known to be dead.
    run: u64,
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            files: Vec::new(),
            names: Names::default(),
            operations: 0,
            crash_at: None,
            failing: None,
            crashed: false,
            run: 0,
        }
    }

    fn alive(&self, operation: &'static str, file: &str) -> Result<(), DiskError> {
        if self.crashed { Err(dead(operation, file)) } else { Ok(()) }
    }

    fn begin(&mut self, takes_room: bool) -> Fate {
        if self.crashed {
            return Fate::Dead;
        }
        let operation = self.operations;
        self.operations += 1;
        if self.crash_at == Some(operation) {
            self.crashed = true;
            return Fate::Stopped;
        }
        match &self.failing {
            Some((range, failure)) if range.contains(&operation) => match failure {
                Failure::Full if !takes_room => Fate::Done,
                failure => Fate::Failed(*failure),
            },
            _ => Fate::Done,
        }
    }

    /// Whether an operation that cannot be half done is done.
    fn is_done(&mut self, fate: Fate) -> bool {
        fate == Fate::Done || (fate == Fate::Stopped && self.random.below(2) == 0)
    }

    fn create(&mut self, name: &str) {
        if let Some(file) = self.names.seen.get(name) {
            self.files[*file].change(Pending::Truncate(0));
        } else {
            self.files.push(Stored::default());
            self.names.change(Naming::Create { name: name.to_owned(), file: self.files.len() - 1 });
        }
    }

    fn lose_power(&mut self) {
        let luck = Luck::draw(&mut self.random);
        for file in &mut self.files {
            file.lose_power(luck, &mut self.random);
        }
        self.names.lose_power(luck, &mut self.random);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_survive_and_unsynced_bytes_need_not() {
        let mut fates = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            let file = disk.create("a").unwrap();
            file.write(0, b"sure").unwrap();
            file.sync().unwrap();
            disk.sync_directory().unwrap();
            file.write(4, b"perhaps").unwrap();
            disk.restart(Crash::Power);
            let left = disk.contents("a").unwrap();
            assert!(left.starts_with(b"sure") && left.len() <= 11);
            fates.insert(left[4..].to_vec());
            assert!(file.read(0, 1, &mut Vec::new()).is_err(), "a file of the run before is dead");
        }
        assert!(fates.contains(&b""[..]) && fates.contains(&b"perhaps"[..]) && fates.contains(&b"perh"[..]));
        assert!(fates.len() > 20, "holes and garbage come, too: {}", fates.len());
    }

    #[test]
    fn names_survive_only_a_synced_directory() {
        let mut fates = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = SimulatedDisk::new(seed);
            disk.create("old").unwrap();
            disk.sync_directory().unwrap();
            disk.rename("old", "new").unwrap();
            disk.create("other").unwrap().sync().unwrap();
            disk.restart(Crash::Power);
            fates.insert(disk.list().unwrap().join(" "));
        }
        assert_eq!(fates.into_iter().collect::<Vec<_>>(), ["new", "new other", "old", "old other"]);
    }

    #[test]
    fn a_failed_sync_loses_bytes_that_still_read_well() {
        let disk = SimulatedDisk::new(1);
        let file = disk.create("a").unwrap();
        disk.sync_directory().unwrap();
        for start in 0..8 {
            file.write(start, b"x").unwrap();
        }
        disk.fail(disk.operations()..disk.operations() + 1, Failure::Broken);
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert_eq!(disk.contents("a").unwrap(), b"xxxxxxxx");
        disk.restart(Crash::Power);
        assert_ne!(disk.contents("a").unwrap(), b"xxxxxxxx");
    }

    #[test]
    fn a_crash_stops_everything_until_a_restart() {
        let disk = SimulatedDisk::new(1);
        disk.crash_at(1);
        let file = disk.create("a").unwrap();
        file.write(0, b"x").unwrap_err();
        assert!(disk.has_crashed());
        assert!(disk.list().is_err() && disk.sync_directory().is_err() && file.length().is_err());
        disk.restart(Crash::Process);
        assert_eq!(disk.list().unwrap(), ["a"]);
    }
}
