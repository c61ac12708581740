//! Families of commands: which forms there are, and how often each is drawn.

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::form::Form;
use crate::slots;
use crate::step::{Command, Mark, Step};

/// A family as it stands in its file.
pub(crate) struct Family {
    pub(crate) name: &'static str,
    /// What its keys begin with.
    pub(crate) prefixes: &'static [&'static str],
    /// Its forms, each with its weight.
    pub(crate) forms: &'static [(usize, &'static str)],
}

/// Commands are changed so often, in percent, that one in a few hundred has a wrong number of arguments or a word where
/// none belongs.
const MUTATED_PERCENT: u8 = 3;
/// So many percent of a sequence's commands are of one family.
const FOCUS_PERCENT: u8 = 60;

/// The families that take part.
pub(crate) struct Table {
    pub(crate) families: Vec<Entry>,
    /// Commands that have forms, and are left out as a server does not know them.
    pub(crate) left_out: Vec<(&'static str, BTreeSet<String>)>,
}

/// A family that takes part.
pub(crate) struct Entry {
    pub(crate) family: &'static Family,
    pub(crate) forms: Vec<(usize, Form)>,
    /// The sum of the forms' weights.
    weight: usize,
}

impl Table {
    /// Of these families, the forms all of whose commands are known.
    pub(crate) fn new(families: &[&'static Family], is_known: impl Fn(&str) -> bool) -> Self {
        let mut table = Self { families: Vec::new(), left_out: Vec::new() };
        for family in families {
            let parsed = family.forms.iter().map(|(weight, text)| (*weight, Form::parse(text)));
            let is_whole = |(_, form): &(usize, Form)| form.names().all(|name| is_known(&name));
            let (forms, unknown): (Vec<_>, Vec<_>) = parsed.partition(is_whole);
            let unknown = unknown.iter().flat_map(|(_, form)| form.names());
            let left_out: BTreeSet<String> = unknown.filter(|name| !is_known(name)).collect();
            if !left_out.is_empty() {
                table.left_out.push((family.name, left_out));
            }
            if !forms.is_empty() {
                let weight = forms.iter().map(|(weight, _)| weight).sum();
                table.families.push(Entry { family, forms, weight });
            }
        }
        table
    }

    /// Every command that may be drawn.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let forms = self.families.iter().flat_map(|entry| &entry.forms);
        forms.flat_map(|(_, form)| form.names()).collect()
    }

    /// A sequence of so many steps.
    pub(crate) fn sequence(&self, seed: u64, now_s: u64, steps: usize) -> Vec<Step> {
        let prefixes = self.families.iter().flat_map(|entry| entry.family.prefixes).copied().collect();
        let mut dice = Dice::new(seed, now_s, prefixes);
        let focus = dice.below(self.families.len());
        let hello = Command {
            words: vec![b"HELLO".to_vec(), (*dice.one_of(&[b"2", b"3"])).to_vec()],
            mark: Mark::None,
        };
        let mut sequence = vec![Step { family: focus, commands: vec![hello] }];
        sequence.extend((1..steps).map(|_| self.step(focus, &mut dice)));
        sequence
    }

    fn step(&self, focus: usize, dice: &mut Dice) -> Step {
        let family = if dice.chance(FOCUS_PERCENT) { focus } else { dice.below(self.families.len()) };
        let entry = &self.families[family];
        dice.own_prefixes = entry.family.prefixes;
        let mut place = dice.below(entry.weight);
        let mut forms = entry.forms.iter();
        let form = forms.find_map(|(weight, form)| match place.checked_sub(*weight) {
            Some(rest) => {
                place = rest;
                None
            }
            None => Some(form),
        });
        let mut commands = form.expect("the place lies within the sum of the weights").draw(dice);
        if let [command] = &mut commands[..]
            && dice.chance(MUTATED_PERCENT)
        {
            mutate(&mut command.words, dice);
        }
        Step { family, commands }
    }
}

/// An argument less, one more, or another one.
fn mutate(words: &mut Vec<Vec<u8>>, dice: &mut Dice) {
    let word = slots::named("word")(dice).remove(0);
    match dice.below(3) {
        0 if words.len() > 1 => words.truncate(words.len() - 1),
        1 if words.len() > 1 => {
            let place = 1 + dice.below(words.len() - 1);
            words[place] = word;
        }
        _ => words.push(word),
    }
}
