//! Integers as the protocol writes them: decimal, without plus sign, leading zero or blank.

/// The longest text of an `i64`, its sign included.
const TEXT_BYTES_MAX: usize = 20;

/// Reads an integer as strictly as Redis does: `007`, `+7`, `-0` and ` 7` are none.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    if text == b"0" {
        return Some(0);
    }
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) {
        return None;
    }
    let mut value = 0i64;
    for &digit in digits {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        if !(0..=9).contains(&digit) {
            return None;
        }
        // Counted downwards, as the least integer has no positive twin.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Appends a line of a marker and an integer: `:7\r\n`, `$3\r\n`, `*2\r\n`.
#[inline]
pub(super) fn append_integer_line(marker: u8, value: impl itoa::Integer, out: &mut Vec<u8>) {
    let mut text = itoa::Buffer::new();
    out.push(marker);
    out.extend_from_slice(text.format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a bulk: its length on a line, its bytes, and the end of the line.
#[inline]
pub(super) fn append_bulk(marker: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2 + TEXT_BYTES_MAX + 3);
    append_integer_line(marker, bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_to_their_limits() {
        for value in [0, 1, -1, 9, 10, 512, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let spellings = [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "1.0",
            "--1",
            ":",
            "9223372036854775808",
            "-9223372036854775809",
            "92233720368547758070",
            "1000000000000000000000",
        ];
        for text in spellings {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
