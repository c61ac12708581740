//! Hosts whose agents compress what they send, each in its own way.

use std::collections::BTreeMap;

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::programs;
use tests::wait::wait_until;

/// What a host's agent reports of its links, by the peer's name.
fn links(host: &Host) -> BTreeMap<String, BTreeMap<String, String>> {
    let lines = (0..).map_while(|number| host.info(&format!("link{number}")));
    let fields = lines.map(|line| -> BTreeMap<String, String> {
        let pairs = line.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    });
    fields.map(|fields| (fields["name"].clone(), fields)).collect()
}

#[test]
fn hosts_with_different_settings_hold_the_same() {
    let settings = ["zstd", "lz4", "none"];
    let mut group = Group::new(&programs!(), settings.len());
    group.connect(Topology::Mesh);
    for (host, setting) in group.hosts_mut().iter_mut().zip(settings) {
        host.agent_flags = vec!["--compress".to_owned(), setting.to_owned()];
    }
    group.start_all();
    for host in group.hosts() {
        let mut client = host.writing_client();
        for number in 0..400 {
            let value = format!("{{\"id\":{number},\"text\":\"{}\"}}", "written at each host ".repeat(20));
            redis::cmd("SET")
                .arg(format!("key:{}:{number}", host.name()))
                .arg(value)
                .exec(&mut client)
                .expect("a write is taken");
        }
    }
    group.check_equal();
    for (host, setting) in group.hosts().iter().zip(settings) {
        wait_until("what is on the wire to be counted", || {
            let links = links(host);
            let sum = |field: &str| -> u64 {
                links.values().filter_map(|link| link[field].parse::<u64>().ok()).sum()
            };
            let (payload, wire) = (sum("payload_bytes_out"), sum("wire_bytes_out"));
            let is_as_set = if setting == "none" { wire > payload } else { wire < payload / 2 };
            payload > 100_000 && is_as_set && links.values().all(|link| link["compression"] == setting)
        });
    }
}
