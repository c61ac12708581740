//! What is on a simulated disk: for each file, and for the names, what is durable, what was done since, and what a
//! reader sees.

use std::collections::BTreeMap;

/// How kind a power cut is to what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Luck {
    /// All of it survives.
    KeepAll,
    /// None of it does.
    LoseAll,
    /// Each change has its own fate.
    EachItsOwn,
}

impl Luck {
    /// Draws the luck of one power cut.
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::KeepAll,
            1 => Self::LoseAll,
            _ => Self::EachItsOwn,
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Self::KeepAll => true,
            Self::LoseAll => false,
            Self::EachItsOwn => random.below(2) == 0,
        }
    }
}

/// One file: what is durable, what was done to it since, and what a reader sees.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// What survives a power cut for sure.
    pub(super) durable: Vec<u8>,
    /// What a reader sees.
    pub(super) seen: Vec<u8>,
    /// What lies between, in the order in which it was done.
    pending: Vec<Pending>,
}

/// A change to a file that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// Bytes were written.
    Write {
        /// Where.
        offset: usize,
        /// Which.
        bytes: Vec<u8>,
        /// A sync failed on it, so no later one makes it durable.
        lost: bool,
    },
    /// The file was cut to this length.
    Truncate(usize),
}

impl Pending {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes, .. } => overlay(to, *offset, bytes),
            Self::Truncate(length) => to.resize(*length, 0),
        }
    }

    const fn is_lost(&self) -> bool {
        matches!(self, Self::Write { lost: true, .. })
    }

    /// Does what a power cut leaves of it.
    fn apply_partly(&self, to: &mut Vec<u8>, random: &mut Random) {
        let Self::Write { offset, bytes, .. } = self else {
            if random.below(2) == 0 {
                self.apply(to);
            }
            return;
        };
        let (offset, cut) = (*offset, random.below(bytes.len() + 1));
        match random.below(8) {
            0..=2 => overlay(to, offset, bytes),
            3 | 4 => {}
            5 => overlay(to, offset, &bytes[..cut]),
            6 => overlay(to, offset + cut, &bytes[cut..]),
            _ => {
                let mut bytes = bytes.clone();
                let zeros = random.below(2) == 0;
                for byte in &mut bytes[cut..] {
                    *byte = if zeros { 0 } else { random.below(256) as u8 };
                }
                overlay(to, offset, &bytes);
            }
        }
    }
}

fn overlay(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

impl Stored {
    /// A file with durable bytes.
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self { durable: bytes.to_vec(), seen: bytes.to_vec(), pending: Vec::new() }
    }

    /// Does a change, which is not durable yet.
    pub(super) fn change(&mut self, change: Pending) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Makes all changes durable, save those that are lost.
    pub(super) fn sync(&mut self) {
        for change in &self.pending {
            if !change.is_lost() {
                change.apply(&mut self.durable);
            }
        }
        self.pending.retain(Pending::is_lost);
    }

    /// Loses some of what a sync should have made durable; readers do not notice.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        for change in &mut self.pending {
            if let Pending::Write { lost, .. } = change {
                *lost |= random.below(2) == 0;
            }
        }
    }

    /// Shows readers what the disk holds, not what memory remembers.
    pub(super) fn forget(&mut self) {
        self.seen.clone_from(&self.durable);
        self.pending.retain(|change| !change.is_lost());
        for change in &self.pending {
            change.apply(&mut self.seen);
        }
    }

    /// Leaves what survives a power cut.
    pub(super) fn lose_power(&mut self, luck: Luck, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            match luck {
                _ if change.is_lost() => {}
                Luck::KeepAll => change.apply(&mut self.durable),
                Luck::LoseAll => {}
                Luck::EachItsOwn => change.apply_partly(&mut self.durable, random),
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

/// The names of files: durable ones, changes since, and what a reader sees.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// What survives a power cut for sure: the number of each name's file.
    pub(super) durable: BTreeMap<String, usize>,
    /// What a reader sees.
    pub(super) seen: BTreeMap<String, usize>,
    /// What lies between, in the order in which it was done.
    pending: Vec<Naming>,
}

/// A change of names.
#[derive(Debug)]
pub(super) enum Naming {
    /// A file was made.
    Create { name: String, file: usize },
    /// A name was removed; its file may still be open.
    Remove(String),
    /// A file got another name.
    Rename { from: String, to: String, file: usize },
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl Names {
    /// Does a change, which is not durable yet.
    pub(super) fn change(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.pending.push(naming);
    }

    /// Makes all changes durable.
    pub(super) fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.seen);
    }

    /// Leaves what survives a power cut.
    pub(super) fn lose_power(&mut self, luck: Luck, random: &mut Random) {
        for naming in std::mem::take(&mut self.pending) {
            if luck.keeps(random) {
                naming.apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

/// A seeded generator of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
