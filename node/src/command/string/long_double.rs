//! Floating-point numbers as Redis's INCRBYFLOAT computes with them: C's `long double`.
//!
//! On x86-64 that is the 80-bit extended format: 64 bits of mantissa, 15 of exponent. Rust has no such type,
//! and with its 64-bit floats 0.1 + 0.2 would print as 0.30000000000000004. So what little is needed, reading,
//! adding and printing with 17 digits behind the point, is done here in whole numbers, each step rounded once
//! to the nearest and ties to even, as the processor and the C library do. The texts equal those of Redis on
//! x86-64 to the last digit. On other processors `long double` is another format, and Redis's own texts differ
//! from these.

mod natural;

use std::fmt;
use std::ops::Add;

use smallvec::SmallVec;

use self::natural::Natural;

/// The bits of a mantissa.
const MANTISSA_BITS: i32 = 64;

/// The exponent of the smallest number's mantissa.
const EXPONENT_MIN: i32 = -16_445;

/// No number reaches two to this power.
const BITS_MAX: i32 = 16_384;

/// The exponent that an infinity has.
const INFINITE: i32 = i32::MAX;

/// Texts of this length and beyond are no numbers, as in Redis.
const TEXT_BYTES_END: usize = 5 * 1024;

/// The decimal places that are printed, and their power of ten.
const PLACES: usize = 17;
const PLACES_SCALE: u128 = 10_u128.pow(PLACES as u32);

/// An 80-bit float that is a number or infinite: mantissa times two to the exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl LongDouble {
    pub(crate) const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };

    /// Reads what C's `strtold` does, all of it: decimals, hexadecimals and infinities, but no spaces, no NaN,
    /// and nothing that lies beyond the format's range.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_END {
            return None;
        }
        let (negative, unsigned) = split_sign(text);
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::infinity(negative));
        }
        let number = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => Numeral::read(digits, 16, b'p')?.hexadecimal(),
            digits => Numeral::read(digits, 10, b'e')?.decimal(),
        };
        Some(Self { negative, ..number? })
    }

    const fn infinity(negative: bool) -> Self {
        Self { negative, mantissa: 0, exponent: INFINITE }
    }

    pub(crate) const fn is_finite(self) -> bool {
        self.exponent != INFINITE
    }

    /// The number nearest to `value` times two to the `exponent`. If `inexact`, a little more than that is
    /// meant, and `value` has more bits than a mantissa.
    fn nearest(value: u128, exponent: i32, inexact: bool) -> Self {
        let bits = (u128::BITS - value.leading_zeros()) as i32;
        let dropped = (bits - MANTISSA_BITS).max(EXPONENT_MIN - exponent).max(0);
        let (mut mantissa, rest) = divide_by_power_of_two(value, dropped.unsigned_abs());
        if rest.rounds_up(inexact, mantissa % 2 == 1) {
            mantissa += 1;
        }
        let mut exponent = exponent + dropped;
        if mantissa >> MANTISSA_BITS != 0 {
            (mantissa, exponent) = (mantissa >> 1, exponent + 1);
        }
        let bits = (u128::BITS - mantissa.leading_zeros()) as i32;
        if mantissa != 0 && exponent + bits > BITS_MAX {
            return Self::infinity(false);
        }
        Self { negative: false, mantissa: mantissa as u64, exponent }
    }

    /// The same number with the mantissa's highest bit set, unless it is zero.
    const fn normal(self) -> Self {
        let shift = self.mantissa.leading_zeros();
        if self.mantissa == 0 || !self.is_finite() {
            return self;
        }
        Self { mantissa: self.mantissa << shift, exponent: self.exponent - shift as i32, ..self }
    }

    /// In order of magnitudes, for normal ones.
    const fn magnitude(self) -> (bool, i32, u64) {
        (self.mantissa != 0 || !self.is_finite(), self.exponent, self.mantissa)
    }
}

impl Add for LongDouble {
    type Output = Self;

    /// The nearest to the sum. Of infinities one is the sum, whatever their signs: there is no NaN here.
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.normal(), other.normal());
        let (large, small) = if a.magnitude() < b.magnitude() { (b, a) } else { (a, b) };
        if !large.is_finite() || small.mantissa == 0 {
            return large;
        }
        // Room on the right for what the smaller loses by being aligned, and on the left for a carry.
        let room = MANTISSA_BITS - 1;
        let gap = large.exponent - small.exponent;
        let (aligned, rest) = divide_by_power_of_two(u128::from(small.mantissa) << room, gap.unsigned_abs());
        let inexact = rest != Rest::Nothing;
        let summed = if large.negative == small.negative {
            (u128::from(large.mantissa) << room) + aligned
        } else {
            (u128::from(large.mantissa) << room) - aligned - u128::from(inexact)
        };
        Self { negative: large.negative, ..Self::nearest(summed, large.exponent - room, inexact) }
    }
}

/// As C's `%.17Lf`, without zeros at the end; zero has no sign.
impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        if !self.is_finite() {
            return write!(f, "{sign}inf");
        }
        if self.exponent >= 0 {
            let mut whole = Natural::from(self.mantissa);
            whole.shift_left(self.exponent.unsigned_abs());
            return write!(f, "{}{whole}", if self.mantissa == 0 { "" } else { sign });
        }
        let scaled = u128::from(self.mantissa) * PLACES_SCALE;
        let (mut scaled, rest) = divide_by_power_of_two(scaled, self.exponent.unsigned_abs());
        if rest.rounds_up(false, scaled % 2 == 1) {
            scaled += 1;
        }
        let sign = if scaled == 0 { "" } else { sign };
        let text = format!("{sign}{}.{:0PLACES$}", scaled / PLACES_SCALE, scaled % PLACES_SCALE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What a division leaves over, compared with half the divisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    BelowHalf,
    Half,
    AboveHalf,
}

impl Rest {
    /// Whether the nearest lies above; `more` adds a little to the rest, and of a tie the even one is taken.
    const fn rounds_up(self, more: bool, odd: bool) -> bool {
        match self {
            Self::Nothing | Self::BelowHalf => false,
            Self::Half => more || odd,
            Self::AboveHalf => true,
        }
    }
}

fn divide_by_power_of_two(value: u128, power: u32) -> (u128, Rest) {
    let (quotient, rest) = match value.checked_shr(power) {
        Some(quotient) => (quotient, value ^ quotient << power),
        None => (0, value),
    };
    let half = power.checked_sub(1).and_then(|power| 1_u128.checked_shl(power)).unwrap_or(u128::MAX);
    let rest = match rest.cmp(&half) {
        _ if rest == 0 => Rest::Nothing,
        std::cmp::Ordering::Less => Rest::BelowHalf,
        std::cmp::Ordering::Equal => Rest::Half,
        std::cmp::Ordering::Greater => Rest::AboveHalf,
    };
    (quotient, rest)
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// Digits as they were read, the point taken out.
struct Numeral {
    digits: Natural,
    /// How many digits there are, zeros in front left out.
    length: i64,
    /// How many of them stood behind the point.
    places: i64,
    /// What stood behind the exponent's letter; held far within the type's range.
    exponent: i64,
}

impl Numeral {
    /// Reads digits with at most one point and perhaps an exponent, which is decimal in every base.
    fn read(text: &[u8], base: u32, exponent_letter: u8) -> Option<Self> {
        let is_mantissa = |byte: &u8| *byte == b'.' || char::from(*byte).is_digit(base);
        let end = text.iter().position(|byte| !is_mantissa(byte)).unwrap_or(text.len());
        let (mantissa, exponent) = text.split_at(end);
        let point = mantissa.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(point) => (&mantissa[..point], &mantissa[point + 1..]),
            None => (mantissa, &[][..]),
        };
        if whole.is_empty() && fraction.is_empty() || fraction.contains(&b'.') {
            return None;
        }
        let digits = whole.iter().chain(fraction).filter_map(|byte| char::from(*byte).to_digit(base));
        let digits: SmallVec<[u32; 32]> = digits.collect();
        Some(Self {
            digits: Natural::from_digits(&digits, base),
            length: digits.iter().skip_while(|digit| **digit == 0).count() as i64,
            places: fraction.len() as i64,
            exponent: read_exponent(exponent, exponent_letter)?,
        })
    }

    /// The nearest number, unless that is infinite, or zero though a digit is not.
    fn decimal(self) -> Option<LongDouble> {
        if self.digits.is_zero() {
            return Some(LongDouble::ZERO);
        }
        // Ten to the 4933 is too large and to the -4952 too small: so the powers below are small.
        if !(-4_951..=4_933).contains(&(self.length + self.exponent - self.places)) {
            return None;
        }
        let power = self.exponent - self.places;
        let (mut numerator, mut denominator) = (self.digits, Natural::from(1));
        let scaled = if power < 0 { &mut denominator } else { &mut numerator };
        scaled.multiply_by_power_of_ten(power.unsigned_abs());
        let (quotient, exponent, inexact) = numerator.divide(denominator);
        in_range(LongDouble::nearest(quotient, exponent, inexact))
    }

    /// As [`Numeral::decimal`], the exponent one of two.
    fn hexadecimal(self) -> Option<LongDouble> {
        if self.digits.is_zero() {
            return Some(LongDouble::ZERO);
        }
        let power = self.exponent - 4 * self.places;
        if !(-16_500..=16_500).contains(&(4 * self.length + power)) {
            return None;
        }
        let (quotient, exponent, inexact) = self.digits.divide(Natural::from(1));
        in_range(LongDouble::nearest(quotient, exponent + i32::try_from(power).ok()?, inexact))
    }
}

fn in_range(number: LongDouble) -> Option<LongDouble> {
    Some(number).filter(|number| number.is_finite() && number.mantissa != 0)
}

/// Reads an exponent behind its letter; nothing at all is the exponent zero.
fn read_exponent(text: &[u8], letter: u8) -> Option<i64> {
    let Some((first, rest)) = text.split_first() else { return Some(0) };
    let (negative, digits) = split_sign(rest);
    if first.to_ascii_lowercase() != letter || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    const FAR_OUT: i64 = 1_000_000_000;
    let magnitude =
        digits.iter().fold(0, |sum: i64, digit| (sum * 10 + i64::from(digit - b'0')).min(FAR_OUT));
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests;
