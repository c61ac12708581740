//! Links that deliver in bursts, with long silences between: who pulls over them goes on doing so, and gets each write once.

use crate::script::Script;
use crate::topology::Topology::Mesh;
use crate::traffic::Purpose;
use crate::world::{Micros, Outcome};

const HOSTS: usize = 4;

/// Each path is open in so many of these steps, and others in others.
const STEP: Micros = 100_000;
const STEPS: usize = 20;
const STEPS_OPEN: usize = 2;

/// Until round trips were measured: what those come to is the patience with an upstream.
const MEASURING: usize = 100;

const WRITING: usize = 400;

/// For each write that somebody else made.
const COPIES_MAX: f64 = 1.06;

#[test]
fn over_links_that_deliver_in_bursts_a_write_crosses_each_host_once() {
    for seed in 0..3 {
        let copies = copies(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        println!("seed {seed}: {copies:.2} copies");
        assert!(copies <= COPIES_MAX, "seed {seed}: a write crosses a host {copies:.2} times");
    }
}

/// How often a write crossed the host that got most.
fn copies(seed: u64) -> Outcome<f64> {
    let mut script = Script::of(Mesh(HOSTS), seed, false)?;
    let mut steps = 0..;
    for step in steps.by_ref().take(MEASURING) {
        pass(&mut script, step)?;
    }
    let before = script.world.network.traffic.clone();
    for step in steps.by_ref().take(WRITING) {
        pass(&mut script, step)?;
    }
    let paths = (0..HOSTS).flat_map(|from| (0..HOSTS).map(move |to| (from, to)));
    paths.for_each(|(from, to)| script.open(from, to));
    script.world.run(5_000_000)?;
    let crossed = script.world.network.traffic.since(&before);
    script.heal()?;
    let written = (WRITING * (HOSTS - 1)) as f64;
    let received = (0..HOSTS).map(|host| crossed.received(host, Purpose::Batch).messages);
    Ok(received.max().unwrap_or(0) as f64 / written)
}

/// A step: every host writes, and paths open and close.
fn pass(script: &mut Script, step: usize) -> Outcome {
    for from in 0..HOSTS {
        for to in 0..HOSTS {
            let is_open = (step + 3 * from + 5 * to) % STEPS < STEPS_OPEN;
            if is_open { script.open(from, to) } else { script.block(from, to) }
        }
        script.at(from, &format!("SET key:{from} {step}"))?;
    }
    script.world.run(STEP)
}
