//! Many clients, and clients from elsewhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::raw::Raw;
use tests::wait::wait_until;

use crate::{Memory, Pair, node_address};

/// What the other tests of this process have open.
const FILES_OF_OTHERS: usize = 4_000;

/// As many as are asked for, or as this process may have: then it says so.
fn permitted_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // What is not permitted is found below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    let permitted = files.map_or(wanted, |files| wanted.min(files.saturating_sub(FILES_OF_OTHERS)));
    if permitted < wanted {
        eprintln!("{permitted} connections instead of {wanted}: no more files may be open (ulimit -Hn)");
    }
    permitted
}

/// The node is started as most shells and services do it, with 1024 open files, and makes room by itself.
#[test]
fn ten_thousand_idle_clients_are_served() {
    const BYTES_PER_CLIENT_MAX: usize = 8 << 10;
    let count = permitted_connections(10_000);
    let mut pair = Pair::start_with(|host| {
        host.node_wrapper = ["sh", "-c", "ulimit -Sn 1024; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
        host.node_flags = ["--max-clients".to_owned(), (count + 100).to_string()].to_vec();
    });
    let before = Memory::of(pair.node());
    let mut clients: Vec<Raw> = (0..count)
        .map(|_| {
            let mut client = Raw::connect(pair.address());
            check_pong(&mut client);
            client
        })
        .collect();
    assert!(pair.host().counter("connected_clients") >= count as u64);
    before.check_grown(pair.node(), count * BYTES_PER_CLIENT_MAX);
    pair.check_alive();
    clients.iter_mut().step_by(97).for_each(check_pong);
    clients.into_iter().for_each(Raw::reset);
    wait_until("the clients to be gone", || pair.host().counter("connected_clients") < 100);
    pair.check_alive();
}

#[track_caller]
fn check_pong(client: &mut Raw) {
    client.send("PING\r\n");
    assert_eq!(client.read_line(), "+PONG");
}

#[test]
fn clients_beyond_the_limit_are_told_and_turned_away() {
    const CLIENTS_MAX: usize = 20;
    let mut pair = Pair::start_with(|host| {
        host.node_flags = ["--max-clients".to_owned(), CLIENTS_MAX.to_string()].to_vec();
    });
    let mut clients = Vec::new();
    let refused = loop {
        let mut client = Raw::connect(pair.address());
        client.finish();
        let answer = client.read_to_end();
        if !answer.is_empty() {
            break answer;
        }
        let mut client = Raw::connect(pair.address());
        check_pong(&mut client);
        clients.push(client);
        assert!(clients.len() < CLIENTS_MAX, "there is no limit");
    };
    assert_eq!(String::from_utf8_lossy(&refused), "-ERR max number of clients reached\r\n");
    // The other agent's link, and so replication, needs no more clients than it has.
    drop(clients);
    pair.check_alive();
}

/// An address of this host that is not the loopback interface's, if it has one.
fn outer_address() -> Option<IpAddr> {
    // No packet is sent: the system only says from where it would be.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn the_feed_is_closed_to_other_hosts() {
    let Some(outer) = outer_address() else {
        return eprintln!("skipped: this host has no address but the loopback interface's");
    };
    let mut pair =
        Pair::start_with(|host| host.node_flags = ["--bind", "0.0.0.0"].map(str::to_owned).to_vec());
    let mut client = Raw::connect(SocketAddr::new(outer, pair.host().port()));
    for request in ["INFO", "GROUP other", "FOLLOW * 0", "APPLY x", "PEERS x"] {
        client.send(format!("FEED {request}\r\n"));
        let answer = client.read_line();
        assert!(answer.starts_with("-NOPERM "), "FEED {request} is answered by {answer}");
    }
    // It is a client like any other for the rest.
    check_pong(&mut client);
    check_pong(&mut Raw::connect(node_address(pair.host())));
    pair.check_alive();
}
