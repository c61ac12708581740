//! Which ways the merge rules went.

use std::collections::BTreeMap;

use crate::store::branch::counting;

/// How often each branch of the merge rules was taken, by name.
pub type Branches = BTreeMap<&'static str, u64>;

/// How often each branch was taken on this thread since the last call; those that were not included.
#[must_use]
pub fn take_branches() -> Branches {
    counting::NAMES.into_iter().zip(counting::take()).collect()
}
