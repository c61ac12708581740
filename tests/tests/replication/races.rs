//! Two masters write the same keys: at the same moment, and apart while the link is cut.

use tests::compare::{Content, content};
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::load::{Load, at_once, send_all};
use tests::programs;

use crate::{check_apart, wait_later};

/// Keys for which each race is run: linked; and apart, half of them won by either side.
const KEYS: usize = 1_000;

/// A run of commands on this many keys is sent in one go.
const RUN_KEYS: usize = 20;

/// What the keys `@`, `@:2` and `@:3` hold in the end. Empty is no such key; a `!` behind the value: it expires.
type Outcome = [&'static str; 3];

/// What two masters do with the same keys, and what may come of it.
struct Race {
    before: &'static [&'static str],
    left: &'static [&'static str],
    right: &'static [&'static str],
    /// If neither had seen what the other did, and the left wrote last, or the right.
    left_last: Outcome,
    right_last: Outcome,
    /// What else may come of it when one had seen what the other did.
    seen: &'static [Outcome],
}

const RACES: &[Race] = &[
    Race {
        before: &[],
        left: &["SET @ l"],
        right: &["SET @ r"],
        left_last: ["l", "", ""],
        right_last: ["r", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b"],
        left: &["DEL @"],
        right: &["SET @ r"],
        left_last: ["", "", ""],
        right_last: ["r", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b"],
        left: &["EXPIRE @ 10000"],
        right: &["SET @ r"],
        left_last: ["r!", "", ""],
        right_last: ["r", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b"],
        left: &["PEXPIRE @ 10000000"],
        right: &["SET @ r KEEPTTL"],
        left_last: ["r!", "", ""],
        right_last: ["r", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b EX 10000"],
        left: &["PERSIST @"],
        right: &["EXPIRE @ 20000"],
        left_last: ["b", "", ""],
        right_last: ["b!", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b"],
        left: &["EXPIRE @ 10000"],
        right: &["DEL @"],
        left_last: ["", "", ""],
        right_last: ["", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b"],
        left: &["APPEND @ l"],
        right: &["APPEND @ r"],
        left_last: ["bl", "", ""],
        right_last: ["br", "", ""],
        seen: &[["blr", "", ""], ["brl", "", ""]],
    },
    Race {
        before: &["SET @ b"],
        left: &["APPEND @ l"],
        right: &["SET @ r"],
        left_last: ["bl", "", ""],
        right_last: ["r", "", ""],
        seen: &[["rl", "", ""]],
    },
    Race {
        before: &["SET @ b"],
        left: &["APPEND @ l"],
        right: &["DEL @"],
        left_last: ["bl", "", ""],
        right_last: ["", "", ""],
        seen: &[["l", "", ""]],
    },
    Race {
        before: &["SET @ b"],
        left: &["GETSET @ l"],
        right: &["GETSET @ r"],
        left_last: ["l", "", ""],
        right_last: ["r", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b"],
        left: &["RENAME @ @:2"],
        right: &["SET @ r"],
        left_last: ["", "b", ""],
        right_last: ["r", "b", ""],
        seen: &[["", "r", ""]],
    },
    Race {
        before: &["SET @ b1", "SET @:2 b2 EX 10000"],
        left: &["RENAME @ @:3"],
        right: &["RENAME @:2 @:3"],
        left_last: ["", "", "b1"],
        right_last: ["", "", "b2!"],
        seen: &[],
    },
    Race {
        before: &["SET @ 10"],
        left: &["INCRBY @ 5"],
        right: &["SET @ 100"],
        left_last: ["105", "", ""],
        right_last: ["100", "", ""],
        seen: &[],
    },
    Race {
        before: &["INCRBY @ 10"],
        left: &["DEL @"],
        right: &["INCRBY @ 5"],
        left_last: ["", "", ""],
        right_last: ["5", "", ""],
        seen: &[],
    },
    Race {
        before: &["SET @ b", "SET @:2 b", "SET @:3 b"],
        left: &["MULTI", "SET @ l", "SET @:2 l", "DEL @:3", "EXEC"],
        right: &["MULTI", "SET @ r EX 10000", "DEL @:2", "APPEND @:3 r", "SET @:3 r", "EXEC"],
        left_last: ["l", "l", ""],
        right_last: ["r!", "", "r"],
        seen: &[],
    },
];

/// A key's part in the test: at the same moment, or apart with this side last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Linked,
    LeftLast,
    RightLast,
}

impl Part {
    const fn keys(self) -> usize {
        if matches!(self, Self::Linked) { KEYS } else { KEYS / 2 }
    }

    fn key(self, race: usize, key: usize) -> String {
        format!("race:{race}:{self:?}:{key}")
    }
}

#[test]
fn what_two_masters_race_for_ends_equal() {
    check_races(2, Topology::Mesh);
}

#[test]
fn what_masters_in_a_mesh_of_three_race_for_ends_equal() {
    check_races(3, Topology::Mesh);
}

#[test]
fn what_masters_in_a_ring_of_three_race_for_ends_equal() {
    check_races(3, Topology::Ring);
}

#[test]
fn what_the_ends_of_a_chain_of_three_race_for_ends_equal() {
    check_races(3, Topology::Chain);
}

fn check_races(count: usize, topology: Topology) {
    let group = Group::start(&programs!(), count, topology);
    let (left, right) = (&group[0], &group[count - 1]);
    let load = Load::start(group.hosts(), filler);
    let before = |race: &Race| race.before;
    for part in [Part::Linked, Part::LeftLast, Part::RightLast] {
        run(left, part, before);
    }
    group.wait_caught_up();

    at_once(&[left, right], |side, client| {
        for_each_run(
            Part::Linked,
            |race| if side == 0 { race.left } else { race.right },
            |commands| {
                send_all(client, commands);
            },
        );
    });

    group.cut_all();
    run(left, Part::RightLast, |race| race.left);
    wait_later(right, left);
    run(right, Part::RightLast, |race| race.right);
    run(right, Part::LeftLast, |race| race.right);
    wait_later(left, right);
    run(left, Part::LeftLast, |race| race.left);
    check_apart(left, right);
    group.heal_all();

    load.finish();
    group.check_equal();
    check_outcomes(&content(&mut left.client(), &[0]));
}

/// Writes of one client that nobody races for, and of several that they do.
fn filler(_: usize) -> impl FnMut(&mut redis::Connection) + Send + 'static {
    let mut random = fastrand::Rng::new();
    move |client| {
        let commands: [String; 16] =
            std::array::from_fn(|_| format!("SET load:{} {}", random.u16(..5_000), random.u64(..)));
        send_all(client, &commands);
    }
}

fn run(host: &Host, part: Part, commands: impl Fn(&Race) -> &'static [&'static str]) {
    let mut client = host.client();
    for_each_run(part, commands, |run| {
        send_all(&mut client, run);
    });
}

fn for_each_run(
    part: Part,
    commands: impl Fn(&Race) -> &'static [&'static str],
    mut act: impl FnMut(&[String]),
) {
    for (number, race) in RACES.iter().enumerate() {
        let commands = commands(race);
        for first in (0..part.keys()).step_by(RUN_KEYS) {
            let names = (first..first + RUN_KEYS).map(|key| part.key(number, key));
            let run: Vec<String> = names
                .flat_map(|name| commands.iter().map(move |command| command.replace('@', &name)))
                .collect();
            act(&run);
        }
    }
}

#[track_caller]
fn check_outcomes(content: &Content) {
    for (number, race) in RACES.iter().enumerate() {
        for part in [Part::Linked, Part::LeftLast, Part::RightLast] {
            for key in 0..part.keys() {
                let name = part.key(number, key);
                let found = ["", ":2", ":3"].map(|ending| shown(content, &format!("{name}{ending}")));
                let is_expected = match part {
                    Part::LeftLast => found == race.left_last,
                    Part::RightLast => found == race.right_last,
                    Part::Linked => {
                        let mut outcomes = race.seen.iter().chain([&race.left_last, &race.right_last]);
                        outcomes.any(|outcome| found == *outcome)
                    }
                };
                assert!(is_expected, "{:?} against {:?}: {name} is {found:?}", race.left, race.right);
            }
        }
    }
}

fn shown(content: &Content, name: &str) -> String {
    content.get(&(0, name.as_bytes().to_vec())).map_or_else(String::new, |(value, expiry)| {
        format!("{}{}", String::from_utf8_lossy(value), if *expiry >= 0 { "!" } else { "" })
    })
}
