use proptest::prelude::*;

use super::*;
use crate::change::{CellId, Contribution, Kind, Sum, Value};
use crate::time::WallMillis;
use crate::version::Version;

const ORIGIN: Origin = Origin(0x0102_0304_0506_0708);

/// Those that were there in format 1.
fn first_operations() -> Vec<Change<'static>> {
    let version = Version::new(Timestamp(0x1_0001), Origin::NONE);
    let mut changes = vec![
        Change::new(0, &b"k"[..], Op::Set(b"value"[..].into())),
        Change::new(0, &b"k"[..], Op::Expire(Some(WallMillis(1_700_000_000_000)))),
        Change::new(15, &b"k"[..], Op::Expire(None)),
        Change::new(1, &b"gone"[..], Op::Reset),
        Change::new(0, &b"s"[..], Op::Cell(CellId::STRING, Some(Value::Bytes(b"x"[..].into())))),
        Change::new(0, &b"h"[..], Op::Cell(field(), None)),
        Change::new(0, &b"h"[..], Op::Cell(field(), Some(Value::Float(1.5)))),
        Change::new(0, &b"e"[..], Op::ObservedReset(version)),
        Change::new(0, &b"e"[..], Op::Mark { reset: version, expiry: WallMillis(7) }),
        Change::new(3, &b""[..], Op::FlushDb),
        Change::new(0, &b""[..], Op::FlushAll),
    ];
    changes.extend([Sum::Int(-3), Sum::Int(i128::from(i64::MAX) + 1), Sum::Float(0.25)].map(counted));
    let restates = Some(Version::new(Timestamp(4), Origin(9)));
    let restated = Contribution { first: Timestamp(5), sum: Sum::Int(1), restates };
    changes.push(Change::new(0, &b"n"[..], Op::Count(CellId::STRING, restated)));
    changes.push(Change { replaced: Some(version), ..Change::new(0, &b"k"[..], Op::Reset) });
    changes.push(Change::new(2, &b""[..], Op::ObservedFlush(version)));
    changes
}

fn every_operation() -> Vec<Change<'static>> {
    let mut changes = first_operations();
    let units = [10_60000000000000000, -1, 0, i128::MAX, i128::MIN];
    changes.extend(units.map(|units| counted(Sum::Decimal(units))));
    changes
}

fn field() -> CellId<'static> {
    CellId { kind: Kind::Hash, element: b"field"[..].into() }
}

fn counted(sum: Sum) -> Change<'static> {
    let contribution = Contribution { first: Timestamp(0x1_0001), sum, restates: None };
    Change::new(0, &b"n"[..], Op::Count(field(), contribution))
}

fn sealed(transactions: &[(u64, &[Change<'_>])]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(ORIGIN, Timestamp(0x1_0000));
    for (timestamp, changes) in transactions {
        builder.append(Timestamp(*timestamp), changes.iter());
    }
    builder.seal(<[u8]>::to_vec).1
}

#[test]
fn every_operation_round_trips() {
    let changes = every_operation();
    let bytes = sealed(&[(0x1_0005, &changes[..2]), (0x1_0006, &changes[2..])]);
    let batch = Batch::decode(&bytes).unwrap();
    assert_eq!(batch.header.count as usize, changes.len());
    assert_eq!(batch.validate(), Ok(Timestamp(0x1_0006)));
    let read: Vec<_> = batch.changes().map(Result::unwrap).collect();
    assert_eq!(read.iter().map(|(_, change)| change.clone()).collect::<Vec<_>>(), changes);
    assert!(read[..2].iter().all(|(at, _)| *at == Timestamp(0x1_0005)));
    assert!(read[2..].iter().all(|(at, _)| *at == Timestamp(0x1_0006)));
}

/// The format is a promise: a change of these bytes needs a new format version, and the old bytes stay tested.
#[test]
fn golden_bytes_of_format_2() {
    let bytes = sealed(&[(0x1_0005, &every_operation())]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("golden_format_2.hex").trim());
}

/// Logs that an earlier build has written are read as they are.
#[test]
fn golden_bytes_of_format_1_are_read() {
    let digits = include_str!("golden_format_1.hex").trim().as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = digits.map(byte).collect();
    assert_eq!(bytes[1], 1);
    let batch = Batch::decode(&bytes).unwrap();
    let read: Vec<_> = batch.changes().map(|change| change.unwrap().1).collect();
    assert_eq!(read, first_operations());
}

/// A decimal sum is told as its places and digits, 10.6 as 1 and 106.
#[test]
fn decimal_sums_that_128_bits_do_not_hold_are_refused() {
    let mut too_large = vec![0x92, 0, 0xc4, 16];
    too_large.extend_from_slice(&i128::MAX.to_be_bytes());
    let too_many_places = vec![0x92, 18, 1];
    let float = vec![0x92, 1, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0];
    let (nested, three_parts) = (vec![0x92, 1, 0x92, 1, 1], vec![0x93, 1, 1, 1]);
    for sum in [too_large, too_many_places, float, nested, three_parts] {
        assert!(rmp_serde::from_slice::<Sum>(&sum).is_err(), "{sum:?}");
    }
    assert_eq!(rmp_serde::from_slice::<Sum>(&[0x92, 1, 106]).unwrap(), Sum::Decimal(10_60000000000000000));
}

#[test]
fn a_replicated_set_of_64_bytes_takes_under_100() {
    let change = Change::new(0, &b"key:000000123456"[..], Op::Set(vec![b'x'; 64].into()));
    let mut builder = BatchBuilder::new(ORIGIN, Timestamp::ZERO);
    for tick in 1..=16 {
        builder.append(Timestamp(tick), [&change]);
    }
    let bytes = builder.seal(<[u8]>::to_vec).1;
    assert!(bytes.len() / 16 < 100, "{} bytes per change", bytes.len() / 16);
}

#[test]
fn a_sealed_builder_goes_on_behind_its_batch() {
    let mut builder = BatchBuilder::new(ORIGIN, Timestamp(5));
    builder.append(Timestamp(7), &every_operation()[..1]);
    let (first, ()) = builder.seal(|_| ());
    builder.append(Timestamp(9), &every_operation()[..1]);
    let (second, ()) = builder.seal(|_| ());
    assert_eq!((first.after, first.upto), (Timestamp(5), Timestamp(7)));
    assert_eq!((second.after, second.upto), (Timestamp(7), Timestamp(9)));
}

#[test]
fn a_flipped_bit_is_noticed() {
    let bytes = sealed(&[(0x1_0005, &every_operation()[..3])]);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Batch::decode(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn another_format_is_named() {
    let mut bytes = sealed(&[(0x1_0005, &every_operation()[..1])]);
    for format in [0, FORMAT + 1] {
        bytes[1] = format;
        assert_eq!(Batch::decode(&bytes).unwrap_err(), BatchError::Format(format));
    }
}

#[test]
fn versions_above_their_transaction_are_refused() {
    let version = Version::new(Timestamp(0x1_0006), Origin::NONE);
    for op in [Op::ObservedReset(version), Op::ObservedFlush(version)] {
        let bytes = sealed(&[(0x1_0005, &[Change::new(0, &b"k"[..], op)])]);
        assert!(matches!(Batch::decode(&bytes).unwrap().validate(), Err(BatchError::Malformed(_))));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = BatchHeader::peek(&bytes);
        if let Ok(batch) = Batch::decode(&bytes) {
            let _ = batch.validate();
        }
    }
}
