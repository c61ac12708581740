//! Counters of every kind: they add up exactly between masters, and one client finds what Redis would have.

use proptest::prelude::*;
use shared::version::Frontier;

use super::forms::Words;
use super::{EPOCH_MS, Group, MASTERS};
use crate::command::string::long_double::LongDouble;
use crate::store::ShardSet;
use crate::store::key::Key;
use crate::store::rich::parse_integer;
use crate::transaction::{Clocks, Transaction};

fn words(texts: &[&str]) -> Words {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What a bulk reply holds.
fn bulk(reply: &[u8]) -> String {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    text.split("\r\n").nth(1).unwrap_or_default().to_owned()
}

impl Group {
    fn ask(&mut self, master: usize, texts: &[&str]) -> String {
        String::from_utf8(self.run(master, &words(texts))).unwrap()
    }
}

/// So many hundredths, in decimal.
fn hundredths(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:02}", count.unsigned_abs() / 100, count.unsigned_abs() % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How something is added to a counter.
#[derive(Clone, Copy, Debug)]
enum Adding {
    /// So many hundredths, to the field or to the string.
    Decimal { to_field: bool, by: i64 },
    /// A whole number, which is refused where the sum so far is none.
    Whole { to_field: bool, by: i64 },
    /// To the field, in a transaction with one more.
    Twice(i64),
}

fn adding() -> impl Strategy<Value = Adding> {
    // Small enough for `long double` to hold the sums to the last digit.
    prop_oneof![
        5 => (any::<bool>(), -25..=25_i64).prop_map(|(to_field, by)| Adding::Decimal { to_field, by }),
        2 => (any::<bool>(), -1..=1_i64).prop_map(|(to_field, by)| Adding::Whole { to_field, by }),
        1 => (-25..=25_i64).prop_map(Adding::Twice),
    ]
}

/// What one client does to a field.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Write(&'static str),
    Remove,
    Add(&'static str),
    AddWhole(&'static str),
}

const NUMBERS: [&str; 18] = [
    "0",
    "10.50",
    "-3",
    "0.1",
    "3.0e3",
    "1234567.1",
    "1e-10",
    "-1e-18",
    "9223372036854775807",
    "1e20",
    "-1e20",
    "17e20",
    "1e30",
    "1e300",
    "1.5",
    "0x1p3",
    "3.14159265358979323846",
    "inf",
];

fn doing() -> impl Strategy<Value = Doing> {
    let number = || prop::sample::select(&NUMBERS[..]);
    prop_oneof![
        1 => prop_oneof![number(), Just("text"), Just("")].prop_map(Doing::Write),
        1 => Just(Doing::Remove),
        6 => number().prop_map(Doing::Add),
        2 => prop::sample::select(&["1", "-3", "40", "9223372036854775807", "-9223372036854775808"][..])
            .prop_map(Doing::AddWhole),
    ]
}

impl Doing {
    fn words(&self) -> Vec<&'static str> {
        match self {
            Self::Write(text) => vec!["HSET", "h", "f", text],
            Self::Remove => vec!["HDEL", "h", "f"],
            Self::Add(by) => vec!["HINCRBYFLOAT", "h", "f", by],
            Self::AddWhole(by) => vec!["HINCRBY", "h", "f", by],
        }
    }

    /// What Redis makes of the field, and replies.
    fn told(&self, held: &mut Option<String>) -> String {
        let outcome = match self {
            Self::Write(text) => {
                let was_there = held.replace((*text).to_owned()).is_some();
                return format!(":{}\r\n", u8::from(!was_there));
            }
            Self::Remove => return format!(":{}\r\n", u8::from(held.take().is_some())),
            Self::Add(by) => added(held.as_deref(), by).map(|sum| (bulk_of(&sum), sum)),
            Self::AddWhole(by) => {
                added_whole(held.as_deref(), by).map(|sum| (format!(":{sum}\r\n"), sum.to_string()))
            }
        };
        outcome.map_or_else(str::to_owned, |(reply, sum)| {
            *held = Some(sum);
            reply
        })
    }
}

fn bulk_of(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// What Redis's HINCRBYFLOAT makes of a field.
fn added(held: Option<&str>, by: &str) -> Result<String, &'static str> {
    let by = LongDouble::parse(by.as_bytes()).unwrap();
    if !by.is_finite() {
        return Err("-ERR value is NaN or Infinity\r\n");
    }
    let held =
        LongDouble::parse(held.unwrap_or("0").as_bytes()).ok_or("-ERR hash value is not a float\r\n")?;
    let sum = held + by;
    if sum.is_finite() {
        Ok(sum.to_string())
    } else {
        Err("-ERR increment would produce NaN or Infinity\r\n")
    }
}

/// What Redis's HINCRBY makes of a field.
fn added_whole(held: Option<&str>, by: &str) -> Result<i64, &'static str> {
    let held =
        parse_integer(held.unwrap_or("0").as_bytes()).ok_or("-ERR hash value is not an integer\r\n")?;
    held.checked_add(by.parse().unwrap()).ok_or("-ERR increment or decrement would overflow\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("TANDEM_LONG").is_some() { 100_000 } else { 2_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whole and decimal numbers, added to one field and one string at any master: the sums are exact.
    #[test]
    fn decimal_increments_add_up(
        adds in prop::collection::vec((0..MASTERS, adding()), 1..50),
        deliveries in prop::collection::vec((0..MASTERS, 0..MASTERS), 0..50),
        base in prop::option::of(-500..500_i64),
    ) {
        let mut group = Group::new(&[0, -3, 3]);
        group.now_ms = EPOCH_MS + 100;
        let (mut field, mut string) = (0, 0);
        if let Some(base) = base {
            group.ask(0, &["HSET", "h", "f", &hundredths(base)]);
            field = base;
            group.deliver_all();
            group.now_ms += 10;
        }
        let mut deliveries = deliveries.into_iter();
        for (master, adding) in adds {
            group.now_ms += 1;
            let (to_field, reply, by) = match adding {
                Adding::Decimal { to_field: true, by } => {
                    (true, group.ask(master, &["HINCRBYFLOAT", "h", "f", &hundredths(by)]), by)
                }
                Adding::Decimal { to_field, by } => {
                    (to_field, group.ask(master, &["INCRBYFLOAT", "s", &hundredths(by)]), by)
                }
                Adding::Whole { to_field: true, by } => {
                    (true, group.ask(master, &["HINCRBY", "h", "f", &by.to_string()]), 100 * by)
                }
                Adding::Whole { to_field, by } => {
                    (to_field, group.ask(master, &["INCRBY", "s", &by.to_string()]), 100 * by)
                }
                Adding::Twice(by) => {
                    group.ask(master, &["MULTI"]);
                    group.ask(master, &["HINCRBYFLOAT", "h", "f", &hundredths(by)]);
                    group.ask(master, &["HINCRBYFLOAT", "h", "f", "0.5"]);
                    (true, group.ask(master, &["EXEC"]), by + 50)
                }
            };
            if !reply.starts_with('-') {
                *(if to_field { &mut field } else { &mut string }) += by;
            }
            if let Some((origin, to)) = deliveries.next() {
                group.deliver(origin, to);
            }
        }
        group.deliver_all();
        for master in 0..MASTERS {
            let [of_field, of_string] = [&["HGET", "h", "f"][..], &["GET", "s"]].map(|ask| bulk(group.ask(master, ask).as_bytes()));
            prop_assert!(of_field == hundredths(field) || of_field.is_empty() && field == 0, "{of_field}, not {}", hundredths(field));
            prop_assert!(of_string == hundredths(string) || of_string.is_empty() && string == 0, "{of_string}, not {}", hundredths(string));
        }
    }

    /// Whatever one client does to a field, which others have added to before, alone and in transactions: it is told what
    /// Redis would tell it.
    #[test]
    fn one_client_finds_what_redis_reckons(
        before in prop::collection::vec(0..MASTERS, 0..4),
        runs in prop::collection::vec(prop::collection::vec(doing(), 1..5), 1..10),
    ) {
        let mut group = Group::new(&[0; MASTERS]);
        for master in before {
            group.now_ms += 10;
            group.ask(master, &["HINCRBYFLOAT", "h", "f", "0.25"]);
        }
        group.deliver_all();
        group.now_ms += 10;
        let held = bulk(group.ask(0, &["HGET", "h", "f"]).as_bytes());
        let mut held = Some(held).filter(|held| !held.is_empty());
        for run in runs {
            group.now_ms += 1;
            let told: String = run.iter().map(|doing| doing.told(&mut held)).collect();
            prop_assert_eq!(group.all_told(&run), told);
            let expected = held.as_ref().map_or_else(|| "$-1\r\n".to_owned(), |held| bulk_of(held));
            prop_assert_eq!(group.ask(0, &["HGET", "h", "f"]), expected);
        }
        group.deliver_all();
        let told: Vec<_> = (0..MASTERS).map(|master| group.ask(master, &["HGET", "h", "f"])).collect();
        prop_assert_eq!(&told[1], &told[0]);
        prop_assert_eq!(&told[2], &told[0]);
    }
}

impl Group {
    /// Does all of it at the first master, as one transaction if it is more than one thing. Returns what it is told.
    fn all_told(&mut self, run: &[Doing]) -> String {
        if let [doing] = run {
            return self.ask(0, &doing.words());
        }
        self.ask(0, &["MULTI"]);
        for doing in run {
            self.ask(0, &doing.words());
        }
        let replies = self.ask(0, &["EXEC"]);
        replies.strip_prefix(&format!("*{}\r\n", run.len())).unwrap_or(&replies).to_owned()
    }
}

/// An owner goes on counting while another states again what it had added until then: of a new beginning, which wins. The
/// owner states once more what that lacks, whether it is whole or not.
#[test]
fn an_owner_states_again_what_another_did_not_know() {
    const FIELD: [&str; 2] = ["h", "f"];
    for (before, after, expected) in [
        (["HINCRBYFLOAT", "0.5"], ["HINCRBYFLOAT", "0.25"], "0.75"),
        (["HINCRBY", "5"], ["HINCRBYFLOAT", "0.25"], "5.25"),
        (["HINCRBYFLOAT", "0.5"], ["HINCRBYFLOAT", "-0.5"], "0"),
        (["HINCRBY", "5"], ["HINCRBY", "2"], "7"),
    ] {
        let mut group = Group::new(&[0; MASTERS]);
        let add = |group: &mut Group, [name, by]: [&str; 2]| {
            group.now_ms += 10;
            group.ask(0, &[name, FIELD[0], FIELD[1], by])
        };
        add(&mut group, before);
        group.deliver(0, 1);
        group.now_ms += 10;
        let clocks = Clocks { wall: group.wall(1), mono_us: 0 };
        let mut restating = Transaction::begin(group.masters[1].node(), ShardSet::ALL, clocks, true).unwrap();
        restating.reissue(&Key::new(0, b"h"), &Frontier::new()).unwrap();
        restating.commit();
        group.seal(1);
        add(&mut group, after);
        group.deliver(1, 0);
        group.now_ms += 10;
        let clocks = Clocks { wall: group.wall(0), mono_us: 0 };
        group.masters[0].node().restate_missing(clocks);
        group.seal(0);
        group.deliver_all();
        for master in 0..MASTERS {
            assert_eq!(bulk(group.ask(master, &["HGET", FIELD[0], FIELD[1]]).as_bytes()), expected);
        }
    }
}

/// By its last increment alone the sum would be newer than the HSET, and all of it would come back.
#[test]
fn an_unaware_increment_does_not_bring_a_replaced_sum_back() {
    for [name, by, aware] in [["HINCRBYFLOAT", "0.5", "5.5"], ["HINCRBY", "2", "7"]] {
        let mut group = Group::new(&[0; MASTERS]);
        let add = |group: &mut Group| {
            group.now_ms += 10;
            group.ask(0, &[name, "h", "f", by]);
        };
        add(&mut group);
        group.deliver_all();
        group.now_ms += 10;
        group.ask(1, &["HSET", "h", "f", "5"]);
        add(&mut group);
        group.deliver_all();
        assert_eq!(bulk(group.ask(0, &["HGET", "h", "f"]).as_bytes()), "5");
        add(&mut group);
        group.deliver_all();
        for master in 0..MASTERS {
            assert_eq!(bulk(group.ask(master, &["HGET", "h", "f"]).as_bytes()), aware);
        }
    }
}

/// Both were made over what the other had not seen; one of a whole number, one of a fraction.
#[test]
fn increments_of_both_kinds_at_once_are_both_kept() {
    let mut group = Group::new(&[0; MASTERS]);
    group.now_ms += 100;
    group.ask(0, &["HSET", "h", "f", "10"]);
    group.deliver_all();
    group.now_ms += 1;
    group.ask(0, &["HINCRBY", "h", "f", "5"]);
    assert_eq!(bulk(group.ask(1, &["HINCRBYFLOAT", "h", "f", "0.1"]).as_bytes()), "10.1");
    assert_eq!(bulk(group.ask(2, &["HINCRBYFLOAT", "h", "f", "1e-3"]).as_bytes()), "10.001");
    group.deliver_all();
    for master in 0..MASTERS {
        assert_eq!(bulk(group.ask(master, &["HGET", "h", "f"]).as_bytes()), "15.101");
        assert_eq!(group.ask(master, &["HINCRBY", "h", "f", "1"]), "-ERR hash value is not an integer\r\n");
    }
    group.now_ms += 1;
    group.ask(1, &["HINCRBYFLOAT", "h", "f", "-0.101"]);
    group.deliver_all();
    assert_eq!(group.ask(2, &["HINCRBY", "h", "f", "1"]), ":16\r\n");
}
