//! A node or agent as a child process.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex};

use rustix::process::{Pid, Signal, kill_process};

/// What reserves the ports that were given out: nobody else here looks at UDP.
static RESERVED: LazyLock<Mutex<Vec<UdpSocket>>> = LazyLock::new(Mutex::default);

/// Below the ports that systems give to outgoing connections, and to who asks for any: so one that is reserved, and is
/// not listened on yet or at the moment, is not taken by those.
const PORTS: Range<u16> = 15_000..32_000;

/// A free port of the loopback interface. Until this process ends neither it nor another one with this harness gets it
/// again.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    for _ in 0..10_000 {
        let address = (Ipv4Addr::LOCALHOST, fastrand::u16(PORTS));
        if let Ok(reservation) = UdpSocket::bind(address)
            && TcpListener::bind(address).is_ok()
        {
            RESERVED.lock().expect("no test panics while it takes a port").push(reservation);
            return address.1;
        }
    }
    panic!("no port is free in {PORTS:?}");
}

/// A child process whose output goes to a file. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its output is appended to the file `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(program: &Path, arguments: &[String], environment: &[(String, String)], log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log file can be written");
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file has a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        Self { child, log: log.to_owned() }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        // A process that is gone already is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// If it does not.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        crate::wait::wait_for("a process to end", || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its resident memory in bytes.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.memory_bytes("VmRSS:")
    }

    /// Its address space in bytes: what it has asked the system for, used or not.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn virtual_bytes(&self) -> usize {
        self.memory_bytes("VmSize:")
    }

    fn memory_bytes(&self, field: &str) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a process has a size");
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
        kilobytes << 10
    }

    /// How many files and connections it has open.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it is running").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process would not notice.
        let _ = kill_process(self.pid(), Signal::CONT);
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(30).collect();
            eprintln!("--- the end of {}", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
