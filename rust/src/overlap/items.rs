//! The distinct items of the evaluation side: their tokens, what each is worth, and how often their n-grams
//! stand in others.

use std::hash::Hasher;
use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::Xxh3;

use super::groups::{distinct_items, for_equal};
use super::tokens::{Kind, Sink, Token};
use crate::error::ScanError;

/// An n-gram that stands in more distinct items than this says nothing about any of them.
pub(super) const FREQUENT: usize = 10;

/// The weight of a word.
pub(super) const WORD: u32 = 12;

/// Tokens of the runs that say something of an item, and by which templates are told from what fills them.
pub(super) const RUN: usize = 3;
/// The same where tokens are single characters of which three are less than a word.
pub(super) const LONG_RUN: usize = 5;

/// The run of an item of `tokens`, of which so many are such characters.
pub(super) fn run(tokens: usize, thirds: usize) -> usize {
    if thirds >= LONG_RUN && 2 * thirds >= tokens { LONG_RUN } else { RUN }
}

/// What a token of an item is worth, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worth(u8);

impl Worth {
    const KIND: u8 = 0b111;
    const TEMPLATE: u8 = 0x80;
    const REPEATED: u8 = 0x40;
    const FREQUENT: u8 = 0x20;

    /// Whether the token belongs to a template, and weighs nothing.
    #[inline]
    pub(super) fn is_template(self) -> bool {
        self.0 & Self::TEMPLATE != 0
    }

    /// Whether the run that begins here covers tokens of templates alone.
    #[inline]
    pub(super) fn begins_frequent(self) -> bool {
        self.0 & Self::FREQUENT != 0
    }

    /// The weight of the token in its item.
    #[inline]
    pub(super) fn weight(self) -> u32 {
        if self.is_template() { 0 } else { self.weight_anywhere() }
    }

    /// The weight of the token were it part of no template.
    #[inline]
    fn weight_anywhere(self) -> u32 {
        [12, 3, 3, 12, 6, 4, 0, 0][usize::from(self.0 & Self::KIND)]
    }

    /// The weight of the token in words: none of a letter or a short number.
    #[inline]
    pub(super) fn words(self) -> u32 {
        if self.is_template() { 0 } else { self.words_anywhere() }
    }

    /// The same were it part of no template.
    #[inline]
    pub(super) fn words_anywhere(self) -> u32 {
        [12, 0, 0, 12, 6, 4, 0, 0][usize::from(self.0 & Self::KIND)]
    }

    /// What the token adds to the length of its item: of Han, kana and Hangul, which alone say more, two thirds.
    #[inline]
    fn length(self) -> u32 {
        [12, 0, 0, 12, 8, 4, 0, 0][usize::from(self.0 & Self::KIND)]
    }

    fn is_third_of_word(self) -> bool {
        self.0 & Self::KIND == Kind::ThirdOfWord as u8
    }

    pub(super) fn is_number(self) -> bool {
        [Kind::ShortNumber as u8, Kind::LongNumber as u8].contains(&(self.0 & Self::KIND))
    }

    /// Whether the seed that begins here stands in the item more than once.
    pub(super) fn begins_repeated(self) -> bool {
        self.0 & Self::REPEATED != 0
    }

    pub(super) fn set_repeated(&mut self) {
        self.0 |= Self::REPEATED;
    }
}

/// Tokens of one text, as they are collected for [`Items`].
#[derive(Debug, Default)]
pub(super) struct ItemTokens {
    hashes: Vec<u64>,
    worth: Vec<Worth>,
}

impl Sink for ItemTokens {
    fn push(&mut self, token: Token) {
        self.hashes.push(token.hash);
        self.worth.push(Worth(token.kind as u8));
    }
}

/// The distinct items, side by side.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) tokens: Vec<u64>,
    pub(super) worth: Vec<Worth>,
    /// Where the tokens of each distinct item end.
    ends: Vec<u32>,
    /// The first item of each kind.
    pub(super) first: Vec<u32>,
    /// The distinct item that each item is.
    pub(super) distinct: Vec<u32>,
    known: HashTable<u32>,
}

impl Items {
    /// Distinct items.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them.
    pub(super) fn all(&self) -> Range<u32> {
        0..self.len() as u32
    }

    pub(super) fn nbytes(&self) -> usize {
        // What is reserved beyond the tokens has not been touched.
        self.tokens.len() * size_of::<u64>()
            + self.worth.len()
            + size_of::<u32>() * (self.ends.capacity() + self.first.capacity() + self.distinct.capacity())
            + self.known.allocation_size()
    }

    /// The places of a distinct item.
    #[inline]
    pub(super) fn places(&self, item: usize) -> Range<usize> {
        let start = if item == 0 { 0 } else { self.ends[item - 1] as usize };
        start..self.ends[item] as usize
    }

    /// How many items from the first one on end within the first `tokens`.
    pub(super) fn ending_within(&self, tokens: u64) -> u32 {
        self.ends.partition_point(|&end| u64::from(end) <= tokens) as u32
    }

    /// Where the item ends to which a place belongs.
    pub(super) fn end_of(&self, place: u32) -> usize {
        self.ends[self.ends.partition_point(|&end| end <= place)] as usize
    }

    /// The length of a distinct item, by weight of words.
    pub(super) fn length(&self, item: usize) -> u32 {
        self.worth[self.places(item)].iter().map(|worth| worth.length()).sum()
    }

    /// Tokens of the runs of a distinct item.
    pub(super) fn run(&self, item: usize) -> usize {
        let worth = &self.worth[self.places(item)];
        run(worth.len(), worth.iter().filter(|worth| worth.is_third_of_word()).count())
    }

    pub(super) fn weight(&self, item: usize) -> u32 {
        self.worth[self.places(item)].iter().map(|worth| worth.weight()).sum()
    }

    pub(super) fn push(&mut self, item: &ItemTokens) -> Result<(), ScanError> {
        let hash = hash_tokens(&item.hashes);
        let Self { known, tokens, ends, .. } = self;
        let places = |item: u32| {
            let start = if item == 0 { 0 } else { ends[item as usize - 1] as usize };
            start..ends[item as usize] as usize
        };
        let found = known.find(hash, |&other| tokens[places(other)] == item.hashes[..]);
        let distinct = match found {
            Some(&distinct) => distinct,
            None => {
                let end = u32::try_from(tokens.len() + item.hashes.len()).map_err(|_| {
                    ScanError::Value("overlap: the items have more than 2^32 tokens".to_owned())
                })?;
                let distinct = ends.len() as u32;
                known.insert_unique(hash, distinct, |&other| hash_tokens(&tokens[places(other)]));
                tokens.extend_from_slice(&item.hashes);
                self.worth.extend_from_slice(&item.worth);
                ends.push(end);
                self.first.push(self.distinct.len() as u32);
                distinct
            }
        };
        self.distinct.push(distinct);
        Ok(())
    }

    /// No item comes any more: what only finds equal ones is let go, frequent runs are known, and tokens of templates
    /// lose their weight.
    pub(super) fn close(&mut self) {
        self.known = HashTable::new();
        self.tokens.shrink_to_fit();
        self.worth.shrink_to_fit();
        let run: Vec<usize> = (0..self.len()).map(|item| self.run(item)).collect();
        let mut worth = std::mem::take(&mut self.worth);
        for length in [RUN, LONG_RUN] {
            if !run.contains(&length) {
                continue;
            }
            for_equal(self, self.all(), length, |same| {
                if distinct_items(same) > FREQUENT {
                    for gram in same.iter().filter(|gram| run[gram.item as usize] == length) {
                        worth[self.places(gram.item as usize).start + gram.place as usize].0 |=
                            Worth::FREQUENT;
                    }
                }
            });
        }
        for (item, run) in run.into_iter().enumerate() {
            let worth = &mut worth[self.places(item)];
            let grams = (worth.len() + 1).saturating_sub(run);
            let in_template = |worth: &[Worth], token: usize| {
                let at = (token + 1).saturating_sub(run)..(token + 1).min(grams);
                !at.is_empty() && worth[at].iter().all(|worth| worth.begins_frequent())
            };
            if (0..worth.len()).all(|token| in_template(worth, token)) {
                covers_all(worth);
                continue;
            }
            for token in 0..worth.len() {
                if in_template(worth, token) {
                    worth[token].0 |= Worth::TEMPLATE;
                }
            }
        }
        self.worth = worth;
    }

    /// Every run of this item covers all its tokens, be it frequent or not.
    pub(super) fn covers_all(&mut self, item: usize) {
        let places = self.places(item);
        covers_all(&mut self.worth[places]);
    }
}

fn covers_all(worth: &mut [Worth]) {
    worth.iter_mut().for_each(|worth| worth.0 &= !Worth::FREQUENT);
}

fn hash_tokens(tokens: &[u64]) -> u64 {
    let mut hasher = Xxh3::new();
    for token in tokens {
        hasher.write_u64(*token);
    }
    hasher.finish()
}
