//! Doubles as Redis 7.0 prints them: C's `%.17g`, which every double survives unchanged.

use std::io::Write;

/// The significant digits of `%.17g`.
const DIGITS: usize = 17;

/// Integers below this have at most [`DIGITS`] digits, so `%.17g` prints them plainly.
const PLAIN_INTEGER_END: f64 = 1e17;

/// A double as text, the way Redis 7.0 prints it.
///
/// ```
/// use shared::resp::format_double;
///
/// assert_eq!(format_double(3.0), "3");
/// assert_eq!(format_double(0.1), "0.10000000000000001");
/// assert_eq!(format_double(f64::NEG_INFINITY), "-inf");
/// ```
pub fn format_double(value: f64) -> String {
    let mut text = Vec::new();
    append_double(value, &mut text);
    String::from_utf8(text).expect("the text of a double is ASCII")
}

/// Appends the text of [`format_double`], without allocating for it.
pub fn append_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if value.abs() < PLAIN_INTEGER_END && value as i64 as f64 == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        append_digits(value, out);
    }
}

/// Appends a finite double, rounded to [`DIGITS`] digits, without trailing zeros.
fn append_digits(value: f64, out: &mut Vec<u8>) {
    if value < 0.0 {
        out.push(b'-');
    }
    // "d.dddddddddddddddde-308"
    let mut text = [0; DIGITS + 8];
    let mut free = &mut text[..];
    write!(free, "{:.*e}", DIGITS - 1, value.abs()).expect("17 digits and an exponent fit");
    let used = DIGITS + 8 - free.len();
    let (mantissa, exponent) = split_exponent(&text[..used]);
    let mut digits = [mantissa[0]; DIGITS];
    digits[1..].copy_from_slice(&mantissa[2..]);
    let count = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    place_digits(&digits[..count], exponent, out);
}

/// Splits `1.5000000000000000e-7` at its `e`.
fn split_exponent(text: &[u8]) -> (&[u8], i32) {
    let at = text.iter().rposition(|byte| *byte == b'e').expect("the scientific form has an exponent");
    let exponent = str::from_utf8(&text[at + 1..]).ok().and_then(|digits| digits.parse().ok());
    (&text[..at], exponent.expect("an exponent is a small integer"))
}

/// Lays out digits, the first of which counts ten to the `exponent`, as C's `%g` does.
fn place_digits(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    match usize::try_from(exponent) {
        Ok(exponent) if exponent < DIGITS => {
            let whole = digits.len().min(exponent + 1);
            out.extend_from_slice(&digits[..whole]);
            out.resize(out.len() + exponent + 1 - whole, b'0');
            append_fraction(&digits[whole..], out);
        }
        Err(_) if exponent >= -4 => {
            out.extend_from_slice(&b"0.000"[..1 + exponent.unsigned_abs() as usize]);
            out.extend_from_slice(digits);
        }
        _ => {
            out.push(digits[0]);
            append_fraction(&digits[1..], out);
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("a vector takes all bytes");
        }
    }
}

fn append_fraction(digits: &[u8], out: &mut Vec<u8>) {
    if !digits.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[track_caller]
    fn check(value: f64, expected: &str) {
        assert_eq!(format_double(value), expected);
    }

    #[track_caller]
    fn check_with_sign(value: f64, expected: &str) {
        check(value, expected);
        check(-value, &format!("-{expected}"));
    }

    #[test]
    fn integers_are_plain_up_to_seventeen_digits() {
        check_with_sign(3.0, "3");
        check_with_sign(1_000_000.0, "1000000");
        check_with_sign(9_007_199_254_740_993.0, "9007199254740992");
        check_with_sign(99_999_999_999_999_984.0, "99999999999999984");
        check_with_sign(1e17, "1e+17");
        check_with_sign(123_456_789_012_345_680_000.0, "1.2345678901234568e+20");
    }

    #[test]
    fn fractions_have_up_to_seventeen_digits() {
        check_with_sign(0.1, "0.10000000000000001");
        check_with_sign(0.5, "0.5");
        check_with_sign(3.3, "3.2999999999999998");
        check_with_sign(1.5, "1.5");
        check_with_sign(100.25, "100.25");
        check_with_sign(1234567.891, "1234567.8910000001");
        check_with_sign(0.0001, "0.0001");
        check_with_sign(0.00012, "0.00012");
        check_with_sign(0.00001, "1.0000000000000001e-05");
    }

    #[test]
    fn a_tie_goes_to_the_even_digit() {
        check_with_sign(1e15 + 0.25, "1000000000000000.2");
        check_with_sign(1e15 + 0.75, "1000000000000000.8");
    }

    #[test]
    fn extremes_take_an_exponent() {
        check_with_sign(f64::MAX, "1.7976931348623157e+308");
        check_with_sign(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check_with_sign(5e-324, "4.9406564584124654e-324");
    }

    #[test]
    fn what_is_no_number_has_a_name() {
        check_with_sign(f64::INFINITY, "inf");
        check(f64::NAN, "nan");
        check(-f64::NAN, "nan");
        check_with_sign(0.0, "0");
    }

    proptest! {
        #[test]
        fn every_double_survives_its_text(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let back: f64 = format_double(value).parse().expect("a double");
            prop_assert!(back.to_bits() == bits || value.is_nan() && back.is_nan());
        }
    }
}
