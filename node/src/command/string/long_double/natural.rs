//! Whole numbers of any length, as far as reading and printing floats needs them.

use std::cmp::Ordering;
use std::fmt;

/// A power of ten that fits a limb.
const LIMB_DIGITS: usize = 9;
const LIMB_SCALE: u32 = 10_u32.pow(LIMB_DIGITS as u32);

/// The bits of a quotient: more than a mantissa's, so that what is cut off can be rounded by.
const QUOTIENT_BITS: i32 = 67;

/// A whole number, in limbs of 32 bits, the lowest first and the highest not zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Self {
        let mut natural = Self(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Natural {
    /// A number of digits of a base up to 16, the highest first.
    pub(super) fn from_digits(digits: &[u32], base: u32) -> Self {
        let mut natural = Self::from(0);
        // Seven digits of any such base fit a limb.
        for run in digits.chunks(7) {
            let scale = base.pow(run.len() as u32);
            natural.multiply_add(scale, run.iter().fold(0, |sum, digit| sum * base + digit));
        }
        natural
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |highest| self.0.len() as u32 * u32::BITS - highest.leading_zeros())
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    pub(super) fn multiply_by_power_of_ten(&mut self, mut power: u64) {
        while power >= LIMB_DIGITS as u64 {
            self.multiply_add(LIMB_SCALE, 0);
            power -= LIMB_DIGITS as u64;
        }
        self.multiply_add(10_u32.pow(power as u32), 0);
    }

    pub(super) fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % u32::BITS), 0);
        if !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, (bits / u32::BITS) as usize));
        }
    }

    /// Takes away what is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (place, limb) in self.0.iter_mut().enumerate() {
            let subtrahend = other.0.get(place).copied().unwrap_or(0);
            (*limb, borrow) = limb.borrowing_sub(subtrahend, borrow);
        }
        debug_assert!(!borrow, "the subtrahend is not larger");
        self.trim();
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Divides by what is not zero: a quotient of [`QUOTIENT_BITS`] or one less, the power of two that it is to be
    /// multiplied with, and whether something is left over.
    pub(super) fn divide(self, mut divisor: Self) -> (u128, i32, bool) {
        let (mut rest, longer) = (self, divisor.bits());
        let exponent = rest.bits() as i32 - longer as i32;
        let shortened = if exponent < 0 { &mut rest } else { &mut divisor };
        shortened.shift_left(exponent.unsigned_abs());
        let mut quotient = 0;
        for _ in 0..QUOTIENT_BITS {
            quotient <<= 1;
            if rest.compare(&divisor) != Ordering::Less {
                rest.subtract(&divisor);
                quotient |= 1;
            }
            rest.multiply_add(2, 0);
        }
        (quotient, exponent - (QUOTIENT_BITS - 1), !rest.is_zero())
    }

    /// Divides by [`LIMB_SCALE`] and returns the remainder.
    fn split_limb_of_digits(&mut self) -> u32 {
        let mut rest = 0;
        for limb in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / u64::from(LIMB_SCALE)) as u32;
            rest = value % u64::from(LIMB_SCALE);
        }
        self.trim();
        rest as u32
    }
}

/// In decimal.
impl fmt::Display for Natural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.clone();
        let mut parts = Vec::new();
        while !rest.is_zero() {
            parts.push(rest.split_limb_of_digits());
        }
        write!(f, "{}", parts.pop().unwrap_or(0))?;
        parts.iter().rev().try_for_each(|part| write!(f, "{part:0LIMB_DIGITS$}"))
    }
}
