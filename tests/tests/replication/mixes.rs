//! Random commands at all masters on few keys, in every topology, while links are cut and put back.

use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use tests::compare::content;
use tests::group::{Group, Topology};
use tests::load::{Load, seed, send, size};
use tests::mix::Mix;
use tests::programs;
use tests::wait::wait_for;

use crate::check_apart;

/// So few that masters meet on each of them again and again.
const KEYS: usize = 100;

#[test]
fn random_writes_at_two_masters_end_equal() {
    check_mix(2, Topology::Mesh);
}

#[test]
fn random_writes_in_a_mesh_of_three_end_equal() {
    check_mix(3, Topology::Mesh);
}

#[test]
fn random_writes_in_a_ring_of_three_end_equal() {
    check_mix(3, Topology::Ring);
}

#[test]
fn random_writes_in_a_chain_of_three_end_equal() {
    check_mix(3, Topology::Chain);
}

fn check_mix(count: usize, topology: Topology) {
    let mut random = Rng::with_seed(seed());
    let group = Group::start(&programs!(), count, topology);
    let seeds: Vec<u64> = group.hosts().iter().map(|_| random.u64(..)).collect();
    let load = Load::start(group.hosts(), |host| {
        let mut mix = Mix::new(seeds[host], KEYS);
        move |client| {
            send(client, &mix.run());
        }
    });
    let rounds = size(50, 1_000);
    for _ in 0..size(2, 20) {
        load.wait_rounds(rounds);
        cut_some(&group, &mut random);
        load.wait_rounds(rounds);
        group.heal_all();
    }
    group.cut_all();
    load.wait_rounds(rounds);
    check_apart(&group[0], &group[count - 1]);
    group.heal_all();
    load.finish();
    check_same(&group);
    revive(&group);
    check_same(&group);
}

fn cut_some(group: &Group, random: &mut Rng) {
    group.hosts().iter().filter(|_| random.bool()).for_each(|host| host.cable.cut());
}

#[track_caller]
fn check_same(group: &Group) {
    wait_for_expiries(group);
    group.check_equal();
}

/// Waits until no key expires while nodes are compared.
#[track_caller]
fn wait_for_expiries(group: &Group) {
    const FAR_MS: i64 = 1_000_000;
    group.wait_converged();
    wait_for("keys to expire", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let far = i64::try_from(now.as_millis()).unwrap_or_default() + FAR_MS;
        let contents = group.hosts().iter().flat_map(|host| content(&mut host.client(), &[0, 1]));
        match contents.into_iter().find(|(_, (_, expiry))| (0..far).contains(expiry)) {
            None => Ok(()),
            Some(((_, key), _)) => Err(format!("{} is to expire", String::from_utf8_lossy(&key))),
        }
    });
}

/// Writes to every key in place, so that what nodes hold of it hidden, should it differ, comes to light.
fn revive(group: &Group) {
    for (number, host) in group.hosts().iter().enumerate() {
        let mut client = host.client();
        for db in 0..2 {
            send(&mut client, &[format!("SELECT {db}")]);
            for (key, name) in Mix::new(0, KEYS).keys().enumerate() {
                let command = match (key + number) % 3 {
                    0 => format!("INCR {name}"),
                    1 => format!("PERSIST {name}"),
                    _ => format!("APPEND {name} revived"),
                };
                send(&mut client, &[command]);
            }
        }
    }
}
