//! Does the answer of an item stand near its question?
//!
//! An answer stands in a stretch of a document if the stretch holds its tokens in a row, and so more often than
//! the question itself does: a question that names its answer says nothing of it. The stretch is the window of
//! the question and [`NEAR`] tokens on either side. One ASCII letter is the label of a choice, and no answer.

use std::cmp::Reverse;
use std::ops::Range;

use rayon::prelude::*;

use super::tokens::{Kind, Token, tokenize};
use crate::error::ScanError;
use crate::parallel::Watch;
use crate::strings::Texts;

/// Tokens before and after the window of a question that are near it.
const NEAR: usize = 64;

/// Between several answers of one item, any of which is the answer.
const SEPARATOR: char = '\u{1e}';

#[derive(Debug)]
struct Answer {
    tokens: Box<[u64]>,
    /// How often the question holds them.
    in_question: usize,
}

/// The answers of items, by their rows.
#[derive(Debug, Default)]
pub struct Answers {
    rows: Vec<Vec<Answer>>,
}

/// A document of a batch, the window of a question in it, and the row of the answer.
#[derive(Clone, Debug)]
pub struct Place {
    /// Row of the document in its batch.
    pub document: usize,
    /// In tokens.
    pub window: Range<usize>,
    /// Row of the item.
    pub row: usize,
}

impl Answers {
    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        let of_row = |row: &Vec<Answer>| {
            row.iter().map(|answer| size_of::<Answer>() + size_of_val(&*answer.tokens)).sum::<usize>()
        };
        self.rows.len() * size_of::<Vec<Answer>>() + self.rows.iter().map(of_row).sum::<usize>()
    }

    /// Whether each of the next rows has an answer that can be looked for.
    ///
    /// # Errors
    /// [`ScanError::Value`] for a row that is not UTF-8; [`ScanError::Cancelled`].
    pub fn add(
        &mut self,
        questions: &Texts<'_>,
        answers: &Texts<'_>,
        watch: &Watch,
    ) -> Result<Vec<bool>, ScanError> {
        if questions.len() != answers.len() {
            return Err(ScanError::Value(
                "overlap: every question needs an answer, if an empty one".to_owned(),
            ));
        }
        let of_row = |row: usize| {
            watch.check()?;
            Ok::<Vec<_>, ScanError>(answers_of(questions.text(row)?, answers.text(row)?))
        };
        let rows = (0..questions.len()).into_par_iter().map(of_row).collect::<Result<Vec<_>, _>>()?;
        let some = rows.iter().map(|answers| !answers.is_empty()).collect();
        self.rows.extend(rows);
        Ok(some)
    }

    /// Whether an answer stands near its question at each of `places`, which ascend by document.
    ///
    /// # Errors
    /// [`ScanError::Value`] for a document that is not UTF-8; [`ScanError::Cancelled`].
    pub fn nearby(
        &self,
        documents: &Texts<'_>,
        places: &[Place],
        watch: &Watch,
    ) -> Result<Vec<bool>, ScanError> {
        let by_document: Vec<_> = places.chunk_by(|a, b| a.document == b.document).collect();
        let of_document = |places: &&[Place]| {
            watch.check()?;
            let tokens = hashes(documents.text(places[0].document)?);
            let nearby = places.iter().map(|place| {
                let near = &tokens[near(&place.window, tokens.len())];
                let answers = self.rows.get(place.row).into_iter().flatten();
                answers.into_iter().any(|answer| count(near, &answer.tokens) > answer.in_question)
            });
            Ok::<Vec<_>, ScanError>(nearby.collect())
        };
        let found = by_document.par_iter().map(of_document).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// Where the answer of an item stands near its question, in tokens of a document: the first place behind the window
/// of the question, or the last one before it, or the last one within. Empty where there is none.
pub(super) fn place(document: &[u64], window: &Range<usize>, question: &str, answers: &str) -> Range<usize> {
    let near = near(window, document.len());
    let found = answers_of(question, answers).into_iter().filter_map(|Answer { tokens, in_question }| {
        let ends = ends(&document[near.clone()], &tokens);
        let places = ends.iter().map(|end| near.start + end - tokens.len()..near.start + end);
        let order = |place: &Range<usize>| {
            let behind = place.start >= window.end;
            (behind, behind.then_some(Reverse(place.start)), place.end <= window.start, place.start)
        };
        (ends.len() > in_question).then(|| places.max_by_key(order)).flatten()
    });
    found.into_iter().next().unwrap_or(0..0)
}

/// The tokens of a document that are near the window of a question.
pub(super) fn near(window: &Range<usize>, tokens: usize) -> Range<usize> {
    let start = window.start.saturating_sub(NEAR).min(tokens);
    start..window.end.saturating_add(NEAR).clamp(start, tokens)
}

fn answers_of(question: &str, answers: &str) -> Vec<Answer> {
    let question = hashes(question);
    let texts = answers.split(SEPARATOR).filter_map(tokens_of);
    texts.map(|tokens| Answer { in_question: count(&question, &tokens), tokens }).collect()
}

fn hashes(text: &str) -> Vec<u64> {
    let mut tokens = Vec::new();
    tokenize(text, &mut tokens);
    tokens
}

/// The tokens of an answer, if it is one.
fn tokens_of(text: &str) -> Option<Box<[u64]>> {
    let mut tokens: Vec<Token> = Vec::new();
    tokenize(text, &mut tokens);
    match &tokens[..] {
        [] => None,
        [label] if label.kind == Kind::Letter => None,
        _ => Some(tokens.iter().map(|token| token.hash).collect()),
    }
}

/// How often `tokens` stand in a row in `text`.
fn count(text: &[u64], tokens: &[u64]) -> usize {
    ends(text, tokens).len()
}

/// Behind which places of `text` end `tokens` that stand there in a row, by Knuth, Morris and Pratt.
fn ends(text: &[u64], tokens: &[u64]) -> Vec<usize> {
    if tokens.len() > text.len() {
        return Vec::new();
    }
    // The longest proper beginning of each beginning that also ends it.
    let mut border = vec![0; tokens.len()];
    let follow = |border: &[usize], mut held: usize, token: u64| {
        while held > 0 && (held == tokens.len() || tokens[held] != token) {
            held = border[held - 1];
        }
        held + usize::from(tokens[held] == token)
    };
    for place in 1..tokens.len() {
        border[place] = follow(&border, border[place - 1], tokens[place]);
    }
    let mut held = 0;
    let mut ends = |(place, &token): (usize, &u64)| {
        held = follow(&border, held, token);
        (held == tokens.len()).then_some(place + 1)
    };
    text.iter().enumerate().filter_map(&mut ends).collect()
}
