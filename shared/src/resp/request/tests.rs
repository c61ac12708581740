use super::*;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::resp::encode_request;

fn small_limits() -> RequestLimits {
    RequestLimits { bulk_bytes_max: 100, arguments_max: 8, inline_bytes_max: 50, request_bytes_max: 300 }
}

/// What a decoder makes of input: each request's arguments, and the error that ended it.
type Outcome = (Vec<Vec<Vec<u8>>>, Option<RequestError>);

/// Decodes all requests of input which arrives in pieces that end at `ends`.
fn decode_pieces(limits: RequestLimits, input: &[u8], ends: &[usize]) -> Outcome {
    let mut decoder = RequestDecoder::new(limits);
    let (mut requests, mut start) = (Vec::new(), 0);
    for end in ends {
        loop {
            let arrived = &input[start..*end];
            match decoder.decode(arrived) {
                Ok(None) => break,
                Ok(Some(consumed)) => {
                    requests.push(decoder.arguments(arrived).map(<[u8]>::to_vec).collect());
                    start += consumed;
                }
                Err(error) => return (requests, Some(error)),
            }
        }
        assert!(decoder.arguments.capacity() <= ARGUMENTS_KEPT.max(input.len()));
    }
    (requests, None)
}

fn decode_whole(limits: RequestLimits, input: &[u8]) -> Outcome {
    decode_pieces(limits, input, &[input.len()])
}

#[track_caller]
fn check(input: &[u8], expected: &[&[&[u8]]]) {
    let expected: Vec<Vec<Vec<u8>>> =
        expected.iter().map(|request| request.iter().map(|argument| argument.to_vec()).collect()).collect();
    let limits = RequestLimits::default();
    assert_eq!(decode_whole(limits, input), (expected.clone(), None));
    let every_byte: Vec<usize> = (0..=input.len()).collect();
    assert_eq!(decode_pieces(limits, input, &every_byte), (expected, None));
}

#[track_caller]
fn check_refused(limits: RequestLimits, input: &[u8], expected: &str) {
    let every_byte: Vec<usize> = (0..=input.len()).collect();
    for outcome in [decode_whole(limits, input), decode_pieces(limits, input, &every_byte)] {
        assert_eq!(outcome.0, Vec::<Vec<Vec<u8>>>::new());
        assert_eq!(outcome.1.expect("refused").to_string(), expected);
    }
}

#[test]
fn arrays_of_bulks_are_decoded() {
    check(b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]]);
    check(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$2\r\n\r\n\r\n", &[&[b"GET", b""], &[b"\r\n"]]);
    check(b"*1\r\n$12\r\n0123456789ab\r\n", &[&[b"0123456789ab"]]);
    let mut input = Vec::new();
    encode_request(&[&[b'a'; 100], &[b'b'; 12345]], &mut input);
    check(&input, &[&[&[b'a'; 100], &[b'b'; 12345]]]);
}

#[test]
fn empty_requests_have_no_arguments() {
    check(b"\r\n\n*0\r\n*-1\r\n*-7\r\n  \r\nPING\r\n", &[&[], &[], &[], &[], &[], &[], &[b"PING"]]);
}

#[test]
fn inline_requests_are_decoded() {
    check(b"PING\n", &[&[b"PING"]]);
    check(b"SET k \"a\\x20b\"\r\nGET k\r\n", &[&[b"SET", b"k", b"a b"], &[b"GET", b"k"]]);
    check(b"\"\"\r\n$3\r\n", &[&[b""], &[b"$3"]]);
}

#[test]
fn requests_of_both_kinds_follow_each_other() {
    check(b"PING\r\n*1\r\n$1\r\na\r\n'b'\n*1\r\n$1\r\nc\r\n", &[&[b"PING"], &[b"a"], &[b"b"], &[b"c"]]);
}

/// Redis looks for the carriage return of a header, and skips what is in the places of line feeds and body ends.
#[test]
fn line_ends_are_skipped_unread() {
    check(b"*1\rx$1\ryaxy", &[&[b"a"]]);
}

#[test]
fn refusals_have_the_texts_of_redis() {
    let limits = RequestLimits::default();
    for count in ["", "x", "+1", "01", "-0", " 1", "1 ", "1048577", "2147483648", "99999999999999999999"] {
        let input = format!("*{count}\r\n");
        check_refused(limits, input.as_bytes(), "Protocol error: invalid multibulk length");
    }
    for length in ["", "x", "+1", "01", "-0", "-1", "536870913", "9223372036854775807", "9223372036854775808"]
    {
        let input = format!("*1\r\n${length}\r\n");
        check_refused(limits, input.as_bytes(), "Protocol error: invalid bulk length");
    }
    check_refused(limits, b"*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'");
    check_refused(limits, b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'");
    check_refused(limits, b"*1\r\n\r\n", "Protocol error: expected '$', got '\r'");
    check_refused(limits, b"SET k \"v\r\n", "Protocol error: unbalanced quotes in request");
}

#[test]
fn lines_that_go_on_are_refused() {
    let limits = small_limits();
    let long = |start: &str, end: &str| [start.as_bytes(), &[b'1'; 50], end.as_bytes()].concat();
    check_refused(limits, &long("G", ""), "Protocol error: too big inline request");
    check_refused(limits, &long("G", "\r\n"), "Protocol error: too big inline request");
    check_refused(limits, &long("*", ""), "Protocol error: too big mbulk count string");
    check_refused(limits, &long("*1\r\n$", ""), "Protocol error: too big bulk count string");
    check_refused(limits, &long("*1\r\n$", "\r\n"), "Protocol error: too big bulk count string");
}

#[test]
fn large_requests_are_refused_as_soon_as_they_are_announced() {
    let limits = small_limits();
    check_refused(limits, b"*9\r\n", "Protocol error: invalid multibulk length");
    check_refused(limits, b"*1\r\n$101\r\n", "Protocol error: invalid bulk length");
    let mut input = b"*5\r\n".to_vec();
    for _ in 0..2 {
        input.extend_from_slice(b"$100\r\n");
        input.extend_from_slice(&[b'a'; 102]);
    }
    input.extend_from_slice(b"$79\r\n");
    check_refused(limits, &input, "Protocol error: too big request");
}

#[test]
fn the_missing_bytes_of_an_argument_are_known() {
    let mut decoder = RequestDecoder::new(RequestLimits::default());
    for (input, needed) in
        [("*2\r\n", 0), ("*2\r\n$1", 0), ("*2\r\n$10000\r\n", 10_014), ("*2\r\n$10000\r\na", 10_014)]
    {
        assert_eq!(decoder.decode(input.as_bytes()), Ok(None));
        assert_eq!(decoder.bytes_needed(), needed);
    }
}

#[test]
fn announced_arguments_cost_nothing() {
    let mut decoder = RequestDecoder::new(RequestLimits::default());
    assert_eq!(decoder.decode(b"*1048576\r\n$1\r\na\r\n"), Ok(None));
    assert!(decoder.arguments.capacity() <= 8);
}

#[test]
fn room_for_many_arguments_is_given_back() {
    let mut decoder = RequestDecoder::new(RequestLimits::default());
    let mut input = Vec::new();
    encode_request(&[b"a".as_slice(); 10_000], &mut input);
    assert_eq!(decoder.decode(&input), Ok(Some(input.len())));
    assert_eq!(decoder.argument_count(), 10_000);
    assert_eq!(decoder.decode(b"PING\r\n"), Ok(Some(6)));
    assert!(decoder.arguments.capacity() <= ARGUMENTS_KEPT);
}

/// Requests as clients write them, and what looks a little like requests.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let multibulk = vec(vec(any::<u8>(), 0..20), 0..5).prop_map(|arguments| {
        let mut out = Vec::new();
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        encode_request(&arguments, &mut out);
        out
    });
    let inline = "[ a-c\"'\\\\x1]{0,60}\r?\n".prop_map(String::into_bytes);
    let broken = "[*$][-+0-9x]{0,12}\r\n".prop_map(String::into_bytes);
    let garbage = vec(any::<u8>(), 0..80);
    let part = prop_oneof![8 => multibulk, 4 => inline, 2 => broken, 1 => garbage];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn pieces_decode_as_the_whole(input in input(), cuts in vec(any::<Index>(), 0..10)) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        ends.push(input.len());
        ends.sort_unstable();
        let limits = small_limits();
        prop_assert_eq!(decode_pieces(limits, &input, &ends), decode_whole(limits, &input));
    }

    #[test]
    fn garbage_does_no_harm(input in vec(prop_oneof![any::<u8>(), prop::sample::select(b"*$\r\n01 '\"\\x".to_vec())], 0..300)) {
        decode_whole(RequestLimits::default(), &input);
        decode_whole(small_limits(), &input);
    }
}
