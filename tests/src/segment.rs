//! Damage to a node's log, while the node does not run.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a record begins with.
const RECORD_MAGIC: [u8; 4] = *b"\xa5rec";

/// Where a log was damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The name of the file, within the data directory.
    pub file: String,
    /// Where in it.
    pub offset: u64,
}

/// Cuts the newest file within a record, so that about so much of it is left.
///
/// # Panics
/// If the file is not there, or too short.
pub fn cut_to_percent(data_dir: &Path, percent: u64) -> Damage {
    let path = newest(data_dir);
    let file = open(&path);
    let offset = file.metadata().expect("a file has a length").len() * percent / 100;
    let mut next = [0; RECORD_MAGIC.len()];
    file.read_exact_at(&mut next, offset).expect("much is behind the cut");
    // Between two records it would be no torn one.
    let offset = if next == RECORD_MAGIC { offset + 1 } else { offset };
    file.set_len(offset).expect("a file can be cut");
    Damage { file: name(&path), offset }
}

/// Flips a bit in the middle of the newest file.
///
/// # Panics
/// If the file is not there, or too short.
pub fn flip_bit_in_middle(data_dir: &Path) -> Damage {
    let path = newest(data_dir);
    let damage =
        Damage { offset: open(&path).metadata().expect("a file has a length").len() / 2, file: name(&path) };
    flip_bit_at(data_dir, &damage);
    damage
}

/// Flips that bit again.
///
/// # Panics
/// If the file is not there, or too short.
pub fn flip_bit_at(data_dir: &Path, damage: &Damage) {
    let file = open(&data_dir.join(&damage.file));
    let mut byte = [0];
    file.read_exact_at(&mut byte, damage.offset).expect("the byte is there");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, damage.offset).expect("the byte is written");
}

/// The newest file of the log.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn newest(data_dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(data_dir).expect("the directory can be read");
    let paths = files.map(|file| file.expect("a file has a name").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().expect("a log has a file")
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).expect("a file of the log can be opened")
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}
