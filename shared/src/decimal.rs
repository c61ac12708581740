//! Decimal numbers with 17 digits behind the point, which HINCRBYFLOAT and INCRBYFLOAT add up.
//!
//! Problem: Redis reckons these in C's `long double` and writes each result as text, rounded to 17 digits behind the
//! point. Running sums of binary floats, added up in another order, would round otherwise: they would neither come to
//! Redis's texts nor be exact.
//!
//! Idea: every such text is a whole number of units of 10^-17. So what an increment has really added, rounding and all,
//! is the difference between the text that it wrote and the one that it found, and that is a whole number of units, too.
//!
//! Rule: a contribution's sum is a whole number of units. Whole numbers add up exactly and in any order; and one client
//! finds, text for text, what Redis would have written.

use std::fmt;
use std::ops::Add;

/// The digits behind the point.
const PLACES: u32 = 17;

/// So many units are one.
const SCALE: i128 = 10_i128.pow(PLACES);

/// Texts of this length and beyond are no numbers, as in Redis.
const TEXT_BYTES_END: usize = 5 * 1024;

/// More digits than this before the point are too many.
const WHOLE_DIGITS_MAX: i64 = 39;

/// An exact sum of units and whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    whole: i128,
    /// What is to be added to it: not negative, and less than one.
    units: i128,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self::of_whole(0);

    /// This whole number.
    #[must_use]
    pub const fn of_whole(whole: i128) -> Self {
        Self { whole, units: 0 }
    }

    /// So many units of 10^-17.
    #[must_use]
    pub const fn of_units(units: i128) -> Self {
        Self { whole: units.div_euclid(SCALE), units: units.rem_euclid(SCALE) }
    }

    /// The number of units that reach from `other` to this, if 128 bits hold it: it is then below about 1.7e21.
    #[must_use]
    pub fn units_above(self, other: Self) -> Option<i128> {
        let whole = self.whole.checked_sub(other.whole)?;
        whole.checked_mul(SCALE)?.checked_add(self.units - other.units)
    }

    /// The whole number that it is, if it is one.
    #[must_use]
    pub const fn whole(self) -> Option<i128> {
        if self.units == 0 { Some(self.whole) } else { None }
    }

    /// About what it is.
    #[must_use]
    pub fn nearest(self) -> f64 {
        self.whole as f64 + self.units as f64 / SCALE as f64
    }

    /// Reads digits with perhaps a sign, a point and an exponent. What lies beyond 17 digits behind the point is rounded, of
    /// a tie the even one taken. None if it is something else, or too large.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_END {
            return None;
        }
        let (is_negative, text) = split_sign(text);
        let digits = Digits::read(text)?;
        let Some(point) = digits.point() else { return Some(Self::ZERO) };
        if point > WHOLE_DIGITS_MAX {
            return None;
        }
        let append = |number: i128, place| number.checked_mul(10)?.checked_add(i128::from(digits.at(place)));
        let whole = (0..point).try_fold(0, append)?;
        let behind = point.saturating_add(PLACES.into());
        let units = (point..behind).try_fold(0, append)?;
        let magnitude =
            Self { whole, units } + Self::of_units(digits.rounds_up(behind, units % 2 == 1).into());
        Some(if is_negative { magnitude.negated() } else { magnitude })
    }

    const fn negated(self) -> Self {
        match self.units {
            0 => Self::of_whole(self.whole.saturating_neg()),
            units => Self { whole: !self.whole, units: SCALE - units },
        }
    }
}

/// Exact as long as 128 bits hold the whole part.
impl Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let carried = Self::of_units(self.units + other.units);
        let whole = self.whole.saturating_add(other.whole).saturating_add(carried.whole);
        Self { whole, units: carried.units }
    }
}

/// As C's `%.17Lf`, without zeros at the end; zero has no sign.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.whole < 0 { "-" } else { "" };
        let (whole, units) = match (self.whole < 0, self.units) {
            (true, units @ 1..) => ((self.whole + 1).unsigned_abs(), SCALE - units),
            (_, units) => (self.whole.unsigned_abs(), units),
        };
        if units == 0 {
            return write!(f, "{sign}{whole}");
        }
        let (places, digits) = shortest(units);
        write!(f, "{sign}{whole}.{digits:0width$}", width = usize::from(places))
    }
}

/// Units as so many places behind the point, as few as can be, and the number without the point.
pub(crate) fn shortest(mut units: i128) -> (u8, i128) {
    let mut places = PLACES;
    for zeros in [16, 8, 4, 2, 1] {
        let scale = 10_i128.pow(zeros);
        if places >= zeros && units % scale == 0 {
            (places, units) = (places - zeros, units / scale);
        }
    }
    (places as u8, units)
}

/// The units of a number with so many places behind the point. None if these are too many, or 128 bits too few.
pub(crate) fn units_of(places: u8, digits: i128) -> Option<i128> {
    let missing = PLACES.checked_sub(places.into())?;
    digits.checked_mul(10_i128.pow(missing))
}

const fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// The digits of a text, places counted from the first that is not zero.
struct Digits<'t> {
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
    /// Zeros before that one; none if there is no such.
    zeros: Option<usize>,
}

impl<'t> Digits<'t> {
    fn read(text: &'t [u8]) -> Option<Self> {
        let letter = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e'));
        let (mantissa, exponent) = match letter {
            Some(letter) => (&text[..letter], read_exponent(&text[letter + 1..])?),
            None => (text, 0),
        };
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(point) => (&mantissa[..point], &mantissa[point + 1..]),
            None => (mantissa, &[][..]),
        };
        let mut digits = whole.iter().chain(fraction);
        let is_number = whole.len() + fraction.len() > 0 && digits.clone().all(u8::is_ascii_digit);
        is_number.then(|| Self { whole, fraction, exponent, zeros: digits.position(|digit| *digit != b'0') })
    }

    /// Before which place the point is; none if all are zeros.
    fn point(&self) -> Option<i64> {
        let zeros = self.zeros? as i64;
        Some(self.whole.len() as i64 - zeros + self.exponent)
    }

    fn at(&self, place: i64) -> u8 {
        let Ok(place) = usize::try_from(place) else { return 0 };
        let place = place + self.zeros.unwrap_or(0);
        let digit = match place.checked_sub(self.whole.len()) {
            None => self.whole.get(place),
            Some(place) => self.fraction.get(place),
        };
        digit.map_or(0, |digit| digit - b'0')
    }

    /// Whether what stands from a place on is more than half of what one there before would be.
    fn rounds_up(&self, place: i64, is_odd: bool) -> bool {
        let count = (self.whole.len() + self.fraction.len()) as i64;
        let more = || (place.saturating_add(1).max(0)..count).any(|place| self.at(place) != 0);
        match self.at(place) {
            5 => is_odd || more(),
            digit => digit > 5,
        }
    }
}

fn read_exponent(text: &[u8]) -> Option<i64> {
    const FAR_OUT: i64 = 1_000_000;
    let (is_negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let append = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(FAR_OUT);
    let magnitude = digits.iter().fold(0, append);
    Some(if is_negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let read = Decimal::parse(text.as_bytes()).map(|decimal| decimal.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn numbers_are_read_and_written_as_people_do() {
        check("10.50", Some("10.5"));
        check("-0.25", Some("-0.25"));
        check("-3", Some("-3"));
        check("-10.05", Some("-10.05"));
        check("+.5", Some("0.5"));
        check("007.", Some("7"));
        check("-0.0", Some("0"));
        check("1.5e3", Some("1500"));
        check("1E-5", Some("0.00001"));
        check("123456789e-8", Some("1.23456789"));
        check("0e999999999999", Some("0"));
        check("170141183460469231731687303715884105727", Some("170141183460469231731687303715884105727"));
    }

    #[test]
    fn what_lies_behind_17_places_is_rounded_to_even() {
        check("3.14159265358979323846", Some("3.14159265358979324"));
        check("0.000000000000000005", Some("0"));
        check("0.0000000000000000050000000001", Some("0.00000000000000001"));
        check("0.000000000000000015", Some("0.00000000000000002"));
        check("0.000000000000000025", Some("0.00000000000000002"));
        check("-0.999999999999999995", Some("-1"));
        check("6e-18", Some("0.00000000000000001"));
        check("9e-19", Some("0"));
        check("1e-999999999", Some("0"));
    }

    #[test]
    fn what_is_no_such_number_is_none() {
        for text in
            ["", "-", ".", "1.2.3", "1e", "e5", "0x10", "inf", "nan", " 1", "1 ", "1e39", "--1", "1,5"]
        {
            check(text, None);
        }
        check("170141183460469231731687303715884105728", None);
        check(&"1".repeat(TEXT_BYTES_END), None);
    }

    #[test]
    fn differences_that_128_bits_do_not_hold_are_none() {
        let [small, large] = [Decimal::of_whole(-1), Decimal::of_whole(1_701_411_834_604_692_317_316)];
        assert_eq!(large.units_above(small), None);
        assert!(large.units_above(Decimal::ZERO).is_some());
        assert_eq!(Decimal::of_whole(i128::MAX).units_above(Decimal::of_whole(i128::MIN)), None);
    }

    proptest! {
        /// Whatever numbers there are, in whatever order, they add up exactly, and the text says all of it.
        #[test]
        fn sums_are_exact(parts in prop::collection::vec(-(10_i128.pow(24))..10_i128.pow(24), 0..9)) {
            let sum = parts.iter().fold(Decimal::ZERO, |sum, units| sum + Decimal::of_units(*units));
            let reversed = parts.iter().rev().fold(Decimal::ZERO, |sum, units| sum + Decimal::of_units(*units));
            let total: i128 = parts.iter().sum();
            prop_assert_eq!(sum, Decimal::of_units(total));
            prop_assert_eq!(sum, reversed);
            prop_assert_eq!(sum.units_above(Decimal::ZERO), Some(total));
            prop_assert_eq!(Decimal::parse(sum.to_string().as_bytes()), Some(sum));
            let (places, digits) = shortest(total);
            prop_assert_eq!(units_of(places, digits), Some(total));
        }

        #[test]
        fn any_units_are_written(units in any::<i128>()) {
            let text = Decimal::of_units(units).to_string();
            prop_assert_eq!(Decimal::parse(text.as_bytes()), Some(Decimal::of_units(units)));
        }

        #[test]
        fn any_text_is_refused_or_read(text in prop::collection::vec(prop::sample::select(&b"0159.eE+-"[..]), 0..60)) {
            let _ = Decimal::parse(&text);
        }
    }
}
