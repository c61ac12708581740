use shared::batch::{BatchBuilder, empty_batch};
use shared::change::{CellId, Change, Contribution, Kind, Op, Sum, Value as CellValue};
use shared::resp::{Protocol, ReplyWriter};
use shared::time::WallMillis;
use shared::version::Version;

use super::*;

/// What a node sends, and what it was sent.
struct Script {
    replies: io::Cursor<Vec<u8>>,
    asked: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.replies.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.asked.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is printed for a script, and how the feed ends.
fn tail(from: &str, script: impl FnOnce(&mut ReplyWriter<'_>)) -> (String, TailError) {
    let mut replies = Vec::new();
    script(&mut ReplyWriter::new(&mut replies, Protocol::Resp2));
    let mut out = Vec::new();
    let script = Script { replies: io::Cursor::new(replies), asked: Vec::new() };
    let error = Tail::new(script, from.parse().unwrap(), &mut out).run().unwrap_err();
    (String::from_utf8(out).unwrap(), error)
}

fn batch(after: u64, changes: &[Change<'_>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Origin(1), Timestamp(after));
    for (index, change) in (1..).zip(changes) {
        builder.append(Timestamp(after + index), [change]);
    }
    builder.seal(<[u8]>::to_vec).1
}

#[test]
fn a_change_is_a_line_and_a_batch_ends_with_a_cursor() {
    let changes = [
        Change::new(0, &b"k"[..], Op::Set(b"v\"\n"[..].into())),
        Change::new(3, &b"\xff"[..], Op::Set(b"\x80\x81"[..].into())),
    ];
    let (out, error) = tail(";0", |reply| {
        reply.ok();
        reply.bulk(&batch(0x1_0000, &changes));
    });
    let origin = "\"origin\":\"0000000000000001\"";
    let expected = [
        format!(
            "{{{origin},\"timestamp\":\"10001\",\"time_ms\":1,\"db\":0,\"key\":\"k\",\"op\":\"set\",\"value\":\"v\\\"\\n\"}}\n"
        ),
        format!(
            "{{{origin},\"timestamp\":\"10002\",\"time_ms\":1,\"db\":3,\"key\":{{\"base64\":\"/w==\"}},\"op\":\"set\",\
             \"value\":{{\"base64\":\"gIE=\"}},\"cursor\":\"0000000000000001:10002;0\"}}\n"
        ),
    ];
    assert_eq!(out, expected.concat());
    assert!(matches!(error, TailError::Lost(_)));
}

#[test]
fn every_operation_has_a_line() {
    let cell = CellId { kind: Kind::Hash, element: b"f"[..].into() };
    let version = Version::new(Timestamp(2), Origin(3));
    let count = |sum, restates| Op::Count(cell.clone(), Contribution { first: Timestamp(1), sum, restates });
    let operations = [
        (Op::Reset, r#""op":"reset""#),
        (Op::Cell(cell.clone(), None), r#""op":"cell","kind":"hash","element":"f","value":null"#),
        (Op::Cell(cell.clone(), Some(CellValue::Float(0.5))), r#""value":0.5"#),
        (Op::Cell(cell.clone(), Some(CellValue::Float(f64::INFINITY))), r#""value":"inf""#),
        (count(Sum::Int(-7), None), r#""op":"count","kind":"hash","element":"f","first":"1","value":-7"#),
        (count(Sum::Decimal(-10_60000000000000000), None), r#""first":"1","value":"-10.6""#),
        (
            count(Sum::Float(1.5), Some(Version::new(Timestamp(1), Origin(9)))),
            r#""value":1.5,"contributor":"0000000000000009""#,
        ),
        (Op::Expire(Some(WallMillis(5))), r#""op":"expire","value":5"#),
        (Op::Expire(None), r#""op":"expire","value":null"#),
        (
            Op::ObservedReset(version),
            r#""op":"observed-reset","value":{"origin":"0000000000000003","timestamp":"2"}"#,
        ),
        (Op::Mark { reset: version, expiry: WallMillis(5) }, r#""op":"mark""#),
        (Op::FlushDb, r#""op":"flush-db""#),
        (Op::FlushAll, r#""op":"flush-all""#),
        (Op::ObservedFlush(version), r#""op":"observed-flush","value""#),
    ];
    for (op, part) in operations {
        let (out, _) = tail(";0", |reply| reply.bulk(&batch(16, &[Change::new(0, &b"k"[..], op)])));
        assert!(out.contains(part), "{out}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
}

#[test]
fn it_asks_from_the_cursor_on() {
    let mut out = Vec::new();
    let script = Script { replies: io::Cursor::new(Vec::new()), asked: Vec::new() };
    let mut tail = Tail::new(script, "0000000000000001:20;10".parse().unwrap(), &mut out);
    tail.ask().unwrap();
    let asked = String::from_utf8(tail.stream.asked.clone()).unwrap();
    let words: Vec<_> =
        asked.split("\r\n").filter(|line| !line.starts_with(['*', '$']) || *line == "*").collect();
    assert_eq!(words, ["FEED", "FOLLOW", "0000000000000001", "20", "*", "10", ""]);
}

#[test]
fn empty_batches_move_the_cursor_silently() {
    let (out, _) = tail(";0", |reply| {
        reply.bulk(&empty_batch(Origin(2), Timestamp(0), Timestamp(7)));
        reply.bulk(&batch(16, &[Change::new(0, &b"k"[..], Op::Reset)]));
    });
    assert_eq!(out.lines().count(), 1);
    assert!(out.contains("\"cursor\":\"0000000000000001:11,0000000000000002:7;0\""), "{out}");
}

#[test]
fn what_the_log_no_longer_holds_is_explained() {
    let (_, error) = tail("0000000000000002:5;0", |reply| reply.error("TRUNCATED 0000000000000001:20"));
    let text = error.to_string();
    assert!(text.contains("--from \"0000000000000001:20,0000000000000002:5;0\""), "{text}");
    let (_, error) = tail(";0", |reply| reply.error("NOPERM this user has no permissions"));
    assert!(matches!(error, TailError::Refused(_)));
}

#[test]
fn what_is_not_a_feed_is_an_error() {
    let (_, error) = tail(";0", |reply| reply.bulk(b"no batch"));
    assert!(matches!(error, TailError::Batch(_)));
    let (_, error) = tail(";0", |reply| reply.integer(1));
    assert!(matches!(error, TailError::Unexpected(_)));
    let (_, error) = tail(";0", |reply| reply.raw(b"garbage\r\n"));
    assert!(matches!(error, TailError::Reply(_)));
}
