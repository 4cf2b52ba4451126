//! What is kept of documents that cannot be kept: a filter of their 5-grams. A gram that it lacks stood in none of
//! them; one that it holds may have.
//!
//! It is the split block Bloom filter of Apache Parquet (Putze, Sanders and Singler 2007): a gram sets one bit in
//! each of the eight words of one block.

use rayon::prelude::*;

use super::grams::{gram_hash, roll};
use super::scan::{CANDIDATE_PART, carried};
use super::seeds::{Posting, SEED};
use super::tokens::tokenize;
use super::{OverlapIndex, lines, tasks};
use crate::error::ScanError;
use crate::parallel::Watch;
use crate::strings::Texts;

const WORDS: usize = 8;
/// The eight odd numbers that Parquet's specification gives.
const SALT: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];
/// Hashes of grams are exclusive ors of turned hashes of tokens; a product spreads what these have in common.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hashes of the 5-grams of `texts`, each once for a document at least.
///
/// # Errors
/// [`ScanError::Value`] for a row that is not UTF-8; [`ScanError::Cancelled`].
pub fn gram_hashes(texts: &Texts<'_>, watch: &Watch) -> Result<Vec<u64>, ScanError> {
    let of_task: Vec<_> = tasks(texts)
        .into_par_iter()
        .map(|rows| {
            let (mut tokens, mut hashes) = (Vec::new(), Vec::new());
            for row in rows {
                watch.check()?;
                let text = texts.text(row)?;
                for text in [Some(text), lines::without_numbers(text).as_deref()].into_iter().flatten() {
                    tokens.clear();
                    tokenize(text, &mut tokens);
                    let Some(first) = tokens.get(..SEED) else { continue };
                    let mut hash = gram_hash(first);
                    hashes.push(hash.wrapping_mul(SPREAD));
                    for (&leaves, &enters) in tokens.iter().zip(&tokens[SEED..]) {
                        hash = roll::<{ SEED as u32 }>(hash, leaves, enters);
                        hashes.push(hash.wrapping_mul(SPREAD));
                    }
                }
            }
            hashes.sort_unstable();
            hashes.dedup();
            Ok::<_, ScanError>(hashes)
        })
        .collect::<Result<_, _>>()?;
    Ok(of_task.concat())
}

/// A set of grams that never lacks one that was inserted.
#[derive(Clone, Debug)]
pub struct GramFilter {
    blocks: Vec<[u32; WORDS]>,
}

impl GramFilter {
    /// Of `blocks` blocks of 256 bits.
    ///
    /// # Errors
    /// [`ScanError::Value`] if there is none.
    pub fn new(blocks: usize) -> Result<Self, ScanError> {
        Self::of(vec![[0; WORDS]; blocks])
    }

    /// That which has these blocks.
    ///
    /// # Errors
    /// [`ScanError::Value`] if there is none, or more than 2^32.
    pub fn of(blocks: Vec<[u32; WORDS]>) -> Result<Self, ScanError> {
        if blocks.is_empty() || u32::try_from(blocks.len()).is_err() {
            return Err(ScanError::Value(format!("a filter of {} blocks", blocks.len())));
        }
        Ok(Self { blocks })
    }

    /// The blocks.
    pub fn blocks(&self) -> &[[u32; WORDS]] {
        &self.blocks
    }

    /// Adds grams by their hashes.
    pub fn insert(&mut self, hashes: &[u64]) {
        for &hash in hashes {
            let block = self.block(hash);
            for (word, bit) in self.blocks[block].iter_mut().zip(bits(hash)) {
                *word |= bit;
            }
        }
    }

    /// Whether a gram may have been inserted.
    pub fn holds(&self, hash: u64) -> bool {
        self.blocks[self.block(hash)].iter().zip(bits(hash)).all(|(word, bit)| word & bit != 0)
    }

    /// How likely it holds a gram that was never inserted.
    pub fn false_positive_rate(&self) -> f64 {
        let of_block = |block: &[u32; WORDS]| -> f64 {
            block.iter().map(|word| f64::from(word.count_ones()) / f64::from(u32::BITS)).product()
        };
        self.blocks.iter().map(of_block).sum::<f64>() / self.blocks.len() as f64
    }

    fn block(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }
}

fn bits(hash: u64) -> impl Iterator<Item = u32> {
    SALT.iter().map(move |&salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

impl OverlapIndex {
    /// For each item of the block how much of the weight of its seeds, at most, any document may hold of those whose
    /// grams are in `filter`; 0 where that is proof that none of them matches, and for the items of other blocks.
    ///
    /// All documents together hold at least the seeds that one of them does, and the filter at least those of all:
    /// below the fifth that makes a candidate, no document has one.
    ///
    /// # Errors
    /// [`ScanError::Value`] before the index is closed.
    pub fn possible(&self, filter: &GramFilter) -> Result<Vec<f64>, ScanError> {
        let seeds = self.closed()?;
        let items = &self.items;
        let mut held = vec![false; items.tokens.len()];
        for seed in seeds.all() {
            let mut postings = seeds.postings(seed).peekable();
            let Some(&Posting { item, place }) = postings.peek() else { continue };
            let gram = &items.tokens[items.places(item as usize)][place as usize..][..SEED];
            if !filter.holds(gram_hash(gram).wrapping_mul(SPREAD)) {
                continue;
            }
            for Posting { item, place } in postings {
                let places = items.places(item as usize);
                let (start, place) = (places.start, place as usize);
                held[start + place] = true;
                if items.worth[start + place].begins_repeated() {
                    for (at, here) in items.tokens[places].windows(SEED).enumerate().skip(place) {
                        held[start + at] |= here == gram;
                    }
                }
            }
        }
        let mut shares = vec![0.0; items.len()];
        for &item in seeds.items() {
            let range = items.places(item as usize);
            let places: Vec<u32> = held[range.clone()]
                .iter()
                .zip(0..)
                .filter(|&(&held, _)| held)
                .map(|(_, place)| place)
                .collect();
            let weight = u64::from(carried(&places, &items.worth[range]).0);
            let of = u64::from(seeds.weight(item));
            shares[item as usize] = match of {
                _ if places.is_empty() || CANDIDATE_PART * weight < of => 0.0,
                0 => 1.0,
                _ => weight as f64 / of as f64,
            };
        }
        Ok(self.of_each(|item| shares[item]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_held_and_the_rate_is_that_of_the_others() {
        let mut filter = GramFilter::new(400).unwrap();
        let hash = |i: u64| xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes());
        let inserted: Vec<_> = (0..8000).map(hash).collect();
        filter.insert(&inserted);
        assert!(inserted.iter().all(|&hash| filter.holds(hash)));
        let wrong = (1 << 20..(1 << 20) + 100_000).filter(|&i| filter.holds(hash(i))).count() as f64 / 1e5;
        let rate = filter.false_positive_rate();
        assert!(rate > 0.001 && rate < 0.02 && (wrong - rate).abs() < rate / 5.0, "{wrong} {rate}");
        assert!(GramFilter::new(0).is_err());
    }
}
