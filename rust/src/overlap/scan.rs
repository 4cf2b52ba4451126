//! One document against all items.

use std::ops::Range;

use super::Pair;
use super::grams::Places;
use super::items::{Items, LONG_RUN, RUN, Worth};
use super::joined::{Rows, united};
use super::judge::{Document, Judge};
use super::published::Published;
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

impl Found {
    /// How often the document holds it.
    fn count(&self) -> usize {
        (self.hits.1 - self.hits.0) as usize
    }
}

/// What a worker needs for one document after the other.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    tokens: Vec<u64>,
    rows: Rows,
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
    /// Appends the pairs of a document, by item.
    pub(super) fn scan(
        &mut self,
        (document, rows): (usize, &[&str]),
        items: &Items,
        (seeds, published): (&Seeds, Option<&Published>),
        watch: &Watch,
        pairs: &mut Vec<Pair>,
    ) -> Result<(), ScanError> {
        self.tokens.clear();
        self.rows.clear();
        for text in rows {
            self.rows.begin(self.tokens.len());
            tokenize(text, &mut self.tokens);
        }
        if u32::try_from(self.tokens.len()).is_err() {
            return Err(ScanError::Value(format!("overlap: text row {document} has more than 2^32 tokens")));
        }
        self.hits.clear();
        seeds.find(&self.tokens, items, &mut self.maybe, &mut self.hits);
        if let Some(published) = published {
            published.see(&self.tokens, &self.maybe, items);
        }
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
            let places = of_item.iter().map(Found::count).sum::<usize>();
            if places < seeds.fewest(of_item[0].item) {
                continue;
            }
            pairs.extend(self.judge(document, of_item, items, seeds));
        }
        // Distinct items are in the order of their first.
        debug_assert!(pairs[first..].is_sorted_by_key(|pair| pair.item));
        self.found = found;
        Ok(())
    }

    /// The pair of the document and the item whose seeds were found, if it is one.
    fn judge(&mut self, document: usize, found: &[Found], items: &Items, seeds: &Seeds) -> Option<Pair> {
        let item = found[0].item as usize;
        let (tokens, worth) = (&items.tokens[items.places(item)], &items.worth[items.places(item)]);
        self.seed_places(found.iter().map(|seed| (seed.place, seed.count())), item, tokens, worth);
        let carried = carried(&self.places, worth);
        if CANDIDATE_PART * u64::from(carried.0) < u64::from(seeds.weight(found[0].item)) {
            return None;
        }
        self.merge_seeds(found);
        let (tokens_of, seeds_of) = (&self.tokens, &self.seeds);
        let seen =
            Document { number: document, tokens: tokens_of, rows: &self.rows, seeds: seeds_of, carried };
        let mut pair = if items.run(item) == RUN {
            self.by_runs.judge(seen, item, items)
        } else {
            self.by_long_runs.judge(seen, item, items)
        }?;
        let half = |part: u32| 2 * u64::from(part) >= u64::from(pair.weight);
        if self.rows.len() > 1 && half(pair.in_document) {
            let apart = self.rows_of_seeds(found, item, (tokens, worth), &pair.touched, half);
            pair.touched = united(pair.touched.into_iter().chain(apart));
        }
        Some(pair)
    }

    /// The places of the item at which seeds begin that are held, given the first place of each and how often
    /// it is: of one that the item holds more often, the first ones.
    fn seed_places(
        &mut self,
        held: impl Iterator<Item = (u32, usize)>,
        item: usize,
        tokens: &[u64],
        worth: &[Worth],
    ) {
        self.places.clear();
        for (place, count) in held {
            if !worth[place as usize].begins_repeated() {
                self.places.push(place);
                continue;
            }
            if self.seeds_of != Some(item) {
                self.seed_grams.fill(tokens);
                self.seeds_of = Some(item);
            }
            self.places.extend(self.seed_grams.of(place).iter().take(count));
        }
        self.places.sort_unstable();
    }

    /// The rows with seeds of those runs of rows between `touched` whose seeds carry `enough` of the item.
    fn rows_of_seeds(
        &mut self,
        found: &[Found],
        item: usize,
        (tokens, worth): (&[u64], &[Worth]),
        touched: &[Range<usize>],
        enough: impl Fn(u32) -> bool,
    ) -> Vec<Range<usize>> {
        let mut hits: Vec<(usize, u32)> = Vec::new();
        for seed in found {
            let places = &self.hits[seed.hits.0 as usize..seed.hits.1 as usize];
            hits.extend(places.iter().map(|hit| (hit.1 as usize, seed.place)));
        }
        hits.sort_unstable();
        let mut rows = Vec::new();
        for run in self.rows.between(touched) {
            let range = self.rows.tokens(&run, self.tokens.len());
            let first = hits.partition_point(|hit| hit.0 < range.start);
            let end = hits.partition_point(|hit| hit.0 + SEED <= range.end).max(first);
            let mut seeds: Vec<u32> = hits[first..end].iter().map(|hit| hit.1).collect();
            seeds.sort_unstable();
            let held = seeds.chunk_by(|a, b| a == b).map(|same| (same[0], same.len()));
            self.seed_places(held, item, tokens, worth);
            if enough(carried(&self.places, worth).0) {
                rows.extend(hits[first..end].iter().map(|&(place, _)| self.rows.of(&(place..place + SEED))));
            }
        }
        rows
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
