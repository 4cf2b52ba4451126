//! Lines that are numbered one after the other: a listing of code, say.
//!
//! A document that has any is read a second time without their numbers, which cut short lines into runs of less
//! than a seed. The numbers are tokens by themselves, so that the text without them has the other tokens.

use std::cmp::Reverse;
use std::iter::Peekable;
use std::ops::Range;

use super::Pair;
use super::joined::united;
use super::tokens::{Token, tokenize};

/// As many lines in a row are numbered, or none of them is.
const LEAST_LINES: usize = 3;
/// Of a number of a line.
const MOST_DIGITS: usize = 6;

/// Where the numbers of numbered lines stand in `text`, in bytes, ascending.
fn numbers(text: &str) -> Vec<Range<usize>> {
    let mut numbers = Vec::new();
    let (mut start, mut lines, mut last) = (0, 0, 0);
    for line in text.split('\n').map(Some).chain([None]) {
        let found = line.and_then(number);
        if lines > 0 && found.as_ref().is_none_or(|&(value, _)| value != last + 1) {
            if lines < LEAST_LINES {
                numbers.truncate(numbers.len() - lines);
            }
            lines = 0;
        }
        if let Some((value, place)) = found {
            numbers.push(start + place.start..start + place.end);
            (lines, last) = (lines + 1, value);
        }
        start += line.map_or(0, |line| line.len() + 1);
    }
    numbers
}

/// The number that a line begins with, behind white space and before anything that belongs to no word.
fn number(line: &str) -> Option<(u32, Range<usize>)> {
    let start = line.bytes().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    let digits = line[start..].bytes().take_while(u8::is_ascii_digit).count();
    let ends = line
        .as_bytes()
        .get(start + digits)
        .is_none_or(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'_');
    if digits == 0 || digits > MOST_DIGITS || !ends {
        return None;
    }
    let place = start..start + digits;
    Some((line[place.clone()].parse().ok()?, place))
}

/// `text` with spaces in place of the numbers of its lines; None where none is numbered.
pub(super) fn without_numbers(text: &str) -> Option<String> {
    let numbers = numbers(text);
    if numbers.is_empty() {
        return None;
    }
    let mut without = String::with_capacity(text.len());
    let mut done = 0;
    for number in numbers {
        without.push_str(&text[done..number.start]);
        without.extend(number.clone().map(|_| ' '));
        done = number.end;
    }
    without.push_str(&text[done..]);
    Some(without)
}

/// The places of the tokens of `text` that are no numbers of lines; None where none is numbered.
pub(super) fn unnumbered(text: &str, tokens: &[Token]) -> Option<Vec<usize>> {
    let numbers = numbers(text);
    if numbers.is_empty() {
        return None;
    }
    let mut numbers = numbers.into_iter().peekable();
    let is_other = |numbers: &mut Peekable<_>, token: &Token| {
        numbers.next_if(|number: &Range<usize>| number.start == token.start).is_none()
    };
    let places = tokens.iter().enumerate().filter(|(_, token)| is_other(&mut numbers, token));
    Some(places.map(|(place, _)| place).collect())
}

/// Of the pairs of a document from `first` on, and those of it without the numbers of its lines, both by item:
/// the stronger of each item, by item.
///
/// Of the text, it is given where its rows begin; what either touches is touched.
pub(super) fn stronger(
    (text, rows): (&str, &[usize]),
    pairs: &mut Vec<Pair>,
    first: usize,
    others: Vec<Pair>,
) {
    if others.is_empty() {
        return;
    }
    let mut tokens = Vec::new();
    tokenize(text, &mut tokens);
    let Some(places) = unnumbered(text, &tokens) else { return };
    let mut both = pairs.split_off(first);
    both.extend(others.into_iter().map(|other| {
        let window = places[other.window.start]..places[other.window.end - 1] + 1;
        let token = |row: usize| tokens.partition_point(|token| token.start < rows[row]);
        let (row_token, near_token) = (token(other.rows.start), token(other.near.start));
        Pair { window, row_token, near_token, ..other }
    }));
    both.sort_by_key(|pair| (pair.item, Reverse((pair.strength, pair.covered()))));
    both.dedup_by(|weaker, pair| {
        let same = weaker.item == pair.item;
        if same {
            pair.touched = united(pair.touched.drain(..).chain(weaker.touched.drain(..)).collect::<Vec<_>>());
        }
        same
    });
    pairs.append(&mut both);
}
