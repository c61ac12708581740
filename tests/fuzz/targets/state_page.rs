//! Pages of keys: raw bytes, and a real page with some bytes changed. What can be read, and is written again, reads
//! the same.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use shared::state::{KeyState, Page, PageBuilder, StateError};

#[derive(Arbitrary, Debug)]
enum Case<'a> {
    Raw(&'a [u8]),
    Golden {
        /// Where to put which byte.
        changed: Vec<(u16, u8)>,
        /// How many bytes to leave off the end.
        cut: u8,
    },
}

fuzz_target!(|case: Case<'_>| match case {
    Case::Raw(bytes) => check(bytes),
    Case::Golden { changed, cut } => {
        let mut bytes = golden();
        for (at, byte) in changed {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - usize::from(cut) % bytes.len());
        check(&bytes);
    }
});

/// The page that pins the format.
fn golden() -> Vec<u8> {
    const HEX: &str = include_str!("../../../shared/src/state/golden_format_2.hex");
    let digits = HEX.trim().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn check(bytes: &[u8]) {
    let Ok(keys) = read(bytes) else { return };
    let mut again = PageBuilder::new();
    keys.iter().for_each(|key| again.push(key));
    let again = again.finish();
    assert_eq!(read(&again).unwrap(), keys);
}

fn read(bytes: &[u8]) -> Result<Vec<KeyState<'_>>, StateError> {
    Page::decode(bytes)?.into_iter().collect()
}
