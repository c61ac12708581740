//! A wall clock that the test sets, for the programs of a host.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::Host;

/// What is preloaded into the programs. See the head comment there.
const SHIM: &str = include_str!("../shim/skewed_clock.c");

/// A wall clock, right at first. Programs that are started with it follow it while they run.
#[derive(Debug)]
pub struct SkewedClock {
    library: PathBuf,
    path: PathBuf,
    file: File,
}

impl SkewedClock {
    /// A clock whose files lie in `dir`, under names that begin with `name`.
    ///
    /// # Panics
    /// If there is no C compiler; but Rust links with the same one.
    #[must_use]
    pub fn new(dir: &Path, name: &str) -> Self {
        let (library, path) = (dir.join(format!("{name}.so")), dir.join(format!("{name}.ahead_ms")));
        compile(&library);
        let file = File::create_new(&path).expect("a file for the clock");
        let clock = Self { library, path, file };
        clock.set_ahead_ms(0);
        clock
    }

    /// Puts the clock ahead of the host's by so many milliseconds, or behind it.
    ///
    /// # Panics
    /// If its file cannot be written.
    pub fn set_ahead_ms(&self, ahead_ms: i64) {
        self.file.write_all_at(&ahead_ms.to_ne_bytes(), 0).expect("the clock's file is written");
    }

    /// Gives this clock to the host's node and agent, from their next start on.
    pub fn give_to(&self, host: &mut Host) {
        let environment = [("LD_PRELOAD", &self.library), ("SKEWED_CLOCK", &self.path)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()));
        host.node_environment.extend(environment.clone());
        host.agent_environment.extend(environment);
    }
}

fn compile(library: &Path) {
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-x", "c", "-", "-o"])
        .arg(library)
        .stdin(Stdio::piped())
        .spawn();
    let mut compiler = compiler.expect("cc, with which Rust links, can be run");
    compiler.stdin.take().expect("it is piped").write_all(SHIM.as_bytes()).expect("cc reads the shim");
    assert!(compiler.wait().expect("cc ends").success(), "cc compiles the shim");
}
