//! An element's name or value as a client sees it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::store::list_id::PlainId;

/// Bytes that are borrowed where they lie as they are, and short ones that are put together without an allocation.
#[derive(Clone, Debug)]
pub(crate) enum Text<'b> {
    Borrowed(&'b [u8]),
    Inline(u8, [u8; INLINE_MAX]),
    Owned(Vec<u8>),
}

/// As long as a plain id of a list's element; a whole number's digits take fewer.
pub(super) const INLINE_MAX: usize = PlainId::BYTES;

impl<'b> Text<'b> {
    pub(super) fn of_int(int: i64) -> Self {
        Self::inline(&[], itoa::Buffer::new().format(int).as_bytes())
    }

    /// Both parts together, which are no longer than [`INLINE_MAX`].
    #[inline]
    pub(super) fn inline(start: &[u8], end: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        let length = start.len() + end.len();
        bytes[..start.len()].copy_from_slice(start);
        bytes[start.len()..length].copy_from_slice(end);
        Self::Inline(length as u8, bytes)
    }

    pub(crate) fn into_cow(self) -> Cow<'b, [u8]> {
        match self {
            Self::Borrowed(bytes) => Cow::Borrowed(bytes),
            text => Cow::Owned(text.into_owned()),
        }
    }

    pub(crate) fn into_owned(self) -> Vec<u8> {
        match self {
            Self::Owned(bytes) => bytes,
            text => text.to_vec(),
        }
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl<'b> From<Cow<'b, [u8]>> for Text<'b> {
    fn from(bytes: Cow<'b, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Self::Borrowed(bytes),
            Cow::Owned(bytes) => Self::Owned(bytes),
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Self::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
