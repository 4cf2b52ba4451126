//! One document against all items.

use super::coverage::{self, Cover, Item, RUN, Read};
use super::grams::Places;
use super::items::{Items, Worth};
use super::runs::Runs;
use super::seeds::{Posting, SEED, Seeds};
use super::tokens::tokenize;
use super::{MATCH, Pair, SHORT};
use crate::error::ScanError;
use crate::parallel::Watch;

/// Seeds of an item carry one part in so many of what all its seeds carry, or it is no candidate.
pub(super) const CANDIDATE_PART: u64 = 5;
/// Half words that are covered in a match that is not whole.
const MATCH_HALF_WORDS: u32 = 2 * 10;
/// Half words of an item that matches if it is whole.
const WHOLE_HALF_WORDS: u32 = 2 * 8;

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
    run_grams: Places<RUN>,
    /// The items that these were last made for.
    seeds_of: Option<usize>,
    runs_of: Option<usize>,
    read: Read,
    cover: Cover,
    runs: Runs,
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
        let tokens = &items.tokens[items.places(item)];
        let worth = &items.worth[items.places(item)];
        self.seed_places(found, item, tokens, worth);
        let (in_document, half_words) = carried(&self.places, worth);
        if CANDIDATE_PART * u64::from(in_document) < u64::from(seeds.weight[item]) {
            return None;
        }
        self.merge_seeds(found);
        if self.runs_of != Some(item) {
            self.run_grams.fill(tokens);
            self.runs_of = Some(item);
        }
        let length = coverage::window_length(tokens.len());
        let windows = coverage::windows(&self.seeds, SEED, length, self.tokens.len());
        let seen = Item { tokens, worth, runs: &self.run_grams };
        self.read.fill(seen, &self.tokens, &windows, length);
        let window = self.cover.best(seen, &self.read, &windows);
        let best = window.covered;
        let whole = best.tokens as usize == tokens.len();
        let weight = items.weight(item);
        let half = |part: u32| 2 * u64::from(part) >= u64::from(weight);
        if !whole && !half(best.weight) && !half(in_document) {
            return None;
        }
        let held = self.read.window(window.read);
        self.cover.hold(seen, held);
        let covered = worth.iter().zip(self.cover.tokens()).filter(|&(_, covered)| covered);
        let half_words_covered: u32 = covered.map(|(worth, _)| worth.half_words()).sum();
        let strength = if half(best.weight) && half_words_covered >= MATCH_HALF_WORDS
            || half(in_document) && half_words >= MATCH_HALF_WORDS
            || whole && items.half_words(item) >= WHOLE_HALF_WORDS
        {
            MATCH
        } else if whole {
            SHORT
        } else {
            return None;
        };
        let mut uncovered = worth.iter().zip(self.cover.tokens()).filter(|&(_, covered)| !covered);
        let numbers_differ = !whole && uncovered.all(|(worth, _)| worth.is_number());
        let extent = coverage::extent(held)?;
        let runs = self.runs.find(&self.run_grams, &self.read.grams);
        let in_runs = |of: u32| {
            let (mut tokens, mut reach) = (0, 0);
            for (place, run) in (0..).zip(runs).filter(|(_, run)| run.length >= of) {
                let end = place + run.length;
                tokens += end - reach.max(place);
                reach = end;
            }
            tokens
        };
        Some(Pair {
            document: row,
            item: items.first[item],
            covered: best,
            weight,
            words_covered: half_words_covered / 2,
            longest: runs.iter().map(|run| run.length).max().unwrap_or(0),
            in_8: in_runs(8),
            in_13: in_runs(13),
            window: window.start + extent.start..window.start + extent.end,
            strength,
            numbers_differ,
            in_document,
        })
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

/// The weight and the half words of the tokens of an item in grams of [`SEED`] tokens at ascending places.
pub(super) fn carried(places: &[u32], worth: &[Worth]) -> (u32, u32) {
    let (mut weight, mut half_words, mut done) = (0, 0, 0);
    for &place in places {
        let end = place as usize + SEED;
        for worth in &worth[done.max(place as usize)..end] {
            weight += worth.weight();
            half_words += worth.half_words();
        }
        done = end;
    }
    (weight, half_words)
}
