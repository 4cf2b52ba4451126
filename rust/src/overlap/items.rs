//! The distinct items of the evaluation side: their tokens, what each is worth, and how often their n-grams
//! stand in others.

use std::hash::Hasher;
use std::ops::Range;

use hashbrown::HashTable;
use rayon::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use super::grams::gram_hash;
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

    fn len(&self) -> usize {
        self.hashes.len()
    }

    fn truncate(&mut self, len: usize) {
        self.hashes.truncate(len);
        self.worth.truncate(len);
    }
}

/// The distinct items, side by side. A place is the number of a token among those of all items.
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

    /// The distinct item that has a token at `place`.
    pub(super) fn item_at(&self, place: usize) -> usize {
        self.ends.partition_point(|&end| end as usize <= place)
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
                // The highest bit of a place is needed: `seeds.rs`.
                let end = u32::try_from(tokens.len() + item.hashes.len()).ok().filter(|end| end >> 31 == 0);
                let end = end.ok_or_else(|| {
                    ScanError::Value("overlap: the items have more than 2^31 tokens".to_owned())
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
        let grams = Grams::new(self, TEMPLATE_GRAM);
        for places in grams.groups(self) {
            if self.distinct_items(places) > FREQUENT {
                for &(_, place) in places {
                    frequent[place as usize] = true;
                }
            }
        }
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

    /// In how many distinct items a gram stands whose places these are, ascending.
    pub(super) fn distinct_items(&self, places: &[(u64, u32)]) -> usize {
        self.by_item(places).count()
    }

    /// The ascending places of a gram, item by item.
    pub(super) fn by_item<'a>(
        &'a self,
        places: &'a [(u64, u32)],
    ) -> impl Iterator<Item = (usize, &'a [(u64, u32)])> {
        let mut rest = places;
        std::iter::from_fn(move || {
            let item = self.item_at(rest.first()?.1 as usize);
            let end = self.ends[item];
            let here = rest.partition_point(|&(_, place)| place < end);
            let (these, others) = rest.split_at(here);
            rest = others;
            Some((item, these))
        })
    }
}

fn hash_tokens(tokens: &[u64]) -> u64 {
    let mut hasher = Xxh3::new();
    for token in tokens {
        hasher.write_u64(*token);
    }
    hasher.finish()
}

/// All n-grams of the items, equal ones side by side.
pub(super) struct Grams {
    length: usize,
    sorted: Vec<(u64, u32)>,
}

impl Grams {
    pub(super) fn new(items: &Items, length: usize) -> Self {
        let of_item = |item: usize| {
            let places = items.places(item);
            let grams = items.tokens[places.clone()].windows(length);
            grams.zip(places.start as u32..).map(|(gram, place)| (gram_hash(gram), place))
        };
        let mut sorted: Vec<_> = (0..items.len()).flat_map(of_item).collect();
        sorted.par_sort_unstable();
        let gram = |place: u32| &items.tokens[place as usize..place as usize + length];
        for same_hash in sorted.chunk_by_mut(|a, b| a.0 == b.0) {
            if same_hash.iter().any(|other| gram(other.1) != gram(same_hash[0].1)) {
                same_hash.sort_by(|a, b| gram(a.1).cmp(gram(b.1)).then(a.1.cmp(&b.1)));
            }
        }
        Self { length, sorted }
    }

    /// Of each distinct gram: its hash, which is all the same, with its places, ascending.
    pub(super) fn groups<'a>(&'a self, items: &'a Items) -> impl Iterator<Item = &'a [(u64, u32)]> {
        let gram = |place: u32| &items.tokens[place as usize..place as usize + self.length];
        self.sorted.chunk_by(move |a, b| a.0 == b.0 && gram(a.1) == gram(b.1))
    }
}
