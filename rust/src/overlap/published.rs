//! What published rules ask: which n-grams of the items stand anywhere in training, of 8, 11 and 13 tokens.
//!
//! An 8-gram of an item is four 5-grams in a row of it, and the filter of seeds passes each 5-gram that any item has,
//! frequent ones as well: so only where it passes four in a row an 8-gram is looked up, and longer ones only where
//! that is there. A gram is known by the first place at which it stands in the items, tokens compared.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::grams::gram_hash;
use super::groups::{Gram, for_equal};
use super::items::Items;
use super::seeds::SEED;

/// Tokens of the grams.
const LENGTHS: [usize; 3] = [8, 11, 13];
/// Places in a row of which the filter knows the gram of [`SEED`] tokens, in the shortest gram.
const IN_A_ROW: usize = LENGTHS[0] - SEED + 1;

/// The grams of consecutive distinct items, and which of them were seen.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// The tokens of the items.
    tokens: Range<usize>,
    /// Of the grams of each length, the first place; longer ones only where their first 8 tokens are repeated.
    first: [HashTable<u32>; 3],
    /// Whether the 8-gram of each of these tokens stands at another.
    repeated: Vec<u64>,
    seen: [Vec<AtomicU64>; 3],
}

impl Published {
    pub(super) fn new(items: &Items, these: Range<u32>) -> Self {
        let of = |item: u32| items.places(item as usize);
        let tokens = if these.is_empty() { 0..0 } else { of(these.start).start..of(these.end - 1).end };
        let words = tokens.len().div_ceil(64);
        let mut made = Self {
            tokens,
            repeated: vec![0; words],
            seen: LENGTHS.map(|_| (0..words).map(|_| AtomicU64::new(0)).collect()),
            ..Self::default()
        };
        for place in grams(items, these.clone(), 0) {
            if let Some(first) = made.insert(0, place, items) {
                let bit = made.bit(first);
                made.repeated[bit / 64] |= 1 << (bit % 64);
            }
        }
        for which in [1, 2] {
            for place in grams(items, these.clone(), which) {
                let first = made.find_gram(0, &items.tokens[place as usize..], items);
                if first.is_some_and(|first| made.is_repeated(first)) {
                    made.insert(which, place, items);
                }
            }
        }
        for (which, table) in made.first.iter_mut().enumerate() {
            table.shrink_to_fit(|&place| hash_at(which, place, items));
        }
        made
    }

    pub(super) fn nbytes(&self) -> usize {
        let tables: usize = self.first.iter().map(HashTable::allocation_size).sum();
        let bits: usize = self.seen.iter().map(Vec::capacity).sum();
        tables + size_of::<u64>() * (bits + self.repeated.capacity())
    }

    /// Marks the grams among the tokens of a document, given hashes and places of 5-grams that an item may have.
    pub(super) fn see(&self, tokens: &[u64], known: &[(u64, u32)], items: &Items) {
        for row in known.windows(IN_A_ROW) {
            let start = row[0].1;
            if row[IN_A_ROW - 1].1 != start + IN_A_ROW as u32 - 1 {
                continue;
            }
            let tokens = &tokens[start as usize..];
            for which in 0..LENGTHS.len() {
                let Some(place) = self.find(which, tokens, items) else { break };
                let bit = self.bit(place);
                let (word, bit) = (&self.seen[which][bit / 64], 1 << (bit % 64));
                if word.load(Ordering::Relaxed) & bit == 0 {
                    word.fetch_or(bit, Ordering::Relaxed);
                }
            }
        }
    }

    /// Takes what was seen since it was last taken: the first places of grams, of each length by itself.
    pub(super) fn take(&self) -> [Vec<u32>; 3] {
        let first = self.tokens.start as u32;
        let of = |words: &Vec<AtomicU64>| {
            let mut places = Vec::new();
            for (word, start) in words.iter().zip((first..).step_by(64)) {
                let mut bits = word.swap(0, Ordering::Relaxed);
                while bits != 0 {
                    places.push(start + bits.trailing_zeros());
                    bits &= bits - 1;
                }
            }
            places
        };
        self.seen.each_ref().map(of)
    }

    /// The first place of the gram that `tokens` begin with.
    fn find(&self, which: usize, tokens: &[u64], items: &Items) -> Option<u32> {
        if which == 0 {
            return self.find_gram(0, tokens, items);
        }
        let first = self.find_gram(0, tokens, items)?;
        if self.is_repeated(first) {
            return self.find_gram(which, tokens, items);
        }
        let length = LENGTHS[which];
        let end = first as usize + length;
        let same =
            end <= items.end_of(first) && tokens.get(..length) == Some(&items.tokens[first as usize..end]);
        same.then_some(first)
    }

    fn find_gram(&self, which: usize, tokens: &[u64], items: &Items) -> Option<u32> {
        let gram = tokens.get(..LENGTHS[which])?;
        self.first[which].find(gram_hash(gram), |&place| at(which, place, items) == gram).copied()
    }

    /// The first place of the gram of this place; nothing if this is the first.
    fn insert(&mut self, which: usize, place: u32, items: &Items) -> Option<u32> {
        let gram = at(which, place, items);
        let is_same = |&other: &u32| at(which, other, items) == gram;
        match self.first[which].entry(gram_hash(gram), is_same, |&other| hash_at(which, other, items)) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(free) => {
                free.insert(place);
                None
            }
        }
    }

    fn is_repeated(&self, place: u32) -> bool {
        let bit = self.bit(place);
        self.repeated[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The bit of a token of the items.
    fn bit(&self, place: u32) -> usize {
        place as usize - self.tokens.start
    }
}

/// The places of grams of the given length that stand at an earlier one as well, ascending, and the first of each.
pub(super) fn repeated(items: &Items, which: usize) -> Vec<(u32, u32)> {
    let place_of = |gram: &Gram| items.places(gram.item as usize).start as u32 + gram.place;
    let mut repeated = Vec::new();
    for_equal(items, items.all(), LENGTHS[which], |same| {
        repeated.extend(same[1..].iter().map(|gram| (place_of(gram), place_of(&same[0]))));
    });
    repeated.sort_unstable();
    repeated
}

/// The places of some items at which a gram of the given length begins.
fn grams(items: &Items, these: Range<u32>, which: usize) -> impl Iterator<Item = u32> {
    let of_item = move |item: u32| {
        let places = items.places(item as usize);
        places.start as u32..(places.end as u32 + 1).saturating_sub(LENGTHS[which] as u32)
    };
    these.flat_map(of_item)
}

fn at(which: usize, place: u32, items: &Items) -> &[u64] {
    &items.tokens[place as usize..place as usize + LENGTHS[which]]
}

fn hash_at(which: usize, place: u32, items: &Items) -> u64 {
    gram_hash(at(which, place, items))
}
