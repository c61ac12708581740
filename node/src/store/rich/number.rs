//! What a counter's parts come to: whole numbers as long as all of them are, else decimal ones.

use shared::change::Sum;
use shared::decimal::Decimal;

use super::parse_integer;

/// What a cell counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Shown to clients within 64 bits.
    Whole(i128),
    /// One to which something was added that is no whole number, or may not be.
    Decimal(Decimal),
}

impl Number {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let whole = parse_integer(text).map(|int| Self::Whole(int.into()));
        whole.or_else(|| Decimal::parse(text).map(Self::Decimal))
    }

    pub(super) fn plus(self, sum: Sum) -> Self {
        match (self, exact(sum)) {
            (Self::Whole(total), Self::Whole(sum)) => Self::Whole(total.saturating_add(sum)),
            (total, sum) => Self::Decimal(total.decimal() + sum.decimal()),
        }
    }

    pub(super) const fn decimal(self) -> Decimal {
        match self {
            Self::Whole(whole) => Decimal::of_whole(whole),
            Self::Decimal(decimal) => decimal,
        }
    }

    /// The whole number that clients see, if it is one.
    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Self::Whole(total) => Some(total.clamp(i64::MIN.into(), i64::MAX.into()) as i64),
            Self::Decimal(total) => total.whole().and_then(|whole| i64::try_from(whole).ok()),
        }
    }

    /// What clients see.
    pub(super) fn text(self) -> Vec<u8> {
        match self.integer() {
            Some(integer) => itoa::Buffer::new().format(integer).as_bytes().to_vec(),
            None => self.decimal().to_string().into_bytes(),
        }
    }
}

/// A sum where the base is text, to which nobody adds floats.
fn exact(sum: Sum) -> Number {
    match sum {
        Sum::Int(int) => Number::Whole(int),
        Sum::Decimal(units) => Number::Decimal(Decimal::of_units(units)),
        Sum::Float(float) => Number::Whole(float as i128),
    }
}

/// Two sums in one. None of floats, which are put together otherwise, and if 128 bits do not hold it.
pub(crate) fn sum_of(one: Sum, other: Sum) -> Option<Sum> {
    match (one, other) {
        (Sum::Float(_), _) | (_, Sum::Float(_)) => None,
        (Sum::Int(one), Sum::Int(other)) => Some(Sum::Int(one.saturating_add(other))),
        _ => {
            let total = exact(one).decimal() + exact(other).decimal();
            total.units_above(Decimal::ZERO).map(Sum::Decimal)
        }
    }
}

/// By how much a sum is more than another: see [`sum_of`].
pub(crate) fn sum_above(sum: Sum, other: Sum) -> Option<Sum> {
    match (sum, other) {
        (Sum::Float(_), _) | (_, Sum::Float(_)) => None,
        (Sum::Int(sum), Sum::Int(other)) => Some(Sum::Int(sum.saturating_sub(other))),
        _ => exact(sum).decimal().units_above(exact(other).decimal()).map(Sum::Decimal),
    }
}
