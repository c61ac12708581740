//! Schedules made by hand: the traces in which simpler rules break, and the faults that chance seldom finds.

mod faults;

mod merging;

mod reconciles;

use crate::world::Outcome;

use self::faults::*;
use self::merging::*;
use self::reconciles::*;

/// A scenario: its name, and what it does with a seed, which decides about delays and who dials.
type Scenario = (&'static str, fn(u64, bool) -> Outcome);

const SCENARIOS: &[Scenario] = &[
    ("an older write that comes late does not bring a deleted key back", late_older_write),
    ("an older write that comes late dies under a flush", late_write_under_flush),
    ("an extension of the expiry that the reaper had seen counts", extended_expiry),
    ("an extension of the expiry that comes after the mark loses everywhere", late_extension),
    ("a SET that the reaper had not seen survives the expiry", refreshed_before_expiry),
    ("what who removes a key for want of memory had not seen survives that", written_before_eviction),
    ("increments through a deletion count from there", counter_through_reset),
    ("increments that nobody resets add up over a partition", counters_in_partition),
    ("what only a torn log held is gone, and what was acknowledged is not", torn_tail),
    ("a frontier that went back in a crash is caught up again", frontier_regress),
    ("of two links between the same two one stays", two_links),
    ("a cut in one direction is noticed, and its writes take another way", one_way_cut),
    ("a silent upstream is left for one that delivers", stalled_upstream),
    ("an old directory that is put back gets its tail from its peers", old_directory),
    ("of two old directories the second is another history than the first", two_old_directories),
    ("what an old copy knows to expire hides nothing that came after it", old_ttl),
    ("a directory put back writes on beside its former tail", forked_directory),
    ("a new directory under an old name takes over when that is silent", new_directory),
    ("clocks too far apart refuse the link, and it resumes", clock_drift),
    ("a write waits on a full disk, and is not skipped", full_disk),
    ("a transaction is merged whole", transactions),
    ("a chain that is cut passes everything on when joined", cut_chain),
    ("each batch comes once in every topology", once_everywhere),
    ("a stream beside a reconcile does not bring back what was deleted", stream_beside_reconcile),
    ("a reconcile carries the expiry, though live cells are the same", expiry_in_reconcile),
    ("of two that reconcile at once both drop what either deleted", mutual_reconcile),
    ("no tombstone goes while a reconcile is served", tombstone_during_reconcile),
    ("a node within a reconcile serves none", reconcile_in_a_row),
    ("a reconcile that was not durable begins again", reconcile_cut_by_crash),
    ("what a joiner has taken over is durable before it is a member", join_cut_by_crash),
    ("a reconcile comes to its end though the log is short and writes go on", reconcile_under_load),
    ("what memory lost at equal frontiers comes back, and nothing else goes", damaged_memory),
    ("members agree on an eviction before it counts", eviction_by_one),
    ("who returns writes once more what only it has, once", return_of_the_evicted),
    ("a snapshot does not know more than the log", snapshot_before_log),
    ("no tombstone goes while a snapshot is written", tombstone_during_snapshot),
    ("a memory-only node whose clock is slow writes after what it meets", slow_memory_node),
    ("a write in a stalled command is not passed over by the floor", stalled_command),
    ("a reconcile in a chain does not make the others reconcile", no_cascade),
    ("of two that ask each other one receives first", both_truncated),
    ("equal sums of a counter are told apart", equal_sums),
    ("a joiner's mark hides nothing of the group", mark_of_a_joiner),
    ("who goes on counting loses nothing to whom states it again", counting_on),
];

/// How many seeds each is run with, in the short form.
const SEEDS: u64 = 3;
/// And in the long one.
const LONG_SEEDS: u64 = 6;

#[test]
fn scenarios_hold() {
    let is_shown = std::env::var_os("TRACE").is_some();
    let asked = std::env::var("SCENARIO").unwrap_or_default();
    let seeds = tests::load::size(SEEDS as usize, LONG_SEEDS as usize) as u64;
    let mut failures = Vec::new();
    for (name, run) in SCENARIOS.iter().filter(|(name, _)| name.contains(&asked)) {
        let failed = (0..seeds).find_map(|seed| run(seed, is_shown).err().map(|problem| (seed, problem)));
        if let Some((seed, problem)) = failed {
            failures.push(format!("{name} (seed {seed}): {problem}\nreplay: SCENARIO='{name}' TRACE=1"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
