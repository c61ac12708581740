//! Random commands to Redis and to the node, side by side: replies are equal, and so is what is left.
//!
//! Families of commands stand in files of their own ([`strings`], [`keys`], ...), as forms like those of documentation;
//! what the node does not know is left out. A sequence of some 200 commands, in either protocol, begins with empty
//! servers. Of one that shows a difference the shortest is looked for, and printed as one types it into redis-cli.
//!
//! - `SEED=7` runs the one sequence of that seed, `COMMANDS=1000` so many commands.
//! - `FAMILIES=hashes,keys` draws from these families only.
//! - `TANDEM_LONG=1` runs a million commands, of fresh seeds.

mod contest;

mod dice;

mod events;

mod family;

mod form;

mod likeness;

mod reply;

mod server;

mod shrink;

mod slots;

mod step;

mod tally;

mod bits;

mod hashes;

mod keys;

mod lists;

mod scan;

mod sets;

mod sorted_sets;

mod strings;

mod transactions;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use self::contest::{Contest, Difference};
use self::family::{Family, Table};
use self::server::Server;
use self::step::Step;
use self::tally::Tally;

const FAMILIES: &[&Family] = &[
    &strings::STRINGS,
    &keys::KEYS,
    &scan::SCAN,
    &bits::BITS,
    &transactions::TRANSACTIONS,
    &hashes::HASHES,
    &sets::SETS,
    &sorted_sets::SORTED_SETS,
    &lists::LISTS,
];

const SEQUENCE_STEPS: usize = 200;

/// Commands of each of these run in any case.
const EXPECTED: &[&str] = &["strings", "keys", "scan", "bits", "transactions"];

#[test]
fn the_node_replies_as_redis_does() {
    let (redis, node) = (Server::redis(&[]), Server::node());
    let known: Vec<BTreeSet<String>> = [&redis, &node].map(commands_of).into();
    let families = families();
    let table = Table::new(&families, |name| known.iter().all(|known| known.contains(name)));
    for name in EXPECTED.iter().filter(|_| families.len() == FAMILIES.len()) {
        assert!(table.families.iter().any(|entry| entry.family.name == *name), "no {name} take part");
    }
    let contest = Contest { left: &redis, right: &node };
    let tally = compare(&contest, &table, plan(100_000, 1_000_000));
    report(&table, &tally);
    let tested = table.names();
    let untested: Vec<&String> = known[1].difference(&tested).filter(|name| !name.contains('|')).collect();
    say(&format!("the node's commands without a form: {untested:?}"));
}

/// What differs between two servers of Redis is no promise of Redis's, and so none of the node's.
#[test]
fn redis_replies_as_redis_does() {
    let (left, right) = (Server::redis(&[]), Server::redis(&[]));
    let known = commands_of(&left);
    let table = Table::new(FAMILIES, |name| known.contains(name));
    assert!(table.left_out.is_empty(), "Redis knows all commands, but not {:?}", table.left_out);
    let tally = compare(&Contest { left: &left, right: &right }, &table, plan(50_000, 1_000_000));
    report(&table, &tally);
}

#[test]
fn a_difference_is_found_and_shown_at_its_shortest() {
    let usual = Server::redis(&[]);
    let odd = Server::redis(&["--set-max-intset-entries", "0"]);
    let table = Table::new(&[&strings::STRINGS, &sets::SETS], |_| true);
    let contest = Contest { left: &usual, right: &odd };
    let found = (0..100).find_map(|seed| find(&contest, &table, seed, &mut Tally::default()));
    let found = found.expect("sets of integers are encoded differently");
    assert_eq!(found.steps.len(), 1, "one step is enough:\n{}", found.story());
    assert!(
        found.difference.what.to_ascii_uppercase().starts_with("OBJECT ENCODING"),
        "it tells which command it was:\n{}",
        found.story()
    );
}

/// Those that are to take part.
fn families() -> Vec<&'static Family> {
    let told = std::env::var("FAMILIES").ok();
    let is_told =
        |family: &&&Family| told.as_ref().is_none_or(|told| told.split(',').any(|name| name == family.name));
    FAMILIES.iter().filter(is_told).copied().collect()
}

/// Which sequences to run.
struct Plan {
    seeds: Box<dyn Iterator<Item = u64>>,
    /// It ends when so many commands have run.
    commands: usize,
}

fn plan(commands: usize, commands_long: usize) -> Plan {
    let told = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let is_long = std::env::var_os("TANDEM_LONG").is_some();
    let commands = if is_long { commands_long } else { commands };
    let commands = told("COMMANDS").map_or(commands, |commands| commands as usize);
    let first = if is_long { fastrand::u64(..1 << 48) } else { 0 };
    match told("SEED") {
        Some(seed) => Plan { seeds: Box::new(std::iter::once(seed)), commands },
        None => Plan { seeds: Box::new(first..), commands },
    }
}

/// A sequence that two servers reply to differently.
struct Found {
    seed: u64,
    steps: Vec<Step>,
    difference: Difference,
}

impl Found {
    fn story(&self) -> String {
        let mut story = format!("SEED={} shows a difference; as short as can be:\n\n", self.seed);
        for command in self.steps.iter().flat_map(|step| &step.commands) {
            let _ = writeln!(story, "{command}");
        }
        let Difference { what, left, right, .. } = &self.difference;
        let _ = write!(story, "\nat {what}\none replies:   {left}\nother replies: {right}");
        story
    }
}

/// Runs what is planned.
///
/// # Panics
/// At a difference.
#[track_caller]
fn compare(contest: &Contest<'_>, table: &Table, plan: Plan) -> Tally {
    let mut tally = Tally::default();
    for seed in plan.seeds {
        if let Some(found) = find(contest, table, seed, &mut tally) {
            report(table, &tally);
            panic!("{}", found.story());
        }
        if tally.total >= plan.commands {
            break;
        }
    }
    check_effect(table, &tally);
    tally
}

/// In a run of some length every command has come up, and has done something at least once.
#[track_caller]
fn check_effect(table: &Table, tally: &Tally) {
    const COMMANDS_MIN: usize = 50_000;
    if tally.total < COMMANDS_MIN {
        return;
    }
    for name in table.names() {
        let count = tally.commands.get(&name).copied().unwrap_or_default();
        assert!(count.ran > count.errors, "{name} has never done anything: {count}");
    }
}

/// Runs the sequence of a seed. If there is a difference it is returned at its shortest.
fn find(contest: &Contest<'_>, table: &Table, seed: u64, tally: &mut Tally) -> Option<Found> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let mut steps = table.sequence(seed, now.as_secs(), SEQUENCE_STEPS);
    let mut difference = contest.run(&steps, tally).err()?;
    steps.truncate(difference.step + 1);
    let steps = shrink::shrink(steps, |steps| match contest.run(steps, &mut Tally::default()) {
        Ok(()) => false,
        Err(found) => {
            difference = found;
            true
        }
    });
    Some(Found { seed, steps, difference: *difference })
}

/// The names of all commands, in lower case.
fn commands_of(server: &Server) -> BTreeSet<String> {
    let reply = server.connect().ask(&[b"COMMAND", b"LIST"]);
    let names = reply.items().unwrap_or_default().iter().filter_map(reply::Reply::bytes);
    names.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect()
}

fn report(table: &Table, tally: &Tally) {
    let mut text = format!("{} commands, compared reply by reply:\n", tally.total);
    for (place, entry) in table.families.iter().enumerate() {
        let count = tally.families.get(&place).copied().unwrap_or_default();
        let _ = writeln!(text, "  {}: {} forms, {count}", entry.family.name, entry.forms.len());
    }
    for (family, names) in &table.left_out {
        let _ = writeln!(text, "  {family}: left out, as a server does not know them: {names:?}");
    }
    for (name, count) in &tally.commands {
        let _ = write!(text, "  {name} {count}");
    }
    say(&text);
}

/// Shown at once, whether or not the test fails: what was tested is news in either case.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
