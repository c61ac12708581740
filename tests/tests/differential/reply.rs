//! Replies, as they are sent: unlike a client's library this keeps apart what RESP2 and RESP3 do, down to which null it
//! is and how a double is spelt. It shares no code with the node's own codec, which is under test here.

use std::fmt;
use std::io::{self, BufRead};

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// A line with its type's sign: a status, an error, a number or a null.
    Line(Vec<u8>),
    /// A string with its type's sign.
    Bulk(u8, Vec<u8>),
    /// An array, a set, a map or a push with its type's sign; a map's keys and values take turns.
    Many(u8, Vec<Self>),
}

impl Reply {
    /// Reads one. The servers that are asked are our own, so nothing here is bounded but by what they hold.
    pub(crate) fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n").filter(|line| !line.is_empty()) else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection has ended within a reply",
            ));
        };
        let length = std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse::<usize>().ok());
        match (line[0], length) {
            (sign @ (b'$' | b'='), Some(length)) => {
                let mut bytes = vec![0; length + 2];
                input.read_exact(&mut bytes)?;
                bytes.truncate(length);
                // Redis forgets a score's sign of zero, or not, by how it keeps the set; the node always does.
                Ok(Self::Bulk(sign, if bytes == b"-0" { b"0".to_vec() } else { bytes }))
            }
            (sign @ (b'*' | b'~' | b'>' | b'%'), Some(length)) => {
                let length = if sign == b'%' { 2 * length } else { length };
                let items = (0..length).map(|_| Self::read(input)).collect::<io::Result<_>>()?;
                Ok(Self::Many(sign, items))
            }
            _ if line == b",-0" => Ok(Self::Line(b",0".to_vec())),
            _ => Ok(Self::Line(line.to_vec())),
        }
    }

    /// Whether it is the line, its sign included.
    pub(crate) fn is(&self, line: &str) -> bool {
        matches!(self, Self::Line(bytes) if bytes == line.as_bytes())
    }

    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Line(bytes) if bytes.starts_with(b"-"))
    }

    /// An integer's value.
    pub(crate) fn integer(&self) -> Option<i64> {
        let Self::Line(line) = self else { return None };
        std::str::from_utf8(line.strip_prefix(b":")?).ok()?.parse().ok()
    }

    /// What it holds, if it holds several.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Many(_, items) => Some(items),
            _ => None,
        }
    }

    /// A string's bytes, of either sort.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Line(line) => line.strip_prefix(b"+"),
            Self::Bulk(_, bytes) => Some(bytes),
            Self::Many(..) => None,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(out, "{}", line.escape_ascii()),
            Self::Bulk(sign, bytes) => write!(out, "{}\"{}\"", char::from(*sign), bytes.escape_ascii()),
            Self::Many(sign, items) => {
                write!(out, "{}[", char::from(*sign))?;
                for (place, item) in items.iter().enumerate() {
                    write!(out, "{}{item}", if place == 0 { "" } else { ", " })?;
                }
                write!(out, "]")
            }
        }
    }
}
