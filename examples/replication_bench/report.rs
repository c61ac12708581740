//! What came of it: convergence, bytes, and the text that is printed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::Stop;
use crate::client::Client;
use crate::load::Done;
use crate::probes::Lags;

/// Agents report to their nodes what they have sent each second.
const REPORTS_TAKE: Duration = Duration::from_millis(2_200);

/// The pause between two looks at whether masters are equal.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// All that was measured.
pub(crate) struct Report<'a> {
    pub(crate) masters: &'a [String],
    pub(crate) done: Done,
    pub(crate) lags: Vec<Lags>,
    /// None if it was not waited for.
    pub(crate) converged: Option<Convergence>,
    pub(crate) traffic: Counters,
}

/// How masters became equal after the load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Convergence {
    /// When every master had what was written last at each; none if that did not come in time.
    pub(crate) keys_after: Option<Duration>,
    /// Whether Tandem's nodes say that they hold the same; none if not all of them are asked and say so.
    pub(crate) are_frontiers_equal: Option<bool>,
}

/// Writes a key at each of the first `writers` masters, and waits until all have all of them.
///
/// # Errors
/// If a master is lost.
pub(crate) fn converge(
    masters: &[String],
    writers: usize,
    patience: Duration,
    stop: &Stop,
) -> io::Result<Convergence> {
    let begun_at = Instant::now();
    let is_over = || stop.load(Ordering::Acquire) || begun_at.elapsed() > patience;
    let mut clients: Vec<Client> =
        masters.iter().map(|master| Client::connect(master)).collect::<Result<_, _>>()?;
    let token = format!("{:016x}", fastrand::u64(..)).into_bytes();
    let keys: Vec<Vec<u8>> = (0..writers).map(|index| format!("bench:end:{index}").into_bytes()).collect();
    for (client, key) in clients.iter_mut().zip(&keys) {
        client.set(key, &token)?.map_err(io::Error::other)?;
    }
    let mut convergence = Convergence::default();
    while convergence.keys_after.is_none() && !is_over() {
        if holds_all(&mut clients, &keys, &token)? {
            convergence.keys_after = Some(begun_at.elapsed());
        } else {
            thread::sleep(LOOK_PAUSE);
        }
    }
    loop {
        convergence.are_frontiers_equal = frontiers_equal(&mut clients)?;
        if convergence.are_frontiers_equal != Some(false) || is_over() {
            return Ok(convergence);
        }
        thread::sleep(LOOK_PAUSE);
    }
}

fn holds_all(clients: &mut [Client], keys: &[Vec<u8>], token: &[u8]) -> io::Result<bool> {
    for client in clients {
        for key in keys {
            if client.get(key)?.as_deref() != Some(token) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn frontiers_equal(clients: &mut [Client]) -> io::Result<Option<bool>> {
    let mut frontiers = Vec::new();
    for client in clients {
        match client.frontier()? {
            Some(frontier) => frontiers.push(frontier),
            None => return Ok(None),
        }
    }
    // Ended origins leave each node's frontier in its own time.
    let cover = |pair: &[_]| {
        let [one, other]: &[shared::version::Frontier; 2] = pair.try_into().expect("windows of two");
        one.covers_listed(other) && other.covers_listed(one)
    };
    Ok(Some(frontiers.windows(2).all(cover)))
}

/// Bytes that masters have sent each other, all together. Each is missing if a master does not count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Of what replication carries, without what lies about it.
    pub(crate) payload: Option<u64>,
    /// What went over the network, as compressed as it was.
    pub(crate) wire: Option<u64>,
}

impl Counters {
    /// Reads them now.
    ///
    /// # Errors
    /// If a master is lost.
    pub(crate) fn read(masters: &[String]) -> io::Result<Self> {
        let mut total = Self { payload: Some(0), wire: Some(0) };
        for master in masters {
            let counters = Self::parse(&Client::connect(master)?.info("replication")?);
            let add = |one: Option<u64>, other: Option<u64>| one?.checked_add(other?);
            total =
                Self { payload: add(total.payload, counters.payload), wire: add(total.wire, counters.wire) };
        }
        Ok(total)
    }

    /// Reads them once all that was sent is reported.
    pub(crate) fn read_settled(masters: &[String], stop: &Stop) -> io::Result<Self> {
        let begun_at = Instant::now();
        while begun_at.elapsed() < REPORTS_TAKE && !stop.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(50));
        }
        Self::read(masters)
    }

    /// What came since.
    pub(crate) fn since(self, before: &Self) -> Self {
        let less = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        Self { payload: less(self.payload, before.payload), wire: less(self.wire, before.wire) }
    }

    /// Tandem's own counters, or what a master of the Redis family has sent to each of its replicas.
    fn parse(info: &str) -> Self {
        let fields: BTreeMap<&str, &str> =
            info.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let field = |name: &str| fields.get(name)?.parse::<u64>().ok();
        let family = || field("master_repl_offset")?.checked_mul(field("connected_slaves")?);
        Self { payload: field("link_payload_bytes_out").or_else(family), wire: field("link_wire_bytes_out") }
    }
}

/// The value below which a part of them lies; none of nothing.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { writes, errors, error, took } = &self.done;
        let seconds = took.as_secs_f64();
        writeln!(out, "masters          {}", self.masters.join(" "))?;
        writeln!(
            out,
            "load             {writes} writes in {seconds:.2} s: {:.0} writes/s",
            *writes as f64 / seconds
        )?;
        if let Some(error) = error {
            writeln!(out, "refused          {errors} writes, one of them with: {error}")?;
        }
        match &self.converged {
            None => writeln!(out, "converged        not waited for")?,
            Some(converged) => write_convergence(out, converged)?,
        }
        write_traffic(out, &self.traffic, *writes)?;
        if !self.lags.is_empty() {
            write_lags(out, &self.lags)?;
        }
        Ok(())
    }
}

fn write_convergence(out: &mut fmt::Formatter<'_>, converged: &Convergence) -> fmt::Result {
    match converged.keys_after {
        Some(after) => write!(out, "converged        {:.1} ms after the load", after.as_secs_f64() * 1e3)?,
        None => write!(out, "converged        NOT in time")?,
    }
    writeln!(
        out,
        "{}",
        match converged.are_frontiers_equal {
            Some(true) => ", frontiers are equal",
            Some(false) => ", frontiers are NOT equal",
            None => "",
        }
    )
}

fn write_traffic(out: &mut fmt::Formatter<'_>, traffic: &Counters, writes: u64) -> fmt::Result {
    let per_write = |bytes: Option<u64>| match bytes {
        Some(bytes) if writes > 0 => format!("{:.1}", bytes as f64 / writes as f64),
        _ => "not counted".to_owned(),
    };
    writeln!(
        out,
        "bytes per write  payload {}, on the wire {}; sent by all masters together, probes included",
        per_write(traffic.payload),
        per_write(traffic.wire)
    )
}

fn write_lags(out: &mut fmt::Formatter<'_>, lags: &[Lags]) -> fmt::Result {
    let width = lags.iter().map(|lags| lags.name.len()).max().unwrap_or(0).max("lag, ms".len());
    writeln!(
        out,
        "{:width$}  {:>8}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "lag, ms", "probes", "p50", "p95", "p99", "p99.9", "max"
    )?;
    for Lags { name, sorted_ms, lost, error } in lags {
        write!(out, "{name:width$}  {:>8}", sorted_ms.len())?;
        for part in [0.5, 0.95, 0.99, 0.999, 1.0] {
            match percentile(sorted_ms, part) {
                Some(ms) => write!(out, "{ms:>10.3}")?,
                None => write!(out, "{:>10}", "-")?,
            }
        }
        if *lost > 0 {
            write!(out, "  {lost} not seen")?;
        }
        if let Some(error) = error {
            write!(out, "  ended early: {error}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=1_000).map(f64::from).collect();
        let of = |part| percentile(&sorted, part);
        assert_eq!(
            [of(0.5), of(0.99), of(0.999), of(1.0)],
            [Some(500.0), Some(990.0), Some(999.0), Some(1_000.0)]
        );
        assert_eq!(percentile(&[7.0], 0.5), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn counters_are_those_of_either_family() {
        let tandem = "link_payload_bytes_out:880\r\nlink_wire_bytes_out:90\r\nmaster_repl_offset:5\r\n";
        assert_eq!(Counters::parse(tandem), Counters { payload: Some(880), wire: Some(90) });
        let redis = "role:master\r\nconnected_slaves:2\r\nmaster_repl_offset:107\r\n";
        assert_eq!(Counters::parse(redis), Counters { payload: Some(214), wire: None });
        assert_eq!(Counters::parse("role:master"), Counters::default());
    }
}
