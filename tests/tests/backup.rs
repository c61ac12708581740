//! Backups of running nodes, and the nodes that are made of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::size;
use tests::operator::{ask, check_undiverged};
use tests::programs;
use tests::wait::{wait_for, wait_until};

fn tandem_node(words: &[&str]) -> Output {
    Command::new(programs!().node).args(words).output().expect("the program can be started")
}

#[track_caller]
fn check_done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Why it was refused.
#[track_caller]
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn back_up(host: &Host, target: &Path) -> Output {
    tandem_node(&["backup", path(target), "--node", &format!("127.0.0.1:{}", host.port())])
}

/// Makes of it the directory of a host, or of nobody.
fn restore(backup: &Path, dir: &Path, name: &str) -> Output {
    tandem_node(&["restore", path(backup), "--dir", path(dir), "--name", name])
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary directory's path is text")
}

fn set_all(host: &Host, prefix: &str, numbers: std::ops::Range<usize>, value: &str) {
    let mut pipeline = redis::pipe();
    for number in numbers {
        pipeline.cmd("SET").arg(format!("{prefix}:{number}")).arg(value).ignore();
    }
    pipeline.exec(&mut host.writing_client()).expect("writes are taken");
}

#[track_caller]
fn check_all(host: &Host, prefix: &str, numbers: std::ops::Range<usize>, expected: Option<&str>) {
    let keys: Vec<String> = numbers.map(|number| format!("{prefix}:{number}")).collect();
    let found: Vec<Option<String>> =
        redis::cmd("MGET").arg(&keys).query(&mut host.client()).expect("MGET answers");
    for (key, found) in keys.iter().zip(found) {
        assert_eq!(found.as_deref(), expected, "{key} at {}", host.name());
    }
}

/// Writes one key after the other until told to stop. Counts what was acknowledged.
fn write_on(host: &Host, stop: &AtomicBool, written: &AtomicUsize) {
    let mut client = host.writing_client();
    while !stop.load(Ordering::Acquire) {
        let number = written.load(Ordering::Acquire);
        redis::cmd("SET").arg(format!("load:{number}")).arg("1").exec(&mut client).expect("writes are taken");
        written.store(number + 1, Ordering::Release);
    }
}

/// Ends the load, also when what is done meanwhile panics.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Takes a backup in the middle of load. Returns how many of its writes were acknowledged before it was begun.
fn back_up_under_load(host: &Host, target: &Path) -> usize {
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        scope.spawn(|| write_on(host, &stop, &written));
        wait_until("some load", || written.load(Ordering::Acquire) > 200);
        let before = written.load(Ordering::Acquire);
        check_done(&back_up(host, target));
        before
    })
}

/// The group forgets the node that the backup is of, and so the tombstones, too: nothing but the frontiers tells that what
/// the backup holds was deleted.
#[test]
fn what_was_deleted_after_a_backup_stays_deleted_and_what_only_it_holds_comes_back() {
    let keys = size(3_000, 30_000);
    let mut group = Group::new(&programs!(), 3);
    group.connect(Topology::Mesh);
    group.start_first(2);
    set_all(&group[0], "key", 0..keys, "old");
    group[0].run(&["INCRBY", "counter", "5"]);
    wait_same(&group[0], &group[1]);

    // What is written now is in the backup, and nobody else has it.
    group[0].kill_agent();
    set_all(&group[0], "only", 0..200, "backup");
    group[0].run(&["DEL", "key:5"]);
    let backup = group.dir().join("backup");
    let loaded = back_up_under_load(&group[0], &backup);
    group[0].kill_node();

    group[1].run(&["DEL", "key:1"]);
    set_all(&group[1], "key", 10..20, "new");
    for number in 20..keys / 2 {
        group[1].run(&["DEL", &format!("key:{number}")]);
    }
    group[1].run(&["INCRBY", "counter", "2"]);
    assert_eq!(ask(&group[1], &["forget", "--yes", group[0].name()]).code, Some(0));
    wait_until("tombstones to be dropped", || group[1].counter("tombstone_bytes") == 0);

    check_done(&restore(&backup, &group[2].data_dir(), group[2].name()));
    group[2].start_node();
    check_all(&group[2], "key", 20..keys / 2, Some("old"));
    check_all(&group[2], "only", 0..200, Some("backup"));
    check_all(&group[2], "load", 0..loaded, Some("1"));
    group[2].start_agent();
    wait_until("the restored node to join", || {
        group[2].counter("joining") == 0 && group.hosts()[1..].iter().all(|host| host.counter("members") == 2)
    });
    group[2].run(&["SET", "after", "1"]);
    group[1].run(&["SET", "after", "2"]);
    wait_same(&group[1], &group[2]);
    for host in &group.hosts()[1..] {
        check_all(host, "key", 1..2, None);
        check_all(host, "key", 5..6, None);
        check_all(host, "key", 10..20, Some("new"));
        check_all(host, "key", 20..keys / 2, None);
        check_all(host, "key", keys / 2..keys, Some("old"));
        check_all(host, "only", 0..200, Some("backup"));
        check_all(host, "load", 0..loaded, Some("1"));
        let counter: Option<i64> =
            redis::cmd("GET").arg("counter").query(&mut host.client()).expect("GET answers");
        assert_eq!(counter, Some(7), "at {}", host.name());
    }
    check_undiverged(&group.hosts()[1..]);
}

#[track_caller]
fn wait_same(one: &Host, other: &Host) {
    wait_for("two nodes to hold the same", || {
        let (one, other) = (one.frontier(), other.frontier());
        let is_same = one.covers_listed(&other) && other.covers_listed(&one);
        if is_same { Ok(()) } else { Err(format!("{one} and {other}")) }
    });
}

/// A host alone, with data, and a backup of it.
fn backed_up() -> (Group, PathBuf) {
    let mut group = Group::new(&programs!(), 2);
    group[0].start_node();
    set_all(&group[0], "key", 0..2_000, "value");
    group[0].run(&["SET", "expiring", "1", "EX", "1000"]);
    group[0].run(&["RPUSH", "list", "a", "b"]);
    let backup = group.dir().join("backup");
    check_done(&back_up(&group[0], &backup));
    (group, backup)
}

#[test]
fn a_group_that_is_lost_comes_back_from_a_backup() {
    let (mut group, backup) = backed_up();
    group[0].kill_node();
    check_done(&restore(&backup, &group[1].data_dir(), group[1].name()));
    group[1].start_node();
    check_all(&group[1], "key", 0..2_000, Some("value"));
    let seconds: i64 = redis::cmd("TTL").arg("expiring").query(&mut group[1].client()).expect("TTL answers");
    assert!((900..=1_000).contains(&seconds), "{seconds}");
    group[1].run(&["SET", "after", "1"]);
    group[1].kill_node();
    group[1].start_node();
    check_all(&group[1], "key", 0..2_000, Some("value"));
    check_done(&restore(&backup, &group.dir().join("again"), "other"));
}

#[test]
fn a_backup_of_which_a_byte_has_changed_is_refused_by_name() {
    let (group, backup) = backed_up();
    for (number, entry) in std::fs::read_dir(&backup).expect("the backup is there").enumerate() {
        let file = entry.expect("an entry").path();
        let whole = std::fs::read(&file).expect("a file of the backup");
        if whole.is_empty() {
            continue;
        }
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 4;
        std::fs::write(&file, changed).expect("it can be written");
        let refused = refusal(&restore(&backup, &group.dir().join(format!("refused{number}")), "other"));
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(refused.contains(name), "{name} is not named: {refused}");
        std::fs::write(&file, whole).expect("it can be written");
    }
    check_done(&restore(&backup, &group.dir().join("restored"), "other"));
}

#[test]
fn no_file_is_overwritten_and_what_is_no_backup_is_refused() {
    let (mut group, backup) = backed_up();
    let refused = refusal(&back_up(&group[0], &backup));
    assert!(refused.contains("not empty"), "{refused}");
    let refused = refusal(&restore(&backup, &group[0].data_dir(), "other"));
    assert!(refused.contains("not empty"), "{refused}");
    let refused = refusal(&restore(&group[0].data_dir(), &group.dir().join("new"), "other"));
    assert!(refused.contains("another node is using") || refused.contains("no backup"), "{refused}");
    group[1].node_flags = vec!["--memory".to_owned()];
    group[1].start_node();
    let refused = refusal(&back_up(&group[1], &group.dir().join("memory")));
    assert!(refused.contains("start it with --dir"), "{refused}");
    assert!(!group.dir().join("memory").exists(), "nothing was made");
}
