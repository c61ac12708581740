//! What one side writes, the other reads.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A reply that owns its bytes.
#[derive(Clone, Debug)]
enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    BulkInteger(i64),
    Null,
    NullArray,
    Double(f64),
    Boolean(bool),
    Verbatim(Vec<u8>),
    Array(Vec<Self>),
    Set(Vec<Self>),
    Push(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        "[ -~]{0,20}".prop_map(Reply::Simple),
        "[ -~]{0,20}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        vec(any::<u8>(), 0..30).prop_map(Reply::Bulk),
        any::<i64>().prop_map(Reply::BulkInteger),
        Just(Reply::Null),
        Just(Reply::NullArray),
        any::<f64>().prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        vec(any::<u8>(), 0..30).prop_map(Reply::Verbatim),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Reply::Array),
            vec(inner.clone(), 0..5).prop_map(Reply::Set),
            vec(inner.clone(), 0..5).prop_map(Reply::Push),
            vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

fn write(reply: &Reply, writer: &mut ReplyWriter) {
    match reply {
        Reply::Simple(text) => writer.simple(text),
        Reply::Error(text) => writer.error(text),
        Reply::Integer(value) => writer.integer(*value),
        Reply::Bulk(bytes) => writer.bulk(bytes),
        Reply::BulkInteger(value) => writer.bulk_integer(*value),
        Reply::Null => writer.null(),
        Reply::NullArray => writer.null_array(),
        Reply::Double(value) => writer.double(*value),
        Reply::Boolean(value) => writer.boolean(*value),
        Reply::Verbatim(text) => writer.verbatim("txt", text),
        Reply::Array(items) => write_items(items, writer, ReplyWriter::array),
        Reply::Set(items) => write_items(items, writer, ReplyWriter::set),
        Reply::Push(items) => write_items(items, writer, ReplyWriter::push),
        Reply::Map(pairs) => {
            writer.map(pairs.len());
            for (key, value) in pairs {
                write(key, writer);
                write(value, writer);
            }
        }
    }
}

fn write_items<'o>(
    items: &[Reply],
    writer: &mut ReplyWriter<'o>,
    head: impl Fn(&mut ReplyWriter<'o>, usize),
) {
    head(writer, items.len());
    for item in items {
        write(item, writer);
    }
}

/// Whether a value is what a client of the protocol should read.
fn matches(reply: &Reply, value: &Value, protocol: Protocol) -> bool {
    let all = |items: &[Reply], values: &[Value]| {
        items.len() == values.len()
            && items.iter().zip(values).all(|(item, value)| matches(item, value, protocol))
    };
    match (reply, value, protocol) {
        (Reply::Simple(text), Value::Simple(line), _) => text.as_bytes() == *line,
        (Reply::Error(text), Value::Error(line), _) => text.as_bytes() == *line,
        (Reply::Integer(written), Value::Integer(read), _) => written == read,
        (Reply::Bulk(written), Value::Bulk(read), _) => written == read,
        (Reply::BulkInteger(written), Value::Bulk(read), _) => written.to_string().as_bytes() == *read,
        (Reply::Null | Reply::NullArray, Value::Null, _) => true,
        (Reply::Double(written), Value::Bulk(read), Protocol::Resp2) => {
            format_double(*written).as_bytes() == *read
        }
        (Reply::Double(written), Value::Double(read), Protocol::Resp3) => written.to_bits() == read.to_bits(),
        (Reply::Boolean(written), Value::Integer(read), Protocol::Resp2) => i64::from(*written) == *read,
        (Reply::Boolean(written), Value::Boolean(read), Protocol::Resp3) => written == read,
        (Reply::Verbatim(written), Value::Bulk(read), Protocol::Resp2) => written == read,
        (Reply::Verbatim(written), Value::Verbatim(read), Protocol::Resp3) => written == read,
        (Reply::Array(items), Value::Array(values), _) => all(items, values),
        (Reply::Set(items) | Reply::Push(items), Value::Array(values), Protocol::Resp2) => all(items, values),
        (Reply::Set(items), Value::Set(values), Protocol::Resp3) => all(items, values),
        (Reply::Push(items), Value::Push(values), Protocol::Resp3) => all(items, values),
        (Reply::Map(pairs), Value::Array(values), Protocol::Resp2) => {
            let items: Vec<Reply> =
                pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
            all(&items, values)
        }
        (Reply::Map(pairs), Value::Map(values), Protocol::Resp3) => {
            let written = pairs.iter().zip(values);
            pairs.len() == values.len()
                && written.into_iter().all(|(pair, read)| {
                    matches(&pair.0, &read.0, protocol) && matches(&pair.1, &read.1, protocol)
                })
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn requests_arrive_as_sent(requests in vec(vec(vec(any::<u8>(), 0..50), 1..6), 1..5)) {
        let mut sent = Vec::new();
        for request in &requests {
            let arguments: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            encode_request(&arguments, &mut sent);
        }
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        let mut rest = sent.as_slice();
        for request in &requests {
            let consumed = decoder.decode(rest).expect("well formed").expect("whole");
            prop_assert!(decoder.arguments(rest).eq(request.iter().map(Vec::as_slice)));
            prop_assert_eq!(decoder.argument_count(), request.len());
            rest = &rest[consumed..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn replies_arrive_as_written(reply in reply(), cut in any::<prop::sample::Index>()) {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut sent = Vec::new();
            write(&reply, &mut ReplyWriter::new(&mut sent, protocol));
            let mut decoder = ReplyDecoder::new(1 << 20);
            prop_assert_eq!(decoder.decode(&sent[..cut.index(sent.len())]), Ok(None));
            let (value, consumed) = decoder.decode(&sent).expect("well formed").expect("whole");
            prop_assert_eq!(consumed, sent.len());
            prop_assert!(matches(&reply, &value, protocol), "{:?} as {:?}", reply, value);
        }
    }

    #[test]
    fn garbage_is_no_danger_to_a_client(
        input in vec(prop_oneof![any::<u8>(), prop::sample::select(b"*$%~>_,#:=!(+-\r\n012".to_vec())], 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = ReplyDecoder::new(1000).decode(&input);
        let mut decoder = ReplyDecoder::new(1000);
        let first = decoder.decode(&input[..cut.index(input.len() + 1)]);
        let pieces = if first == Ok(None) { decoder.decode(&input) } else { first };
        // Debug text, as NaN is not equal to itself.
        prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }
}
