//! What the operating system tells of this process. What it does not tell is zero, or `unknown`.

use std::fs;
use std::sync::LazyLock;

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What the process has in memory now.
    pub(crate) resident: u64,
    /// The most that it had.
    pub(crate) peak: u64,
    /// What the host has in all.
    pub(crate) system: u64,
}

impl Memory {
    /// Reads it: a few microseconds.
    pub(crate) fn read() -> Self {
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

/// What the process took of the processors' time, in seconds: its own, and the system's for it.
pub(crate) fn cpu_seconds() -> (f64, f64) {
    cpu_seconds_of(&fs::read_to_string("/proc/self/stat").unwrap_or_default())
}

/// The 14th and 15th word, in hundredths of seconds. The second, the program's name, ends with the last parenthesis.
fn cpu_seconds_of(stat: &str) -> (f64, f64) {
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let seconds =
        |place: usize| words.get(place).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    (seconds(11), seconds(12))
}

/// Such as `Linux 6.1.0 x86_64`.
pub(crate) fn operating_system() -> &'static str {
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
    fn time_is_found_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 2 0 0 0 150 25 0 0 20 0 4 0 9";
        assert_eq!(cpu_seconds_of(stat), (1.5, 0.25));
        assert_eq!(cpu_seconds_of(""), (0.0, 0.0));
    }

    #[test]
    fn a_value_stands_behind_its_whole_name() {
        let status = "VmPeak:\t    9000 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon: x kB\n";
        assert_eq!(value_of("VmRSS", status), 1 << 20);
        assert_eq!(value_of("VmHWM", status), 2 << 20);
        assert_eq!(value_of("Vm", status), 0);
        assert_eq!(value_of("RssAnon", status), 0);
    }
}
