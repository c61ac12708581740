//! The sections on commands: what is counted of each, what they took, and the errors that they ended with.

use super::Page;
use crate::command::context::Context;
use crate::command::table;
use crate::statistics::Figures;

pub(super) fn write_calls(page: &mut Page, context: &Context<'_, '_>) {
    for row in table::all() {
        let Figures { calls, ns, rejected, failed, .. } = context.server.statistics.figures(row);
        if calls + rejected + failed == 0 {
            continue;
        }
        let us = ns / 1_000;
        let us_per_call = ns as f64 / 1_000.0 / calls.max(1) as f64;
        page.field(
            format_args!("cmdstat_{}", row.name),
            format_args!(
                "calls={calls},usec={us},usec_per_call={us_per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

pub(super) fn write_errors(page: &mut Page, context: &Context<'_, '_>) {
    for (code, count) in context.server.statistics.errors() {
        page.field(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn write_latencies(page: &mut Page, context: &Context<'_, '_>) {
    for row in table::all() {
        let durations = context.server.statistics.figures(row).durations;
        if durations.is_empty() {
            continue;
        }
        let us = |percent| durations.percentile_ns(percent) as f64 / 1_000.0;
        page.field(
            format_args!("latency_percentiles_usec_{}", row.name),
            format_args!("p50={:.3},p99={:.3},p99.9={:.3}", us(50.0), us(99.0), us(99.9)),
        );
    }
}
