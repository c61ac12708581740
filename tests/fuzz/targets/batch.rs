//! Batches: raw bytes; a real batch with some bytes changed and its checksum put right; and any payload at all behind a
//! right checksum, so that the records' decoder is reached.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use serde_bytes::Bytes;
use shared::batch::{Batch, BatchBuilder, BatchHeader, FORMAT};
use shared::change::Change;
use shared::clock::Timestamp;
use shared::id::Origin;

#[derive(Arbitrary, Debug)]
enum Case<'a> {
    Raw(&'a [u8]),
    Golden {
        /// Where to put which byte.
        changed: Vec<(u16, u8)>,
        /// How many bytes to leave off the end.
        cut: u8,
        header: Header,
    },
    Payload {
        header: Header,
        payload: &'a [u8],
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Header {
    origin: u64,
    after: u64,
    upto: u64,
    count: u32,
    /// Whether to take what fits the real batch in place of all of the above.
    fits: bool,
}

fuzz_target!(|case: Case<'_>| match case {
    Case::Raw(bytes) => check(bytes),
    Case::Golden { changed, cut, header } => {
        let mut payload = golden_payload();
        for (at, byte) in changed {
            let at = usize::from(at) % payload.len();
            payload[at] = byte;
        }
        payload.truncate(payload.len() - usize::from(cut) % payload.len());
        check(&encode(header, &payload));
    }
    Case::Payload { header, payload } => check(&encode(header, payload)),
});

/// The changes of the batch that pins the format.
fn golden_payload() -> Vec<u8> {
    let (_, golden) = golden();
    golden
}

fn golden() -> (BatchHeader, Vec<u8>) {
    const HEX: &str = include_str!("../../../shared/src/batch/golden_format_2.hex");
    let digits = HEX.trim().as_bytes().chunks_exact(2);
    let bytes: Vec<u8> = digits
        .map(|pair| {
            str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).expect("hex")
        })
        .collect();
    let header = Batch::decode(&bytes).expect("the golden batch is intact").header;
    let (.., payload): (u8, u64, u64, u64, u32, u32, serde_bytes::ByteBuf) =
        rmp_serde::from_slice(&bytes).expect("a batch has seven parts");
    (header, payload.into_vec())
}

fn encode(header: Header, payload: &[u8]) -> Vec<u8> {
    let Header { mut origin, mut after, mut upto, mut count, fits } = header;
    if fits {
        let (golden, _) = golden();
        (origin, after, upto, count) = (golden.origin.0, golden.after.0, golden.upto.0, golden.count);
    }
    let mut crc = crc32fast::Hasher::new();
    for part in
        [&origin.to_le_bytes()[..], &after.to_le_bytes(), &upto.to_le_bytes(), &count.to_le_bytes(), payload]
    {
        crc.update(part);
    }
    rmp_serde::to_vec(&(FORMAT, origin, after, upto, count, crc.finalize(), Bytes::new(payload)))
        .expect("a batch")
}

fn check(bytes: &[u8]) {
    let peeked = BatchHeader::peek(bytes);
    let Ok(batch) = Batch::decode(bytes) else { return };
    assert_eq!(peeked.as_ref(), Ok(&batch.header));
    let changes: Result<Vec<(Timestamp, Change<'_>)>, _> = batch.changes().collect();
    let last = batch.validate();
    if let Err(error) = &changes {
        assert_eq!(last.as_ref(), Err(error));
    }
    let (Ok(changes), Ok(last)) = (changes, last) else { return };
    assert_eq!(changes.len(), batch.header.count as usize);
    assert!(last <= batch.header.upto);
    assert!(
        changes.is_sorted_by_key(|(at, _)| *at) && changes.iter().all(|(at, _)| *at > batch.header.after)
    );
    check_again(batch.header.origin, batch.header.after, &changes);
}

/// What was decoded and is encoded again says the same.
fn check_again(origin: Origin, after: Timestamp, changes: &[(Timestamp, Change<'_>)]) {
    let mut builder = BatchBuilder::new(origin, after);
    for transaction in changes.chunk_by(|one, next| one.0 == next.0) {
        builder.append(transaction[0].0, transaction.iter().map(|(_, change)| change));
    }
    let (_, bytes) = builder.seal(<[u8]>::to_vec);
    let batch = Batch::decode(&bytes).expect("what was encoded is intact");
    let again: Vec<_> = batch.changes().collect::<Result<_, _>>().expect("what was encoded is well formed");
    assert_eq!(again, changes);
}
