//! Inline requests: a line of blank-separated words, as a person types them into `telnet`.
//!
//! ```text
//! word      = *plain ( blank / end / quoted )         a quote may begin inside a word, and ends it
//! quoted    = '"' *( any / escape ) '"' / "'" *( any / "\'" ) "'"   a blank or the end must follow
//! escape    = "\x" 2hex / "\n" / "\r" / "\t" / "\b" / "\a" / "\" any
//! ```
//!
//! Words are copied out of the line, as an escape makes them differ from it. Only a zero byte is treated otherwise
//! than in Redis, which stops reading there: here it is a byte like any other.

use super::request::{RequestError, Span};

/// Splits a line without its end into words: their bytes go to `text`, where each one lies to `words`.
pub(super) fn split_line(line: &[u8], text: &mut Vec<u8>, words: &mut Vec<Span>) -> Result<(), RequestError> {
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = text.len();
        rest = skip_blanks(append_word(rest, text)?);
        words.push(Span::new(start, text.len()));
    }
    Ok(())
}

fn append_word<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Result<&'l [u8], RequestError> {
    loop {
        match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', quoted @ ..] => return append_double_quoted(quoted, text),
            [b'\'', quoted @ ..] => return append_single_quoted(quoted, text),
            [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

fn append_double_quoted<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Result<&'l [u8], RequestError> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(RequestError::UnbalancedQuotes),
            [b'"', after @ ..] => return end_word(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) << 4 | hex_digit(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn append_single_quoted<'l>(mut rest: &'l [u8], text: &mut Vec<u8>) -> Result<&'l [u8], RequestError> {
    loop {
        let (byte, after) = match rest {
            [] => return Err(RequestError::UnbalancedQuotes),
            [b'\'', after @ ..] => return end_word(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

/// Checks that a closing quote ends its word.
fn end_word(after: &[u8]) -> Result<&[u8], RequestError> {
    match after {
        [byte, ..] if !is_blank(*byte) => Err(RequestError::UnbalancedQuotes),
        _ => Ok(after),
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
    &line[blanks..]
}

/// C's `isspace`, which counts the vertical tab.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &[u8], expected: &[&[u8]]) {
        let (mut text, mut words) = (Vec::new(), Vec::new());
        split_line(line, &mut text, &mut words).expect("balanced");
        let words: Vec<&[u8]> = words.iter().map(|word| &text[word.range()]).collect();
        assert_eq!(words, expected);
    }

    #[track_caller]
    fn check_unbalanced(line: &[u8]) {
        let split = split_line(line, &mut Vec::new(), &mut Vec::new());
        assert_eq!(split, Err(RequestError::UnbalancedQuotes));
    }

    #[test]
    fn blanks_separate_words() {
        check(b"", &[]);
        check(b" \t\x0b\x0c ", &[]);
        check(b"PING", &[b"PING"]);
        check(b"  SET  key\tvalue ", &[b"SET", b"key", b"value"]);
    }

    #[test]
    fn a_word_goes_on_over_vertical_tab_and_form_feed() {
        check(b"a\x0bb\x0cc d", &[b"a\x0bb\x0cc", b"d"]);
    }

    #[test]
    fn double_quotes_take_escapes() {
        check(br#""a b" "\x41\xfF\n\r\t\b\a\"\\\q""#, &[b"a b", b"A\xff\n\r\t\x08\x07\"\\q"]);
        check(br#""\x4" "\xg1""#, &[b"x4", b"xg1"]);
        check(br#""""#, &[b""]);
    }

    #[test]
    fn single_quotes_take_only_the_quote_as_escape() {
        check(br"'a b' '\n\x41' 'it\'s' ''", &[b"a b", br"\n\x41", b"it's", b""]);
    }

    #[test]
    fn a_quote_may_begin_inside_a_word() {
        check(br#"a"b c" d'e f'"#, &[b"ab c", b"de f"]);
    }

    #[test]
    fn a_quote_must_close_and_end_its_word() {
        check_unbalanced(br#""a"#);
        check_unbalanced(br"'a");
        check_unbalanced(br#""a\""#);
        check_unbalanced(b"\"a\\");
        check_unbalanced(br#""a"b"#);
        check_unbalanced(br"'a''b'");
    }
}
