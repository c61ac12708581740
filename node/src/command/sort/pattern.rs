//! Patterns of BY and GET.
//!
//! ```text
//!  #            the element itself
//!  w_*          the string at the key where the element stands for the first star
//!  w_*->field   the field of the hash at that key
//! ```

use shared::change::Kind;

use crate::store::block::Text;
use crate::store::key::Key;
use crate::transaction::Transaction;

/// Where an element's weight or value is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    Element,
    Key {
        before: &'a [u8],
        after: &'a [u8],
        field: Option<&'a [u8]>,
    },
    /// Without a star it names no key of the element's, and finds nothing.
    Nothing,
}

impl<'a> Pattern<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Self::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Self::Nothing };
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < after.len());
        match arrow {
            Some(at) => Self::Key { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Self::Key { before, after, field: None },
        }
    }

    /// What it finds for the element; nothing where a key holds another kind.
    pub(super) fn value(&self, transaction: &mut Transaction<'_>, db: u8, element: &[u8]) -> Option<Vec<u8>> {
        let (before, after, field) = match *self {
            Self::Element => return Some(element.to_vec()),
            Self::Nothing => return None,
            Self::Key { before, after, field } => (before, after, field),
        };
        let name = [before, element, after].concat();
        let key = Key::new(db, &name);
        let value = match field {
            Some(field) => {
                transaction.read_collection(&key, Kind::Hash).ok()??.get(field).map(Text::into_cow)
            }
            None => transaction.read_string(&key).ok()?,
        };
        value.map(|value| value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_star_stands_for_the_element_and_an_arrow_behind_it_leads_to_a_field() {
        let key = |before, after, field| Pattern::Key { before, after, field };
        for (text, expected) in [
            (&b"#"[..], Pattern::Element),
            (b"#x", Pattern::Nothing),
            (b"a->b", Pattern::Nothing),
            (b"w_*", key(b"w_", b"", None)),
            (b"w_*_*", key(b"w_", b"_*", None)),
            (b"*x->f", key(b"", b"x", Some(b"f"))),
            (b"*->", key(b"", b"->", None)),
            (b"->*", key(b"->", b"", None)),
        ] {
            assert_eq!(Pattern::new(text), expected);
        }
    }
}
