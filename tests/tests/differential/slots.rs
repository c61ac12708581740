//! What may stand where a form says `key`, `value`, `int`, ...: mostly what makes sense there, and now and then what
//! does not.
//!
//! Nothing drawn here makes a server take much memory, wait, or do what hangs on the moment.

use crate::dice::Dice;

/// Draws the words that fill a slot.
pub(crate) type Slot = fn(&mut Dice) -> Vec<Vec<u8>>;

/// The slot of this name.
///
/// # Panics
/// If there is none: a form is wrong.
pub(crate) fn named(name: &str) -> Slot {
    let found = SLOTS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no slot is called {name}")).1
}

static SLOTS: &[(&str, Slot)] = &[
    // One of the family's keys, as a rule.
    ("key", |dice| vec![key(dice)]),
    // The key that was drawn last.
    ("same", |dice| vec![dice.last_key.clone()]),
    ("value", |dice| vec![value(dice)]),
    // What a counter may begin with.
    ("number", |dice| vec![number(dice)]),
    ("int", |dice| vec![int(dice)]),
    ("index", |dice| vec![index(dice)]),
    // How many; never so many that a reply of repetitions gets long.
    ("count", |dice| vec![count(dice)]),
    ("float", |dice| vec![float(dice)]),
    // What a bitfield is set to. With OVERFLOW SAT the least numbers of 64 bits overflow within Redis, too, and give the
    // largest value of the field; the node gives the least.
    ("bits", |dice| {
        let told = int(dice);
        let is_least = std::str::from_utf8(&told)
            .is_ok_and(|text| text.parse().is_ok_and(|number: i64| number < i64::MIN / 2));
        vec![if is_least { b"-4611686018427387904".to_vec() } else { told }]
    }),
    // A byte of a string, not far behind its end.
    ("offset", |dice| vec![offset(dice)]),
    ("bit", |dice| vec![bit(dice)]),
    ("width", |dice| vec![width(dice)]),
    ("place", |dice| vec![place(dice)]),
    ("seconds", |dice| vec![lifetime(dice, 1)]),
    ("millis", |dice| vec![lifetime(dice, 1_000)]),
    ("at", |dice| vec![moment(dice, 1)]),
    ("atmillis", |dice| vec![moment(dice, 1_000)]),
    // A moment that is long over, in either unit.
    ("past", |dice| vec![choose(dice, &["1", "1000", "1000000000"])]),
    ("db", |dice| vec![db(dice)]),
    ("word", |dice| vec![word(dice)]),
    ("pattern", |dice| vec![pattern(dice)]),
    ("member", |dice| vec![member(dice)]),
    ("score", |dice| vec![score(dice)]),
    ("bound", |dice| vec![bound(dice)]),
    ("lex", |dice| vec![lex(dice)]),
    // Patterns that name keys and fields by the elements that SORT is about.
    ("by", |dice| {
        vec![choose(dice, &["s*", "*", "h*->m1", "h*->", "absent*", "nosort", "s*->m1", "l*", "->"])]
    }),
    ("keys", keys),
    ("weights", |dice| (0..misjudged(dice)).map(|_| score(dice)).collect()),
];

fn choose(dice: &mut Dice, choices: &[&str]) -> Vec<u8> {
    dice.one_of(choices).as_bytes().to_vec()
}

/// A few for each family, so that commands meet.
fn key(dice: &mut Dice) -> Vec<u8> {
    const ODD: &[&[u8]] = &[b"", b"\x00\xff\r\n", b"{a}b", b"*", b"with spaces", b"absent"];
    let number = dice.below(3);
    dice.last_key = match dice.below(30) {
        0 => dice.one_of(ODD).to_vec(),
        1..5 => format!("{}{number}", dice.any_prefix()).into_bytes(),
        _ => format!("{}{number}", dice.one_of(dice.own_prefixes)).into_bytes(),
    };
    dice.last_key.clone()
}

/// Keys behind their number, which is wrong at times.
fn keys(dice: &mut Dice) -> Vec<Vec<u8>> {
    dice.last_keys = dice.up_to(3);
    let number = if dice.chance(95) { dice.last_keys.to_string().into_bytes() } else { int(dice) };
    let mut words = vec![number];
    words.extend((0..dice.last_keys).map(|_| key(dice)));
    words
}

/// As many as there are keys, as a rule.
fn misjudged(dice: &mut Dice) -> usize {
    if dice.chance(95) { dice.last_keys } else { dice.below(4) }
}

fn value(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0..3 => dice.between(-1000, 1000).to_string().into_bytes(),
        3 => int(dice),
        4 => float(dice),
        5 => Vec::new(),
        6 => {
            let length = dice.below(40);
            dice.bytes(length)
        }
        7 => {
            let (sign, length) = (*dice.one_of(b"\x00\xffa"), dice.below(200));
            vec![sign; length]
        }
        // About where Redis changes how it keeps a string.
        8 => vec![b'e'; 40 + dice.below(10)],
        9 => choose(dice, &["a", "b", "abc", "ABC", "ohmytext", "mynewtext"]),
        _ => {
            let length = dice.below(12);
            (0..length).map(|_| *dice.one_of(b"abc")).collect()
        }
    }
}

fn number(dice: &mut Dice) -> Vec<u8> {
    match dice.below(6) {
        0 => int(dice),
        1 => float(dice),
        _ => dice.between(-100, 100).to_string().into_bytes(),
    }
}

fn int(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 => word(dice),
        1 => choose(dice, BORDERS),
        2 => dice.between(i64::MIN, i64::MAX).to_string().into_bytes(),
        3 => dice.between(-300, 300).to_string().into_bytes(),
        _ => dice.between(-10, 10).to_string().into_bytes(),
    }
}

const BORDERS: &[&str] = &[
    "9223372036854775807",
    "9223372036854775806",
    "-9223372036854775808",
    "-9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "4611686018427387904",
];

/// What is no plain number, and, where it is one to lenient readers, none that makes a server wait.
fn word(dice: &mut Dice) -> Vec<u8> {
    const WORDS: &[&[u8]] = &[
        b"",
        b"abc",
        b"-",
        b"+",
        b"--1",
        b"1x",
        b"x1",
        b"1,5",
        b"0x",
        b"*",
        b"\x00",
        b"1\x00",
        b"\xff\xfe",
        b" ",
        b"nan",
        b"(",
        b"[",
        b"NX",
        b"GET",
        b"COUNT",
        b"LIMIT",
        b"1e",
        b"1 1",
    ];
    dice.one_of(WORDS).to_vec()
}

fn index(dice: &mut Dice) -> Vec<u8> {
    if dice.chance(85) { dice.between(-8, 8).to_string().into_bytes() } else { int(dice) }
}

fn count(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0 => word(dice),
        1 => choose(dice, &["-1", "-2", "-5", "-9223372036854775808", "9223372036854775808", "4294967296"]),
        2 => choose(dice, &["100", "1000", "9223372036854775807"]),
        _ => dice.between(0, 5).to_string().into_bytes(),
    }
}

fn float(dice: &mut Dice) -> Vec<u8> {
    const ODD: &[&str] = &[
        "inf",
        "-inf",
        "+Infinity",
        "nan",
        "-NaN",
        "nan(1)",
        ".5",
        "5.",
        ".",
        "e5",
        "1e",
        "1e+",
        " 1",
        "1 ",
        "0x1.8p3",
        "0xff",
        "0x",
        "0x1p-20",
        "1e4932",
        "1e-4951",
        "1e308",
        "-1e308",
        "1e309",
        "1e-320",
        "4.9e-324",
        "3e17",
        "1e21",
        "123456789012345678901234567890",
        "0.000000000000000000000000000001",
        "5.0e3",
        "-0",
        "0.0",
        "+1.50",
        "00012.5",
    ];
    match dice.below(10) {
        0 => choose(dice, ODD),
        1 => int(dice),
        2 => format!("{}e{}", dice.between(-99, 99), dice.between(-30, 30)).into_bytes(),
        3..6 => {
            let digits = dice.up_to(17);
            format!("{}.{:0digits$}", dice.between(-100, 100), dice.below(10_usize.pow(digits as u32)))
                .into_bytes()
        }
        _ => format!("{}.{}", dice.between(-10, 10), ["0", "5", "25", "1"][dice.below(4)]).into_bytes(),
    }
}

/// Either near, or beyond the longest string.
fn offset(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0 => word(dice),
        1 => choose(dice, &["-1", "-9223372036854775808", "536870912", "9223372036854775807", "4294967296"]),
        2 => dice.below(3_000).to_string().into_bytes(),
        _ => dice.below(20).to_string().into_bytes(),
    }
}

/// Either near, or beyond the longest string.
fn bit(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0 => word(dice),
        1 => choose(
            dice,
            &["-1", "4294967296", "9223372036854775807", "18446744073709551616", "-9223372036854775808"],
        ),
        2 => dice.below(5_000).to_string().into_bytes(),
        _ => dice.below(100).to_string().into_bytes(),
    }
}

/// The type of a bitfield.
fn width(dice: &mut Dice) -> Vec<u8> {
    match dice.below(15) {
        0 => choose(
            dice,
            &["u64", "i65", "u0", "i0", "u", "i", "x8", "", "u-1", "i64x", "U8", "I8", "u08", "8"],
        ),
        1..3 => choose(dice, &["u63", "i64", "u1", "i1", "u62", "i63"]),
        _ => format!("{}{}", ["i", "u"][dice.below(2)], dice.up_to(40)).into_bytes(),
    }
}

/// Where a bitfield lies.
fn place(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0..3 => format!("#{}", dice.below(12)).into_bytes(),
        3 => choose(dice, &["#-1", "#", "#x", "##1", "#9223372036854775807", "#4294967296", "#1.5"]),
        _ => bit(dice),
    }
}

/// In units of which a second has so many. Never one that ends while the test runs.
fn lifetime(dice: &mut Dice, per_second: u64) -> Vec<u8> {
    const ODD: &[&str] = &[
        "0",
        "-1",
        "-10000",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "9223372036854775",
        "9223372036854776",
        "-9223372036854776",
        "9223370000000000",
        "18446744073709551617",
    ];
    match dice.below(14) {
        0 => word(dice),
        1 => choose(dice, ODD),
        _ => (dice.lifetime_s() * per_second).to_string().into_bytes(),
    }
}

/// As [`lifetime`], since the epoch. Not in the past: a SET with such a moment leaves a key in Redis that is gone for
/// everything but DBSIZE, until somebody looks.
fn moment(dice: &mut Dice, per_second: u64) -> Vec<u8> {
    match dice.below(14) {
        0 => word(dice),
        1 => choose(dice, &["0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808"]),
        _ => (dice.moment_s() * per_second).to_string().into_bytes(),
    }
}

fn db(dice: &mut Dice) -> Vec<u8> {
    match dice.below(15) {
        0 => choose(dice, &["16", "-1", "15", "2147483648", "9223372036854775808", "256"]),
        1 => word(dice),
        _ => dice.below(2).to_string().into_bytes(),
    }
}

fn pattern(dice: &mut Dice) -> Vec<u8> {
    const PATTERNS: &[&str] = &[
        "*", "**", "?0", "*1", "s*", "[a-m]?", "[^s]*", "[s", "[", "\\*", "\\", "?", "", "m*", "*[0-1]",
        "[z-a]*", "s[0\\]1]", "a*c", "*a*b*", "h?", "[]", "[^]", "[a-", "*?*", "-*", "[0-9]*",
    ];
    choose(dice, PATTERNS)
}

/// A hash's field, a set's or sorted set's member, a list's element: few, so that they meet.
fn member(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0 => value(dice),
        1 => vec![b'l'; 60 + dice.below(10)],
        2..7 => dice.between(-3, 12).to_string().into_bytes(),
        _ => format!("m{}", dice.below(8)).into_bytes(),
    }
}

/// Sums of these are exact, in whatever order.
fn score(dice: &mut Dice) -> Vec<u8> {
    match dice.below(20) {
        0 => choose(
            dice,
            &["inf", "-inf", "+inf", "nan", "1e300", "-0", "0x10", "1e21", "9007199254740993", ".5", "1e-7"],
        ),
        1 => word(dice),
        2..6 => format!("{}.{}", dice.between(-9, 9), ["5", "25", "0", "125"][dice.below(4)]).into_bytes(),
        _ => dice.between(-9, 9).to_string().into_bytes(),
    }
}

fn bound(dice: &mut Dice) -> Vec<u8> {
    let open = if dice.chance(25) { "(" } else { "" };
    match dice.below(10) {
        0 | 1 => format!("{open}-inf").into_bytes(),
        2 | 3 => format!("{open}+inf").into_bytes(),
        _ => [open.as_bytes(), &score(dice)].concat(),
    }
}

fn lex(dice: &mut Dice) -> Vec<u8> {
    match dice.below(10) {
        0 | 1 => b"-".to_vec(),
        2 | 3 => b"+".to_vec(),
        4 => choose(dice, &["", "m1", "(", "[", "-x", "+x", "inf"]),
        _ => [["[", "("][dice.below(2)].as_bytes(), &member(dice)].concat(),
    }
}
