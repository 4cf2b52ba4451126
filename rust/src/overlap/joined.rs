//! Documents of several rows: which row a token stands in.

use std::borrow::Cow;
use std::ops::Range;

use super::BYTES_PER_TASK;
use crate::error::ScanError;
use crate::strings::Texts;

/// Rows of text, of which consecutive ones are one document: as if a line break stood between them.
#[derive(Clone, Copy, Debug)]
pub struct Documents<'a> {
    texts: &'a Texts<'a>,
    /// The row at which each document begins, and behind the last one; None if each row is one.
    starts: Option<&'a [i64]>,
}

impl<'a> Documents<'a> {
    /// The documents that begin at `starts`, the last of which is the number of rows; each row where it is None.
    ///
    /// # Errors
    /// [`ScanError::Shape`] when starts are no such rows.
    pub fn new(texts: &'a Texts<'a>, starts: Option<&'a [i64]>) -> Result<Self, ScanError> {
        let all = |starts: &[i64]| {
            starts.first() == Some(&0)
                && starts.last() == Some(&(texts.len() as i64))
                && starts.windows(2).all(|pair| pair[0] < pair[1])
        };
        if starts.is_none_or(all) {
            return Ok(Self { texts, starts });
        }
        Err(ScanError::Shape(format!("documents: expected ascending rows from 0 to {}", texts.len())))
    }

    fn rows(&self, document: usize) -> Range<usize> {
        self.starts
            .map_or(document..document + 1, |starts| starts[document] as usize..starts[document + 1] as usize)
    }

    /// The texts of the rows of a document.
    ///
    /// # Errors
    /// [`ScanError::Value`] for a row that is not UTF-8.
    pub(super) fn texts(&self, document: usize) -> Result<Vec<&'a str>, ScanError> {
        self.rows(document).map(|row| self.texts.text(row)).collect()
    }

    /// Consecutive documents, as much as a worker takes at a time.
    pub(super) fn tasks(&self) -> Vec<Range<usize>> {
        let end = self.starts.map_or(self.texts.len(), |starts| starts.len() - 1);
        let mut tasks = Vec::new();
        let mut document = 0;
        while document < end {
            let row = self.texts.rows_within(self.rows(document).start, BYTES_PER_TASK);
            let next =
                self.starts.map_or(row, |starts| starts.partition_point(|&start| start <= row as i64) - 1);
            let next = next.max(document + 1);
            tasks.push(document..next);
            document = next;
        }
        tasks
    }
}

/// Rows as one text.
pub(super) fn text<'a>(rows: &[&'a str]) -> Cow<'a, str> {
    match rows {
        [row] => Cow::Borrowed(row),
        _ => Cow::Owned(rows.join("\n")),
    }
}

/// Where each row begins in the text of all, in bytes.
pub(super) fn starts(rows: &[&str]) -> Vec<usize> {
    let next = |start: &mut usize, row: &&str| Some(std::mem::replace(start, *start + row.len() + 1));
    rows.iter().scan(0, next).collect()
}

/// The tokens at which the rows of a document begin.
#[derive(Debug, Default)]
pub(super) struct Rows {
    starts: Vec<usize>,
}

impl Rows {
    pub(super) fn clear(&mut self) {
        self.starts.clear();
    }

    /// The next row begins with this token.
    pub(super) fn begin(&mut self, token: usize) {
        self.starts.push(token);
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The first token of a row.
    pub(super) fn start(&self, row: usize) -> usize {
        self.starts[row]
    }

    /// The rows in which some tokens stand, at least one.
    pub(super) fn of(&self, tokens: &Range<usize>) -> Range<usize> {
        // Of rows without tokens, which begin where the next one does, none.
        let row = |token: usize| self.starts.partition_point(|&start| start <= token) - 1;
        row(tokens.start)..row(tokens.end - 1) + 1
    }

    /// The tokens of some rows, of a document of `tokens`.
    pub(super) fn tokens(&self, rows: &Range<usize>, tokens: usize) -> Range<usize> {
        let at = |row: usize| self.starts.get(row).copied().unwrap_or(tokens);
        at(rows.start)..at(rows.end)
    }

    /// The runs of rows between `gone`, ascending ranges of them.
    pub(super) fn between(&self, gone: &[Range<usize>]) -> Vec<Range<usize>> {
        let starts = std::iter::once(0).chain(gone.iter().map(|rows| rows.end));
        let ends = gone.iter().map(|rows| rows.start).chain([self.len()]);
        starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end).collect()
    }
}

/// Ranges in order, those that meet as one.
pub(super) fn united(ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut united: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match united.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => united.push(range),
        }
    }
    united
}
