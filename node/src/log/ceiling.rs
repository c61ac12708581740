//! The durable ceiling of the hybrid clock: the file `clock`.
//!
//! Problem: about once a second a node makes durable how far its clock may run. That must be cheap, and whenever the
//! power goes the file must give a value that is at least the last one that was reported durable.
//!
//! Idea: two slots, written in turn in place. So the slot with the last durable value is never the one that is being
//! written, and a torn write hurts only a value that nobody was told. The file never changes its length, so a raise
//! costs one flush of the disk; replacing the file would cost two, and changes to the directory. A slot is two copies,
//! each in a page of its own, so that the disk may lose any one page without the value going back.
//!
//! ```text
//! file   slot 0, copy 0 | slot 0, copy 1 | slot 1, copy 0 | slot 1, copy 1     4096 bytes each, of which are used:
//! copy   "tandemck" 8 | format 4 | ceiling 8 | crc of what precedes 4          little endian
//! ```

use shared::clock::Timestamp;

use super::disk::{Disk, DiskError, DiskFile, replace};

/// The ceiling on disk.
#[derive(Debug)]
pub(crate) struct Ceiling<D: Disk> {
    file: D::File,
    current: Timestamp,
    /// The slot that does not hold `current`.
    spare: u64,
}

/// Why there is no ceiling.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CeilingError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is not what a node writes.
    #[error(
        "the file {FILE}, which holds how far the node's clock ran, is damaged at byte 0: restore it from a copy; or, \
         if the host's clock is right and was not set back, remove the file: the node then starts at the host's clock \
         and at the newest timestamp in its log"
    )]
    Damaged,
    /// It was written by another build.
    #[error(
        "the file {FILE} has at byte 8 the format {0}, which this build does not read: start the build that wrote it"
    )]
    Format(u32),
}

const FILE: &str = "clock";
const MAGIC: [u8; 8] = *b"tandemck";
const FORMAT: u32 = 1;
const COPY_BYTES: usize = 24;
const PAGE_BYTES: u64 = 4096;
const SLOTS: u64 = 2;
const COPIES: u64 = 2;

impl<D: Disk> Ceiling<D> {
    /// Opens the ceiling of a disk, and says where the clock starts: at it, or at zero if the disk is new.
    ///
    /// # Errors
    /// [`CeilingError`], saying what to do.
    pub(crate) fn open(disk: &D) -> Result<(Timestamp, Self), CeilingError> {
        let file = match disk.open(FILE)? {
            Some(file) => file,
            None => create(disk)?,
        };
        // The process before may have left values that are not durable, one of which would decide which slot is spare.
        disk.sync_directory()?;
        file.sync()?;
        file.forget_cached();
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let current = slots.into_iter().flatten().max().ok_or(CeilingError::Damaged)?;
        let spare = u64::from(slots[0] == Some(current));
        Ok((current, Self { file, current, spare }))
    }

    /// The ceiling that is durable.
    pub(crate) const fn current(&self) -> Timestamp {
        self.current
    }

    /// Makes a higher ceiling durable, and returns when it is; one that is not higher changes nothing.
    ///
    /// # Errors
    /// The ceiling is as before, and may be raised again.
    pub(crate) fn raise(&mut self, to: Timestamp) -> Result<(), DiskError> {
        if to <= self.current {
            return Ok(());
        }
        self.write_spare(to)?;
        self.current = to;
        Ok(())
    }

    /// Takes back a promise: from now on the ceiling is this, though it was higher.
    ///
    /// That is right only for a node whose clock was poisoned, when nobody holds anything above the lower ceiling any
    /// more: peers take nothing from the far future, and what the node itself had from there it has withdrawn, as a
    /// durable snapshot says. See [`rewind`](crate::node::rewind).
    ///
    /// Both slots are written, one after the other: a crash in between leaves the higher ceiling, which is harmless.
    ///
    /// # Errors
    /// The ceiling is this or the one before; it counts as this, and may be lowered again.
    pub(crate) fn lower(&mut self, to: Timestamp) -> Result<(), DiskError> {
        self.current = self.current.min(to);
        for _ in 0..SLOTS {
            self.write_spare(self.current)?;
        }
        Ok(())
    }

    /// Writes the spare slot, which so becomes the one that is not.
    fn write_spare(&mut self, ceiling: Timestamp) -> Result<(), DiskError> {
        let copy = encode(ceiling);
        for page in pages(self.spare) {
            self.file.write(page, &copy)?;
        }
        self.file.sync()?;
        self.spare = SLOTS - 1 - self.spare;
        Ok(())
    }
}

fn create<D: Disk>(disk: &D) -> Result<D::File, DiskError> {
    let mut bytes = Vec::new();
    for _ in 0..SLOTS * COPIES {
        bytes.extend_from_slice(&encode(Timestamp::ZERO));
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES as usize), 0);
    }
    replace(disk, FILE, &bytes)?;
    let missing =
        || DiskError { operation: "open", file: FILE.into(), source: std::io::ErrorKind::NotFound.into() };
    disk.open(FILE)?.ok_or_else(missing)
}

/// Where the copies of a slot are.
fn pages(slot: u64) -> impl Iterator<Item = u64> {
    (0..COPIES).map(move |copy| (slot * COPIES + copy) * PAGE_BYTES)
}

/// The highest value of a slot's copies that are intact.
fn read_slot<F: DiskFile>(file: &F, slot: u64) -> Result<Option<Timestamp>, CeilingError> {
    let mut highest = None;
    for page in pages(slot) {
        let mut copy = Vec::with_capacity(COPY_BYTES);
        file.read(page, COPY_BYTES, &mut copy)?;
        highest = highest.max(decode(&copy)?);
    }
    Ok(highest)
}

fn encode(ceiling: Timestamp) -> [u8; COPY_BYTES] {
    let mut copy = [0; COPY_BYTES];
    copy[..8].copy_from_slice(&MAGIC);
    copy[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    copy[12..20].copy_from_slice(&ceiling.0.to_le_bytes());
    let crc = crc32fast::hash(&copy[..20]);
    copy[20..].copy_from_slice(&crc.to_le_bytes());
    copy
}

fn decode(copy: &[u8]) -> Result<Option<Timestamp>, CeilingError> {
    let Some((content, crc)) = copy.split_last_chunk().filter(|_| copy.len() == COPY_BYTES) else {
        return Ok(None);
    };
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Ok(None);
    }
    match content.strip_prefix(&MAGIC).and_then(<[u8]>::split_first_chunk) {
        Some((format, ceiling)) if u32::from_le_bytes(*format) == FORMAT => {
            Ok(ceiling.first_chunk().map(|ceiling| Timestamp(u64::from_le_bytes(*ceiling))))
        }
        Some((format, _)) => Err(CeilingError::Format(u32::from_le_bytes(*format))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::disk::simulated::{Crash, Failure, Random, SimulatedDisk};
    use super::*;

    fn open(disk: &SimulatedDisk) -> (Timestamp, Ceiling<SimulatedDisk>) {
        Ceiling::open(disk).unwrap()
    }

    #[test]
    fn a_new_disk_starts_at_zero_and_a_raised_one_where_it_was_raised_to() {
        let disk = SimulatedDisk::new(1);
        let (start, mut ceiling) = open(&disk);
        assert_eq!(start, Timestamp::ZERO);
        for to in [5, 9, 7, 12] {
            ceiling.raise(Timestamp(to)).unwrap();
        }
        assert_eq!(ceiling.current(), Timestamp(12));
        disk.restart(Crash::Power);
        assert_eq!(open(&disk).0, Timestamp(12));
    }

    #[test]
    fn lowered_it_is_the_one_before_or_the_new_one_wherever_it_crashes() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..60 {
            for crash_at in 0..6 {
                let disk = SimulatedDisk::new(seed);
                let (_, mut ceiling) = open(&disk);
                ceiling.raise(Timestamp(1_000_000)).unwrap();
                disk.crash_at(disk.operations() + crash_at);
                let is_lowered = ceiling.lower(Timestamp(50)).is_ok();
                assert_eq!(ceiling.current(), Timestamp(50));
                disk.restart(Crash::Power);
                let (found, mut ceiling) = open(&disk);
                assert!(
                    found == Timestamp(50) || (found == Timestamp(1_000_000) && !is_lowered),
                    "{found:?}"
                );
                *(if found == Timestamp(50) { &mut new } else { &mut old }) += 1;
                ceiling.lower(Timestamp(40)).unwrap();
                ceiling.raise(Timestamp(60)).unwrap();
                disk.restart(Crash::Power);
                assert_eq!(open(&disk).0, Timestamp(60));
            }
        }
        assert!(old > 20 && new > 20, "both happen: {old}, {new}");
    }

    #[test]
    fn works_in_a_real_directory() {
        let temporary = tempfile::tempdir().unwrap();
        let disk = super::super::disk::Directory::open(temporary.path()).unwrap();
        Ceiling::open(&disk).unwrap().1.raise(Timestamp(5)).unwrap();
        assert_eq!(Ceiling::open(&disk).unwrap().0, Timestamp(5));
        assert_eq!(std::fs::metadata(temporary.path().join(FILE)).unwrap().len(), 4 * PAGE_BYTES);
    }

    /// Raises until the disk stops or `raises` are done, and returns the highest ceiling that was reported and the
    /// highest that was tried.
    fn run(disk: &SimulatedDisk, random: &mut Random, before: (u64, u64), raises: usize) -> (u64, u64) {
        let (mut reported, mut tried) = before;
        let Ok((start, mut ceiling)) = Ceiling::open(disk) else { return before };
        assert!((reported..=tried).contains(&start.0), "{reported}..={tried} became {start:?}");
        reported = start.0;
        for _ in 0..raises {
            let to = reported + 1 + random.below(1000) as u64;
            tried = tried.max(to);
            match ceiling.raise(Timestamp(to)) {
                Ok(()) => reported = to,
                Err(_) if disk.has_crashed() => break,
                Err(_) => {}
            }
        }
        (reported, tried)
    }

    #[test]
    fn never_goes_below_what_was_reported_wherever_it_crashes() {
        for seed in 0..300 {
            let mut random = Random(seed);
            let disk = SimulatedDisk::new(seed);
            let mut state = (0, 0);
            for _ in 0..12 {
                let now = disk.operations();
                disk.crash_at(now + random.below(24) as u64);
                let failing = now + random.below(24) as u64;
                disk.fail(failing..failing + 1 + random.below(3) as u64, Failure::Broken);
                state = run(&disk, &mut random, state, 5);
                disk.restart(if random.below(2) == 0 { Crash::Power } else { Crash::Process });
            }
            run(&disk, &mut random, state, 1);
        }
    }

    #[test]
    fn one_lost_page_does_not_matter_and_a_lost_file_is_refused() {
        let disk = SimulatedDisk::new(1);
        let (_, mut ceiling) = open(&disk);
        for to in 1..5 {
            ceiling.raise(Timestamp(to)).unwrap();
            for page in 0..4 {
                for byte in 0..COPY_BYTES as u64 {
                    disk.damage(FILE, page * PAGE_BYTES + byte, 0x10);
                    assert_eq!(open(&disk).0, Timestamp(to));
                    disk.damage(FILE, page * PAGE_BYTES + byte, 0x10);
                }
            }
        }
        for page in 0..4 {
            disk.damage(FILE, page * PAGE_BYTES, 0x10);
        }
        let error = Ceiling::open(&disk).unwrap_err().to_string();
        assert!(error.contains("clock") && error.contains("restore it"), "{error}");
    }

    #[test]
    fn a_file_of_another_format_is_refused() {
        let disk = SimulatedDisk::new(1);
        let mut copy = encode(Timestamp(1));
        copy[8] = 2;
        let crc = crc32fast::hash(&copy[..20]);
        copy[20..].copy_from_slice(&crc.to_le_bytes());
        disk.put(FILE, &copy);
        assert!(matches!(Ceiling::open(&disk), Err(CeilingError::Format(2))));
        disk.put(FILE, b"");
        assert!(matches!(Ceiling::open(&disk), Err(CeilingError::Damaged)));
    }

    #[test]
    fn a_shared_disk_serves() {
        let disk = Arc::new(SimulatedDisk::new(1));
        assert_eq!(Ceiling::open(&*disk).unwrap().0, Timestamp::ZERO);
    }
}
