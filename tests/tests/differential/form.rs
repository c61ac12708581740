//! A command's form, as documentation writes it, from which random commands are drawn.
//!
//! ```text
//! GET key                          a word in upper case stands for itself, one in lower case for a slot
//! BITCOUNT key [int int [BYTE]]    may be left out
//! LMOVE key key (LEFT|RIGHT)       one of them
//! MSET (key value)+                once or several times
//! SET key value {NX|EX seconds}    any of them, in any order, maybe twice
//! SPOP key; DEL same               several commands, never parted
//! =OBJECT ENCODING key             compared to the byte, whatever its likeness is
//! ~EXISTS key                      asked until it answers with something else than 1
//! ```

use crate::dice::Dice;
use crate::slots::{self, Slot};
use crate::step::{Command, Mark};

/// Repetitions of what may be repeated, at most.
const REPEATS_MAX: usize = 4;
/// Options out of a set of them, at most.
const OPTIONS_MAX: usize = 4;

/// What stands for one or several commands.
#[derive(Debug)]
pub(crate) struct Form {
    commands: Vec<(Mark, Vec<Part>)>,
}

#[derive(Debug)]
enum Part {
    Word(&'static str),
    Slot(Slot),
    Maybe(Choices),
    OneOf(Choices),
    Repeated(Choices),
    AnyOf(Choices),
}

type Choices = Vec<Vec<Part>>;

impl Form {
    /// Reads one.
    ///
    /// # Panics
    /// If it is none: the table is wrong.
    pub(crate) fn parse(text: &'static str) -> Self {
        let command = |text: &'static str| {
            let text = text.trim();
            let (mark, text) = match text.as_bytes().first() {
                Some(b'=') => (Mark::Exact, &text[1..]),
                Some(b'~') => (Mark::UntilChanged, &text[1..]),
                _ => (Mark::None, text),
            };
            let mut tokens = Tokens { rest: text };
            let mut choices = tokens.choices("");
            assert_eq!(choices.len(), 1, "a choice outside of brackets: {text}");
            (mark, choices.remove(0))
        };
        Self { commands: text.split(';').map(command).collect() }
    }

    /// The names of the commands in it, in lower case; containers without subcommands.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.commands.iter().map(|(_, parts)| match parts.first() {
            Some(Part::Word(name)) => name.to_ascii_lowercase(),
            other => panic!("a command begins with its name, not with {other:?}"),
        })
    }

    /// Draws its commands.
    pub(crate) fn draw(&self, dice: &mut Dice) -> Vec<Command> {
        let commands = self.commands.iter().map(|(mark, parts)| {
            let mut words = Vec::new();
            draw(parts, dice, &mut words);
            Command { words, mark: *mark }
        });
        commands.collect()
    }
}

fn draw(parts: &[Part], dice: &mut Dice, words: &mut Vec<Vec<u8>>) {
    for part in parts {
        match part {
            Part::Word(word) => words.push(dice.in_any_case(word)),
            Part::Slot(slot) => words.extend(slot(dice)),
            Part::Maybe(choices) if dice.chance(50) => {
                let choice: &Vec<Part> = dice.one_of(choices);
                draw(choice, dice, words)
            }
            Part::Maybe(_) => {}
            Part::OneOf(choices) => {
                let choice: &Vec<Part> = dice.one_of(choices);
                draw(choice, dice, words)
            }
            Part::Repeated(choices) => {
                (0..dice.up_to(REPEATS_MAX)).for_each(|_| {
                    let choice: &Vec<Part> = dice.one_of(choices);
                    draw(choice, dice, words)
                });
            }
            Part::AnyOf(choices) => {
                (1..dice.up_to(OPTIONS_MAX)).for_each(|_| {
                    let choice: &Vec<Part> = dice.one_of(choices);
                    draw(choice, dice, words)
                });
            }
        }
    }
}

struct Tokens {
    rest: &'static str,
}

impl Tokens {
    /// Reads up to the bracket `close`, or to the end if that is empty.
    fn choices(&mut self, close: &str) -> Choices {
        let mut choices = vec![Vec::new()];
        loop {
            let token = self.next();
            let last = choices.last_mut().expect("there is one from the beginning");
            match token {
                token if token == close => return choices,
                "|" => choices.push(Vec::new()),
                "[" => last.push(Part::Maybe(self.choices("]"))),
                "{" => last.push(Part::AnyOf(self.choices("}"))),
                "(" => {
                    let inner = self.choices(")");
                    let repeats = self.rest.strip_prefix('+');
                    self.rest = repeats.unwrap_or(self.rest);
                    last.push(if repeats.is_some() { Part::Repeated(inner) } else { Part::OneOf(inner) });
                }
                token if token.starts_with(|first: char| first.is_ascii_lowercase()) => {
                    last.push(Part::Slot(slots::named(token)));
                }
                token => {
                    assert!(!token.is_empty(), "a bracket {close} is missing");
                    last.push(Part::Word(token));
                }
            }
        }
    }

    /// The next word or bracket; empty at the end.
    fn next(&mut self) -> &'static str {
        const BRACKETS: [char; 7] = ['[', ']', '(', ')', '{', '}', '|'];
        self.rest = self.rest.trim_start();
        let end = match self.rest.chars().next() {
            Some(first) if BRACKETS.contains(&first) => 1,
            _ => self
                .rest
                .find(|sign: char| sign == ' ' || BRACKETS.contains(&sign))
                .unwrap_or(self.rest.len()),
        };
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }
}
