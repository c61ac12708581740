//! What must hold when everything is healed.

use std::collections::{BTreeMap, BTreeSet};

use node::simulation::{Seen, SimulatedNode, Stray, Visible, line_of};
use shared::time::WallMillis;
use shared::version::Frontier;

use crate::ledger::Kept;
use crate::model::Model;
use crate::workload::{COUNTERS_DB, FIELD, KEPT_COUNTERS, KEPT_DB, quarters_text};
use crate::world::{EPOCH_MS, Outcome, World};

/// Whether all nodes hold the same part of what was written, and that is all of what is left of it.
pub(crate) fn has_converged(world: &World) -> bool {
    let frontiers = frontiers(world);
    frontiers.len() == world.hosts.len()
        && nodes(world).all(SimulatedNode::is_settled)
        && frontiers[1..].iter().all(|frontier| world.ledger.are_equal(&frontiers[0], frontier))
}

/// Whether every node counts every host.
pub(crate) fn is_one_group(world: &World) -> bool {
    nodes(world).all(|node| node.members() == world.hosts.len())
}

fn frontiers(world: &World) -> Vec<Frontier> {
    nodes(world).map(SimulatedNode::frontier).collect()
}

fn nodes(world: &World) -> impl Iterator<Item = &SimulatedNode> {
    world.hosts.iter().filter_map(|host| host.node.as_ref())
}

/// Checks everything but the digests. Returns how many changes the model has merged.
pub(crate) fn check(world: &World) -> Outcome<u64> {
    let strays = nodes(world).next().map(SimulatedNode::strays).unwrap_or_default();
    let model = Model::of(&world.ledger, &strays)?;
    let wall = EPOCH_MS + world.now / 1_000;
    let now = nodes(world).map(|node| node.clock().wall().0).fold(wall, u64::max) + 1;
    for later in [0, 40, 1_500, 3_600_000] {
        check_visible(world, &model, &strays, now + later)?;
    }
    check_acknowledged(world)?;
    check_kept(world, now)?;
    check_counters(world, now)?;
    check_upstreams(world)?;
    Ok(model.changes)
}

/// No two hosts wait for each other: of what an origin has yet to write, or what a third has of it, neither would hear.
fn check_upstreams(world: &World) -> Outcome {
    for origin in frontiers(world).iter().flat_map(|frontier| frontier.iter().map(|(origin, _)| origin)) {
        let upstream = |host: usize| world.hosts[host].upstream(origin);
        for host in 0..world.hosts.len() {
            if let Some(other) = upstream(host).filter(|other| upstream(*other) == Some(host)) {
                return Err(format!("n{host} and n{other} have each other for upstream of origin {origin}"));
            }
        }
    }
    Ok(())
}

/// What is live has one digest, whatever each has dropped of what is dead.
pub(crate) fn check_digests(world: &World) -> Outcome {
    let mut nodes = nodes(world);
    let Some(first) = nodes.next() else { return Ok(()) };
    let digests = first.digests();
    for (index, node) in nodes.enumerate() {
        let pairs = digests.iter().zip(node.digests()).enumerate();
        let unequal: Vec<usize> =
            pairs.filter(|(_, (one, two))| **one != *two).map(|(slot, _)| slot).collect();
        if !unequal.is_empty() {
            let index = index + 1;
            let difference = first.canonical().difference(&node.canonical(), &unequal);
            return Err(format!(
                "equal frontiers, but n0 and n{index} hold different state:\n{difference}\n{}",
                standings(world)
            ));
        }
    }
    Ok(())
}

/// What each host has, to tell what a difference comes from.
pub(crate) fn standings(world: &World) -> String {
    let lines = world.hosts.iter().map(|host| {
        let standing = host.node.as_ref().map(SimulatedNode::describe).unwrap_or_default();
        format!("n{} ({} links): {standing}", host.index, host.links_up())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every key is as one of the models has it.
fn check_visible(world: &World, model: &Model, strays: &BTreeSet<Stray>, at_ms: u64) -> Outcome {
    let mut expected = model.visible(at_ms);
    for (index, node) in nodes(world).enumerate() {
        let seen = node.visible(WallMillis(at_ms));
        if seen == expected {
            continue;
        }
        for other in Model::others(&world.ledger, strays)? {
            let other = other.visible(at_ms);
            let keys: BTreeSet<_> = seen.keys().chain(expected.keys()).cloned().collect();
            for key in keys.into_iter().filter(|key| seen.get(key) == other.get(key)) {
                match other.get(&key) {
                    Some(value) => expected.insert(key, value.clone()),
                    None => expected.remove(&key),
                };
            }
        }
        if seen != expected {
            return Err(format!(
                "n{index} shows other data than the model:\n{}",
                difference(node, model, &seen, &expected)
            ));
        }
    }
    Ok(())
}

fn difference(node: &SimulatedNode, model: &Model, seen: &Visible, expected: &Visible) -> String {
    let keys = seen.keys().chain(expected.keys().filter(|key| !seen.contains_key(*key)));
    let unequal = keys.filter(|key| seen.get(*key) != expected.get(*key));
    let lines = unequal.take(3).map(|key| {
        let (db, name) = (key.0, String::from_utf8_lossy(&key.1));
        let (seen, expected) = (seen.get(key), expected.get(key));
        let (held, history) = (node.describe_key(db, &key.1), model.describe(key));
        format!("{db}:{name}: {seen:?}, expected {expected:?}\n held: {held}\n history: {history}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What was written before a node joined was written once more, and cannot be found by its version.
fn check_acknowledged(world: &World) -> Outcome {
    let ledger = &world.ledger;
    let kept = ledger.acknowledged.iter().filter(|(write, _)| !ledger.given_up.contains(&write.origin));
    match kept.into_iter().find(|(write, _)| !ledger.has_survived(**write)) {
        None => Ok(()),
        Some((write, (host, _))) => {
            Err(format!("a write that n{host} had made durable and acknowledged is lost: {write:?}"))
        }
    }
}

/// Keys that are set once and counters that only grow, wherever they were written once more since: all that was
/// acknowledged is there, and nothing counts twice.
fn check_kept(world: &World, at_ms: u64) -> Outcome {
    let ledger = &world.ledger;
    if ledger.has_flushed_all {
        return Ok(());
    }
    let Some(node) = nodes(world).next() else { return Ok(()) };
    let seen = node.visible(WallMillis(at_ms));
    for (write, (host, _)) in &ledger.acknowledged_kept {
        match ledger.kept.get(write) {
            Some(Kept::Key(key)) if !seen.contains_key(&(KEPT_DB, key.clone())) => {
                let name = String::from_utf8_lossy(key);
                return Err(format!(
                    "n{host} made {name} durable and acknowledged it, {write:?}, and it is lost"
                ));
            }
            _ => {}
        }
    }
    KEPT_COUNTERS.into_iter().try_for_each(|counter| check_kept_counter(world, &seen, counter))
}

fn check_kept_counter(world: &World, seen: &Visible, counter: &'static [u8]) -> Outcome {
    let kept = &world.ledger.kept;
    let added = |kept: Option<&Kept>| match kept {
        Some(Kept::Added(to, by)) if *to == counter => *by,
        _ => 0,
    };
    let sum: i128 = world.ledger.acknowledged_kept.keys().map(|write| added(kept.get(write))).sum();
    let all: i128 = kept.values().map(|kept| added(Some(kept))).sum();
    let found = seen.get(&(KEPT_DB, counter.to_vec()));
    let texts = |quarters: i128| [quarters_text(quarters), line_of(FIELD, &quarters_text(quarters))];
    let is_found = |quarters: i128| match found {
        Some(Seen { value, .. }) => texts(quarters).contains(value),
        None => quarters == 0,
    };
    if (sum..=all).any(is_found) {
        Ok(())
    } else {
        let found = found.map(|seen| String::from_utf8_lossy(&seen.value));
        Err(format!(
            "the kept counter is {found:?}: {sum} quarters were acknowledged, and {all} added in all"
        ))
    }
}

/// The sums of what survived, added up one by one.
fn check_counters(world: &World, at_ms: u64) -> Outcome {
    let ledger = &world.ledger;
    // What was written once more cannot be told from what was lost.
    if ledger.has_flushed_all || !ledger.given_up.is_empty() {
        return Ok(());
    }
    let mut sums: BTreeMap<Vec<u8>, i128> = BTreeMap::new();
    for (_, added) in ledger.increments.iter().filter(|(write, _)| ledger.has_survived(**write)) {
        for (key, by) in added {
            *sums.entry(key.clone()).or_default() += by;
        }
    }
    let Some(node) = nodes(world).next() else { return Ok(()) };
    let seen = node.visible(WallMillis(at_ms));
    for (key, quarters) in sums {
        let text = quarters_text(quarters);
        let expected = if key.starts_with(b"h") { line_of(FIELD, &text) } else { text };
        let found = seen.get(&(COUNTERS_DB, key.clone())).map(|seen| seen.value.clone());
        if found.as_ref() != Some(&expected) {
            let (name, found) = (String::from_utf8_lossy(&key), found.map(String::from_utf8));
            let expected = String::from_utf8_lossy(&expected);
            return Err(format!("counter {name} is {found:?}, and its increments add up to {expected}"));
        }
    }
    Ok(())
}

/// Without a fault each batch comes to each host once.
pub(crate) fn check_once(world: &World) -> Outcome {
    for (index, node) in nodes(world).enumerate() {
        let counters = node.counters();
        let own = node.origin();
        let foreign = world.ledger.batches().filter(|(origin, ..)| *origin != own).count() as u64;
        if counters.batches_in > foreign || counters.batches_duplicate > 0 {
            return Err(format!(
                "without a fault n{index} was given {} batches, {} of them twice, where {foreign} were made",
                counters.batches_in, counters.batches_duplicate
            ));
        }
    }
    Ok(())
}
