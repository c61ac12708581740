//! Puts load on masters, and measures how their writes reach each other: writes per second, lag, time to converge, bytes.
//!
//! With `./examples/two-masters.sh` running:
//!
//! ```text
//! cargo run --release -p examples --example replication-bench -- --master 127.0.0.1:7001 --master 127.0.0.1:7002 \
//!     --writes 200000 --rate 20000 --plot lag.svg
//! ```
//!
//! and see, for each direction, how long after its acknowledgement a write at one master is read at the other, and
//! `lag.svg`, a picture of it. `--help` tells every flag. Masters are whatever speaks Redis's protocol and replicates: with
//! `--writers 1` a Redis master and its replicas, too.
//!
//! How lag is measured, and what it costs those that are measured: a connection beside the load sets one small key at a
//! master at a fixed pace, whether or not the key before has arrived, and notes the moment of each reply. For each other
//! master a connection reads that key from that moment on, again and again with a pause between, until it sees it; while
//! there is nothing to wait for, it reads nothing. All times are of one clock, that of this process. The lag that is told
//! is the moment at which the value was there, less that of the acknowledgement: so it is too long by a pause and a
//! round trip at most, and never too short.

mod client;

mod load;

mod plot;

mod probes;

mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use argh::FromArgs;
use async_signal::{Signal, Signals};
use futures_util::StreamExt;

use load::{Load, ValueKind};
use report::Report;

/// Puts load on masters, and measures how their writes reach each other. Ctrl-C prints what was measured until then.
/// A flag's value is an argument of its own: --name value, not --name=value.
#[derive(FromArgs)]
struct Arguments {
    /// a master, HOST:PORT; to be repeated
    #[argh(option)]
    master: Vec<String>,
    /// how many of the masters, from the first on, are written to (default: all)
    #[argh(option)]
    writers: Option<usize>,
    /// how many writes to send, in all; 0 for no limit but the time (default 200000)
    #[argh(option, default = "200_000")]
    writes: u64,
    /// writes per second, in all; 0 for as fast as possible (default 0)
    #[argh(option, default = "0")]
    rate: u64,
    /// connections to each master that is written to (default 8)
    #[argh(option, default = "8")]
    clients: usize,
    /// writes that a connection sends before it waits for their replies (default 16)
    #[argh(option, default = "16")]
    pipeline: usize,
    /// the length of values, in bytes (default 64)
    #[argh(option, default = "64")]
    value_size: usize,
    /// what values are: constant, random, or json, which is like what applications store (default json)
    #[argh(option, default = "ValueKind::Json")]
    value: ValueKind,
    /// how many different keys, of 16 bytes each, are written (default 100000)
    #[argh(option, default = "100_000")]
    keys: u64,
    /// the time between two probes of a master, in milliseconds; 0 for no probes (default 5)
    #[argh(option, default = "5")]
    probe_interval: u64,
    /// the pause between two reads that wait for a probe, in microseconds (default 100)
    #[argh(option, default = "100")]
    poll_pause: u64,
    /// the load ends after so many seconds at the latest (default 60)
    #[argh(option, default = "60")]
    time_max: u64,
    /// masters have so many seconds to become equal after the load (default 30)
    #[argh(option, default = "30")]
    settle_max: u64,
    /// a file for a picture of the lags, SVG
    #[argh(option)]
    plot: Option<PathBuf>,
}

/// Set when everything is to end.
type Stop = Arc<AtomicBool>;

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replication-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let load = arguments.load()?;
    let interrupted = stop_at_signals();
    let masters = &arguments.master;
    let before = report::Counters::read(masters)?;
    let probes = probes::start(masters, load.masters.len(), arguments.pace())?;
    let done = load::run(&load, &interrupted)?;
    let converged = if interrupted.load(Ordering::Acquire) {
        None
    } else {
        let patience = Duration::from_secs(arguments.settle_max);
        Some(report::converge(masters, load.masters.len(), patience, &interrupted)?)
    };
    let lags = probes.end();
    let traffic = report::Counters::read_settled(masters, &interrupted)?.since(&before);
    let report = Report { masters, done, lags, converged, traffic };
    print!("{report}");
    if let Some(path) = &arguments.plot {
        std::fs::write(path, plot::svg(&report.lags))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println!("plot             {}", path.display());
    }
    Ok(())
}

impl Arguments {
    fn load(&self) -> Result<Load, String> {
        let writers = self.writers.unwrap_or(self.master.len());
        if self.master.is_empty() || writers == 0 || writers > self.master.len() {
            return Err("name the masters by --master HOST:PORT, and write to one of them at least".into());
        }
        if self.clients == 0 || self.pipeline == 0 || self.keys == 0 {
            return Err("--clients, --pipeline and --keys must be 1 at least".into());
        }
        if self.pipeline > load::PIPELINE_MAX || self.value_size > load::VALUE_BYTES_MAX {
            return Err(format!(
                "--pipeline goes up to {}, --value-size up to {} bytes",
                load::PIPELINE_MAX,
                load::VALUE_BYTES_MAX
            ));
        }
        Ok(Load {
            masters: self.master[..writers].to_vec(),
            writes: self.writes,
            rate: self.rate,
            clients: self.clients,
            pipeline: self.pipeline,
            value_bytes: self.value_size,
            value: self.value,
            keys: self.keys,
            time_max: Duration::from_secs(self.time_max),
        })
    }

    fn pace(&self) -> probes::Pace {
        probes::Pace {
            interval: Duration::from_millis(self.probe_interval),
            poll_pause: Duration::from_micros(self.poll_pause),
        }
    }
}

/// The first signal has everything end, with a report; the second ends the process.
fn stop_at_signals() -> Stop {
    let stop = Stop::default();
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        async_std::task::block_on(async {
            let Ok(mut signals) = Signals::new([Signal::Int, Signal::Term]) else { return };
            signals.next().await;
            stopped.store(true, Ordering::Release);
            signals.next().await;
            std::process::exit(130);
        });
    });
    stop
}
