//! Who wrote, and who speaks.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:016x})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u64::from_str_radix(text, 16).map(Self)
            }
        }
    };
}

random_id! {
    /// The identity of a node's data directory: random, drawn when the directory is made, kept for its life.
    NodeId
}

random_id! {
    /// The identity of one run of a node as a writer: random, new at every start, so that neither a crash nor a
    /// restored backup nor a copied directory can make two logs of one origin differ.
    Origin
}

random_id! {
    /// The identity of a group, drawn by its founder; zero while a node has not met anyone.
    GroupId
}

impl Origin {
    /// No run of any node: the origin in the version of an observed reset, below every real one.
    pub const NONE: Self = Self(0);
}
