//! The client's side: requests written, replies read.
//!
//! A reply is found first and built afterwards. The [`ReplyDecoder`] walks over what has arrived and remembers where it
//! is, with one count for each open aggregate, so it never goes back, and it knows how much of a long bulk is missing
//! without looking at it. Once the reply is whole, its [`Value`] is built from the bytes that are there, so what a peer
//! announces costs no memory before it is sent.

use memchr::memchr;
use thiserror::Error;

use super::integer::{append_bulk, append_integer_line, parse_integer};

/// A reply of RESP2 or RESP3, in the bytes that it was decoded from.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A status of one line: `+OK`.
    Simple(&'a [u8]),
    /// An error, its code first.
    Error(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(&'a [u8]),
    /// No value: RESP3's null, or one of RESP2's two.
    Null,
    /// A sequence.
    Array(Vec<Self>),
    /// Pairs of key and value, in the order sent.
    Map(Vec<(Self, Self)>),
    /// A collection without order.
    Set(Vec<Self>),
    /// A message which answers no request.
    Push(Vec<Self>),
    /// A double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// Text for people; its format is left out.
    Verbatim(&'a [u8]),
    /// An integer of any size, in decimal digits.
    BigNumber(&'a [u8]),
}

/// Why what a server sent is no reply.
///
/// The fault is the server's, or what listens there is none. Where the next reply begins is not known: the connection
/// is of no more use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReplyError {
    /// The first byte of a reply names no type. Attributes and streamed aggregates are among these: Redis does not
    /// send them unasked.
    #[error("reply of unknown type {:?}", char::from(*.0))]
    UnknownType(u8),
    /// A line or a bulk does not end in `\r\n`, or a line goes on and on.
    #[error("reply without line end")]
    NoLineEnd,
    /// The text of a number, a boolean, a length or a format is none.
    #[error("reply with malformed text")]
    Malformed,
    /// A length exceeds the limit of bulks, or the whole reply several times that.
    #[error("reply too big")]
    TooBig,
    /// Aggregates within aggregates, [`DEPTH_MAX`] and more.
    #[error("reply nested too deep")]
    TooDeep,
}

/// Decodes the replies of one connection, one after the other.
///
/// ```
/// use shared::resp::{ReplyDecoder, Value};
///
/// let mut decoder = ReplyDecoder::new(1 << 20);
/// assert_eq!(decoder.decode(b"*2\r\n:1\r\n$3\r\nab"), Ok(None));
/// assert_eq!(decoder.bytes_needed(), 17);
///
/// let whole = b"*2\r\n:1\r\n$3\r\nabc\r\n+OK\r\n";
/// let array = Value::Array(vec![Value::Integer(1), Value::Bulk(b"abc")]);
/// assert_eq!(decoder.decode(whole), Ok(Some((array, 17))));
/// ```
#[derive(Debug)]
pub struct ReplyDecoder {
    bulk_bytes_max: usize,
    /// Where the next head or body begins in the input.
    position: usize,
    /// How much of the line that begins at `position` was searched for its end in vain.
    searched: usize,
    /// Where the body that begins at `position` and its line end; 0 while its head is not read.
    needed: usize,
    /// How many replies each open aggregate still lacks, the outermost first.
    open: Vec<usize>,
}

/// Aggregates may be nested this deep; a reply that goes deeper is refused.
pub const DEPTH_MAX: usize = 32;

/// The longest line, in bytes; a reply with a longer one is refused. Redis's own, quoting a client, stay far below.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A whole reply may have the bytes of this many of the longest bulks, and [`REPLY_BYTES_SPARE`]; a longer one is
/// refused.
const REPLY_BULKS_MAX: usize = 4;

/// The shortest reply is a null.
const REPLY_BYTES_MIN: usize = b"_\r\n".len();

/// What any reply may have, however short bulks must be.
const REPLY_BYTES_SPARE: usize = 1 << 20;

impl ReplyDecoder {
    /// A decoder for a new connection, which refuses bulks longer than `bulk_bytes_max`.
    pub fn new(bulk_bytes_max: usize) -> Self {
        Self { bulk_bytes_max, position: 0, searched: 0, needed: 0, open: Vec::new() }
    }

    /// Decodes one reply, and returns it with how many bytes it takes, or `None` as long as it is not whole.
    ///
    /// `input` begins at the reply's first byte, each time, and is no shorter than the last time. While a bulk is
    /// arriving, asking again costs a comparison.
    ///
    /// # Panics
    ///
    /// May panic if `input` is shorter than the last time, and the reply was not whole then.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Value<'a>, usize)>, ReplyError> {
        let found = self.find_end(input);
        if !matches!(found, Ok(None)) {
            self.advance_to(0);
            self.needed = 0;
            self.open.clear();
        }
        let Some(end) = found? else { return Ok(None) };
        let value = Builder { rest: &input[..end] }.build()?;
        Ok(Some((value, end)))
    }

    /// How many bytes of input, from the reply's first, are announced at least: the end of the bulk that is arriving,
    /// or 0 where no length is known. It is the server's word: reserve for it within bounds.
    pub fn bytes_needed(&self) -> usize {
        self.needed
    }

    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        loop {
            if input.len() < self.needed {
                return Ok(None);
            }
            let passed = if self.needed > 0 { self.pass_body(input)? } else { self.pass_head(input)? };
            match passed {
                Passed::Nothing => return Ok(None),
                Passed::Head => {}
                Passed::Reply if self.close() => return Ok(Some(self.position)),
                Passed::Reply => {}
            }
        }
    }

    fn pass_body(&mut self, input: &[u8]) -> Result<Passed, ReplyError> {
        if !input[..self.needed].ends_with(LINE_END) {
            return Err(ReplyError::NoLineEnd);
        }
        self.advance_to(self.needed);
        self.needed = 0;
        Ok(Passed::Reply)
    }

    fn pass_head(&mut self, input: &[u8]) -> Result<Passed, ReplyError> {
        let rest = &input[self.position..];
        let Some(line) = find_line(rest, self.searched)? else {
            self.searched = rest.len().saturating_sub(1);
            return Ok(Passed::Nothing);
        };
        self.advance_to(self.position + line.len() + LINE_END.len());
        if self.position > self.reply_bytes_max() {
            return Err(ReplyError::TooBig);
        }
        match parse_head(line)? {
            Head::Whole(_) => Ok(Passed::Reply),
            Head::Bytes(length, _) => self.expect_body(length),
            Head::Map(pairs) => self.open(pairs.saturating_mul(2)),
            Head::Aggregate(count, _) => self.open(count),
        }
    }

    fn expect_body(&mut self, length: usize) -> Result<Passed, ReplyError> {
        let needed = self.position.saturating_add(length).saturating_add(LINE_END.len());
        if length > self.bulk_bytes_max || needed > self.reply_bytes_max() {
            return Err(ReplyError::TooBig);
        }
        self.needed = needed;
        Ok(Passed::Head)
    }

    fn open(&mut self, count: usize) -> Result<Passed, ReplyError> {
        if self.open.len() == DEPTH_MAX {
            return Err(ReplyError::TooDeep);
        }
        if self.position.saturating_add(count.saturating_mul(REPLY_BYTES_MIN)) > self.reply_bytes_max() {
            return Err(ReplyError::TooBig);
        }
        if count == 0 {
            return Ok(Passed::Reply);
        }
        self.open.push(count);
        Ok(Passed::Head)
    }

    /// Counts a reply within the aggregates that it ends, and tells whether none is left open.
    fn close(&mut self) -> bool {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }

    fn advance_to(&mut self, position: usize) {
        self.position = position;
        self.searched = 0;
    }

    fn reply_bytes_max(&self) -> usize {
        self.bulk_bytes_max.saturating_mul(REPLY_BULKS_MAX).saturating_add(REPLY_BYTES_SPARE)
    }
}

/// Appends a request, the command's name first.
///
/// ```
/// let mut out = Vec::new();
/// shared::resp::encode_request(&[b"GET", b"key"], &mut out);
/// assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
/// ```
pub fn encode_request(arguments: &[&[u8]], out: &mut Vec<u8>) {
    append_integer_line(b'*', arguments.len(), out);
    for argument in arguments {
        append_bulk(b'$', argument, out);
    }
}

/// What the walk over the input came past.
enum Passed {
    /// Nothing, as more bytes are needed.
    Nothing,
    /// The head of a bulk or an aggregate.
    Head,
    /// The end of a reply, be it within another.
    Reply,
}

/// Builds the value of a reply that was found whole.
struct Builder<'a> {
    rest: &'a [u8],
}

impl<'a> Builder<'a> {
    /// The recursion goes as deep as the walk allowed, and room is made for replies that the walk came past.
    fn build(&mut self) -> Result<Value<'a>, ReplyError> {
        let line = find_line(self.rest, 0)?.ok_or(ReplyError::NoLineEnd)?;
        self.rest = &self.rest[line.len() + LINE_END.len()..];
        match parse_head(line)? {
            Head::Whole(value) => Ok(value),
            Head::Bytes(length, value) => value(self.take_body(length)).ok_or(ReplyError::Malformed),
            Head::Map(pairs) => (0..pairs)
                .map(|_| Ok((self.build()?, self.build()?)))
                .collect::<Result<_, _>>()
                .map(Value::Map),
            Head::Aggregate(count, value) => {
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.build()?);
                }
                Ok(value(items))
            }
        }
    }

    fn take_body(&mut self, length: usize) -> &'a [u8] {
        let (body, rest) = self.rest.split_at(length);
        self.rest = &rest[LINE_END.len()..];
        body
    }
}

/// The first line of a reply, understood.
enum Head<'a> {
    /// The line is the reply.
    Whole(Value<'a>),
    /// So many bytes follow, to be made this value of.
    Bytes(usize, fn(&'a [u8]) -> Option<Value<'a>>),
    /// So many pairs of replies follow.
    Map(usize),
    /// So many replies follow, to be made this value of.
    Aggregate(usize, fn(Vec<Value<'a>>) -> Value<'a>),
}

fn parse_head(line: &[u8]) -> Result<Head<'_>, ReplyError> {
    let [marker, text @ ..] = line else { return Err(ReplyError::UnknownType(b'\r')) };
    let head = match marker {
        b'$' | b'*' if text == b"-1" => Some(Head::Whole(Value::Null)),
        b'$' => parse_length(text).map(|length| Head::Bytes(length, |body| Some(Value::Bulk(body)))),
        b'!' => parse_length(text).map(|length| Head::Bytes(length, |body| Some(Value::Error(body)))),
        b'=' => parse_length(text).map(|length| Head::Bytes(length, parse_verbatim)),
        b'*' => parse_length(text).map(|count| Head::Aggregate(count, Value::Array)),
        b'~' => parse_length(text).map(|count| Head::Aggregate(count, Value::Set)),
        b'>' => parse_length(text).map(|count| Head::Aggregate(count, Value::Push)),
        b'%' => parse_length(text).map(Head::Map),
        _ => parse_whole(*marker, text)?.map(Head::Whole),
    };
    head.ok_or(ReplyError::Malformed)
}

/// Reads a reply of one line; `None` if its text is malformed.
fn parse_whole(marker: u8, text: &[u8]) -> Result<Option<Value<'_>>, ReplyError> {
    Ok(match marker {
        b'+' => Some(Value::Simple(text)),
        b'-' => Some(Value::Error(text)),
        b':' => parse_integer(text).map(Value::Integer),
        b',' => parse_double(text).map(Value::Double),
        b'#' => parse_boolean(text).map(Value::Boolean),
        b'(' => is_big_number(text).then_some(Value::BigNumber(text)),
        b'_' => text.is_empty().then_some(Value::Null),
        other => return Err(ReplyError::UnknownType(other)),
    })
}

fn parse_length(text: &[u8]) -> Option<usize> {
    parse_integer(text).and_then(|length| usize::try_from(length).ok())
}

fn parse_verbatim(body: &[u8]) -> Option<Value<'_>> {
    match body {
        [_, _, _, b':', text @ ..] => Some(Value::Verbatim(text)),
        _ => None,
    }
}

fn parse_double(text: &[u8]) -> Option<f64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn parse_boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

const LINE_END: &[u8] = b"\r\n";

/// Finds the line at the start of `input`, without its end, once that is there; the first `searched` bytes hold none.
fn find_line(input: &[u8], searched: usize) -> Result<Option<&[u8]>, ReplyError> {
    let found = memchr(b'\r', &input[searched..]).map(|at| searched + at);
    if found.unwrap_or(input.len()) > LINE_BYTES_MAX {
        return Err(ReplyError::NoLineEnd);
    }
    let Some(at) = found else { return Ok(None) };
    match input.get(at + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(&input[..at])),
        Some(_) => Err(ReplyError::NoLineEnd),
    }
}

#[cfg(test)]
mod tests;
