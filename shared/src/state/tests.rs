use proptest::prelude::*;

use super::*;
use crate::change::Kind;

fn version(at: u64, origin: u64) -> Version {
    Version::new(Timestamp(at), Origin(origin))
}

const MOMENT: u64 = 0x0193_0000_0000_0000;

fn every_shape() -> Vec<KeyState<'static>> {
    shapes(&[
        Sum::Int(-3),
        Sum::Int(i128::from(i64::MAX) + 1),
        Sum::Float(0.25),
        Sum::Decimal(-1),
        Sum::Decimal(i128::MAX),
    ])
}

/// Those that were there in format 1.
fn first_shapes() -> Vec<KeyState<'static>> {
    shapes(&[Sum::Int(-3), Sum::Int(i128::from(i64::MAX) + 1), Sum::Float(0.25)])
}

fn shapes(sums: &[Sum]) -> Vec<KeyState<'static>> {
    let written = version(MOMENT + 0x50_0001, 0x0102_0304_0506_0708);
    let entry = version(MOMENT + 0x90_0000, 9);
    let reset = |version| Some(ResetState { version, entry: version });
    let string = |value: &'static [u8]| CellState {
        id: CellId::STRING,
        base: Some((written, Some(Value::Bytes(value.into())))),
        contributions: Vec::new(),
    };
    let plain =
        KeyState { reset: reset(written), cells: vec![string(b"value")], ..KeyState::new(0, b"plain") };
    let ttl = TtlState { version: entry, expiry: Some(WallMillis(7)) };
    let never = TtlState { version: entry, expiry: None };
    let contributions = sums.iter().zip(1..).map(|(sum, contributor)| ContributionState {
        contributor: Origin(contributor),
        carrier: Origin(9),
        first: written.timestamp,
        last: entry.timestamp,
        counted: written.timestamp,
        sum: *sum,
    });
    let field = |element: &'static [u8]| CellId { kind: Kind::Hash, element: element.into() };
    let cells = vec![
        CellState { id: CellId::STRING, base: None, contributions: contributions.collect() },
        CellState { id: field(b"gone"), base: Some((entry, None)), contributions: Vec::new() },
        CellState {
            id: CellId { kind: Kind::SortedSet, element: b"member"[..].into() },
            base: Some((entry, Some(Value::Float(1.5)))),
            contributions: Vec::new(),
        },
    ];
    let mark = MarkState { reset: version(MOMENT, 0), expiry: WallMillis(u64::MAX), entry };
    vec![
        plain.clone(),
        KeyState { ttl: Some(ttl), db: 15, ..plain.clone() },
        KeyState { reset: reset(written), ..KeyState::new(1, b"gone") },
        KeyState { reset: reset(written), ttl: Some(never), ..KeyState::new(0, b"gone, no TTL") },
        KeyState {
            reset: Some(ResetState { version: version(MOMENT, 0), entry }),
            mark: Some(mark),
            ttl: Some(ttl),
            cells,
            ..KeyState::new(0, b"full")
        },
        KeyState { cells: vec![string(b"written in place")], ..KeyState::new(0, b"") },
        KeyState::new(3, b"nothing"),
    ]
}

fn flush() -> FlushState {
    FlushState { db: 3, version: version(MOMENT, 0), entry: version(MOMENT + 1, 9) }
}

fn page(keys: &[KeyState<'_>]) -> Vec<u8> {
    let mut page = PageBuilder::new();
    page.push_flush(&flush());
    keys.iter().for_each(|key| page.push(key));
    page.finish()
}

fn read(bytes: &[u8]) -> Result<Vec<KeyState<'_>>, StateError> {
    Page::decode(bytes)?.into_iter().collect()
}

#[test]
fn every_shape_round_trips() {
    let bytes = page(&every_shape());
    assert_eq!(Page::decode(&bytes).unwrap().flushes(), [flush()]);
    assert_eq!(read(&bytes).unwrap(), every_shape());
    assert_eq!(read(&PageBuilder::new().finish()), Ok(Vec::new()));
}

/// The format is a promise: a change of these bytes needs a new format version, and the old bytes stay tested.
#[test]
fn golden_bytes_of_format_2() {
    let hex: String = page(&every_shape()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden_format_2.hex").trim());
}

/// Snapshots that an earlier build has written are read as they are.
#[test]
fn golden_bytes_of_format_1_are_read() {
    let digits = include_str!("golden_format_1.hex").trim().as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = digits.map(byte).collect();
    assert_eq!(bytes[1], 1);
    assert_eq!(Page::decode(&bytes).unwrap().flushes(), [flush()]);
    assert_eq!(read(&bytes).unwrap(), first_shapes());
}

/// An hour between the oldest and the newest, and three origins.
#[test]
fn a_plain_string_takes_12_bytes_beside_key_and_value() {
    let mut builder = PageBuilder::new();
    let value = [b'x'; 64];
    for tick in 0..1_000 {
        let version = version(MOMENT + ((tick * 3_600) << 16) + tick % 3, tick % 3 + 1);
        let base = Some((version, Some(Value::Bytes(value[..].into()))));
        builder.push(&KeyState {
            reset: Some(ResetState { version, entry: version }),
            cells: vec![CellState { id: CellId::STRING, base, contributions: Vec::new() }],
            ..KeyState::new(0, b"key:000000123456")
        });
    }
    let each = builder.finish().len() / 1_000;
    assert!(each <= 16 + 64 + 12, "{each} bytes per key");
}

#[test]
fn cut_bytes_and_bytes_behind_are_refused() {
    let bytes = page(&every_shape());
    assert!(read(&[]).unwrap().is_empty(), "a page of nothing has no bytes");
    for length in 1..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(read(&longer), Err(StateError::Malformed("bytes follow its last key")));
}

#[test]
fn another_format_is_named() {
    let mut bytes = page(&[]);
    for format in [0, FORMAT + 1] {
        bytes[1] = format;
        assert_eq!(read(&bytes), Err(StateError::Format(format.into())));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    /// Damaged pages that can be read round trip: what was read is what is written again.
    #[test]
    fn changed_bytes_are_refused_or_read(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let mut bytes = page(&every_shape());
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(keys) = read(&bytes) {
            let again = page(&keys);
            prop_assert_eq!(read(&again).unwrap(), keys);
        }
    }
}
