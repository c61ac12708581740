//! Which ways the merge rules go: the simulator counts them, so that seeds which take none of them are seen. In a build
//! without it this is nothing.

/// A way that a merge can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    PackedOlder,
    PackedEqual,
    ResetOlder,
    ResetStands,
    ResetEndsMark,
    ResetEndsTtl,
    ResetKillsCell,
    ResetSparesCell,
    ResetKillsSum,
    ResetSparesSum,
    MarkStands,
    MarkPassed,
    CellBelowReset,
    CellOlder,
    CellStands,
    CellKillsSum,
    CellSparesSum,
    SumBelowReset,
    SumBelowBase,
    SumOlder,
    SumGrows,
    SumNew,
    TtlOlder,
    TtlBelowReset,
    TtlStands,
}

/// Notes that a merge went this way.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub(crate) const fn took(_: Branch) {}

#[cfg(feature = "simulation")]
pub(crate) use counting::took;

#[cfg(feature = "simulation")]
pub(crate) mod counting {
    //! The counters, one set per thread.

    use std::cell::Cell;

    use super::Branch;

    pub(crate) const BRANCHES: usize = Branch::TtlStands as usize + 1;

    pub(crate) const NAMES: [&str; BRANCHES] = [
        "packed older",
        "packed equal",
        "reset older",
        "reset stands",
        "reset ends mark",
        "reset ends ttl",
        "reset kills cell",
        "reset spares cell",
        "reset kills sum",
        "reset spares sum",
        "mark stands",
        "mark passed",
        "cell below reset",
        "cell older",
        "cell stands",
        "cell kills sum",
        "cell spares sum",
        "sum below reset",
        "sum below base",
        "sum older",
        "sum grows",
        "sum new",
        "ttl older",
        "ttl below reset",
        "ttl stands",
    ];

    thread_local! {
        static TAKEN: [Cell<u64>; BRANCHES] = const { [const { Cell::new(0) }; BRANCHES] };
    }

    /// Notes that a merge on this thread went this way.
    pub(crate) fn took(branch: Branch) {
        TAKEN.with(|taken| {
            let count = &taken[branch as usize];
            count.set(count.get() + 1);
        });
    }

    /// How often each branch was taken on this thread, and counts from zero again.
    pub(crate) fn take() -> [u64; BRANCHES] {
        TAKEN.with(|taken| std::array::from_fn(|branch| taken[branch].take()))
    }
}
