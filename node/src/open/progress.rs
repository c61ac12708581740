//! How far the loading of a directory is.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::disk::{Disk, DiskError, DiskFile};
use crate::log::segment::parse_segment_name;
use crate::log::snapshot::newest;

/// How far the loading of a directory is, in bytes of its snapshot and its log. The one who loads counts, others look.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    total: AtomicU64,
    loaded: AtomicU64,
}

impl Progress {
    /// Finds out how much there is to load.
    pub(super) fn expect_of<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        let mut names: Vec<String> =
            disk.list()?.into_iter().filter(|name| matches!(parse_segment_name(name), Some(Ok(_)))).collect();
        names.extend(newest(disk)?.map(|(_, name)| name));
        for name in names {
            if let Some(file) = disk.open(&name)? {
                self.total.fetch_add(file.length()?, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// So much more was loaded.
    pub(super) fn add(&self, bytes: usize) {
        self.loaded.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How much there is to load; 0 before that is known.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// How much of it was loaded.
    pub(crate) fn loaded(&self) -> u64 {
        self.loaded.load(Ordering::Relaxed).min(self.total())
    }

    /// That in percent.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.loaded() as f64 / self.total().max(1) as f64
    }
}
