//! A node's replies, as its agent reads them: whatever arrives, in whatever pieces, the decoder makes the same of it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shared::resp::{ReplyDecoder, ReplyError, Value};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    /// A limit that short inputs can reach.
    bulk_bytes_max: u8,
    /// The lengths of the pieces, again and again.
    pieces: [u8; 4],
    /// A reply that stands before the input.
    before: Option<Reply<'a>>,
    input: &'a [u8],
}

/// A reply to be encoded; text has its line ends taken out.
#[derive(Arbitrary, Debug)]
enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Null,
    Boolean(bool),
    Double(f64),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Push(Vec<Self>),
}

fuzz_target!(|case: Case<'_>| {
    let mut input = Vec::new();
    if let Some(reply) = &case.before {
        encode(reply, &mut input);
    }
    let encoded_bytes = input.len();
    input.extend_from_slice(case.input);
    for bulk_bytes_max in [1 << 20, usize::from(case.bulk_bytes_max)] {
        let whole = decode(bulk_bytes_max, &input, &[usize::MAX]);
        let pieces = case.pieces.map(|length| usize::from(length) + 1);
        assert_eq!(decode(bulk_bytes_max, &input, &pieces), whole, "pieces matter");
        assert_eq!(decode(bulk_bytes_max, &input, &[1]), whole, "single bytes matter");
    }
    if case.before.is_some() {
        match ReplyDecoder::new(1 << 20).decode(&input) {
            Ok(Some((_, consumed))) => assert_eq!(consumed, encoded_bytes, "a reply ends elsewhere"),
            Err(ReplyError::TooDeep) => {}
            other => panic!("a reply that was encoded is not decoded: {other:?}"),
        }
    }
});

/// The replies as text, for a NaN equals nothing, and the error or the number of bytes left at the end.
type Outcome = (Vec<String>, Result<usize, ReplyError>);

fn decode(bulk_bytes_max: usize, input: &[u8], pieces: &[usize]) -> Outcome {
    let mut decoder = ReplyDecoder::new(bulk_bytes_max);
    let (mut replies, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    while end < input.len() {
        end = pieces.next().map_or(input.len(), |length| end.saturating_add(*length)).min(input.len());
        while start < end {
            match decoder.decode(&input[start..end]) {
                Ok(None) => break,
                Ok(Some((value, consumed))) => {
                    assert!((1..=end - start).contains(&consumed));
                    check_within(&value, &input[start..start + consumed]);
                    replies.push(format!("{value:?}"));
                    start += consumed;
                }
                Err(error) => return (replies, Err(error)),
            }
        }
    }
    (replies, Ok(input.len() - start))
}

/// Whatever the reply borrows is its own bytes.
fn check_within(value: &Value<'_>, bytes: &[u8]) {
    match value {
        Value::Simple(part)
        | Value::Error(part)
        | Value::Bulk(part)
        | Value::Verbatim(part)
        | Value::BigNumber(part) => {
            assert!(bytes.as_ptr_range().contains(&part.as_ptr()) && part.len() <= bytes.len());
        }
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            items.iter().for_each(|item| check_within(item, bytes));
        }
        Value::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            check_within(key, bytes);
            check_within(value, bytes);
        }),
        Value::Integer(_) | Value::Null | Value::Double(_) | Value::Boolean(_) => {}
    }
}

fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let line = |marker: char, text: &[u8], out: &mut Vec<u8>| {
        out.push(marker as u8);
        out.extend(text.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        out.extend(b"\r\n");
    };
    match reply {
        Reply::Simple(text) => line('+', text, out),
        Reply::Error(text) => line('-', text, out),
        Reply::Integer(integer) => line(':', integer.to_string().as_bytes(), out),
        Reply::Bulk(bytes) => {
            line('$', bytes.len().to_string().as_bytes(), out);
            out.extend_from_slice(bytes);
            out.extend(b"\r\n");
        }
        Reply::Null => line('_', b"", out),
        Reply::Boolean(boolean) => line('#', if *boolean { b"t" } else { b"f" }, out),
        Reply::Double(double) => line(',', double.to_string().as_bytes(), out),
        Reply::Array(items) => {
            line('*', items.len().to_string().as_bytes(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Reply::Push(items) => {
            line('>', items.len().to_string().as_bytes(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Reply::Map(pairs) => {
            line('%', pairs.len().to_string().as_bytes(), out);
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }
    }
}
