//! Passing over cells in few instructions: a new field of a hash has all others to pass.
//!
//! Cells of the usual forms are passed that are another's for certain. At any other, who looks for a cell reads it in full.

use shared::change::Kind;

use super::bytes::Reader;
use super::name::{self, FORM_BITS, Name};
use super::seat::Wanted;
use super::spots::Spots;
use super::written::{self, BYTES, FLOAT, WHOLE_FLOAT};
use super::{FULL, HAS_SUMS};

/// Where to stop, even if what is looked for is not there.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// At the end.
    End,
    /// At whole numbers above this one.
    Int(i64),
    /// At scores that are not below this one.
    Score(f64),
}

impl<'b> Spots<'b> {
    /// Passes cells that are not wanted. Returns the name of the last one, if that is bytes that are all there.
    pub(super) fn skim(&mut self, wanted: &Wanted<'_>, until: Until) -> Option<Name<'b>> {
        if self.before.tag & HAS_SUMS != 0 || self.at == 0 || self.before.kind() == Kind::List {
            return None;
        }
        match (self.before.written(), until) {
            (1 | 2, Until::End | Until::Int(_)) => self.skim_by(wanted, until, |_, at| Some(at)),
            (BYTES | WHOLE_FLOAT, Until::End | Until::Int(_)) => self.skim_by(wanted, until, written::end),
            (FLOAT, Until::End) => self.skim_by(wanted, until, |_, at| Some(at + size_of::<f64>())),
            (FLOAT | WHOLE_FLOAT, Until::Score(limit)) => {
                let code = self.before.written();
                self.skim_by(wanted, until, |cells, at| written::end_below(code, cells, at, limit))
            }
            _ => None,
        }
    }

    /// As [`Spots::skim`]; `end` tells where a value ends, if it is to be passed.
    #[inline(always)]
    fn skim_by(
        &mut self,
        wanted: &Wanted<'_>,
        until: Until,
        end: impl Fn(&[u8], usize) -> Option<usize>,
    ) -> Option<Name<'b>> {
        let (cells, base) = (self.block.cells, self.block.base.len());
        let (mut at, mut timestamp, mut number) = (self.at, self.before.timestamp, self.before.name.number);
        let mut last = NO_NAME;
        // The last few bytes, where one cannot read so many at once, are left to others.
        while let Some(chunk) = cells.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            let (stamp, form) = ((word as u8) >> FORM_BITS, word as u8 & name::FORM_MASK);
            if stamp == FULL {
                break;
            }
            let name_at = at + 1 + usize::from(stamp);
            let (value_at, left, name);
            if form > name::BASED_LONG {
                let mut reader = Reader::new(cells, name_at);
                let int = Name::read_int(form, number, &mut reader);
                if wanted.int == Some(int) || matches!(until, Until::Int(limit) if int > limit) {
                    break;
                }
                (value_at, left, name) = (reader.at(), int as u64, NO_NAME);
            } else {
                let Some((shared, from, length)) = bytes_at(form, cells, name_at, base) else { break };
                let Some(bytes) = cells.get(from..from + length) else { break };
                // A set's whole numbers come before these.
                if wanted.ends_with(shared, bytes) || matches!(until, Until::Int(_)) {
                    break;
                }
                (value_at, left) = (from + length, name::NO_NUMBER);
                name = if shared == 0 { (from, length) } else { NO_NAME };
            }
            let Some(end) = end(cells, value_at) else { break };
            if stamp != 0 {
                let bits = 8 * u32::from(stamp);
                let later = ((word >> 8) << (u64::BITS - bits)) as i64 >> (u64::BITS - bits);
                timestamp = timestamp.wrapping_add(later as u64);
            }
            (at, number, last) = (end, left, name);
        }
        if at == self.at {
            return None;
        }
        (self.at, self.before.timestamp, self.before.name.number) = (at, timestamp, number);
        (last != NO_NAME).then(|| Name::Raw(&cells[last.0..last.0 + last.1]))
    }
}

/// In the place of a name's beginning and length.
const NO_NAME: (usize, usize) = (0, usize::MAX);

/// How much of the base a name of bytes leaves out, where the rest is and how long; none if that is very long.
#[inline(always)]
fn bytes_at(form: u8, cells: &[u8], at: usize, base: usize) -> Option<(usize, usize, usize)> {
    if form < name::RAW_LONG {
        return Some((0, at, usize::from(form)));
    }
    if (name::BASED..name::BASED_LONG).contains(&form) {
        return Some((base, at, usize::from(form - name::BASED)));
    }
    let first = usize::from(*cells.get(at)?);
    if form == name::BASED_LONG {
        return Some((first, at + 2, usize::from(*cells.get(at + 1)?)));
    }
    // Else its length is in more bytes than one.
    (first < 0x80).then_some((0, at + 1, first))
}
