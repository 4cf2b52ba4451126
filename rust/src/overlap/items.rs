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

/// Tokens of an n-gram that tells templates from what they are filled with.
const TEMPLATE_GRAM: usize = 3;

/// What a token of an item is worth, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worth(u8);

impl Worth {
    const KIND: u8 = 0b111;
    const TEMPLATE: u8 = 0x80;
    const REPEATED: u8 = 0x40;

    /// The weight of the token in its item.
    #[inline]
    pub(super) fn weight(self) -> u32 {
        if self.0 & Self::TEMPLATE == 0 { self.weight_anywhere() } else { 0 }
    }

    /// The weight of the token were it part of no template.
    #[inline]
    fn weight_anywhere(self) -> u32 {
        [4, 1, 1, 4, 2, 0, 0, 0][usize::from(self.0 & Self::KIND)]
    }

    /// The token in half words.
    #[inline]
    pub(super) fn half_words(self) -> u32 {
        self.weight() / 2
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

    pub(super) fn nbytes(&self) -> usize {
        self.tokens.capacity() * size_of::<u64>()
            + self.worth.capacity()
            + size_of::<u32>() * (self.ends.capacity() + self.first.capacity() + self.distinct.capacity())
            + self.known.allocation_size()
    }

    /// The places of a distinct item.
    #[inline]
    pub(super) fn places(&self, item: usize) -> Range<usize> {
        let start = if item == 0 { 0 } else { self.ends[item - 1] as usize };
        start..self.ends[item] as usize
    }

    /// Words of a distinct item, in halves, whether or not they belong to templates.
    pub(super) fn half_words(&self, item: usize) -> u32 {
        self.worth[self.places(item)].iter().map(|worth| worth.weight_anywhere() / 2).sum()
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

    /// No item comes any more: what only finds equal ones is let go, and tokens of templates lose their
    /// weight.
    pub(super) fn close(&mut self) {
        self.known = HashTable::new();
        self.tokens.shrink_to_fit();
        self.worth.shrink_to_fit();
        let mut frequent = vec![false; self.tokens.len()];
        for_equal(self, TEMPLATE_GRAM, |same| {
            if distinct_items(same) > FREQUENT {
                for gram in same {
                    frequent[self.places(gram.item as usize).start + gram.place as usize] = true;
                }
            }
        });
        for item in 0..self.len() {
            let places = self.places(item);
            let frequent = &frequent[places.clone()];
            let worth = &mut self.worth[places];
            let grams = (worth.len() + 1).saturating_sub(TEMPLATE_GRAM);
            let in_template = |token: usize| {
                let at = (token + 1).saturating_sub(TEMPLATE_GRAM)..(token + 1).min(grams);
                !at.is_empty() && frequent[at].iter().all(|&frequent| frequent)
            };
            if !(0..worth.len()).all(in_template) {
                for (token, worth) in worth.iter_mut().enumerate() {
                    if in_template(token) {
                        worth.0 |= Worth::TEMPLATE;
                    }
                }
            }
        }
    }
}

fn hash_tokens(tokens: &[u64]) -> u64 {
    let mut hasher = Xxh3::new();
    for token in tokens {
        hasher.write_u64(*token);
    }
    hasher.finish()
}
