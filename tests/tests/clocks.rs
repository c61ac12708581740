//! Hosts whose wall clocks are wrong, or jump.

use redis::RedisError;
use shared::clock::Timestamp;
use tests::clock::SkewedClock;
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::programs;
use tests::segment;
use tests::wait::{wait_for, wait_until};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// Two linked hosts. The second one's clock is returned; it is ahead by so much.
fn group_with_skew(ahead_ms: i64, node_flags: &[&str]) -> (Group, SkewedClock) {
    let mut group = Group::new(&programs!(), 2);
    let clock = SkewedClock::new(group.dir(), "clock");
    clock.set_ahead_ms(ahead_ms);
    clock.give_to(&mut group[1]);
    for host in group.hosts_mut() {
        host.node_flags = node_flags.iter().map(|&flag| flag.to_owned()).collect();
        host.agent_flags = ["--log-level", "debug"].map(ToOwned::to_owned).to_vec();
    }
    group.connect(Topology::Mesh);
    group.start_all();
    (group, clock)
}

fn set(host: &Host, key: &str, value: &str) -> Result<(), RedisError> {
    redis::cmd("SET").arg(key).arg(value).exec(&mut host.writing_client())
}

fn get(host: &Host, key: &str) -> Option<String> {
    redis::cmd("GET").arg(key).query(&mut host.client()).expect("GET answers")
}

/// Checks what all nodes hold once they are equal.
#[track_caller]
fn check_all_hold(group: &Group, key: &str, expected: &str) {
    for host in group.hosts() {
        assert_eq!(get(host, key).as_deref(), Some(expected), "{key} at {}", host.name());
    }
}

/// Waits until a line of the agent's log has all of these texts.
#[track_caller]
fn wait_logged(host: &Host, texts: &[&str]) -> String {
    wait_for(&format!("{} to log {texts:?}", host.name()), || {
        let log = host.agent_log();
        let line = log.lines().find(|line| texts.iter().all(|text| line.contains(text)));
        line.map(ToOwned::to_owned).ok_or_else(|| "it has not".to_owned())
    })
}

fn refusals(host: &Host) -> usize {
    let log = host.agent_log();
    log.matches("link is refused, trying again").count() + log.matches("link is refused again").count()
}

fn times_linked(group: &Group) -> usize {
    group.hosts().iter().map(|host| host.agent_log().matches("link is up").count()).sum()
}

/// By how many milliseconds the node's hybrid clock is ahead of its wall clock.
fn hybrid_ahead_ms(host: &Host) -> i64 {
    let clock: Timestamp = host.feed_info("clock").parse().expect("a node tells its clock");
    let wall: i64 = host.feed_info("wall").parse().expect("a node tells its wall clock");
    i64::try_from(clock.wall().0).expect("within our time") - wall
}

#[test]
fn a_master_20_s_ahead_is_refused_until_its_clock_is_right_and_nothing_is_skipped() {
    let (group, clock) = group_with_skew(0, &[]);
    set(&group[0], "both", "from the first").expect("writes are taken");
    group.wait_converged();

    clock.set_ahead_ms(20 * SECOND);
    for host in group.hosts() {
        let refusal = wait_logged(host, &["link is refused, trying again", "too far apart"]);
        assert!(refusal.contains("ERRO"), "it is no error: {refusal}");
        check_names_both_clocks(&group, &refusal);
        let shown = wait_for("the link's error in INFO", || link_error(host).ok_or_else(String::new));
        check_names_both_clocks(&group, &shown);
    }
    // The link that was up was refused, by its pings; those that are dialled after it are, too, before they are up.
    let (refused, linked) = (refusals(&group[0]), times_linked(&group));
    set(&group[0], "first", "1").expect("writes are taken");
    set(&group[1], "second", "1").expect("writes are taken");
    set(&group[0], "both", "from the first, in between").expect("writes are taken");
    set(&group[1], "both", "from the second, ahead").expect("writes are taken");
    wait_until("the link to be refused again", || refusals(&group[0]) > refused);
    assert_eq!(
        (get(&group[0], "second"), get(&group[1], "first")),
        (None, None),
        "writes crossed a refused link"
    );
    assert_eq!(times_linked(&group), linked, "a link was up before it was refused");

    clock.set_ahead_ms(0);
    group.check_equal();
    check_all_hold(&group, "first", "1");
    check_all_hold(&group, "second", "1");
    check_all_hold(&group, "both", "from the second, ahead");
    // What is written after seeing a write from ahead wins over it.
    set(&group[0], "both", "from the first, last").expect("writes are taken");
    group.check_equal();
    check_all_hold(&group, "both", "from the first, last");
}

/// Both names, with both times, which are 20 s apart.
#[track_caller]
fn check_names_both_clocks(group: &Group, text: &str) {
    let times: Vec<f64> = group.hosts().iter().map(|host| second_of_day(text, host.name())).collect();
    let apart = (times[1] - times[0]).rem_euclid(86_400.0);
    assert!((19.0..21.0).contains(&apart), "the clocks are {apart} s apart: {text}");
}

/// The time in `"name" (node id) reads 2026-12-31T23:59:59.999Z`.
#[track_caller]
fn second_of_day(text: &str, name: &str) -> f64 {
    let named =
        text.split(&format!("\"{name}\"")).nth(1).unwrap_or_else(|| panic!("{name} is not named: {text}"));
    let time = named.split(" reads ").nth(1).and_then(|rest| rest.split(['T', 'Z']).nth(1));
    let parts: Vec<f64> =
        time.unwrap_or_default().split(':').map(|part| part.parse().expect("a time of day")).collect();
    parts.iter().fold(0.0, |seconds, part| seconds * 60.0 + part)
}

fn link_error(host: &Host) -> Option<String> {
    (0..3)
        .filter_map(|link| host.info(&format!("link{link}_error")))
        .find(|error| error.contains("too far apart"))
}

#[test]
fn clocks_2_s_apart_are_warned_of_and_linked() {
    let (group, _clock) = group_with_skew(2 * SECOND, &[]);
    for host in group.hosts() {
        let warning = wait_logged(host, &["wall clocks are apart"]);
        assert!(warning.contains("WARN"), "it is no warning: {warning}");
    }
    set(&group[0], "key", "crosses").expect("writes are taken");
    group.check_equal();
    check_all_hold(&group, "key", "crosses");
    assert_eq!(refusals(&group[0]) + refusals(&group[1]), 0);
}

/// The log's tail, with the newest timestamps, is lost; only the ceiling remembers how far the clock ran.
#[test]
fn a_node_whose_wall_clock_was_set_back_while_it_was_down_issues_no_old_timestamps() {
    let (mut group, clock) = group_with_skew(0, &[]);
    for number in 0..50 {
        set(&group[1], "key", &format!("{number}")).expect("writes are taken");
    }
    group.wait_converged();
    group[1].kill_node();
    group[1].kill_agent();
    segment::cut_to_percent(&group[1].data_dir(), 50);

    clock.set_ahead_ms(-30 * SECOND);
    group[1].start_node();
    assert_ne!(get(&group[1], "key").as_deref(), Some("49"), "no tail was lost");
    set(&group[1], "key", "after the crash").expect("30 s are less than ten times max-clock-drift");

    clock.set_ahead_ms(0);
    group[1].start_agent();
    group.check_equal();
    check_all_hold(&group, "key", "after the crash");
}

#[test]
fn a_node_far_ahead_of_its_wall_clock_refuses_writes_and_serves_reads_until_that_is_right() {
    let mut group = Group::new(&programs!(), 1);
    let clock = SkewedClock::new(group.dir(), "clock");
    clock.give_to(&mut group[0]);
    // It is killed right after a write.
    group[0].node_flags = ["--fsync", "always"].map(str::to_owned).to_vec();
    group[0].start_node();
    set(&group[0], "key", "before").expect("writes are taken");
    // While it runs, and while it does not.
    for set_back_while_down in [false, true] {
        if set_back_while_down {
            group[0].kill_node();
        }
        clock.set_ahead_ms(-HOUR);
        if set_back_while_down {
            group[0].start_node();
        }
        for command in [&["SET", "key", "refused"][..], &["INCR", "counter"], &["DEL", "key"]] {
            let mut request = redis::cmd(command[0]);
            command[1..].iter().for_each(|argument| {
                request.arg(*argument);
            });
            let refused = request.exec(&mut group[0].client()).expect_err("the clock is an hour behind");
            assert_eq!(refused.code(), Some("CLOCK"), "{command:?}: {refused}");
            assert!(
                refused.to_string().contains("Put the wall clock right"),
                "it does not say what to do: {refused}"
            );
        }
        assert_eq!(get(&group[0], "key").as_deref(), Some("before"));

        clock.set_ahead_ms(0);
        set(&group[0], "key", "before").expect("writes are taken again, without a restart");
    }
}

/// It is more than ten times max-clock-drift ahead, though by now both wall clocks are right.
#[test]
fn a_write_from_the_far_future_suspends_its_origin_and_not_the_link() {
    let (group, clock) = group_with_skew(0, &["--max-clock-drift", "500"]);
    // The link is dialled again within 5 s; then the change must still be 5 s ahead.
    clock.set_ahead_ms(16 * SECOND);
    wait_logged(&group[0], &["link is refused", "too far apart"]);
    set(&group[1], "future", "1").expect("its own clock says that it is the present");
    clock.set_ahead_ms(0);
    let refused = set(&group[1], "key", "refused").expect_err("its hybrid clock is too far ahead");
    assert_eq!(refused.code(), Some("CLOCK"), "{refused}");

    let suspended = wait_logged(&group[0], &["a change lies too far in the future"]);
    assert!(suspended.contains("ERRO"), "it is no error: {suspended}");
    assert_eq!(get(&group[0], "future"), None, "a change from the far future was merged");
    set(&group[0], "present", "1").expect("writes are taken");
    wait_until("the link to carry other origins", || get(&group[1], "present").is_some());

    // Nothing is skipped: in time the future is the present.
    group.check_equal();
    check_all_hold(&group, "future", "1");
}

/// Each start begins at the ceiling of the run before, a second ahead: in a crash loop that must not add up.
#[test]
fn a_node_in_a_crash_loop_does_not_run_ahead_of_its_wall_clock() {
    let mut group = Group::new(&programs!(), 1);
    group[0].node_flags = ["--fsync", "always"].map(ToOwned::to_owned).to_vec();
    for number in 0..20 {
        group[0].start_node();
        set(&group[0], "key", &format!("{number}")).expect("writes are taken");
        group[0].kill_node();
    }
    group[0].start_node();
    let ahead_ms = hybrid_ahead_ms(&group[0]);
    assert!(ahead_ms < 5 * SECOND, "after 20 crashes the hybrid clock is {ahead_ms} ms ahead");
    assert_eq!(get(&group[0], "key").as_deref(), Some("19"));
}

const YEAR: i64 = 365 * 24 * HOUR;

/// Three linked hosts. The last one's clock is returned; its agent has a control socket.
fn group_with_operator() -> (Group, SkewedClock) {
    let mut group = Group::new(&programs!(), 3);
    let clock = SkewedClock::new(group.dir(), "clock");
    clock.give_to(&mut group[2]);
    // What is acknowledged is not to be lost when it is killed.
    group[2].node_flags = ["--fsync", "always"].map(ToOwned::to_owned).to_vec();
    group.connect(Topology::Mesh);
    group.start_all();
    (group, clock)
}

fn control_of(group: &Group) -> String {
    group[2].control().display().to_string()
}

/// What `tandem-agent reissue` says, and whether it is content.
fn reissue(group: &Group) -> (bool, String) {
    let output = std::process::Command::new(programs!().agent)
        .args(["reissue", "--control", &control_of(group)])
        .output()
        .expect("the agent's program runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A write that the poisoned node took in its future, and that it alone has, is not lost, and stands in nobody's way.
#[test]
fn a_node_that_was_a_year_ahead_is_made_whole_by_an_operator() {
    let (group, clock) = group_with_operator();
    check_made_whole(group, &clock, false);
}

/// As above, but nobody knows any more what the others have of its future: they take over its state.
#[test]
fn a_node_that_was_a_year_ahead_and_started_again_is_made_whole_by_an_operator() {
    let (group, clock) = group_with_operator();
    check_made_whole(group, &clock, true);
}

#[track_caller]
fn check_made_whole(mut group: Group, clock: &SkewedClock, is_restarted: bool) {
    set(&group[2], "both", "before").expect("writes are taken");
    group.check_equal();
    clock.set_ahead_ms(YEAR);
    set(&group[2], "future", "survives").expect("its own clock says that it is the present");
    set(&group[2], "both", "in the future").expect("its own clock says that it is the present");
    let increment = redis::cmd("INCR").arg("counter").exec(&mut group[2].client());
    increment.expect("its own clock says that it is the present");
    clock.set_ahead_ms(0);
    if is_restarted {
        group[2].kill_agent();
        group[2].kill_node();
        group[2].start_node();
        group[2].start_agent();
    }
    wait_until("writes to be refused for the clock", || {
        set(&group[2], "key", "refused").is_err_and(|error| {
            error.code() == Some("CLOCK") && error.to_string().contains("tandem-agent reissue")
        })
    });
    set(&group[0], "present", "1").expect("the group goes on");
    wait_until("the group to go on", || get(&group[1], "present").is_some());
    assert_eq!(get(&group[1], "future"), None, "a change from the far future was merged");

    let (is_content, text) = reissue(&group);
    assert!(is_content && text.contains("begun"), "{text}");
    wait_until("writes to be taken", || set(&group[2], "key", "taken").is_ok());
    let log = group[2].node_log();
    assert!(log.contains("this node's clock was put back") && log.contains("is written once more"), "{log}");
    group.check_equal();
    check_all_hold(&group, "future", "survives");
    check_all_hold(&group, "both", "in the future");
    check_all_hold(&group, "counter", "1");
    check_all_hold(&group, "present", "1");
    check_all_hold(&group, "key", "taken");
    let ahead_ms = hybrid_ahead_ms(&group[2]);
    assert!(ahead_ms < 5 * SECOND, "the hybrid clock is still {ahead_ms} ms ahead");

    for host in group.hosts() {
        assert!(!host.node_log().contains("data differ"), "a false alarm: {}", host.node_log());
    }

    // What is written now wins, wherever it is.
    set(&group[0], "future", "is past").expect("writes are taken");
    set(&group[2], "both", "in the present").expect("writes are taken");
    redis::cmd("INCR").arg("counter").exec(&mut group[1].client()).expect("writes are taken");
    group.check_equal();
    check_all_hold(&group, "future", "is past");
    check_all_hold(&group, "both", "in the present");
    check_all_hold(&group, "counter", "2");

    let (is_content, text) = reissue(&group);
    assert!(!is_content && text.contains("nothing lies in the future"), "{text}");

    // Nothing of it comes back with a restart.
    group[2].kill_agent();
    group[2].kill_node();
    group[2].start_node();
    group[2].start_agent();
    wait_until("writes to be taken again", || set(&group[2], "key", "after a restart").is_ok());
    group.check_equal();
    check_all_hold(&group, "key", "after a restart");
}
