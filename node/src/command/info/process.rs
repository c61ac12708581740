//! What the operating system tells of this process. What it does not tell is zero, or `unknown`.

use std::fs;
use std::sync::LazyLock;

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// What the process has in memory now.
    pub(super) resident: u64,
    /// The most that it had.
    pub(super) peak: u64,
    /// What the host has in all.
    pub(super) system: u64,
}

impl Memory {
    /// Reads it: a few microseconds.
    pub(super) fn read() -> Self {
        static SYSTEM: LazyLock<u64> =
            LazyLock::new(|| value_of("MemTotal", &fs::read_to_string("/proc/meminfo").unwrap_or_default()));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { resident: value_of("VmRSS", &status), peak: value_of("VmHWM", &status), system: *SYSTEM }
    }
}

/// The value of a line `name:   1234 kB`, in bytes.
fn value_of(name: &str, text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0).saturating_mul(1_024)
}

/// Such as `Linux 6.1.0 x86_64`.
pub(super) fn operating_system() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let read = |path| fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned());
        let (system, release) = (read("/proc/sys/kernel/ostype"), read("/proc/sys/kernel/osrelease"));
        format!("{} {} {}", system.trim(), release.trim(), std::env::consts::ARCH)
    });
    &NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_behind_its_whole_name() {
        let status = "VmPeak:\t    9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon: x kB\n";
        assert_eq!(value_of("VmRSS", status), 1 << 20);
        assert_eq!(value_of("VmHWM", status), 2 << 20);
        assert_eq!(value_of("Vm", status), 0);
        assert_eq!(value_of("RssAnon", status), 0);
    }
}
