//! Overlap: does an evaluation item stand inside a training document, cut, re-wrapped or edited?
//!
//! Exact and exhaustive: nothing is sampled, and whether a document and an item match depends on the two and
//! on the whole evaluation side, on no order, batch or thread. What decides is integer arithmetic.
//!
//! # Definition
//!
//! **Tokens.** A text is brought to NFKC_Casefold (default ignorables are gone). A token is a maximal run of
//! letters and numbers (L, N) with the marks (M) that follow them; but a letter or number of Han, kana,
//! Hangul, Thai, Lao, Tibetan, Myanmar or Khmer is a token by itself, with its marks. All else separates, and
//! marks that follow it belong to no token: punctuation, symbols and emoji come and go when text is copied,
//! and code and mathematics are known by their words and numbers. Two tokens are equal if the 64-bit hashes
//! of their bytes are.
//!
//! **Items.** Those with the same tokens are one *distinct* item. An n-gram that stands in more than 10
//! distinct items is *frequent*.
//!
//! **Runs.** A run has 3 tokens. Where three are less than a word it has 5: in an item of which at least 5
//! tokens, and half of all, are characters of Thai, Lao, Tibetan, Myanmar or Khmer.
//!
//! **Weights.** A word weighs 12; a character of Han, kana or Hangul 6, of Thai, Lao, Tibetan, Myanmar or Khmer
//! 4; a token of one ASCII letter, or a number of up to three digits, 3. In an item, a token all of whose runs
//! are frequent weighs 0 (it belongs to a template), unless all its tokens do. An item is *of a template* if two
//! fifths of its 5-grams are frequent, and not all its tokens belong to one. Words are counted by weight, 12
//! a word, without letters and such numbers. The *length* of an item is its words, those of templates as well,
//! where a character of Han, kana or Hangul counts 8: twelve are as long as eight words.
//!
//! **Seeds** of an item: its 5-grams that are not frequent; if all are, the one that stands in the fewest
//! distinct items, the first of equals. A place of a seed is held by a document if the document holds the
//! seed as often as the item does up to this place. (The document's own count: once for each beginning.)
//!
//! **Candidate**: the tokens at held places of seeds carry at least a fifth of the weight of all tokens in
//! seeds.
//!
//! **Coverage.** A window is `2 * tokens of the item + 64` consecutive tokens of the document (all of a
//! shorter one) that hold a whole seed. It covers the tokens of the item at held places of runs, those it
//! holds as often as the item does up to this place: so what is repeated in the item has to be repeated in
//! the document. In an item of a template a frequent run covers tokens of templates alone. The best window covers the
//! most weight, then the most tokens, then comes first.
//!
//! **Match**, of a candidate: the best window covers half of the item's weight, and 10 words, or 8 words are
//! in a row in the windows; or three fifths and 8 words; or, of an item of a length of 8 words, every token, or three
//! quarters of the weight and 7 words, or 7 in a row, whatever they weigh; or the held places of seeds in the whole
//! document are half of the weight and 10 words. Where runs have 5 tokens the last is left out (a long document has the
//! seeds of any such item), and 6 words are in a row in any match, whatever they weigh. Words in a row are those that
//! one common run covers. If the best window covers every token of a shorter item, the pair is *short*.
//!
//! **Numbered lines.** Lines are numbered if at least three in a row begin, behind blanks, with a number of up to
//! six digits, each one more than the one before, that no letter, number or `_` follows. A document that has some is
//! looked at as it is and without these numbers; of two pairs with an item that which is stronger, and covers
//! more, counts, the first if both are alike.
//!
//! An item of fewer than 5 tokens has no seed and matches nothing.
//!
//! **Touched rows.** A document may be several rows, with a line break between them. Which of them have to go for
//! the item to match no run of the others? Those from the first to the last common run of every window that
//! covers half of the item's weight, or all its tokens; and where the seeds of rows between those still carry half
//! (not where runs have 5 tokens), the rows with seeds. For what a window of the run covers, a window of the document covers: the
//! first kind of match is gone, and without seeds the second.
//!
//! # No verbatim item is missed
//!
//! Let a document hold all tokens of an item of at least 5 tokens in a row. The item has a seed, and the
//! document holds every one of its 5-grams as often as the item does, so every place of a seed is held and
//! the item is a candidate. A window is longer than the item: some window holds the whole stretch, and with
//! it a seed and all its runs as often as the item does. An item has as many tokens as a run or more, so that
//! every token belongs to a run. In an item of a template, one of the template is covered by its runs, which are all
//! frequent; any other has a run that is not frequent, which covers all its tokens. So the window covers every token:
//! a match or a short one. Words of an item are at least three quarters of its length: of 8, 6 are in a row.
//!
//! # How
//!
//! ```text
//! index: items -> tokens -> runs, sorted: weights; grams of 5, sorted: seeds -> filter, table
//! for each document, in parallel:
//!     tokens; a rolling hash of 5 against the filter; what passes against the table, compared by tokens
//!     for each item with seeds:
//!         weight at held places of seeds    a fifth, or on to the next
//!         slide a window over the stretches with seeds, adding a gram and taking one away at each step
//!         judge; of a pair, the longest common runs: places that go on, or sorted suffixes
//! ```
//!
//! Each step is linear in tokens, whatever they are: counts instead of pairs of places keep a token that is
//! repeated a million times on both sides from costing their product.

mod answers;
mod chars;
mod coverage;
mod filter;
mod frequent;
mod grams;
mod groups;
mod hash;
mod items;
mod joined;
mod judge;
mod lines;
mod published;
mod runs;
mod scan;
mod seeds;
mod spans;
#[cfg(test)]
mod tests;
mod tokens;
#[cfg(test)]
mod tokens_tests;

use std::ops::Range;

use rayon::prelude::*;

pub use self::answers::{Answers, Place};
pub use self::filter::{GramFilter, gram_hashes};
pub use self::joined::Documents;
pub use self::spans::{answer_spans, spans, stretches};

use self::coverage::Covered;
use self::frequent::Frequent;
use self::items::{ItemTokens, Items, WORD};
use self::published::Published;
use self::scan::Scanner;
use self::seeds::Seeds;
use self::tokens::tokenize;
use crate::error::ScanError;
use crate::parallel::Watch;
use crate::strings::Texts;

/// A pair that is a match.
const MATCH: u8 = 2;
/// A pair of which the whole item is covered, and the item has too few words for a match.
const SHORT: u8 = 1;

/// Bytes of text that a worker takes at a time.
const BYTES_PER_TASK: i64 = 1 << 18;

/// The versions of the Unicode tables in use: of normalisation, and of letter case where it is another.
pub fn unicode_version() -> String {
    let (major, minor, patch) = unicode_normalization::UNICODE_VERSION;
    let tables = format!("{major}.{minor}.{patch}");
    let case = crate::text::unicode_version();
    if tables == case { tables } else { format!("{tables} (letter case {case})") }
}

/// A document and a distinct item that stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The document's place among those of its batch.
    pub document: usize,
    /// The first item of its kind.
    pub item: u32,
    covered: Covered,
    /// The item's weight.
    pub weight: u32,
    /// Words that the best window covers, those of templates left out.
    pub words_covered: u32,
    /// Tokens of the longest common run in the windows.
    pub longest: u32,
    /// Tokens of the item in common runs of at least 8 tokens in the windows.
    pub in_8: u32,
    /// Tokens of the item in common runs of at least 13 tokens in the windows.
    pub in_13: u32,
    /// Tokens of the document from the first to the last common 3-gram of the best window.
    pub window: Range<usize>,
    /// Rows of the document in which that stands.
    pub rows: Range<usize>,
    /// Tokens of the document before the first of them.
    pub row_token: usize,
    /// Rows in which that stands, and what is near it.
    pub near: Range<usize>,
    /// Tokens of the document before the first of these.
    pub near_token: usize,
    /// Of a document of several rows, those that have to go for the item to stand in no run of the others.
    pub touched: Vec<Range<usize>>,
    /// 2 for a match, 1 for a short one.
    pub strength: u8,
    /// Whether something is not covered, and all of it is numbers.
    pub numbers_differ: bool,
    /// The weight that held places of seeds carry, of the whole document.
    pub in_document: u32,
}

impl Pair {
    /// The weight that the best window covers.
    pub fn covered(&self) -> u32 {
        self.covered.weight
    }

    /// The tokens that the best window covers.
    pub fn tokens_covered(&self) -> u32 {
        self.covered.tokens
    }
}

/// Bytes of a token of a block at most, while its index is made: a posting, its hash, and slots of tables.
const BLOCK_BYTES: u64 = 40;

/// The evaluation side, of which one block of items at a time can be looked for.
#[derive(Debug, Default)]
pub struct OverlapIndex {
    items: Items,
    /// Known once no item comes any more.
    frequent: Option<Frequent>,
    /// The distinct items of the block, and what is made of them.
    block: Range<u32>,
    seeds: Option<Seeds>,
    published: Option<Published>,
    watches_grams: bool,
}

impl OverlapIndex {
    /// An index without items.
    pub fn new() -> Self {
        Self::default()
    }

    /// Items added, equal ones included.
    pub fn len(&self) -> usize {
        self.items.distinct.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.items.nbytes()
            + self.frequent.as_ref().map_or(0, Frequent::nbytes)
            + self.seeds.as_ref().map_or(0, Seeds::nbytes)
            + self.published.as_ref().map_or(0, Published::nbytes)
    }

    /// Adds the next items.
    ///
    /// # Errors
    /// [`ScanError::Value`] once the index is closed, for a row that is not UTF-8 and beyond 2^32 tokens;
    /// [`ScanError::Cancelled`].
    pub fn add(&mut self, texts: &Texts<'_>, watch: &Watch) -> Result<(), ScanError> {
        if self.frequent.is_some() {
            return Err(ScanError::Value("overlap: the index is closed".to_owned()));
        }
        for task in tasks(texts).chunks(4 * rayon::current_num_threads()) {
            let tokens: Vec<_> = task
                .par_iter()
                .map(|rows| {
                    let of = |row| {
                        watch.check()?;
                        let mut tokens = ItemTokens::default();
                        tokenize(texts.text(row)?, &mut tokens);
                        Ok(tokens)
                    };
                    rows.clone().map(of).collect::<Result<Vec<_>, ScanError>>()
                })
                .collect::<Result<_, _>>()?;
            for item in tokens.iter().flatten() {
                self.items.push(item)?;
            }
        }
        Ok(())
    }

    /// No item comes any more, and documents can be scanned for all. Closing twice is closing once.
    pub fn close(&mut self) {
        if self.seeds.is_none() {
            self.turn(0, 1);
        }
    }

    /// No item comes any more: what is frequent is known, and documents can be scanned for blocks of items.
    pub fn end(&mut self) {
        if self.frequent.is_none() {
            self.items.close();
            self.frequent = Some(Frequent::new(&mut self.items));
        }
    }

    /// Into how many blocks the items have to be parted, for the index of one to need `room` bytes at most; None
    /// where there are none so small. No item comes any more.
    pub fn blocks(&self, room: u64) -> Option<u64> {
        let longest = self.items.all().map(|item| self.items.places(item as usize).len()).max().unwrap_or(0);
        // A block ends with the item in which its share of all tokens does.
        let share = (room / BLOCK_BYTES).checked_sub(longest as u64)?;
        match self.items.tokens.len() as u64 {
            tokens if BLOCK_BYTES * tokens <= room => Some(1),
            _ if share == 0 => None,
            tokens => Some(tokens.div_ceil(share)),
        }
    }

    /// From now on documents are scanned for the items of one of several even blocks, in the order of items; what was
    /// seen of the n-grams of the block before is lost. No item comes any more.
    pub fn turn(&mut self, block: usize, of: usize) {
        self.end();
        (self.seeds, self.published) = (None, None);
        let tokens = self.items.tokens.len() as u64;
        let start = |block: usize| match block {
            block if block == of => self.items.len() as u32,
            0 => 0,
            block => self.items.ending_within(tokens * block as u64 / of as u64),
        };
        self.block = start(block)..start(block + 1);
        let frequent = self.frequent.as_ref().expect("no item comes any more");
        self.seeds = Some(Seeds::new(&self.items, self.block.clone().collect(), frequent));
        self.published = self.watches_grams.then(|| Published::new(&self.items, self.block.clone()));
    }

    /// From now on documents are scanned for what published rules ask as well.
    pub fn watch_grams(&mut self) {
        self.watches_grams = true;
        if self.seeds.is_some() {
            self.published = Some(Published::new(&self.items, self.block.clone()));
        }
    }

    /// Of n-grams of 8, 11 and 13 tokens: the first places in the block, among the tokens of all distinct items, of
    /// those that documents had since they were last taken.
    pub fn take_seen(&self) -> [Vec<u32>; 3] {
        self.published.as_ref().map_or_else(Default::default, Published::take)
    }

    /// The places, among the tokens of all distinct items, of n-grams that stand at an earlier one as well, ascending,
    /// and the first place of each. Of 8, 11 or 13 tokens by `which`.
    pub fn repeated_grams(&self, which: usize) -> Vec<(u32, u32)> {
        published::repeated(&self.items, which)
    }

    /// Tokens of each item.
    pub fn tokens(&self) -> Vec<usize> {
        self.of_each(|item| self.items.places(item).len())
    }

    /// Length of each item, in words.
    pub fn words(&self) -> Vec<u32> {
        self.of_each(|item| self.items.length(item) / WORD)
    }

    /// For each item the first one with the same tokens.
    pub fn same_as(&self) -> Vec<u32> {
        self.of_each(|item| self.items.first[item])
    }

    fn closed(&self) -> Result<&Seeds, ScanError> {
        self.seeds.as_ref().ok_or_else(not_closed)
    }

    fn of_each<T: Copy>(&self, of: impl Fn(usize) -> T) -> Vec<T> {
        let distinct: Vec<T> = (0..self.items.len()).map(of).collect();
        self.items.distinct.iter().map(|&item| distinct[item as usize]).collect()
    }

    /// The pairs of documents and distinct items, by both.
    ///
    /// # Errors
    /// [`ScanError::Value`] before the index is closed, and for a row that is not UTF-8 or has 2^32 tokens;
    /// [`ScanError::Cancelled`].
    pub fn scan(&self, documents: &Documents<'_>, watch: &Watch) -> Result<Vec<Pair>, ScanError> {
        self.pairs(documents, (self.closed()?, self.published.as_ref()), watch)
    }

    /// The pairs of documents and some of all items, be they of the block or not, by both.
    ///
    /// # Errors
    /// As [`Self::scan`], and [`ScanError::Value`] where there is no such item.
    pub fn scan_among(
        &self,
        documents: &Documents<'_>,
        items: &[i64],
        watch: &Watch,
    ) -> Result<Vec<Pair>, ScanError> {
        let Some(frequent) = &self.frequent else { return Err(not_closed()) };
        let distinct = |&item: &i64| {
            let known = usize::try_from(item).ok().and_then(|item| self.items.distinct.get(item));
            known.copied().ok_or_else(|| ScanError::Value(format!("overlap: there is no item {item}")))
        };
        let mut these = items.iter().map(distinct).collect::<Result<Vec<u32>, _>>()?;
        these.sort_unstable();
        these.dedup();
        self.pairs(documents, (&Seeds::new(&self.items, these, frequent), None), watch)
    }

    fn pairs(
        &self,
        documents: &Documents<'_>,
        looked_for: (&Seeds, Option<&Published>),
        watch: &Watch,
    ) -> Result<Vec<Pair>, ScanError> {
        let found: Vec<_> = documents
            .tasks()
            .into_par_iter()
            .map_init(Scanner::default, |scanner, task| {
                let mut pairs = Vec::new();
                for document in task {
                    watch.check()?;
                    let first = pairs.len();
                    let rows = documents.texts(document)?;
                    scanner.scan((document, &rows), &self.items, looked_for, watch, &mut pairs)?;
                    let text = joined::text(&rows);
                    if let Some(without) = lines::without_numbers(&text) {
                        let starts = joined::starts(&rows);
                        let ends = rows.iter().zip(&starts).map(|(row, start)| start + row.len());
                        let rows: Vec<_> =
                            starts.iter().zip(ends).map(|(&start, end)| &without[start..end]).collect();
                        let mut others = Vec::new();
                        scanner.scan((document, &rows), &self.items, looked_for, watch, &mut others)?;
                        lines::stronger((&text, &starts), &mut pairs, first, others);
                    }
                }
                Ok::<_, ScanError>(pairs)
            })
            .collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}

fn not_closed() -> ScanError {
    ScanError::Value("overlap: the index is not closed".to_owned())
}

/// Consecutive rows, as much as a worker takes at a time.
fn tasks(texts: &Texts<'_>) -> Vec<Range<usize>> {
    let mut tasks = Vec::new();
    let mut row = 0;
    while row < texts.len() {
        let end = texts.rows_within(row, BYTES_PER_TASK);
        tasks.push(row..end);
        row = end;
    }
    tasks
}
