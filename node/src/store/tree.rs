//! A sorted sequence that is quick in all of: finding by order, counting what comes before, and finding by place.
//!
//! A B-tree whose branches say how much their items weigh in all. An item weighs one or nothing: what is dead stays in the
//! sequence and is passed over when places are counted. Branches hold the first bytes of what they begin with, too, so that
//! finding seldom looks into items on its way down.

use std::cmp::Ordering;
use std::ops;

/// What a [`CountedTree`] holds.
pub(crate) trait Item {
    /// In the order of items: of two with different prefixes the smaller comes first.
    fn prefix(&self) -> u64;

    /// Whether places count it.
    fn counts(&self) -> bool;
}

/// What is looked for: its prefix, and how an item stands to it. Must agree with the order of the tree's items.
pub(crate) trait Target<T> {
    fn prefix(&self) -> u64;

    /// How `item` compares to what is looked for.
    fn order(&self, item: &T) -> Ordering;
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
    /// How many of its items count.
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
        matches!(&self.root, Node::Leaf(items) if items.is_empty())
    }

    /// The items, if they are so few that they lie side by side.
    pub(crate) fn as_slice(&self) -> Option<&[T]> {
        match &self.root {
            Node::Leaf(items) => Some(items),
            Node::Inner(_) => None,
        }
    }

    /// The item that equals the target.
    pub(crate) fn get(&self, target: &impl Target<T>) -> Option<&T> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => {
                    let place = items.binary_search_by(|item| target.order(item)).ok()?;
                    return Some(&items[place]);
                }
                Node::Inner(branches) => node = &branches[way(branches, target)].node,
            }
        }
    }

    /// Changes the item that equals the target, or one that is made if there is none. The item stays if `change` says so.
    pub(crate) fn change<R>(
        &mut self,
        target: &impl Target<T>,
        make: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> (R, bool),
    ) -> R {
        let Changed { result, weight, split } = self.root.change(target, make, change);
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

    /// How many items that count come before the first one for which `comes_before` does not hold.
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

    /// The items at these places, by those that count.
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

    /// Keeps the items that `keep`, which may change them, says to keep.
    pub(crate) fn retain_mut(&mut self, keep: impl FnMut(&mut T) -> bool) {
        let mut items = Vec::new();
        std::mem::take(self).root.drain_into(&mut items);
        items.retain_mut(keep);
        *self = Self::of_sorted(items);
    }

    /// The leaf with the item at this place, and where in it that is.
    fn leaf_at(&self, place: usize) -> Option<(&[T], usize)> {
        let (mut node, mut left) = (&self.root, place);
        loop {
            match node {
                Node::Leaf(items) => {
                    let counted = items.iter().enumerate().filter(|(_, item)| item.counts());
                    let at = counted.map(|(at, _)| at).nth(left)?;
                    return Some((items, at));
                }
                Node::Inner(branches) => {
                    let branch = branches.iter().find(|branch| {
                        let is_here = left < branch.weight;
                        left -= if is_here { 0 } else { branch.weight };
                        is_here
                    });
                    node = &branch?.node;
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
        make: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> (R, bool),
    ) -> Changed<T, R> {
        match self {
            Self::Leaf(items) => change_leaf(items, target, make, change),
            Self::Inner(branches) => change_inner(branches, target, make, change),
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

impl<T: Item> Branch<T> {
    fn of(node: Node<T>) -> Self {
        let low = node.first().map_or(0, T::prefix);
        Self { low, weight: node.weight(), node }
    }
}

fn change_leaf<T: Item, R>(
    items: &mut Vec<T>,
    target: &impl Target<T>,
    make: impl FnOnce() -> T,
    change: impl FnOnce(&mut T) -> (R, bool),
) -> Changed<T, R> {
    let (place, before, result, stays) = match items.binary_search_by(|item| target.order(item)) {
        Ok(place) => {
            let before = isize::from(items[place].counts());
            let (result, stays) = change(&mut items[place]);
            if !stays {
                items.remove(place);
            }
            (place, before, result, stays)
        }
        Err(place) => {
            let mut item = make();
            let (result, stays) = change(&mut item);
            if stays {
                // Not twice as much as before: a leaf never holds more than so many.
                if items.len() == items.capacity() {
                    let more = (items.len() / 4).max(4).min(LEAF_MAX + 1 - items.len());
                    items.reserve_exact(more);
                }
                items.insert(place, item);
            }
            (place, 0, result, stays)
        }
    };
    let after = if stays { isize::from(items[place].counts()) } else { 0 };
    let split = (items.len() > LEAF_MAX).then(|| {
        // What comes at an end is likely to be followed by more.
        let at = match place {
            0 => 1,
            _ if place + 1 == items.len() => items.len() - 1,
            _ => items.len() / 2,
        };
        Branch::of(Node::Leaf(items.split_off(at)))
    });
    Changed { result, weight: after - before, split }
}

fn change_inner<T: Item, R>(
    branches: &mut Vec<Branch<T>>,
    target: &impl Target<T>,
    make: impl FnOnce() -> T,
    change: impl FnOnce(&mut T) -> (R, bool),
) -> Changed<T, R> {
    let way = way(branches, target);
    let branch = &mut branches[way];
    branch.low = branch.low.min(target.prefix());
    let Changed { result, weight, split } = branch.node.change(target, make, change);
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

fn weight_of<T: Item>(items: &[T]) -> usize {
    items.iter().filter(|item| item.counts()).count()
}

/// Items at some places, from both ends.
pub(crate) struct Range<'t, T> {
    tree: &'t CountedTree<T>,
    /// What is still to come.
    places: ops::Range<usize>,
    /// What of the leaf at the front is still to come, dead items included.
    front: &'t [T],
    /// What of the leaf at the back is.
    back: &'t [T],
}

impl<'t, T: Item> Iterator for Range<'t, T> {
    type Item = &'t T;

    fn next(&mut self) -> Option<&'t T> {
        while !self.places.is_empty() {
            let Some((item, rest)) = self.front.split_first() else {
                let (leaf, at) = self.tree.leaf_at(self.places.start)?;
                self.front = &leaf[at..];
                continue;
            };
            self.front = rest;
            if item.counts() {
                self.places.start += 1;
                return Some(item);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.places.len(), Some(self.places.len()))
    }
}

impl<T: Item> ExactSizeIterator for Range<'_, T> {}

impl<'t, T: Item> DoubleEndedIterator for Range<'t, T> {
    fn next_back(&mut self) -> Option<&'t T> {
        while !self.places.is_empty() {
            let Some((item, rest)) = self.back.split_last() else {
                let (leaf, at) = self.tree.leaf_at(self.places.end - 1)?;
                self.back = &leaf[..=at];
                continue;
            };
            self.back = rest;
            if item.counts() {
                self.places.end -= 1;
                return Some(item);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Number {
        value: u16,
        counts: bool,
    }

    impl Item for Number {
        fn prefix(&self) -> u64 {
            u64::from(self.value >> 6)
        }

        fn counts(&self) -> bool {
            self.counts
        }
    }

    impl Target<Number> for u16 {
        fn prefix(&self) -> u64 {
            u64::from(*self >> 6)
        }

        fn order(&self, item: &Number) -> Ordering {
            item.value.cmp(self)
        }
    }

    fn put(tree: &mut CountedTree<Number>, value: u16, counts: Option<bool>) {
        tree.change(
            &value,
            || Number { value, counts: false },
            |number| {
                number.counts = counts.unwrap_or_default();
                ((), counts.is_some())
            },
        );
    }

    fn check(tree: &CountedTree<Number>, model: &[Number]) {
        assert_eq!(tree.iter().copied().collect::<Vec<_>>(), model);
        assert_eq!(tree.is_empty(), model.is_empty());
        let counted: Vec<Number> = model.iter().filter(|number| number.counts).copied().collect();
        assert_eq!(tree.weight, counted.len());
        assert_eq!(tree.range(0..usize::MAX).copied().collect::<Vec<_>>(), counted);
        let backwards: Vec<Number> = tree.range(0..usize::MAX).rev().copied().collect();
        assert!(backwards.iter().rev().eq(&counted));
        for place in [0, counted.len() / 3, counted.len().saturating_sub(1)] {
            assert_eq!(tree.range(place..place + 1).next(), counted.get(place));
            if let Some(number) = counted.get(place) {
                assert_eq!(tree.weight_before(|other| other.value < number.value), place);
                assert_eq!(tree.get(&number.value), Some(number));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Many more come than go, then more go than come.
        #[test]
        fn it_holds_what_a_sorted_vector_would(
            grows in prop::collection::vec((0_u16..2_000, prop::option::weighted(0.8, any::<bool>())), 0..1_500),
            shrinks in prop::collection::vec((0_u16..2_000, prop::option::weighted(0.05, any::<bool>())), 0..3_000),
        ) {
            let mut tree = CountedTree::default();
            let mut model = std::collections::BTreeMap::new();
            for (at, (value, counts)) in grows.into_iter().chain(shrinks).enumerate() {
                put(&mut tree, value, counts);
                match counts {
                    Some(counts) => drop(model.insert(value, Number { value, counts })),
                    None => drop(model.remove(&value)),
                }
                if at % 150 == 0 {
                    check(&tree, &model.values().copied().collect::<Vec<_>>());
                }
            }
            let model: Vec<Number> = model.into_values().collect();
            check(&tree, &model);
            check(&CountedTree::of_sorted(model.clone()), &model);
            let mut even = tree.clone();
            even.retain_mut(|number| number.value % 2 == 0);
            check(&even, &model.into_iter().filter(|number| number.value % 2 == 0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_put_at_an_end_fills_the_leaves() {
        let mut tree = CountedTree::default();
        (5_000..10_000).for_each(|value| put(&mut tree, value, Some(true)));
        (0..5_000).rev().for_each(|value| put(&mut tree, value, Some(true)));
        let mut leaves = Vec::new();
        tree.root.collect_leaves(&mut leaves);
        assert!(leaves.len() <= 10_000 / (LEAF_MAX - 2), "{} leaves", leaves.len());
    }
}
