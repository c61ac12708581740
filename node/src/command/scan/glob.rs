//! Glob patterns, by the rules of Redis.
//!
//! ```text
//!  *        any bytes, or none          \x     the byte x itself
//!  ?        any one byte                [abc]  one of these; [^abc] none of them; [a-z] one of a range
//! ```
//!
//! Redis's oddities are kept: a class that nobody closes ends with the pattern, a range's ends may stand in either
//! order and compare as signed bytes, a `]` that ends a range belongs to it, and an empty text is matched by the
//! empty pattern alone.

/// Whether the whole of `text` matches `pattern`. Takes time in proportion to the product of their lengths at most.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on with one byte more under the newest star. Those before it need not be tried again: whatever
    // they would leave to the rest of the pattern, the newest star has tried already.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(after_star) = pattern.strip_prefix(b"*") {
            if after_star.is_empty() {
                return true;
            }
            pattern = after_star;
            retry = Some((pattern, text));
        } else if let [byte, rest @ ..] = text {
            let step = step(pattern, *byte);
            if let Some(after) = step {
                (pattern, text) = (after, rest);
            } else {
                let Some((after_star, [_, rest @ ..])) = retry else { return false };
                retry = Some((after_star, rest));
                (pattern, text) = (after_star, rest);
            }
        } else {
            return pattern.is_empty();
        }
    }
}

/// The pattern behind its first item, which is no star, if that matches the byte.
fn step(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_match, rest) = match pattern {
        [] => return None,
        [b'?', rest @ ..] => (true, rest),
        [b'[', b'^', class @ ..] => {
            let (is_in, rest) = class_has(class, byte);
            (!is_in, rest)
        }
        [b'[', class @ ..] => class_has(class, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte, rest),
    };
    is_match.then_some(rest)
}

/// Whether a class has the byte, and what stands behind the class.
fn class_has(class: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut is_in = false;
    let mut rest = class;
    loop {
        rest = match rest {
            [] => return (is_in, rest),
            [b'\\', literal, rest @ ..] => {
                is_in |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (is_in, rest),
            [start, b'-', end, rest @ ..] => {
                is_in |= range_has(*start as i8, *end as i8, byte as i8);
                rest
            }
            [literal, rest @ ..] => {
                is_in |= *literal == byte;
                rest
            }
        };
    }
}

/// The bytes are signed, as a C `char` is where Redis mostly runs.
fn range_has(start: i8, end: i8, byte: i8) -> bool {
    (start.min(end)..=start.max(end)).contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::matches;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} matches {text:?}");
        }
        for text in others {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} does not match {text:?}");
        }
    }

    #[test]
    fn stars_match_any_bytes() {
        check("a*", &["a", "ab", "a*"], &["", "b", "ba"]);
        check("*a", &["a", "ba", "aa"], &["", "ab"]);
        check("a*b*c", &["abc", "aabbcc", "abbcc"], &["acb", "ab", "bc"]);
        check("**", &["a", "ab"], &[""]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn a_question_mark_matches_one_byte() {
        check("h?llo", &["hello", "hallo"], &["hllo", "heello"]);
        check("?*?", &["ab", "abc"], &["a", ""]);
    }

    #[test]
    fn classes_have_ranges_negation_and_escapes() {
        check("h[ae]llo", &["hello", "hallo"], &["hillo", "hllo"]);
        check("h[^e]llo", &["hallo", "h^llo"], &["hello"]);
        check("h[a-cx]llo", &["hbllo", "hxllo"], &["hdllo", "h-llo"]);
        check("[c-a]", &["a", "b", "c"], &["d"]);
        check("[\\]]", &["]"], &["\\"]);
        check("[a\\-z]", &["a", "-", "z"], &["b"]);
        check("[a-]]", &["a", "]", "^"], &["-", "a]"]);
        check("[-a]", &["-", "a"], &["b"]);
        check("[a^]", &["a", "^"], &["b"]);
    }

    #[test]
    fn a_class_that_nobody_closes_ends_with_the_pattern() {
        check("[abc", &["a", "c"], &["d", "[abc"]);
        check("[^", &["a", "^"], &["", "ab"]);
        check("[", &[], &["[", "a"]);
        check("[]a]", &[], &["a", "]", "]a]"]);
        check("[a\\", &["a", "\\"], &["b"]);
    }

    #[test]
    fn ranges_compare_signed_bytes() {
        assert!(matches(b"[\x01-\xff]", b"\x00"));
        assert!(matches(b"[\x80-\xff]", b"\x90"));
        assert!(!matches(b"[\x01-\xff]", b"\x7f"));
    }

    #[test]
    fn a_backslash_takes_the_next_byte_as_it_is() {
        check("a\\*b", &["a*b"], &["aab", "a\\*b"]);
        check("\\[a]", &["[a]"], &["a"]);
        check("a\\", &["a\\"], &["a"]);
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = [&b"a*".repeat(40)[..], b"b"].concat();
        let started = Instant::now();
        assert!(!matches(&pattern, &b"a".repeat(10_000)));
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
