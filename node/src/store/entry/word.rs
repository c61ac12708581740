//! An entry in one word, and the bytes of a packed one in one allocation. All of the node's unsafe code, but for two calls of
//! the [allocator](crate::allocator)'s.
//!
//! Problem: a table holds a word or two for each key. Of a slice it would be two, pointer and length, which is ten bytes per
//! key more, and makes a group of places twice as long to read.
//!
//! Idea: the length stands before the bytes; and the lowest bit of the pointer says whether they are bytes or a rich key.
//!
//! ```text
//! packed  length 1, bytes           below 255 of them
//!         255, length 7, bytes      otherwise
//! ```
//!
//! Why it is sound:
//! - A [`Packed`] owns what it points to: an allocation of [`Shape::layout`] with a length in front that is never changed
//!   without the allocation, and that many bytes behind it, all of them initialized; or the static [`NOTHING`], which is
//!   never written nor freed: there are no bytes of it to write.
//! - An [`Entry`] owns either what a `Packed` does, and is the same pointer; or the box of a [`RichKey`], and is its pointer
//!   with the lowest bit set. All these are aligned to eight bytes, so that the bit is free.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use crate::store::rich::RichKey;

const ALIGN: usize = 8;

const RICH: usize = 1;

const _: () = assert!(align_of::<RichKey>() >= ALIGN && align_of::<u64>() >= ALIGN);

/// A key in one allocation. What its bytes mean is told in [`packed`](super::packed).
#[repr(transparent)]
pub(crate) struct Packed(NonNull<u8>);

/// The state of one key.
#[repr(transparent)]
pub(crate) struct Entry(NonNull<u8>);

const _: () = assert!(size_of::<Entry>() == 8, "one word per key in the tables");

/// What an entry is, to look at.
pub(crate) enum View<'e> {
    Packed(&'e Packed),
    Rich(&'e RichKey),
}

/// What an entry is, to change.
pub(crate) enum ViewMut<'e> {
    Packed(&'e mut Packed),
    Rich(&'e mut RichKey),
}

/// What an entry is, to keep.
pub(crate) enum Form {
    Packed(Packed),
    Rich(Box<RichKey>),
}

// SAFETY: each owns what it points to alone, bytes or a rich key, which may be sent and shared.
unsafe impl Send for Packed {}
unsafe impl Sync for Packed {}
unsafe impl Send for Entry {}
unsafe impl Sync for Entry {}

const _: fn() = || {
    const fn may_be_sent_and_shared<T: Send + Sync>() {}
    may_be_sent_and_shared::<RichKey>();
};

/// What a place without a key points to: a length of zero.
static NOTHING: u64 = 0;

const fn nothing() -> NonNull<u8> {
    NonNull::from_ref(&NOTHING).cast()
}

/// How so many bytes lie in their allocation.
#[derive(Clone, Copy)]
struct Shape {
    length: usize,
    /// Where they begin.
    start: usize,
}

const LONG: u8 = u8::MAX;

impl Shape {
    const fn of(length: usize) -> Self {
        Self { length, start: if length < LONG as usize { 1 } else { ALIGN } }
    }

    const fn size(self) -> usize {
        self.start + self.length
    }

    fn layout(self) -> Layout {
        Layout::from_size_align(self.size(), ALIGN).expect("what is copied here was in memory before")
    }

    /// # Safety
    /// There is memory for it from `place` on, aligned as it should be.
    const unsafe fn write(self, place: *mut u8) {
        // SAFETY: as the caller says; a long one has eight bytes in front.
        unsafe {
            if self.start == 1 {
                place.write(self.length as u8);
            } else {
                place.cast::<u64>().write(((self.length as u64) << 8 | LONG as u64).to_le());
            }
        }
    }
}

impl Packed {
    /// These parts, one after the other.
    pub(super) fn concat(parts: &[&[u8]]) -> Self {
        let shape = Shape::of(parts.iter().map(|part| part.len()).sum());
        let layout = shape.layout();
        // SAFETY: its size is not zero.
        let Some(place) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        let mut end = shape.start;
        // SAFETY: the allocation has this shape; the parts together are as long as its bytes, and lie elsewhere.
        unsafe {
            shape.write(place.as_ptr());
            for part in parts.iter().filter(|part| !part.is_empty()) {
                place.as_ptr().add(end).copy_from_nonoverlapping(part.as_ptr(), part.len());
                end += part.len();
            }
        }
        Self(place)
    }

    #[inline(always)]
    fn shape(&self) -> Shape {
        // SAFETY: a length stands in front, and a long one has eight bytes.
        unsafe {
            match self.0.read() {
                LONG => Shape::of((u64::from_le(self.0.cast::<u64>().read()) >> 8) as usize),
                length => Shape { length: length as usize, start: 1 },
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.0 == nothing()
    }

    /// What it takes of memory, in bytes.
    pub(super) fn memory(&self) -> usize {
        if self.is_nothing() { 0 } else { self.shape().size() }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        let Shape { length, start } = self.shape();
        // SAFETY: so many bytes lie there, and are borrowed as this is.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(start), length) }
    }

    #[inline(always)]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let Shape { length, start } = self.shape();
        // SAFETY: so many bytes lie there, and are borrowed as this is. Of `NOTHING` there are none.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().add(start), length) }
    }

    /// Puts bytes in the place of others.
    pub(super) fn splice(&mut self, place: Range<usize>, new: &[u8]) {
        let old = self.shape();
        let kept = [&self.bytes()[..place.start], &self.bytes()[place.end..]];
        let shape = Shape::of(kept[0].len() + new.len() + kept[1].len());
        if shape.start != old.start || self.is_nothing() {
            *self = Self::concat(&[kept[0], new, kept[1]]);
            return;
        }
        let behind = kept[1].len();
        if shape.length > old.length {
            self.resize(old, shape);
        }
        // SAFETY: the allocation is as large as the larger of the two shapes. What lies behind the place has been there, and
        // fits where it is moved to; between the two there is room for the new bytes, which lie elsewhere.
        unsafe {
            let bytes = self.0.as_ptr().add(shape.start);
            bytes.add(place.start + new.len()).copy_from(bytes.add(place.end), behind);
            bytes.add(place.start).copy_from_nonoverlapping(new.as_ptr(), new.len());
            shape.write(self.0.as_ptr());
        }
        if shape.length < old.length {
            self.resize(old, shape);
        }
    }

    /// Gives the allocation the size of another shape; the length in front is the caller's to set.
    fn resize(&mut self, from: Shape, to: Shape) {
        let layout = to.layout();
        // SAFETY: the allocation was made with the layout that it is said to have, and both sizes are above zero.
        let place = unsafe { realloc(self.0.as_ptr(), from.layout(), layout.size()) };
        self.0 = NonNull::new(place).unwrap_or_else(|| handle_alloc_error(layout));
    }
}

impl Drop for Packed {
    #[inline]
    fn drop(&mut self) {
        if !self.is_nothing() {
            // SAFETY: it was allocated with this layout, and nobody looks at it any more.
            unsafe { dealloc(self.0.as_ptr(), self.shape().layout()) }
        }
    }
}

impl Entry {
    /// What stands in a place that holds no key. Takes no memory of its own.
    pub(crate) const fn nothing() -> Self {
        Self(nothing())
    }

    #[inline(always)]
    fn is_rich(&self) -> bool {
        self.0.addr().get() & RICH != 0
    }

    /// The key, of an entry that is a rich one.
    #[inline(always)]
    fn rich(&self) -> NonNull<RichKey> {
        assert!(self.is_rich(), "looked at before");
        // SAFETY: it is one byte behind the beginning of a rich key, which has more.
        unsafe { self.0.byte_sub(RICH).cast() }
    }

    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_> {
        if self.is_rich() {
            // SAFETY: it is the pointer of a box that this owns.
            View::Rich(unsafe { self.rich().as_ref() })
        } else {
            // SAFETY: both are one pointer, and without the bit it is one that a `Packed` has.
            View::Packed(unsafe { NonNull::from_ref(self).cast().as_ref() })
        }
    }

    #[inline(always)]
    pub(crate) fn view_mut(&mut self) -> ViewMut<'_> {
        if self.is_rich() {
            // SAFETY: it is the pointer of a box that this owns.
            ViewMut::Rich(unsafe { self.rich().as_mut() })
        } else {
            // SAFETY: both are one pointer, and without the bit it is one that a `Packed` has; whatever other `Packed` is put
            // there has none either.
            ViewMut::Packed(unsafe { NonNull::from_mut(self).cast().as_mut() })
        }
    }

    pub(crate) fn into_form(self) -> Form {
        let this = ManuallyDrop::new(self);
        if this.is_rich() {
            // SAFETY: it is the pointer of a box that this owned, and no longer does.
            Form::Rich(unsafe { Box::from_raw(this.rich().as_ptr()) })
        } else {
            Form::Packed(Packed(this.0))
        }
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        if self.is_rich() {
            // SAFETY: it is the pointer of a box that this owned, and nobody looks at it any more.
            drop(unsafe { Box::from_raw(self.rich().as_ptr()) });
        } else {
            drop(Packed(self.0));
        }
    }
}

impl From<Packed> for Entry {
    #[inline(always)]
    fn from(packed: Packed) -> Self {
        Self(ManuallyDrop::new(packed).0)
    }
}

impl From<Box<RichKey>> for Entry {
    fn from(rich: Box<RichKey>) -> Self {
        let place = NonNull::from(Box::leak(rich)).cast::<u8>();
        // SAFETY: a rich key has more than one byte.
        Self(unsafe { place.byte_add(RICH) })
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packed").field(&self.bytes()).finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.view() {
            View::Packed(packed) => packed.fmt(f),
            View::Rich(rich) => rich.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rich(key: &[u8]) -> Entry {
        Box::new(RichKey::of_cells(key, Vec::new())).into()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 256 }, ..ProptestConfig::default() })]

        /// Short or long, whatever is put in the place of what, the bytes are those of a vector that it is done to.
        #[test]
        fn bytes_are_what_was_put_there(
            first in prop::collection::vec(any::<u8>(), 0..300),
            changes in prop::collection::vec((any::<[u16; 2]>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        ) {
            let mut packed = Packed::concat(&[&first]);
            let mut model = first;
            for (at, new) in changes {
                let [one, other] = at.map(|at| usize::from(at) % (model.len() + 1));
                let place = one.min(other)..one.max(other);
                packed.splice(place.clone(), &new);
                model.splice(place, new);
                prop_assert_eq!(packed.bytes(), &model[..]);
                prop_assert_eq!(packed.memory(), model.len() + if model.len() < 255 { 1 } else { 8 });
                if let Some(byte) = packed.bytes_mut().last_mut() {
                    *byte ^= 1;
                    *model.last_mut().expect("as long as the other") ^= 1;
                }
            }
        }
    }

    #[test]
    fn nothing_can_be_looked_at_changed_and_dropped() {
        let Form::Packed(mut nothing) = Entry::nothing().into_form() else { panic!("it is not rich") };
        assert!(nothing.bytes().is_empty() && nothing.bytes_mut().is_empty() && nothing.memory() == 0);
        nothing.splice(0..0, b"something");
        assert_eq!(nothing.bytes(), b"something");
    }

    #[test]
    fn an_entry_is_what_was_made_one_whatever_takes_its_place() {
        let mut entry = Entry::from(Packed::concat(&[b"one", b"two"]));
        let ViewMut::Packed(packed) = entry.view_mut() else { panic!("it is packed") };
        *packed = Packed::concat(&[&[7; 300]]);
        assert!(matches!(entry.view(), View::Packed(packed) if packed.bytes() == [7; 300]));
        entry = rich(b"key");
        let ViewMut::Rich(changed) = entry.view_mut() else { panic!("it is rich") };
        changed.key = b"another"[..].into();
        assert!(matches!(entry.view(), View::Rich(rich) if *rich.key == *b"another"));
        assert!(matches!(entry.into_form(), Form::Rich(rich) if *rich.key == *b"another"));
        let places: [Entry; 3] = [rich(b"a"), Entry::nothing(), Packed::concat(&[b"b"]).into()];
        std::thread::spawn(move || drop(places)).join().expect("it may be sent");
    }
}
