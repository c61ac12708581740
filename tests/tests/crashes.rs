//! Nodes and agents that are killed, replaced, or left without room on their disk, in the middle of load.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;
use redis::Connection;
use shared::version::Frontier;
use tests::clerk::{Clerk, check_counters};
use tests::disk::SmallDisk;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{seed, size};
use tests::programs;
use tests::segment::{self, Damage};
use tests::wait::{PATIENCE, wait_for, wait_until};

/// Clerks at each host.
const CLERKS: usize = 3;

fn flags(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|&flag| flag.to_owned()).collect()
}

/// Clerks for every host; those of one host are neighbours.
fn clerks(hosts: usize, pipeline: usize, random: &mut Rng) -> Vec<Clerk> {
    (0..hosts * CLERKS)
        .map(|number| Clerk::new(&format!("clerk{number}"), pipeline, random.u64(..)))
        .collect()
}

/// Lets the clerks work, each at its host, until `meanwhile` is over; it is told how much each host has acknowledged.
fn work(group: &mut Group, clerks: &mut [Clerk], meanwhile: impl FnOnce(&mut Group, &[AtomicU64])) {
    let stop = AtomicBool::new(false);
    let acknowledged: Vec<AtomicU64> = group.hosts().iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for (number, clerk) in clerks.iter_mut().enumerate() {
            let (client, acknowledged) =
                (group[number / CLERKS].writing_client(), &acknowledged[number / CLERKS]);
            let stop = &stop;
            scope.spawn(move || clerk.work(client, stop, acknowledged));
        }
        // Also when it panics: else the clerks would work on.
        let _stopping = Stopping(&stop);
        meanwhile(group, &acknowledged);
    });
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Waits until the host has acknowledged so many more writes.
#[track_caller]
fn wait_more(acknowledged: &AtomicU64, more: u64) {
    let goal = acknowledged.load(Ordering::Acquire) + more;
    wait_until("more writes to be acknowledged", || acknowledged.load(Ordering::Acquire) >= goal);
}

/// Waits until all nodes are equal, and checks that each has everything that was acknowledged to any clerk.
#[track_caller]
fn check_all(group: &Group, clerks: &[Clerk]) {
    group.check_equal();
    for host in group.hosts() {
        let mut client = host.client();
        clerks.iter().for_each(|clerk| clerk.check(host.name(), &mut client));
        check_counters(host.name(), &mut client, clerks);
    }
}

/// So that snapshots are written and segments removed all the time.
const BUSY_DISK: [&str; 8] =
    ["--fsync", "always", "--snapshot-after", "64kb", "--log-segment", "64kb", "--log-retention", "256kb"];

/// Where a host's agent is killed with its node, the node's own disk must have all that it acknowledged, before any
/// peer could give it back.
#[test]
fn a_killed_node_has_every_write_it_acknowledged() {
    drop(check_killed_nodes(&["--fsync", "always"], size(6, 30), 1_000, |_| {}));
}

/// The same, in the midst of snapshots and of the removal of what they replace.
#[test]
fn a_node_killed_while_it_writes_snapshots_has_every_write_it_acknowledged() {
    let (mut group, mut clerks) = check_killed_nodes(&BUSY_DISK, size(6, 30), 3_000, |host| {
        // One that is written already is as good.
        let _ = redis::cmd("BGSAVE").exec(&mut host.client());
    });
    // How much was logged until here is up to chance.
    work(&mut group, &mut clerks, |group, _| {
        for host in group.hosts() {
            wait_for("old segments to be removed", || check_segments_were_removed(host));
        }
    });
    check_all(&group, &clerks);
}

fn check_segments_were_removed(host: &Host) -> Result<(), String> {
    let names = std::fs::read_dir(host.data_dir()).expect("the directory is there");
    let names: Vec<String> = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let is_whole = names.iter().any(|name| name == "log-0000000000000000.seg");
    if is_whole { Err(format!("{} has {names:?}", host.name())) } else { Ok(()) }
}

/// Nodes that take so many writes at the most before they are killed, right after `before_kill`.
fn check_killed_nodes(
    node_flags: &[&str],
    rounds: usize,
    lived_max: u64,
    before_kill: impl Fn(&Host),
) -> (Group, Vec<Clerk>) {
    let mut random = Rng::with_seed(seed());
    let mut group = Group::new(&programs!(), 2);
    group.connect(Topology::Mesh);
    group.hosts_mut().iter_mut().for_each(|host| host.node_flags = flags(node_flags));
    group.start_all();
    let mut clerks = clerks(2, 8, &mut random);
    for round in 0..rounds {
        let victims = [&[0][..], &[1], &[0, 1]][random.usize(0..3)];
        let with_agent = round % 2 == 0;
        let lived = random.u64(1..lived_max);
        work(&mut group, &mut clerks, |group, acknowledged| {
            wait_more(&acknowledged[victims[0]], lived);
            for victim in victims {
                before_kill(&group[*victim]);
                group[*victim].kill_node();
                if with_agent {
                    group[*victim].kill_agent();
                }
            }
            let others = (0..2).filter(|host| !victims.contains(host));
            others.for_each(|other| wait_more(&acknowledged[other], 20));
        });
        for victim in victims {
            restart(&mut group[*victim], &clerks[victim * CLERKS..][..CLERKS], with_agent);
        }
        check_all(&group, &clerks);
        let mut client = group[0].client();
        clerks.iter_mut().for_each(|clerk| clerk.settle(&mut client));
    }
    (group, clerks)
}

fn restart(host: &mut Host, clerks: &[Clerk], with_agent: bool) {
    host.start_node();
    if with_agent {
        let mut client = host.client();
        clerks.iter().for_each(|clerk| clerk.check(&format!("{}, alone,", host.name()), &mut client));
        host.start_agent();
    }
}

/// The page cache survives a kill, so the loss is made by cutting bytes off the newest file of the log.
#[test]
fn a_crashed_node_gets_its_lost_tail_back_from_its_peer() {
    let mut group = Group::start(&programs!(), 2, Topology::Mesh);
    // Little is lost, then nearly everything, the peer's writes included.
    for (round, kept_percent) in [(0, 95), (1, 1)] {
        for number in 0..200 {
            group[0].run(&["SET", &format!("tail:{number}"), &format!("{round}")]);
            group[1].run(&["SET", &format!("other:{number}"), &format!("{round}")]);
        }
        let before = group.wait_converged();
        group[0].kill_node();
        group[0].kill_agent();
        let cut = segment::cut_to_percent(&group[0].data_dir(), kept_percent);

        group[0].start_node();
        let left = group[0].frontier();
        assert!(!left.covers_frontier(&before), "nothing was lost: {left} and {before}");
        wait_for("the cut to be logged", || check_cut_is_logged(&group[0], &cut));
        group[0].run(&["SET", "tail:199", "after the crash"]);

        group[0].start_agent();
        group.check_equal();
        assert!(group[0].frontier().covers_frontier(&before), "the tail did not come back");
        for host in group.hosts() {
            check_holds(host, "tail:0", &round.to_string());
            check_holds(host, "tail:198", &round.to_string());
            check_holds(host, "tail:199", "after the crash");
            check_holds(host, "other:199", &round.to_string());
        }
    }
}

fn check_cut_is_logged(host: &Host, cut: &Damage) -> Result<(), String> {
    let log = host.node_log();
    let line = log.lines().rfind(|line| line.contains("the log's torn end was cut")).unwrap_or_default();
    let says_where = line.contains("WARN") && line.contains(&cut.file);
    if says_where { Ok(()) } else { Err(format!("logged is {line:?}, cut was {cut:?}")) }
}

#[track_caller]
fn check_holds(host: &Host, key: &str, expected: &str) {
    let found: Option<String> = redis::cmd("GET").arg(key).query(&mut host.client()).expect("GET answers");
    assert_eq!(found.as_deref(), Some(expected), "{key} at {}", host.name());
}

/// Others would wait a minute for the member that has set the TTL, and so would it, if it did not know that it was that.
#[test]
fn expired_keys_go_at_once_though_who_set_their_ttl_was_started_again() {
    let mut group = Group::new(&programs!(), 1);
    group[0].start_node();
    group[0].run(&["SET", "key", "value", "PX", "1500"]);
    group[0].node.as_mut().expect("it runs").stop();
    group[0].start_node();
    wait_for("the key to be removed", || {
        let keys: u64 = redis::cmd("DBSIZE").query(&mut group[0].client()).expect("DBSIZE answers");
        if keys == 0 { Ok(()) } else { Err(format!("{keys} keys")) }
    });
}

/// A start must not cut what was durable. The refusal says where the damage is and what to do; both things that it
/// offers are then done.
#[test]
fn a_node_with_a_damaged_log_refuses_to_start_and_says_what_to_do() {
    let mut group = Group::start(&programs!(), 2, Topology::Mesh);
    for number in 0..500 {
        group[0].run(&["SET", &format!("key:{number}"), "value"]);
    }
    group.wait_converged();
    group[0].node.as_mut().expect("it runs").stop();
    let data = group[0].data_dir();
    let damage = segment::flip_bit_in_middle(&data);

    group[0].launch_node();
    let status = group[0].node.as_mut().expect("it was started").wait();
    assert!(!status.success(), "a node started with a damaged log");
    let log = group[0].node_log();
    let refusal = log.lines().find(|line| line.contains("node cannot start")).expect("it says why");
    assert!(refusal.contains(&damage.file), "the file is missing: {refusal}");
    check_names_offset(refusal, damage.offset);
    for advice in ["nothing was changed", "restore the file from a copy", "move the directory away"] {
        assert!(refusal.contains(advice), "{advice:?} is missing: {refusal}");
    }

    segment::flip_bit_at(&data, &damage);
    group[0].start_node();
    group.check_equal();

    group[0].kill_node();
    segment::flip_bit_at(&data, &damage);
    std::fs::rename(&data, data.with_extension("away")).expect("the directory can be moved");
    group[0].start_node();
    group.check_equal();
    check_holds(&group[0], "key:499", "value");
}

/// The offset is that of the record that the damage lies in: at or a little before it.
#[track_caller]
fn check_names_offset(refusal: &str, damaged: u64) {
    let named = refusal.split("damaged at byte ").nth(1).and_then(|rest| rest.split(':').next());
    let named: u64 = named.and_then(|text| text.parse().ok()).expect("it names the offset");
    assert!(
        (damaged.saturating_sub(1_000)..=damaged).contains(&named),
        "{named} is named, {damaged} is damaged"
    );
}

/// What a start finds in a directory of which one bit is wrong is either all that was written, or nothing that is served:
/// then it names the file.
#[test]
fn a_flipped_bit_in_any_file_is_named_at_a_start_or_harmless() {
    let mut random = Rng::with_seed(seed());
    let mut group = Group::new(&programs!(), 2);
    group[0].node_flags = flags(&["--log-segment", "64kb", "--log-retention", "0"]);
    group.connect(Topology::Mesh);
    group.start_all();
    write_all_types(&group[0], 0..60);
    wait_for("a snapshot", || save(&group[0]));
    write_all_types(&group[0], 60..90);
    group.wait_converged();
    // A peer would mend what is served.
    group.hosts_mut().iter_mut().for_each(Host::kill_agent);
    let expected = contents(&group[0]);
    group[0].node.as_mut().expect("it runs").stop();
    let directory = copy_of(&group[0].data_dir());
    assert!(directory.len() >= 3, "a log, a snapshot and who it is: {:?}", directory.keys());
    let (mut refused, mut harmless) = (0, 0);
    for (file, bytes) in directory.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for _ in 0..size(8, 400).min(bytes.len()) {
            let mut damaged = bytes.clone();
            let at = random.usize(..damaged.len());
            damaged[at] ^= 1 << random.u8(..8);
            put_back(&group[0].data_dir(), &directory);
            std::fs::write(group[0].data_dir().join(file), damaged).expect("a file can be written");
            match start_or_refusal(&mut group[0]) {
                Ok(()) => {
                    assert_eq!(
                        contents(&group[0]),
                        expected,
                        "byte {at} of {file} is wrong, and it is served"
                    );
                    harmless += 1;
                }
                Err(refusal) => {
                    assert!(refusal.contains(file), "byte {at} of {file} is wrong: {refusal}");
                    refused += 1;
                }
            }
            group[0].kill_node();
        }
    }
    eprintln!(
        "{} files: {refused} starts refused, {harmless} starts with all that was written",
        directory.len()
    );
    put_back(&group[0].data_dir(), &directory);
    group[0].start_node();
    assert_eq!(contents(&group[0]), expected);
}

/// Writes keys of all types.
fn write_all_types(host: &Host, numbers: Range<usize>) {
    let mut client = host.writing_client();
    let mut run =
        |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).exec(&mut client).expect("it is written");
    for number in numbers {
        let member = format!("member{number}");
        run(&["SET", &format!("string{number}"), &"x".repeat(number)]);
        run(&["HINCRBY", &format!("hash{}", number % 7), &member, "3"]);
        run(&["RPUSH", "list", &member]);
        run(&["ZADD", "sorted", &number.to_string(), &member]);
        run(&["SADD", "set", &member]);
        run(&["INCRBYFLOAT", "sum", "0.25"]);
        run(&["SET", &format!("gone{}", number % 5), "1", "PX", "100000000"]);
        run(&["DEL", &format!("gone{}", (number + 2) % 5)]);
    }
}

/// Everything that clients see.
fn contents(host: &Host) -> BTreeMap<String, Vec<String>> {
    let mut client = host.client();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut client).expect("KEYS answers");
    let show = |key: String| {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut client).expect("TYPE answers");
        let read: &[&str] = match kind.as_str() {
            "string" => &["MGET", &key],
            "list" => &["LRANGE", &key, "0", "-1"],
            "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "hash" => &["HGETALL", &key],
            _ => &["SMEMBERS", &key],
        };
        let mut values: Vec<String> =
            redis::cmd(read[0]).arg(&read[1..]).query(&mut client).expect("it can be read");
        if matches!(kind.as_str(), "hash" | "set") {
            values.sort();
        }
        (key, values)
    };
    keys.into_iter().map(show).collect()
}

/// The files of a directory, by name.
fn copy_of(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    let name = |path: &Path| path.file_name().expect("a file has a name").to_string_lossy().into_owned();
    paths.map(|path| (name(&path), std::fs::read(&path).expect("a file can be read"))).collect()
}

/// Makes the directory hold these files, and no others.
fn put_back(directory: &Path, files: &BTreeMap<String, Vec<u8>>) {
    std::fs::remove_dir_all(directory).expect("the directory can be removed");
    std::fs::create_dir(directory).expect("a directory can be made");
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).expect("a file can be written");
    }
}

/// Starts the host's node, and waits until it serves clients or has ended: then that is what it says.
fn start_or_refusal(host: &mut Host) -> Result<(), String> {
    let before = host.node_log().len();
    host.launch_node();
    wait_for("the node to start, or not to", || {
        if !host.node.as_mut().expect("it was started").is_running() {
            return Ok(Err(host.node_log()[before..].to_owned()));
        }
        host.try_client().map(|_| Ok(()))
    })
}

#[test]
fn a_node_whose_disk_is_full_recovers_without_a_restart() {
    let Some(disk) = SmallDisk::mounted() else { return };
    let (group, _) = check_full_disk(&disk, &["--fsync", "everysec"], |full| {
        let problem = save(full).expect_err("there is no room for a snapshot");
        assert!(problem.contains("No space left"), "{problem}");
        assert_eq!(full.info("rdb_last_bgsave_status").as_deref(), Some("err"));
    });
    wait_for("a snapshot to find room", || save(&group[0]));
    assert_eq!(group[0].info("rdb_last_bgsave_status").as_deref(), Some("ok"));
}

/// SAVE: whether the snapshot is in place.
fn save(host: &Host) -> Result<(), String> {
    redis::cmd("SAVE").exec(&mut host.client()).map_err(|error| error.to_string())
}

/// A snapshot is longer than any segment: where files may not grow that far, the log goes on without it.
#[test]
fn a_snapshot_without_room_does_no_harm_and_the_next_one_succeeds() {
    let disk = SmallDisk::limited();
    let mut group = Group::new(&programs!(), 1);
    let small_log = ["--fsync", "always", "--log-segment", "64kb", "--log-retention", "0"];
    group[0].node_flags = flags(&small_log);
    disk.give_to(&mut group[0]);
    group[0].start_node();
    let keys = 400;
    for number in 0..keys {
        group[0].run(&["SET", &format!("fill:{number}"), &filling()]);
    }
    disk.limit(&group[0]);
    let problem = save(&group[0]).expect_err("there is no room");
    assert!(problem.contains("cannot write"), "{problem}");
    assert_eq!(group[0].info("rdb_last_bgsave_status").as_deref(), Some("err"));
    group[0].run(&["SET", "while full", "1"]);
    check_holds(&group[0], "fill:0", &filling());
    disk.give_room(&group[0]);
    wait_for("a snapshot to find room", || save(&group[0]));
    group[0].run(&["SET", "after", "1"]);
    group[0].kill_node();
    group[0].start_node();
    for number in 0..keys {
        check_holds(&group[0], &format!("fill:{number}"), &filling());
    }
    check_holds(&group[0], "while full", "1");
    check_holds(&group[0], "after", "1");
}

/// The same where nothing may be mounted, with a limit on the length of files; and under `--fsync always` clients may
/// wait for a reply that only a disk with room permits.
#[test]
fn a_node_whose_files_may_not_grow_recovers_without_a_restart() {
    let disk = SmallDisk::limited();
    let (mut group, written) = check_full_disk(&disk, &["--fsync", "always"], |_| {});
    group[0].kill_node();
    group[0].kill_agent();
    group[0].start_node();
    for number in 0..written {
        check_holds(&group[0], &format!("fill:{number}"), &filling());
    }
}

fn filling() -> String {
    "x".repeat(4_000)
}

/// Fills the disk of one of two nodes, looks at it, and gives it room again. Returns the group, and how many of the filling writes
/// were acknowledged.
fn check_full_disk(disk: &SmallDisk, node_flags: &[&str], while_full: impl FnOnce(&Host)) -> (Group, u64) {
    let mut group = Group::new(&programs!(), 2);
    group.connect(Topology::Mesh);
    group[0].node_flags = flags(node_flags);
    disk.give_to(&mut group[0]);
    group.start_all();
    group[0].run(&["SET", "before", "1"]);
    disk.limit(&group[0]);
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        scope.spawn(|| fill(group[0].client(), &stop, &written));
        wait_for("writes to be refused", || refusal(&group[0]));
        check_full_node(&group);
        while_full(&group[0]);
        // The room is for those who wait for it.
        stop.store(true, Ordering::Release);
        disk.give_room(&group[0]);
        wait_until("writes to be taken again", || refusal(&group[0]).is_err_and(|why| why == TAKEN));
    });
    group.check_equal();
    for host in group.hosts() {
        check_holds(host, "while full", "1");
        check_holds(host, "before", "1");
    }
    assert!(group[0].node.as_mut().expect("it was started").is_running(), "the node was restarted");
    (group, written.into_inner())
}

const TAKEN: &str = "writes are taken";

/// The error by which the node refuses writes, or what it does instead.
fn refusal(host: &Host) -> Result<String, String> {
    let mut client = host.client();
    client.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout can be set");
    match redis::cmd("SET").arg("probe").arg("1").exec(&mut client) {
        Ok(()) => Err(TAKEN.to_owned()),
        Err(error) if error.code() == Some("MISCONF") => Ok(error.to_string()),
        // It waits for the disk, as it must under `--fsync always`.
        Err(error) => Err(error.to_string()),
    }
}

/// How many writes fill the disk: more than it has room for at first, however fast the node's log is written, and less
/// than it has room for in the end.
const FILLING_WRITES: u64 = 250;

/// Writes until it is refused, or told to stop.
fn fill(mut client: Connection, stop: &AtomicBool, written: &AtomicU64) {
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    while !stop.load(Ordering::Acquire) && written.load(Ordering::Acquire) < FILLING_WRITES {
        let key = format!("fill:{}", written.load(Ordering::Acquire));
        match redis::cmd("SET").arg(key).arg(filling()).exec(&mut client) {
            Ok(()) => {
                written.fetch_add(1, Ordering::AcqRel);
            }
            Err(error) => return assert_eq!(error.code(), Some("MISCONF"), "{error}"),
        }
    }
}

/// Reads are served, remote batches wait, and what is wrong can be seen.
fn check_full_node(group: &Group) {
    let full = &group[0];
    let refused = refusal(full).expect("writes are refused");
    assert!(refused.contains("the log cannot be written") && refused.contains("cannot write"), "{refused}");
    check_holds(full, "before", "1");
    assert_eq!(full.info("aof_last_write_status").as_deref(), Some("err"));
    assert!(full.info("log_fault").is_some_and(|fault| fault.contains("cannot write")));
    group[1].run(&["SET", "while full", "1"]);
    wait_until("batches to wait", || full.agent_log().contains("the node takes no batches now"));
    let found: Option<String> =
        redis::cmd("GET").arg("while full").query(&mut full.client()).expect("GET answers");
    assert_eq!(found, None, "a remote write was merged that the log has no room for");
}

/// Far more than the links carry while agents come and go: every host's clerks keep their pipelines full.
#[test]
fn agents_killed_and_replaced_under_load_lose_nothing() {
    let mut random = Rng::with_seed(seed());
    let mut group = Group::start(&programs!(), 3, Topology::Mesh);
    let mut clerks = clerks(3, 200, &mut random);
    let chain = chain_of(&group);
    work(&mut group, &mut clerks, |group, acknowledged| {
        for _ in 0..size(4, 12) {
            let victim = random.usize(0..3);
            group[victim].kill_agent();
            wait_more(&acknowledged[victim], random.u64(1..20_000));
            group[victim].start_agent();
            wait_all_crossed(group);
        }
        for (index, peers) in chain.into_iter().enumerate() {
            group[index].kill_agent();
            wait_more(&acknowledged[index], random.u64(1..20_000));
            group[index].peers = peers;
            group[index].start_agent();
        }
        wait_all_crossed(group);
    });
    check_all(&group, &clerks);
}

/// The peers by which three hosts are a chain in place of a mesh.
fn chain_of(group: &Group) -> Vec<Vec<String>> {
    vec![Vec::new(), vec![group[0].url()], vec![group[1].url()]]
}

/// Waits until all that any node holds now has come to every other, however much is written meanwhile.
#[track_caller]
fn wait_all_crossed(group: &Group) {
    let mut goal = Frontier::new();
    group.hosts().iter().for_each(|host| goal.merge(&host.frontier()));
    for host in group.hosts() {
        wait_for("writes to cross under load", || {
            let frontier = host.frontier();
            if frontier.covers_listed(&goal) {
                Ok(())
            } else {
                Err(format!("{}: {frontier} of {goal}", host.name()))
            }
        });
    }
}
