//! What clients may send to a node.

use std::net::SocketAddr;

use fastrand::Rng;
use tests::load::seed;
use tests::raw::Raw;
use tests::wait::wait_until;

use crate::{Memory, Pair};

#[track_caller]
fn check_refused(address: SocketAddr, request: impl AsRef<[u8]>, error: &str) {
    let mut client = Raw::connect(address);
    client.send(request);
    let answer = client.read_to_end();
    assert_eq!(String::from_utf8_lossy(&answer), format!("-ERR Protocol error: {error}\r\n"));
}

#[test]
fn what_is_no_request_gets_an_error_and_a_closed_connection() {
    let mut pair = Pair::start();
    let address = pair.address();
    check_refused(address, "*1\r\n!4\r\nPING\r\n", "expected '$', got '!'");
    check_refused(address, "*abc\r\n", "invalid multibulk length");
    check_refused(address, "*1048577\r\n", "invalid multibulk length");
    check_refused(address, "*99999999999999999999\r\n", "invalid multibulk length");
    check_refused(address, "*2\r\n$3\r\nGET\r\n$-1\r\n", "invalid bulk length");
    check_refused(address, "*2\r\n$3\r\nGET\r\n$536870913\r\n", "invalid bulk length");
    check_refused(address, "SET key \"open\r\n", "unbalanced quotes in request");
    let long = "1".repeat(64 << 10);
    check_refused(address, format!("x{long}"), "too big inline request");
    check_refused(address, format!("*{long}"), "too big mbulk count string");
    check_refused(address, format!("*1\r\n${long}"), "too big bulk count string");
    pair.check_alive();
}

#[test]
fn garbage_never_outlives_its_connection() {
    const CONNECTIONS: usize = 500;
    let mut pair = Pair::start();
    let (mut random, before) = (Rng::with_seed(seed()), pair.node().open_files());
    for number in 0..CONNECTIONS {
        let mut client = Raw::connect(pair.address());
        // Some gets past the first look.
        client.send(["", "*3\r\n$3\r\nSET\r\n$", "*2\r\n$", "*"][number % 4]);
        let garbage: Vec<u8> = (0..random.usize(1..4_000)).map(|_| random.u8(..)).collect();
        client.send(garbage);
        client.finish();
        client.read_to_end();
    }
    wait_until("connections to be closed", || pair.node().open_files() <= before);
    pair.check_alive();
}

#[test]
fn half_requests_leave_nothing_behind() {
    const CONNECTIONS: usize = 1_000;
    let mut pair = Pair::start();
    let before = pair.node().open_files();
    let halves = [
        "SE",
        "*",
        "*3\r\n",
        "*3\r\n$3\r\nSET\r\n$3\r\nhal",
        "MULTI\r\nSET half 1\r\nEX",
        "*1\r\n$4\r\nPING\r",
    ];
    for number in 0..CONNECTIONS {
        let mut client = Raw::connect(pair.address());
        client.send(halves[number % halves.len()]);
        match number % 3 {
            0 => client.reset(),
            1 => client.finish(),
            _ => drop(client),
        }
    }
    wait_until("connections to be closed", || pair.node().open_files() <= before);
    assert_eq!(pair.host().run(&["EXISTS", "half", "hal"]), redis::Value::Int(0));
    pair.check_alive();
}

/// Announcing costs a client nothing, so it may cost the node little: what has arrived, and some room for more.
#[test]
fn what_is_only_announced_takes_no_memory() {
    const CONNECTIONS: usize = 600;
    const RESIDENT_BYTES_MAX: usize = 64 << 20;
    let mut pair = Pair::start();
    let before = Memory::of(pair.node());
    let arrived = "x".repeat(1_000);
    let announcements = [
        format!("*1048576\r\n$536870912\r\n{arrived}"),
        format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$536870912\r\n{arrived}"),
        format!("*1048576\r\n{}", "$1\r\nx\r\n".repeat(100)),
        "y".repeat(60_000),
    ];
    let clients: Vec<Raw> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = Raw::connect(pair.address());
            client.send(&announcements[number % announcements.len()]);
            client
        })
        .collect();
    wait_until("the node to have read it all", || waiting_clients(&pair) == CONNECTIONS);
    before.check_grown(pair.node(), RESIDENT_BYTES_MAX);
    clients.into_iter().for_each(Raw::reset);
    wait_until("the clients to be gone", || waiting_clients(&pair) == 0);
    pair.check_alive();
}

/// How many clients have sent a part of a request.
fn waiting_clients(pair: &Pair) -> usize {
    let list: String =
        redis::cmd("CLIENT").arg("LIST").query(&mut pair.host().client()).expect("CLIENT LIST answers");
    list.lines().filter(|line| !line.contains(" qbuf=0 ") && line.contains(" cmd=NULL ")).count()
}
