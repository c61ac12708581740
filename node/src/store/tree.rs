//! A sorted sequence that is quick in all of: finding by order, counting what comes before, and finding by place.
//!
//! A B-tree whose branches say how much their items weigh in all. An item weighs one, or as many as it holds: a *run* holds
//! several things that lie side by side, in few bytes. Branches hold the first bytes of what they begin with, too, so that
//! finding seldom looks into items on its way down.

use std::cmp::Ordering;
use std::ops;

use smallvec::{SmallVec, smallvec};

/// What a [`CountedTree`] holds: one thing or several, and none of another item's between them.
pub(crate) trait Item: Sized {
    /// In the order of items: of two with different prefixes the smaller comes first. It may be less than that of its first
    /// thing, but not less than that of the last thing before it.
    fn prefix(&self) -> u64;

    /// For how many places it counts: at least one.
    fn weight(&self) -> usize;

    /// Takes in the item that follows, if both are so small that they are better one. Says whether it did.
    fn absorb(&mut self, next: &Self) -> bool {
        let _ = next;
        false
    }
}

/// What is looked for: its prefix, and how an item stands to it. Must agree with the order of the tree's items.
pub(crate) trait Target<T> {
    fn prefix(&self) -> u64;

    /// How the first thing that `item` holds compares to what is looked for.
    fn order(&self, item: &T) -> Ordering;
}

/// What has become of an item, and of the places beside it.
pub(crate) struct Edited<T> {
    /// Whether it still holds anything.
    pub(crate) stays: bool,
    /// What comes before it.
    pub(crate) before: Option<T>,
    /// What follows it.
    pub(crate) behind: SmallVec<[T; 2]>,
}

impl<T> Edited<T> {
    /// Nothing comes beside it.
    pub(crate) fn stays(stays: bool) -> Self {
        Self { stays, before: None, behind: SmallVec::new() }
    }

    /// It stays as it is, and this comes beside it.
    pub(crate) fn beside(new: T, is_before: bool) -> Self {
        let (before, behind) = if is_before { (Some(new), SmallVec::new()) } else { (None, smallvec![new]) };
        Self { stays: true, before, behind }
    }
}

/// A full leaf holds this many items.
const LEAF_MAX: usize = 32;
/// A full inner node has this many branches.
const BRANCHES_MAX: usize = 32;

/// A sorted sequence of items.
#[derive(Clone, Debug)]
pub(crate) struct CountedTree<T> {
    root: Node<T>,
    weight: usize,
}

#[derive(Clone, Debug)]
enum Node<T> {
    Leaf(Vec<T>),
    Inner(Vec<Branch<T>>),
}

#[derive(Clone, Debug)]
struct Branch<T> {
    /// No item's prefix is below it, and none in the branch before is above it.
    low: u64,
    /// What its items weigh.
    weight: usize,
    node: Node<T>,
}

/// What a change has made of a node.
struct Changed<T, R> {
    result: R,
    weight: isize,
    /// What no longer fitted in, to follow the node.
    split: Option<Branch<T>>,
}

impl<T> Default for CountedTree<T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()), weight: 0 }
    }
}

impl<T: Item> CountedTree<T> {
    /// Of items in order.
    pub(crate) fn of_sorted(items: Vec<T>) -> Self {
        let weight = weight_of(&items);
        if items.len() <= LEAF_MAX {
            return Self { root: Node::Leaf(items), weight };
        }
        let mut items = items.into_iter().peekable();
        let mut level = Vec::new();
        while items.peek().is_some() {
            // Three quarters full, so that the next to come finds room.
            level.push(Branch::of(Node::Leaf(items.by_ref().take(LEAF_MAX * 3 / 4).collect())));
        }
        while level.len() > 1 {
            let mut branches = level.into_iter().peekable();
            level = Vec::new();
            while branches.peek().is_some() {
                let some = branches.by_ref().take(BRANCHES_MAX * 3 / 4).collect();
                level.push(Branch::of(Node::Inner(some)));
            }
        }
        let root = level.pop().map_or(Node::Leaf(Vec::new()), |branch| branch.node);
        Self { root, weight }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.weight == 0
    }

    /// What all items weigh.
    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// The last item that does not begin behind the target: if it is there, it is in that.
    pub(crate) fn get(&self, target: &impl Target<T>) -> Option<&T> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return items[..begun(items, target)].last(),
                Node::Inner(branches) => node = &branches[way(branches, target)].node,
            }
        }
    }

    /// Lets the last item that does not begin behind the target be changed; the first of a leaf if all begin behind it, none
    /// of an empty tree.
    pub(crate) fn change<R>(
        &mut self,
        target: &impl Target<T>,
        change: impl FnOnce(Option<&mut T>) -> (R, Edited<T>),
    ) -> R {
        let Changed { result, weight, split } = self.root.change(target, change);
        self.weight = self.weight.saturating_add_signed(weight);
        if let Some(right) = split {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            self.root = Node::Inner(vec![Branch::of(left), right]);
        }
        while let Node::Inner(branches) = &mut self.root
            && branches.len() <= 1
        {
            self.root = branches.pop().map_or(Node::Leaf(Vec::new()), |branch| branch.node);
        }
        result
    }

    /// What the items weigh that come before the first one for which `comes_before` does not hold.
    pub(crate) fn weight_before(&self, comes_before: impl Fn(&T) -> bool) -> usize {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => {
                    return before + weight_of(&items[..items.partition_point(comes_before)]);
                }
                Node::Inner(branches) => {
                    let begins_before = |branch: &Branch<T>| branch.node.first().is_some_and(&comes_before);
                    let way = branches.partition_point(begins_before).saturating_sub(1);
                    before += branches[..way].iter().map(|branch| branch.weight).sum::<usize>();
                    node = &branches[way].node;
                }
            }
        }
    }

    /// The items at these places, each with the places within it.
    pub(crate) fn range(&self, places: ops::Range<usize>) -> Range<'_, T> {
        let end = places.end.min(self.weight);
        Range { tree: self, places: places.start.min(end)..end, front: &[], back: &[] }
    }

    /// Every item, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut leaves = Vec::new();
        self.root.collect_leaves(&mut leaves);
        leaves.into_iter().flatten()
    }

    /// Every item, in order.
    pub(crate) fn into_items(self) -> Vec<T> {
        let mut items = Vec::new();
        self.root.drain_into(&mut items);
        items
    }

    /// The leaf with the item at this place, where in it that is, and the place within the item.
    fn leaf_at(&self, place: usize) -> Option<(&[T], usize, usize)> {
        let (mut node, mut left) = (&self.root, place);
        // Goes past what lies before the place.
        let is_here = |left: &mut usize, weight: usize| {
            let is_here = *left < weight;
            *left -= if is_here { 0 } else { weight };
            is_here
        };
        loop {
            match node {
                Node::Leaf(items) => {
                    let at = items.iter().position(|item| is_here(&mut left, item.weight()))?;
                    return Some((items, at, left));
                }
                Node::Inner(branches) => {
                    node = &branches.iter().find(|branch| is_here(&mut left, branch.weight))?.node;
                }
            }
        }
    }
}

impl<T: Item> Node<T> {
    fn first(&self) -> Option<&T> {
        match self {
            Self::Leaf(items) => items.first(),
            Self::Inner(branches) => branches.first()?.node.first(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Leaf(items) => weight_of(items),
            Self::Inner(branches) => branches.iter().map(|branch| branch.weight).sum(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(branches) => branches.len(),
        }
    }

    fn change<R>(
        &mut self,
        target: &impl Target<T>,
        change: impl FnOnce(Option<&mut T>) -> (R, Edited<T>),
    ) -> Changed<T, R> {
        match self {
            Self::Leaf(items) => change_leaf(items, target, change),
            Self::Inner(branches) => change_inner(branches, target, change),
        }
    }

    fn collect_leaves<'t>(&'t self, leaves: &mut Vec<&'t [T]>) {
        match self {
            Self::Leaf(items) => leaves.push(items),
            Self::Inner(branches) => branches.iter().for_each(|branch| branch.node.collect_leaves(leaves)),
        }
    }

    fn drain_into(self, all: &mut Vec<T>) {
        match self {
            Self::Leaf(items) => all.extend(items),
            Self::Inner(branches) => branches.into_iter().for_each(|branch| branch.node.drain_into(all)),
        }
    }

    /// Takes in the node that follows, of the same height.
    fn absorb(&mut self, next: Self) {
        match (self, next) {
            (Self::Leaf(items), Self::Leaf(more)) => items.extend(more),
            (Self::Inner(branches), Self::Inner(more)) => branches.extend(more),
            _ => unreachable!("nodes of one level have one height"),
        }
    }
}

#[cfg(test)]
impl<T: Item> CountedTree<T> {
    /// That it says of its items what is so, and that these lie in order.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_eq!(self.root.check(0).0, self.weight);
    }
}

#[cfg(test)]
impl<T: Item> Node<T> {
    /// Returns what it weighs, and its last item's prefix. Nothing lies below `low`.
    #[track_caller]
    fn check(&self, low: u64) -> (usize, u64) {
        match self {
            Self::Leaf(items) => items.iter().fold((0, low), |(weight, last), item| {
                assert!(item.prefix() >= last, "items are out of order");
                (weight + item.weight(), item.prefix())
            }),
            Self::Inner(branches) => branches.iter().fold((0, low), |(weight, last), branch| {
                assert!(branch.low >= last && branch.node.width() > 0, "branches are out of order");
                let (of_branch, last) = branch.node.check(branch.low);
                assert_eq!(of_branch, branch.weight);
                (weight + of_branch, last)
            }),
        }
    }
}

impl<T: Item> Branch<T> {
    fn of(node: Node<T>) -> Self {
        let low = node.first().map_or(0, T::prefix);
        Self { low, weight: node.weight(), node }
    }
}

fn change_leaf<T: Item, R>(
    items: &mut Vec<T>,
    target: &impl Target<T>,
    change: impl FnOnce(Option<&mut T>) -> (R, Edited<T>),
) -> Changed<T, R> {
    let place = begun(items, target).saturating_sub(1);
    let near = items.get_mut(place);
    let (held, old) = near.as_ref().map_or((0, 0), |item| (1, item.weight()));
    let (result, Edited { stays, before, behind }) = change(near);
    if held == 1 && !stays {
        items.remove(place);
    }
    let stays = usize::from(held == 1 && stays);
    let new = weight_of(&items[place..place + stays]) + weight_of(before.as_slice()) + weight_of(&behind);
    let changed_at = place + if before.is_some() { 0 } else { stays };
    put(items, place + stays, behind);
    put(items, place, before);
    if new < old {
        absorb(items, place);
    }
    debug_assert!(
        items.is_sorted_by_key(T::prefix),
        "an item's prefix is not less than that of what comes before"
    );
    let split = (items.len() > LEAF_MAX).then(|| {
        // What comes at an end is likely to be followed by more.
        let at = match changed_at {
            0 => 1,
            _ if changed_at + 1 == items.len() => items.len() - 1,
            _ => items.len() / 2,
        };
        Branch::of(Node::Leaf(items.split_off(at)))
    });
    Changed { result, weight: new as isize - old as isize, split }
}

/// Puts items into a leaf.
fn put<T>(items: &mut Vec<T>, place: usize, new: impl IntoIterator<Item = T>) {
    for (at, item) in new.into_iter().enumerate() {
        // Not twice as much as before: a leaf never holds many more than it may.
        if items.len() == items.capacity() {
            items.reserve_exact((items.len() / 4).clamp(4, LEAF_MAX));
        }
        items.insert(place + at, item);
    }
}

/// Joins an item of a leaf with one beside it, if both are small.
fn absorb<T: Item>(items: &mut Vec<T>, place: usize) {
    for left in [Some(place), place.checked_sub(1)].into_iter().flatten() {
        if let Some([item, next]) = items.get_mut(left..left + 2)
            && item.absorb(next)
        {
            items.remove(left + 1);
        }
    }
}

fn change_inner<T: Item, R>(
    branches: &mut Vec<Branch<T>>,
    target: &impl Target<T>,
    change: impl FnOnce(Option<&mut T>) -> (R, Edited<T>),
) -> Changed<T, R> {
    let way = way(branches, target);
    let branch = &mut branches[way];
    branch.low = branch.low.min(target.prefix());
    let Changed { result, weight, split } = branch.node.change(target, change);
    branch.weight = branch.weight.saturating_add_signed(weight);
    if let Some(right) = split {
        branch.weight -= right.weight;
        branches.insert(way + 1, right);
    } else if branch.node.width() < LEAF_MAX / 4 {
        join(branches, way);
    }
    let split = (branches.len() > BRANCHES_MAX).then(|| {
        let at = if way + 2 == branches.len() { branches.len() - 1 } else { branches.len() / 2 };
        Branch::of(Node::Inner(branches.split_off(at)))
    });
    Changed { result, weight, split }
}

/// Joins a narrow branch with one beside it, if both fit into one.
fn join<T: Item>(branches: &mut Vec<Branch<T>>, at: usize) {
    if branches[at].node.width() == 0 {
        branches.remove(at);
        return;
    }
    let fits = |left: usize| {
        let width = |at: usize| branches.get(at).map(|branch| branch.node.width());
        width(left).zip(width(left + 1)).is_some_and(|(left, right)| left + right <= LEAF_MAX / 2)
    };
    let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|left| fits(*left)) else {
        return;
    };
    let right = branches.remove(left + 1);
    branches[left].weight += right.weight;
    branches[left].node.absorb(right.node);
}

/// The branch in which the target lies, or would.
fn way<T: Item>(branches: &[Branch<T>], target: &impl Target<T>) -> usize {
    let prefix = target.prefix();
    let end = branches.partition_point(|branch| branch.low <= prefix);
    if end == 0 || branches[end - 1].low < prefix {
        return end.saturating_sub(1);
    }
    // What begins with the same prefix is told apart by the items.
    let start = branches.partition_point(|branch| branch.low < prefix);
    let begins_before =
        |branch: &Branch<T>| branch.node.first().is_some_and(|first| target.order(first).is_le());
    (start + branches[start..end].partition_point(begins_before)).saturating_sub(1)
}

/// How many items do not begin behind the target.
fn begun<T>(items: &[T], target: &impl Target<T>) -> usize {
    items.partition_point(|item| target.order(item).is_le())
}

fn weight_of<T: Item>(items: &[T]) -> usize {
    items.iter().map(T::weight).sum()
}

/// Items at some places, from both ends, each with the places within it.
pub(crate) struct Range<'t, T> {
    tree: &'t CountedTree<T>,
    /// What is still to come.
    places: ops::Range<usize>,
    /// What of the leaf at the front is still to come.
    front: &'t [T],
    /// What of the leaf at the back is.
    back: &'t [T],
}

impl<'t, T: Item> Iterator for Range<'t, T> {
    type Item = (&'t T, ops::Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.places.is_empty() {
            return None;
        }
        let (item, start) = match self.front.split_first() {
            Some((item, rest)) => {
                self.front = rest;
                (item, 0)
            }
            None => {
                let (leaf, at, within) = self.tree.leaf_at(self.places.start)?;
                self.front = &leaf[at + 1..];
                (&leaf[at], within)
            }
        };
        let end = item.weight().min(start + self.places.len());
        self.places.start += end - start;
        Some((item, start..end))
    }
}

impl<'t, T: Item> DoubleEndedIterator for Range<'t, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.places.is_empty() {
            return None;
        }
        let (item, end) = match self.back.split_last() {
            Some((item, rest)) => {
                self.back = rest;
                (item, item.weight())
            }
            None => {
                let (leaf, at, within) = self.tree.leaf_at(self.places.end - 1)?;
                self.back = &leaf[..at];
                (&leaf[at], within + 1)
            }
        };
        let start = end.saturating_sub(self.places.len());
        self.places.end -= end - start;
        Some((item, start..end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Up to four numbers in order; each that can be divided by eight has a run of its own.
    #[derive(Clone, Debug)]
    struct Numbers(Vec<u16>);

    const NUMBERS_MAX: usize = 4;

    const fn is_alone(number: u16) -> bool {
        number.is_multiple_of(8)
    }

    impl Item for Numbers {
        fn prefix(&self) -> u64 {
            u64::from(self.0[0] >> 6)
        }

        fn weight(&self) -> usize {
            self.0.len()
        }

        fn absorb(&mut self, next: &Self) -> bool {
            let fits = self.0.len() + next.0.len() <= NUMBERS_MAX / 2;
            let fits = fits && !is_alone(self.0[0]) && !is_alone(next.0[0]);
            if fits {
                self.0.extend(&next.0);
            }
            fits
        }
    }

    impl Target<Numbers> for u16 {
        fn prefix(&self) -> u64 {
            u64::from(*self >> 6)
        }

        fn order(&self, item: &Numbers) -> Ordering {
            item.0[0].cmp(self)
        }
    }

    fn put(tree: &mut CountedTree<Numbers>, number: u16) {
        let new = Numbers(vec![number]);
        tree.change(&number, |near| {
            let Some(Numbers(near)) = near else {
                return ((), Edited { behind: smallvec![new], ..Edited::stays(false) });
            };
            let Err(place) = near.binary_search(&number) else { return ((), Edited::stays(true)) };
            if !is_alone(number) && !is_alone(near[0]) && near.len() < NUMBERS_MAX {
                near.insert(place, number);
                ((), Edited::stays(true))
            } else if place == 0 {
                ((), Edited::beside(new, true))
            } else {
                let rest = Some(Numbers(near.split_off(place))).filter(|rest| !rest.0.is_empty());
                ((), Edited { behind: std::iter::once(new).chain(rest).collect(), ..Edited::stays(true) })
            }
        });
    }

    fn remove(tree: &mut CountedTree<Numbers>, number: u16) {
        tree.change(&number, |near| {
            let stays = near.is_some_and(|Numbers(near)| {
                near.retain(|other| *other != number);
                !near.is_empty()
            });
            ((), Edited::stays(stays))
        });
    }

    fn numbers<'t>(parts: impl IntoIterator<Item = (&'t Numbers, ops::Range<usize>)>) -> Vec<u16> {
        parts.into_iter().flat_map(|(numbers, places)| numbers.0[places].to_vec()).collect()
    }

    fn check(tree: &CountedTree<Numbers>, model: &[u16]) {
        tree.check();
        assert!(tree.iter().flat_map(|numbers| &numbers.0).eq(model));
        assert_eq!((tree.is_empty(), tree.weight()), (model.is_empty(), model.len()));
        assert_eq!(numbers(tree.range(0..usize::MAX)), model);
        let mut backwards: Vec<_> = tree.range(0..usize::MAX).rev().collect();
        backwards.reverse();
        assert_eq!(numbers(backwards), model);
        let mut both = tree.range(0..model.len());
        let (front, back) = (both.next(), both.next_back());
        let middle: Vec<_> = both.collect();
        assert_eq!(numbers(front.into_iter().chain(middle).chain(back)), model);
        for place in [0, model.len() / 3, model.len().saturating_sub(1)] {
            let some: Vec<u16> = model.iter().skip(place).take(7).copied().collect();
            assert_eq!(numbers(tree.range(place..place + 7)), some);
            if let Some(number) = model.get(place) {
                assert!(tree.get(number).is_some_and(|found| found.0.contains(number)));
                let before = tree.weight_before(|other| other.0[0] < *number);
                assert!(before >= place && before < place + NUMBERS_MAX);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Many more come than go, then more go than come.
        #[test]
        fn it_holds_what_a_sorted_vector_would(
            grows in prop::collection::vec((0_u16..2_000, prop::bool::weighted(0.8)), 0..1_500),
            shrinks in prop::collection::vec((0_u16..2_000, prop::bool::weighted(0.05)), 0..3_000),
        ) {
            let (mut tree, mut model) = (CountedTree::default(), BTreeSet::new());
            for (at, (number, comes)) in grows.into_iter().chain(shrinks).enumerate() {
                if comes {
                    put(&mut tree, number);
                    model.insert(number);
                } else {
                    remove(&mut tree, number);
                    model.remove(&number);
                }
                if at % 150 == 0 {
                    check(&tree, &model.iter().copied().collect::<Vec<_>>());
                }
            }
            let model: Vec<u16> = model.into_iter().collect();
            check(&tree, &model);
            check(&CountedTree::of_sorted(tree.into_items()), &model);
        }
    }

    #[test]
    fn what_is_put_at_an_end_fills_the_leaves() {
        let mut tree = CountedTree::default();
        (5_000..10_000).for_each(|number| put(&mut tree, number));
        (0..5_000).rev().for_each(|number| put(&mut tree, number));
        let mut leaves = Vec::new();
        tree.root.collect_leaves(&mut leaves);
        let items: usize = leaves.iter().map(|leaf| leaf.len()).sum();
        assert!(leaves.len() <= items / (LEAF_MAX - 2), "{} leaves of {items} items", leaves.len());
    }
}
