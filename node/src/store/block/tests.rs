use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::change::Sum;

use super::*;
use crate::store::list_id::Position;
use crate::store::rich::{Contributions, OwnContribution};

fn version(at: u64, origin: u64) -> Version {
    Version::new(Timestamp(at << 16), Origin(origin))
}

/// A write at a version to one of some elements, or a sum, or nothing left of it.
#[derive(Clone, Debug)]
struct Act {
    element: usize,
    at: u64,
    origin: u64,
    value: Option<Vec<u8>>,
    score: f64,
    sums: usize,
    goes: bool,
    guesses: bool,
}

fn act() -> impl Strategy<Value = Act> {
    let value = prop_oneof![
        Just(None),
        Just(Some(Vec::new())),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Some),
        any::<i64>().prop_map(|int| Some(int.to_string().into_bytes())),
        (-300_i64..300).prop_map(|int| Some(int.to_string().into_bytes())),
    ];
    let score = prop_oneof![
        (-5_i32..5).prop_map(f64::from),
        any::<i32>().prop_map(|score| f64::from(score) / 3.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(1e300),
    ];
    (0..30_usize, 1..50_u64, 1..4_u64, value, score, 0..3_usize, prop::bool::weighted(0.1), any::<bool>())
        .prop_map(|(element, at, origin, value, score, sums, goes, guesses)| Act {
            element,
            at,
            origin,
            value,
            score,
            sums,
            goes,
            guesses,
        })
}

fn id(kind: Kind, act: &Act) -> CellId<'static> {
    let element = match (kind, act.element) {
        (Kind::String, _) => Vec::new(),
        // Some were pushed at the version that they are written at, others are set later.
        (Kind::List, element) => {
            let first = Position::first().id(version(act.at % 3, act.origin), (element % 7) as u32);
            match element % 3 {
                0 => first,
                1 => Position::between(Some(&first), None).unwrap().id(version(act.at, act.origin), 0),
                _ => Position::between(None, Some(&first)).unwrap().id(version(act.at, act.origin), 1),
            }
        }
        (_, 0) => vec![b'x'; 300],
        (_, element @ 1..10) => format!("field{element}").into_bytes(),
        (_, element @ 10..20) => (element * element * element).to_string().into_bytes(),
        (_, element) => (i64::MIN + 5 * element as i64).to_string().into_bytes(),
    };
    CellId { kind, element: element.into() }
}

fn cell(kind: Kind, act: &Act) -> Cell<'static> {
    let value = act.value.clone().map(|bytes| match kind {
        Kind::SortedSet => Value::Float(act.score),
        _ => Value::Bytes(bytes.into()),
    });
    let has_base = act.sums == 0 || act.at.is_multiple_of(2);
    let own = |place: u64| OwnContribution {
        first: Timestamp(act.at << 16),
        last: Timestamp((act.at + place) << 16),
        counted: Timestamp(act.at << 16),
        sum: match kind {
            Kind::SortedSet => Sum::Float(act.score),
            _ if act.at.is_multiple_of(3) => Sum::Decimal(i128::MIN >> place),
            _ => Sum::Int(i128::from(i64::MAX) * 3),
        },
        carrier: Origin(act.origin + place),
    };
    Cell {
        base: has_base.then(|| (version(act.at, act.origin), value)),
        contributions: (0..act.sums as u64).map(|place| (Origin(place + 1), own(place))).collect(),
    }
}

type Plain = (Option<(Version, Option<Value<'static>>)>, Vec<(Origin, OwnContribution)>);

fn plain(cell: Cell<'_>) -> Plain {
    let Cell { base, contributions } = cell.into_owned();
    (base, contributions.into_vec())
}

proptest! {
    /// Whatever is put where, each cell is found as it was put, and they come in the order of their kind.
    #[test]
    fn a_block_holds_what_was_put_into_it(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let prefix = b"before";
        let mut bytes = [&prefix[..], EMPTY].concat();
        let mut model: BTreeMap<CellId<'static>, Cell<'static>> = BTreeMap::new();
        for act in acts {
            let (id, cell) = (id(kind, &act), cell(kind, &act));
            let block = Block::new(&bytes[prefix.len()..]);
            let patch = { let seat = block.seat(&id, act.guesses.then_some(act.score)); block.with(&seat, &id, (!act.goes).then_some(&cell)) };
            let length = patch.length_of(block);
            patch.apply(&mut bytes, prefix.len());
            prop_assert_eq!(bytes.len(), prefix.len() + length);
            prop_assert_eq!(&bytes[..prefix.len()], prefix);
            if act.goes {
                model.remove(&id);
            } else {
                model.insert(id, cell);
            }
            let block = Block::new(&bytes[prefix.len()..]);
            let held: Vec<_> = block.iter().map(|cell| (cell.id(), cell.cell(&block))).collect();
            prop_assert_eq!(held.len(), model.len());
            for (id, cell) in &model {
                let found = block.find(id).map(|cell| plain(cell.cell(&block)));
                prop_assert_eq!(found, Some(plain(cell.clone())));
            }
            for cell in block.iter() {
                let whole = cell.cell(&block);
                prop_assert_eq!(cell.is_live(), whole.is_live(None));
                prop_assert_eq!(cell.is_tombstone(), whole.is_tombstone());
                prop_assert_eq!(cell.score(&block), whole.score(None));
                prop_assert_eq!(cell.text(&block).map(Text::into_owned), whole.bytes(None).map(Cow::into_owned));
            }
            let again = Block::of(held.clone(), prefix);
            let again = Block::new(&again[prefix.len()..]);
            if !matches!(kind, Kind::Hash | Kind::String) {
                let ordered: Vec<_> = again.iter().map(|cell| (cell.id(), cell.cell(&again))).collect();
                let live = |cells: &[(CellId<'_>, Cell<'_>)]| -> Vec<String> {
                    let sorts = |id: &CellId<'_>| kind != Kind::Set || parse_integer(&id.element).is_some();
                    let live = cells.iter().filter(|(id, cell)| cell.is_live(None) && sorts(id));
                    live.map(|(id, cell)| format!("{id:?} {:?}", cell.score(None))).collect()
                };
                prop_assert_eq!(live(&held), live(&ordered));
            }
        }
    }
}

#[test]
fn what_one_command_wrote_takes_few_bytes() {
    let at = version(1_700_000_000_000, 77);
    let of = |kind: Kind, cells: Vec<(Vec<u8>, Value<'static>)>| {
        let cells = cells.into_iter().map(|(element, value)| {
            let cell = Cell { base: Some((at, Some(value))), contributions: Contributions::new() };
            (CellId { kind, element: element.into() }, cell)
        });
        Block::of(cells, &[]).len()
    };
    let bytes = |text: String| Value::Bytes(text.into_bytes().into());
    let integers = (0..100).map(|n: u32| (n.to_string().into_bytes(), bytes(String::new()))).collect();
    assert!(of(Kind::Set, integers) <= 100 + 24);
    let items = (0..100).map(|n| (Position::first().id(at, n), bytes(format!("item{n}")))).collect();
    assert!(of(Kind::List, items) <= 100 * 8 + 24);
    let fields = (0..10).map(|n| (format!("field{n}").into_bytes(), bytes(format!("val0000{n}")))).collect();
    assert!(of(Kind::Hash, fields) <= 10 * 16 + 24);
}
