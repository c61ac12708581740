use super::*;

#[track_caller]
fn check(input: &[u8], expected: Value) {
    let mut decoder = ReplyDecoder::new(1000);
    for end in 0..input.len() {
        assert_eq!(decoder.decode(&input[..end]), Ok(None), "after {end} bytes");
    }
    let followed = [input, b"+next"].concat();
    assert_eq!(decoder.decode(&followed), Ok(Some((expected, input.len()))));
    assert_eq!(decoder.decode(&followed[input.len()..]), Ok(None));
}

#[track_caller]
fn check_refused(input: &[u8], expected: ReplyError) {
    assert_eq!(ReplyDecoder::new(1000).decode(input), Err(expected));
}

fn nested(depth: usize) -> Vec<u8> {
    [b"*1\r\n".repeat(depth), b":7\r\n".to_vec()].concat()
}

#[test]
fn replies_of_one_line_are_decoded() {
    check(b"+OK\r\n", Value::Simple(b"OK"));
    check(b"-ERR no\r\n", Value::Error(b"ERR no"));
    check(b":-7\r\n", Value::Integer(-7));
    check(b"_\r\n", Value::Null);
    check(b"$-1\r\n", Value::Null);
    check(b"*-1\r\n", Value::Null);
    check(b"#t\r\n", Value::Boolean(true));
    check(b"#f\r\n", Value::Boolean(false));
    check(b",1.5\r\n", Value::Double(1.5));
    check(b",-inf\r\n", Value::Double(f64::NEG_INFINITY));
    check(b"(-123456789012345678901234567890\r\n", Value::BigNumber(b"-123456789012345678901234567890"));
}

#[test]
fn replies_with_a_body_are_decoded() {
    check(b"$0\r\n\r\n", Value::Bulk(b""));
    check(b"$4\r\na\r\nb\r\n", Value::Bulk(b"a\r\nb"));
    check(b"!6\r\nERR no\r\n", Value::Error(b"ERR no"));
    check(b"=7\r\ntxt:a b\r\n", Value::Verbatim(b"a b"));
}

#[test]
fn aggregates_are_decoded() {
    check(b"*0\r\n", Value::Array(vec![]));
    check(b"*2\r\n*0\r\n:1\r\n", Value::Array(vec![Value::Array(vec![]), Value::Integer(1)]));
    check(b"~1\r\n$1\r\na\r\n", Value::Set(vec![Value::Bulk(b"a")]));
    check(b">1\r\n+a\r\n", Value::Push(vec![Value::Simple(b"a")]));
    let pair = (Value::Simple(b"a"), Value::Map(vec![]));
    check(b"%1\r\n+a\r\n%0\r\n", Value::Map(vec![pair]));
}

#[test]
fn what_is_no_reply_is_refused() {
    check_refused(b"HTTP/1.1 400\r\n", ReplyError::UnknownType(b'H'));
    check_refused(b"\r\n", ReplyError::UnknownType(b'\r'));
    check_refused(b"|1\r\n", ReplyError::UnknownType(b'|'));
    check_refused(b"+a\rb", ReplyError::NoLineEnd);
    check_refused(b"$1\r\nabc", ReplyError::NoLineEnd);
    for malformed in [":x", ":", "$x", "$-2", "*-2", "*?", "$?", "_1", "#1", ",x", "(1a", "(-", "%-1"] {
        check_refused(format!("{malformed}\r\n").as_bytes(), ReplyError::Malformed);
    }
    check_refused(b"=3\r\ntxt\r\n", ReplyError::Malformed);
}

#[test]
fn too_much_is_refused_as_soon_as_it_is_announced() {
    check_refused(b"$1001\r\n", ReplyError::TooBig);
    check_refused(b"$9223372036854775807\r\n", ReplyError::TooBig);
    check_refused(b"*1000000\r\n", ReplyError::TooBig);
    check_refused(b"%9223372036854775807\r\n", ReplyError::TooBig);
    check_refused(&[b'+'; LINE_BYTES_MAX + 1], ReplyError::NoLineEnd);
}

#[test]
fn nesting_is_bounded() {
    let deepest = nested(DEPTH_MAX);
    let mut decoder = ReplyDecoder::new(1000);
    assert!(matches!(decoder.decode(&deepest), Ok(Some((Value::Array(_), end))) if end == deepest.len()));
    check_refused(&nested(DEPTH_MAX + 1), ReplyError::TooDeep);
    check_refused(&nested(1_000_000), ReplyError::TooDeep);
}

#[test]
fn the_missing_bytes_of_a_bulk_are_known() {
    let mut decoder = ReplyDecoder::new(1 << 20);
    assert_eq!(decoder.decode(b"*2\r\n:1\r\n$100000\r\n"), Ok(None));
    assert_eq!(decoder.bytes_needed(), 17 + 100_000 + 2);
    assert_eq!(decoder.decode(b"*2\r\n:1\r\n$100000\r\nabc"), Ok(None));
    assert_eq!(decoder.bytes_needed(), 17 + 100_000 + 2);
}

#[test]
fn an_announced_aggregate_costs_nothing() {
    let mut decoder = ReplyDecoder::new(512 << 20);
    assert_eq!(decoder.decode(&b"*100000000\r\n".repeat(DEPTH_MAX)), Ok(None));
    assert!(decoder.open.capacity() <= 2 * DEPTH_MAX);
}

#[test]
fn a_refusal_leaves_no_trace() {
    let mut decoder = ReplyDecoder::new(1000);
    assert_eq!(decoder.decode(b"*2\r\n*3\r\n?\r\n"), Err(ReplyError::UnknownType(b'?')));
    assert_eq!(decoder.decode(b":1\r\n"), Ok(Some((Value::Integer(1), 4))));
}
