//! Requests, decoded from a buffer that fills while they arrive.
//!
//! A request is an array of bulks, or a line of words with quotes. The buffer is the caller's: it
//! keeps the bytes of a request until the request is whole, and gives them from the first on each time. The decoder keeps
//! how far it got, so each byte is looked at once however small the pieces are, and the body of a bulk never is.
//!
//! ```text
//! *2\r\n  $3\r\n  GET\r\n  $5\r\n  key:1\r\n
//! count   header  body     header  body
//!         ^ position: all before it is decoded    ^ needed: where the body and its line end, once the header is read
//! ```
//!
//! As in Redis, a line of a length ends at its carriage return, and what stands in the place of the line feed, or of the
//! line end behind a body, is not looked at. Unlike Redis 7.0:
//! - A count of arguments is bounded by the limit rather than by 2^31.
//! - A line beyond the limit is refused even when its end arrives with it, so that pieces never matter.
//! - A zero byte ends no line.

use std::ops::Range;

use memchr::memchr;
use thiserror::Error;

use super::inline::split_line;
use super::integer::parse_integer;

/// What a client may send; beyond a limit its request is refused, and with it the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest argument, in bytes.
    pub bulk_bytes_max: usize,
    /// The most arguments of one request, the command's name included.
    pub arguments_max: usize,
    /// The longest inline request, and the longest line of a length, in bytes.
    pub inline_bytes_max: usize,
    /// The longest request as a whole, in bytes; at most 4 GiB, whatever is said here.
    pub request_bytes_max: usize,
}

impl RequestLimits {
    /// Places within a request are counted in 32 bits.
    fn clamped(self) -> Self {
        Self {
            request_bytes_max: self.request_bytes_max.min(SPAN_END_MAX),
            inline_bytes_max: self.inline_bytes_max.min(SPAN_END_MAX),
            ..self
        }
    }
}

impl Default for RequestLimits {
    /// The limits of Redis.
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 << 20,
            arguments_max: 1 << 20,
            inline_bytes_max: 64 << 10,
            request_bytes_max: 1 << 30,
        }
    }
}

/// Why a request is refused.
///
/// The client sent what is no request, or too much. Nothing of the request is known, and where the next one begins
/// neither: the connection takes the text as its last error reply and ends. The texts are those of Redis, without its
/// leading `ERR`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// The count of arguments is no integer or beyond the limit.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// The length of an argument is no integer, negative or beyond the limit.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// An argument begins with this byte.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NoBulk(u8),
    /// An inline request goes on and on.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// The line of the count of arguments goes on and on.
    #[error("Protocol error: too big mbulk count string")]
    TooBigCount,
    /// The line of an argument's length goes on and on.
    #[error("Protocol error: too big bulk count string")]
    TooBigLength,
    /// A quote of an inline request does not close, or closes within a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The arguments announced so far exceed the limit of a whole request, where Redis ends the connection silently.
    #[error("Protocol error: too big request")]
    TooBigRequest,
}

/// Decodes the requests of one connection, one after the other.
///
/// ```
/// use shared::resp::{RequestDecoder, RequestLimits};
///
/// let mut decoder = RequestDecoder::new(RequestLimits::default());
/// assert_eq!(decoder.decode(b"*2\r\n$3\r\nGET\r\n$5\r\nke"), Ok(None));
///
/// let input = b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\nPING\r\n";
/// assert_eq!(decoder.decode(input), Ok(Some(24)));
/// assert!(decoder.arguments(input).eq([b"GET".as_slice(), b"key:1"]));
///
/// assert_eq!(decoder.decode(&input[24..]), Ok(Some(6)));
/// assert!(decoder.arguments(&input[24..]).eq([b"PING"]));
/// ```
#[derive(Debug)]
pub struct RequestDecoder {
    limits: RequestLimits,
    stage: Stage,
    /// Where the next header or body begins in the input.
    position: usize,
    /// How much of the line that begins at `position` was searched for its end in vain.
    searched: usize,
    /// Where the body that begins at `position` and its line end; 0 while its header is not read.
    needed: usize,
    /// How many arguments are still to come.
    missing: usize,
    /// Where the arguments lie, in the input or in `words`. Grows as they arrive, never by what is announced.
    arguments: Vec<Span>,
    /// The words of an inline request, their quotes resolved.
    words: Vec<u8>,
}

/// What the next byte of input belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next request.
    Start,
    /// An inline request.
    Inline,
    /// The line of the count of arguments.
    Count,
    /// An argument.
    Bulks,
}

/// Between requests no more room for arguments is kept than this, so that one large request does not cost memory for
/// the rest of a connection.
const ARGUMENTS_KEPT: usize = 1024;

impl RequestDecoder {
    /// A decoder for a new connection.
    pub fn new(limits: RequestLimits) -> Self {
        let limits = limits.clamped();
        Self {
            limits,
            stage: Stage::Start,
            position: 0,
            searched: 0,
            needed: 0,
            missing: 0,
            arguments: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Changes the limits, for what is not yet read.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits.clamped();
    }

    /// Decodes one request, and returns how many bytes it takes, or `None` as long as it is not whole.
    ///
    /// `input` begins at the request's first byte, each time, and is no shorter than the last time. A request without
    /// arguments, an empty line or an empty array, means nothing and is to be skipped.
    ///
    /// # Panics
    ///
    /// May panic if `input` is shorter than the last time, and the request was not whole then.
    pub fn decode(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        let decoded = self.advance(input);
        if !matches!(decoded, Ok(None)) {
            self.stage = Stage::Start;
        }
        decoded
    }

    /// The arguments of the request that was just decoded, from the same input.
    ///
    /// # Panics
    ///
    /// May panic if `input` is shorter than the request.
    pub fn arguments<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let source = if self.words.is_empty() { input } else { &self.words };
        self.arguments.iter().map(|argument| &source[argument.range()])
    }

    /// How many arguments the request that was just decoded has.
    pub fn argument_count(&self) -> usize {
        self.arguments.len()
    }

    /// How many bytes of input, from the request's first, are announced at least: the end of the argument that is
    /// arriving, or 0 where no length is known. It is the client's word: reserve for it within bounds.
    pub fn bytes_needed(&self) -> usize {
        self.needed
    }

    fn advance(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        if self.stage == Stage::Start {
            let Some(first) = input.first() else { return Ok(None) };
            self.begin(*first);
        }
        if self.stage == Stage::Inline {
            return self.decode_inline(input);
        }
        if self.stage == Stage::Count {
            let Some(count) = self.decode_count(input)? else { return Ok(None) };
            self.missing = count;
            self.stage = Stage::Bulks;
        }
        self.decode_bulks(input)
    }

    #[inline]
    fn begin(&mut self, first: u8) {
        self.stage = if first == b'*' { Stage::Count } else { Stage::Inline };
        self.position = 0;
        self.searched = 0;
        self.needed = 0;
        self.arguments.clear();
        self.words.clear();
        if self.arguments.capacity() > ARGUMENTS_KEPT {
            self.arguments.shrink_to(ARGUMENTS_KEPT);
        }
    }

    #[cold]
    fn decode_inline(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        let Some(line) = self.find_line(b'\n', input, RequestError::TooBigInline)? else { return Ok(None) };
        let words = line.strip_suffix(b"\r").unwrap_or(line);
        split_line(words, &mut self.words, &mut self.arguments)?;
        Ok(Some(line.len() + 1))
    }

    #[inline]
    fn decode_count(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        if let Some((count, end)) = short_length(b'*', input, 0)
            && count <= self.limits.arguments_max
        {
            self.pass_header(end);
            return Ok(Some(count));
        }
        self.decode_long_count(input)
    }

    #[cold]
    fn decode_long_count(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        let Some(line) = self.find_header(input, RequestError::TooBigCount)? else { return Ok(None) };
        let count = parse_integer(&line[1..]).ok_or(RequestError::InvalidCount)?;
        // A negative count is an array of nothing.
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        if count > self.limits.arguments_max {
            return Err(RequestError::InvalidCount);
        }
        self.pass_header(self.position + line.len() + LINE_END);
        Ok(Some(count))
    }

    #[inline]
    fn decode_bulks(&mut self, input: &[u8]) -> Result<Option<usize>, RequestError> {
        if self.needed == 0 {
            self.decode_short_bulks(input);
        }
        while self.missing > 0 {
            if self.needed == 0 && !self.decode_length(input)? {
                return Ok(None);
            }
            if input.len() < self.needed {
                return Ok(None);
            }
            self.arguments.push(Span::new(self.position, self.needed - LINE_END));
            self.position = self.needed;
            self.needed = 0;
            self.missing -= 1;
        }
        Ok(Some(self.position))
    }

    /// Decodes the next arguments as long as they are short and there whole: in a small request, all. Whatever stops it
    /// is for the caller to look at.
    #[inline]
    fn decode_short_bulks(&mut self, input: &[u8]) {
        let end_max = input.len().min(self.limits.request_bytes_max);
        // Held in locals, as the compiler does not keep fields in registers beyond a call.
        let (mut position, mut missing) = (self.position, self.missing);
        while missing > 0
            && let Some((length, start)) = short_length(b'$', input, position)
            && start + length + LINE_END <= end_max
            && length <= self.limits.bulk_bytes_max
        {
            self.arguments.push(Span::new(start, start + length));
            position = start + length + LINE_END;
            missing -= 1;
        }
        if missing < self.missing {
            self.pass_header(position);
            self.missing = missing;
        }
    }

    /// Decodes the header of an argument, and tells whether it is there.
    fn decode_length(&mut self, input: &[u8]) -> Result<bool, RequestError> {
        let Some(line) = self.find_header(input, RequestError::TooBigLength)? else { return Ok(false) };
        let length = match line {
            [b'$', digits @ ..] => parse_integer(digits).ok_or(RequestError::InvalidLength)?,
            _ => return Err(RequestError::NoBulk(input[self.position])),
        };
        let length = usize::try_from(length).map_err(|_| RequestError::InvalidLength)?;
        self.pass_header(self.position + line.len() + LINE_END);
        self.expect_body(length).map(|()| true)
    }

    #[inline]
    fn expect_body(&mut self, length: usize) -> Result<(), RequestError> {
        if length > self.limits.bulk_bytes_max {
            return Err(RequestError::InvalidLength);
        }
        let needed = self.position.saturating_add(length).saturating_add(LINE_END);
        if needed > self.limits.request_bytes_max {
            return Err(RequestError::TooBigRequest);
        }
        self.needed = needed;
        Ok(())
    }

    /// Finds the header at `position`, without its line end, once that is there whole.
    fn find_header<'i>(
        &mut self,
        input: &'i [u8],
        too_big: RequestError,
    ) -> Result<Option<&'i [u8]>, RequestError> {
        let line = self.find_line(b'\r', input, too_big)?;
        Ok(line.filter(|line| input.len() - self.position >= line.len() + LINE_END))
    }

    #[inline]
    fn pass_header(&mut self, end: usize) {
        self.position = end;
        self.searched = 0;
    }

    /// Finds the line at `position` up to its `end`, searching no byte twice.
    fn find_line<'i>(
        &mut self,
        end: u8,
        input: &'i [u8],
        too_big: RequestError,
    ) -> Result<Option<&'i [u8]>, RequestError> {
        let rest = &input[self.position..];
        let found = memchr(end, &rest[self.searched..]).map(|at| self.searched + at);
        self.searched = found.unwrap_or(rest.len());
        if self.searched > self.limits.inline_bytes_max {
            return Err(too_big);
        }
        Ok(found.map(|at| &rest[..at]))
    }
}

/// The second argument of the request that `input` begins with, which is the key of most commands, and where the next request
/// begins: for who looks ahead. Cheaper than decoding, and for usual requests only: none unless it is whole, and its lengths
/// short.
///
/// ```
/// use shared::resp::glance;
///
/// assert_eq!(glance(b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\nPING\r\n"), Some((b"key:1".as_slice(), 24)));
/// assert_eq!(glance(b"*1\r\n$4\r\nPING\r\n"), Some((b"".as_slice(), 14)));
/// assert_eq!(glance(b"*2\r\n$3\r\nGET\r\n$5\r\nke"), None);
/// ```
#[inline]
pub fn glance(input: &[u8]) -> Option<(&[u8], usize)> {
    let (count, mut position) = short_length(b'*', input, 0)?;
    let mut second = &b""[..];
    for nth in 0..count {
        let (length, start) = short_length(b'$', input, position)?;
        position = start + length + LINE_END;
        if nth == 1 {
            second = input.get(start..start + length)?;
        }
    }
    (position <= input.len()).then_some((second, position))
}

/// Where an argument lies; half the size of a `Range`, as there may be a million of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// The end of the last argument that a [`Span`] can describe.
const SPAN_END_MAX: usize = u32::MAX as usize;

impl Span {
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= SPAN_END_MAX);
        Self { start: start as u32, end: end as u32 }
    }

    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The bytes `\r\n`.
const LINE_END: usize = 2;

/// Reads a header of a length of up to three digits, and tells where it ends, if it is there whole: the usual case,
/// without a search. Anything else is left to the long way, which tells what is wrong with it.
#[inline]
fn short_length(marker: u8, input: &[u8], start: usize) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    let (length, digits) = match *input.get(start..)? {
        [first, a @ b'0'..=b'9', b'\r', _, ..] if first == marker => (digit(a), 1),
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] if first == marker => {
            (digit(a) * 10 + digit(b), 2)
        }
        [first, a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', _, ..] if first == marker => {
            (digit(a) * 100 + digit(b) * 10 + digit(c), 3)
        }
        _ => return None,
    };
    Some((length, start + 1 + digits + LINE_END))
}

#[cfg(test)]
mod tests;
