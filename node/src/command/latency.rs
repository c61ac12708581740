//! LATENCY: what took long and when, and how long the calls of each command took.

use std::fmt::Write as _;

use super::context::Context;
use super::introspect::reply_help;
use super::table::{self, Row};
use super::{Command, arguments};
use crate::error::{CommandError, CommandResult};
use crate::latency::{Event, Series};
use crate::server::Server;
use crate::statistics::Figures;

const FLAGS: &[&str] = &["admin", "noscript", "loading", "stale"];

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("latency", -2, &["container"], help),
    Command::without_keys("latency|help", 2, &["loading", "stale"], help),
    Command::without_keys("latency|doctor", 2, FLAGS, doctor),
    Command::without_keys("latency|graph", 3, FLAGS, graph),
    Command::without_keys("latency|histogram", -2, FLAGS, histogram),
    Command::without_keys("latency|history", 3, FLAGS, history),
    Command::without_keys("latency|latest", 2, FLAGS, latest),
    Command::without_keys("latency|reset", -2, FLAGS, reset),
];

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "LATENCY",
        &[
            ("DOCTOR", "What is known of each event, for people."),
            ("GRAPH <event>", "The samples of an event as bars."),
            (
                "HISTOGRAM [<command-name> ...]",
                "How many calls took no longer than so many microseconds, of these commands or of all.",
            ),
            ("HISTORY <event>", "The samples of an event: moment and milliseconds."),
            ("LATEST", "Of each event the newest sample, and the longest."),
            ("RESET [<event> ...]", "Forget the samples of these events, or of all."),
        ],
    );
    Ok(())
}

fn history(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let series = Event::find(arguments[2]).map(|event| context.server.latency.series(event));
    let samples = series.unwrap_or_default().samples;
    context.reply.array(samples.len());
    for sample in samples {
        context.reply.array(2);
        context.reply.integer(sample.time_s as i64);
        context.reply.integer(sample.ms as i64);
    }
    Ok(())
}

fn latest(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let known = context.server.latency.known();
    context.reply.array(known.len());
    for (event, series) in known {
        let last = series.samples.back().map_or((0, 0), |last| (last.time_s, last.ms));
        context.reply.array(4);
        context.reply.bulk(event.name().as_bytes());
        [last.0, last.1, series.ms_max].into_iter().for_each(|number| context.reply.integer(number as i64));
    }
    Ok(())
}

fn reset(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let latency = &context.server.latency;
    let is_reset = |event: &Event| latency.reset(*event);
    let count = match &arguments[2..] {
        [] => Event::ALL.iter().filter(|event| is_reset(event)).count(),
        names => names.iter().filter_map(|name| Event::find(name)).filter(is_reset).count(),
    };
    context.reply.integer(count as i64);
    Ok(())
}

fn doctor(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    let report = report(context.server);
    context.reply.verbatim("txt", report.as_bytes());
    Ok(())
}

fn report(server: &Server) -> String {
    let least_ms = server.node.settings.latency_monitor_ms.load(std::sync::atomic::Ordering::Relaxed);
    if least_ms == 0 {
        return "Nothing is noted: set latency-monitor-threshold to the milliseconds from which on it is to be.\n"
            .to_owned();
    }
    let known = server.latency.known();
    if known.is_empty() {
        return format!("Nothing has taken {least_ms} ms since this is noted.\n");
    }
    let mut report = String::new();
    for (event, Series { samples, ms_max }) in known {
        let sum: u64 = samples.iter().map(|sample| sample.ms).sum();
        // Writing to a string does not fail.
        let _ = writeln!(
            report,
            "{}: {} times, {} ms on average, {ms_max} ms at most. {}",
            event.name(),
            samples.len(),
            sum / samples.len() as u64,
            match event {
                Event::Command => "SLOWLOG GET tells which commands; read large keys in parts.",
                Event::FastCommand =>
                    "A simple command waited for others at its keys, or the host had no time for the node.",
                Event::ExpireCycle => "Many keys expire at once, or commands hold their part of the store.",
            }
        );
    }
    report
}

fn graph(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let series = Event::find(arguments[2])
        .map(|event| context.server.latency.series(event))
        .filter(|series| !series.samples.is_empty())
        .ok_or_else(|| {
            let name = arguments::quoted(arguments[2]);
            CommandError::composed(format!("ERR No samples available for event '{name}'"))
        })?;
    let name = arguments::lossy(arguments[2]);
    let graph = draw(&name, &series, context.clocks.wall.0 / 1_000);
    context.reply.verbatim("txt", graph.as_bytes());
    Ok(())
}

/// A bar for each sample, the newest last, with how long ago it was.
fn draw(name: &str, series: &Series, now_s: u64) -> String {
    const WIDTH: u64 = 60;
    let latencies = || series.samples.iter().map(|sample| sample.ms);
    let (high, low) = (latencies().max().unwrap_or(0), latencies().min().unwrap_or(0));
    let mut graph = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", series.ms_max);
    for sample in &series.samples {
        let length = (sample.ms * WIDTH / high.max(1)).max(1) as usize;
        let ago = ago(now_s.saturating_sub(sample.time_s));
        // Writing to a string does not fail.
        let _ = writeln!(graph, "{ago:>4} {} {} ms", "#".repeat(length), sample.ms);
    }
    graph
}

fn ago(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn histogram(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let rows: Vec<&Row> = match &arguments[2..] {
        [] => table::all().collect(),
        names => names.iter().filter_map(|name| table::find(name)).flat_map(with_subcommands).collect(),
    };
    let timed: Vec<(&Row, Figures)> = rows
        .into_iter()
        .map(|row| (row, context.server.statistics.figures(row)))
        .filter(|(_, figures)| !figures.durations.is_empty())
        .collect();
    context.reply.map(timed.len());
    for (row, Figures { calls, durations, .. }) in timed {
        context.reply.bulk(row.name.as_bytes());
        context.reply.map(2);
        context.reply.bulk(b"calls");
        context.reply.integer(calls as i64);
        context.reply.bulk(b"histogram_usec");
        let powers = durations.by_powers(calls);
        context.reply.map(powers.len());
        for (us, calls) in powers {
            context.reply.integer(us as i64);
            context.reply.integer(calls as i64);
        }
    }
    Ok(())
}

fn with_subcommands(row: &'static Row) -> impl Iterator<Item = &'static Row> {
    std::iter::once(row).chain(table::subcommands(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Sample;

    #[test]
    fn a_graph_has_a_bar_for_each_sample() {
        let samples = [Sample { time_s: 10, ms: 60 }, Sample { time_s: 100, ms: 30 }].into();
        let drawn = draw("command", &Series { samples, ms_max: 70 }, 110);
        let expected = format!(
            "command - high 60 ms, low 30 ms (all time high 70 ms)\n  1m {} 60 ms\n 10s {} 30 ms\n",
            "#".repeat(60),
            "#".repeat(30)
        );
        assert_eq!(drawn, expected);
    }
}
