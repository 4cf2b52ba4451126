//! One document against all items.

use super::Pair;
use super::grams::Places;
use super::items::{Items, LONG_RUN, RUN, Worth};
use super::judge::{Document, Judge};
use super::seeds::{Posting, SEED, Seeds};
use super::tokens::tokenize;
use crate::error::ScanError;
use crate::parallel::Watch;

/// Seeds of an item carry one part in so many of what all its seeds carry, or it is no candidate.
pub(super) const CANDIDATE_PART: u64 = 5;

/// A seed of an item that stands in the document: its first place there, and its range of the hits.
#[derive(Clone, Copy, Debug)]
struct Found {
    item: u32,
    place: u32,
    hits: (u32, u32),
}

/// What a worker needs for one document after the other.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    tokens: Vec<u64>,
    maybe: Vec<(u64, u32)>,
    hits: Vec<(u32, u32)>,
    found: Vec<Found>,
    seeds: Vec<u32>,
    places: Vec<u32>,
    seed_grams: Places<SEED>,
    /// The item that these were last made for.
    seeds_of: Option<usize>,
    by_runs: Judge<RUN>,
    by_long_runs: Judge<LONG_RUN>,
}

impl Scanner {
    /// Appends the pairs of the document, by item.
    pub(super) fn scan(
        &mut self,
        (row, text): (usize, &str),
        items: &Items,
        seeds: &Seeds,
        watch: &Watch,
        pairs: &mut Vec<Pair>,
    ) -> Result<(), ScanError> {
        self.tokens.clear();
        tokenize(text, &mut self.tokens);
        if u32::try_from(self.tokens.len()).is_err() {
            return Err(ScanError::Value(format!("overlap: text row {row} has more than 2^32 tokens")));
        }
        self.hits.clear();
        seeds.find(&self.tokens, items, &mut self.maybe, &mut self.hits);
        if self.hits.is_empty() {
            return Ok(());
        }
        self.hits.sort_unstable_by_key(|&(postings, place)| in_order(postings, place));
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let mut start = 0;
        for same in self.hits.chunk_by(|a, b| a.0 == b.0) {
            let hits = (start, start + same.len() as u32);
            start = hits.1;
            let postings = seeds.postings(same[0].0);
            found.extend(postings.map(|Posting { item, place }| Found { item, place, hits }));
        }
        found.sort_unstable_by_key(|found| in_order(found.item, found.place));
        let first = pairs.len();
        for of_item in found.chunk_by(|a, b| a.item == b.item) {
            watch.check()?;
            // Before anything that takes time in proportion to the item.
            let places = of_item.iter().map(|seed| u64::from(seed.hits.1 - seed.hits.0)).sum::<u64>();
            if places < u64::from(seeds.fewest[of_item[0].item as usize]) {
                continue;
            }
            pairs.extend(self.judge(row, of_item, items, seeds));
        }
        // Distinct items are in the order of their first.
        debug_assert!(pairs[first..].is_sorted_by_key(|pair| pair.item));
        self.found = found;
        Ok(())
    }

    /// The pair of the document and the item whose seeds were found, if it is one.
    fn judge(&mut self, row: usize, found: &[Found], items: &Items, seeds: &Seeds) -> Option<Pair> {
        let item = found[0].item as usize;
        let (tokens, worth) = (&items.tokens[items.places(item)], &items.worth[items.places(item)]);
        self.seed_places(found, item, tokens, worth);
        let carried = carried(&self.places, worth);
        if CANDIDATE_PART * u64::from(carried.0) < u64::from(seeds.weight[item]) {
            return None;
        }
        self.merge_seeds(found);
        let document = Document { row, tokens: &self.tokens, seeds: &self.seeds, carried };
        if items.run(item) == RUN {
            self.by_runs.judge(document, item, items)
        } else {
            self.by_long_runs.judge(document, item, items)
        }
    }

    /// The places of the item at which seeds begin that the document holds: of one that the item holds more
    /// often than the document, the first ones.
    fn seed_places(&mut self, found: &[Found], item: usize, tokens: &[u64], worth: &[Worth]) {
        self.places.clear();
        for seed in found {
            if !worth[seed.place as usize].begins_repeated() {
                self.places.push(seed.place);
                continue;
            }
            if self.seeds_of != Some(item) {
                self.seed_grams.fill(tokens);
                self.seeds_of = Some(item);
            }
            let here = self.seed_grams.of(seed.place);
            self.places.extend(here.iter().take((seed.hits.1 - seed.hits.0) as usize));
        }
        self.places.sort_unstable();
    }

    /// The places of the document at which seeds of the item begin, ascending.
    fn merge_seeds(&mut self, found: &[Found]) {
        self.seeds.clear();
        for seed in found {
            let hits = &self.hits[seed.hits.0 as usize..seed.hits.1 as usize];
            self.seeds.extend(hits.iter().map(|hit| hit.1));
        }
        self.seeds.sort_unstable();
    }
}

/// Both in one number, which is compared faster than a pair.
#[inline(always)]
fn in_order(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}

/// The weight, and that in words, of the tokens of an item in grams of [`SEED`] tokens at ascending places.
pub(super) fn carried(places: &[u32], worth: &[Worth]) -> (u32, u32) {
    let (mut weight, mut words, mut done) = (0, 0, 0);
    for &place in places {
        let end = place as usize + SEED;
        for worth in &worth[done.max(place as usize)..end] {
            weight += worth.weight();
            words += worth.words();
        }
        done = end;
    }
    (weight, words)
}
