//! What is removed when memory runs out: `maxmemory-policy`, under Redis's names.

use std::str::FromStr;

use serde::Deserialize;

/// Which keys may be removed when memory runs out, and which of them first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// None: writes that need memory are refused.
    #[default]
    Noeviction,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

/// Which key goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The one that was not used for longest.
    Recency,
    /// The one that is used least often.
    Frequency,
    /// The one that expires first.
    Expiry,
    /// Any.
    Random,
}

impl Policy {
    pub(crate) const ALL: [Self; 8] = [
        Self::Noeviction,
        Self::AllkeysLru,
        Self::AllkeysLfu,
        Self::AllkeysRandom,
        Self::VolatileLru,
        Self::VolatileLfu,
        Self::VolatileRandom,
        Self::VolatileTtl,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Noeviction => "noeviction",
            Self::AllkeysLru => "allkeys-lru",
            Self::AllkeysLfu => "allkeys-lfu",
            Self::AllkeysRandom => "allkeys-random",
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
        }
    }

    /// None if no key may be removed.
    pub(crate) const fn order(self) -> Option<Order> {
        match self {
            Self::Noeviction => None,
            Self::AllkeysLru | Self::VolatileLru => Some(Order::Recency),
            Self::AllkeysLfu | Self::VolatileLfu => Some(Order::Frequency),
            Self::AllkeysRandom | Self::VolatileRandom => Some(Order::Random),
            Self::VolatileTtl => Some(Order::Expiry),
        }
    }

    /// Whether only keys that expire may be removed.
    pub(crate) const fn needs_expiry(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }

    /// Whether it is counted how often keys are used, and not when they were.
    pub(crate) const fn counts_uses(self) -> bool {
        matches!(self, Self::AllkeysLfu | Self::VolatileLfu)
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}
