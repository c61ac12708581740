//! Read-only replicas, and how they become masters and replicas again.

use redis::{Connection, Value};
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::send;
use tests::operator::{check_undiverged, check_verified};
use tests::programs;
use tests::wait::wait_until;

fn flags(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn error_of(client: &mut Connection, command: &str) -> String {
    match &send(client, &[command])[0] {
        Value::ServerError(error) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
        reply => panic!("{command}: {reply:?}"),
    }
}

fn get(host: &Host, key: &str) -> Option<String> {
    redis::cmd("GET").arg(key).query(&mut host.client()).expect("a read is served")
}

/// Two masters, and a replica that is linked with both.
fn with_replica() -> Group {
    let mut group = Group::new(&programs!(), 3);
    group.connect(Topology::Mesh);
    group[2].node_flags = flags(&["--role", "read-only"]);
    for host in group.hosts_mut() {
        host.start_node();
        host.start_agent();
    }
    for master in &group.hosts()[..2] {
        wait_until("every member to be known", || master.counter("members") == 3);
        master.run(&["SET", &format!("linked:{}", master.name()), "1"]);
    }
    for host in group.hosts() {
        wait_until("every host to be ready, and linked with the others", || {
            host.knows_its_group() && host.counter("ready") == 1 && host.counter("connected_slaves") == 2
        });
    }
    group.wait_converged();
    group
}

#[test]
fn a_read_only_node_refuses_writes_and_says_that_it_is_a_replica() {
    let group = with_replica();
    let replica = &group[2];
    let mut client = replica.client();
    const READONLY: &str = "READONLY You can't write against a read only replica.";
    for command in ["SET key value", "DEL key", "INCR count", "FLUSHALL", "GETDEL key", "EXPIRE key 5"] {
        assert_eq!(error_of(&mut client, command), READONLY, "{command}");
    }
    let replies = send(&mut client, &["MULTI", "GET key", "SET key value", "EXEC"]);
    assert!(format!("{:?}", replies[3]).contains("EXECABORT"), "{replies:?}");
    assert!(error_of(&mut client, "WAIT 1 1").contains("WAIT cannot be used with replica instances"));
    let fields = ["role", "master_link_status", "slave_read_only", "slave_priority", "ready"];
    assert_eq!(
        fields.map(|field| replica.info(field).unwrap_or_default()),
        ["slave", "up", "1", "100", "1"].map(str::to_owned)
    );
    assert_eq!(replica.info("master_host").as_deref(), Some("127.0.0.1"));
    let role: Vec<Value> = redis::cmd("ROLE").query(&mut client).expect("it answers");
    assert_eq!(role[0], Value::BulkString(b"slave".to_vec()));
    assert_eq!(role[3], Value::BulkString(b"connected".to_vec()));
    assert_eq!(group[0].info("role").as_deref(), Some("active-replica"));
    // What expires is gone here, too, though this node removes nothing.
    group[0].run(&["SET", "short", "value", "PX", "50"]);
    wait_until("the key to come", || get(replica, "linked:host0").is_some());
    wait_until("the key to expire", || get(replica, "short").is_none());
}

#[test]
fn a_replica_of_two_masters_survives_the_loss_of_either_and_is_promoted_and_demoted() {
    let mut group = with_replica();
    for lost in [0, 1] {
        group[lost].kill_agent();
        group[lost].kill_node();
        let key = format!("without:{lost}");
        group[1 - lost].run(&["SET", &key, "1"]);
        wait_until("the write to reach the replica", || get(&group[2], &key).is_some());
        group[lost].start_node();
        group[lost].start_agent();
        wait_until("the master to be back", || group[lost].counter("ready") == 1);
    }

    let mut client = group[2].client();
    let set_role = |client: &mut Connection, role: &str| -> Value {
        redis::cmd("CONFIG").arg("SET").arg("role").arg(role).query(client).expect("the role is set")
    };
    set_role(&mut client, "active");
    assert_eq!(group[2].info("role").as_deref(), Some("active-replica"));
    // Writes to all three meanwhile.
    for number in 0..200 {
        for host in group.hosts() {
            host.run(&["SET", &format!("promoted:{}:{number}", host.name()), "1"]);
            if number % 10 == 0 {
                host.run(&["INCR", "count"]);
            }
        }
    }
    set_role(&mut client, "read-only");
    assert!(error_of(&mut client, "SET late 1").starts_with("READONLY"));
    group.check_equal();
    assert_eq!(get(&group[0], "count").as_deref(), Some("60"));
    for number in 0..200 {
        assert!(get(&group[1], &format!("promoted:host2:{number}")).is_some(), "write {number} is lost");
    }
    check_undiverged(group.hosts());
    check_verified(group.hosts());
    let refused: redis::RedisResult<Value> =
        redis::cmd("CONFIG").arg("SET").arg("role").arg("master").query(&mut client);
    assert!(refused.is_err_and(|error| error.to_string().contains("active, read-only")));
}
