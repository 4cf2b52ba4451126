//! Exact nearest neighbours: of every group the highest score over all rows that went by, and its first row.
//!
//! The best score that a group has so far is a threshold of its own, which rises while blocks go by. What
//! cannot reach it is ruled out as in a scan at one threshold; `docs/near-duplicates.md` has the proof.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::product::Rows;
use super::rising::{REFIT, RisingSieve};
use super::rows::describe;
use super::{Distinct, NearIndex};
use crate::error::ScanError;
use crate::parallel::Watch;

/// Rows of the first batch that is multiplied in full. Each further one makes the rows some times as many, so
/// that few pairs are scored in vain.
const FIRST_SEEDS: usize = 8;
const SEED_GROWTH: usize = 8;

/// Rows that a block is not cut below.
const LEAST_PART: usize = 64;

/// The highest score of one group so far.
#[derive(Debug)]
struct Best {
    /// The bits of the score, to be read without the lock.
    score: AtomicU64,
    held: Mutex<(f64, i64)>,
}

/// The highest score of every group so far, and the first row that has it.
#[derive(Debug, Default)]
pub(super) struct Bests {
    of_group: Vec<Best>,
}

impl Bests {
    /// The score of a group, minus infinity before the first.
    pub fn score(&self, group: usize) -> f64 {
        f64::from_bits(self.of_group[group].score.load(Ordering::Relaxed))
    }

    /// Takes a row's score if it is the highest, and of equal scores that of the first row.
    pub fn offer(&self, group: usize, score: f64, row: i64) {
        let best = &self.of_group[group];
        if score < f64::from_bits(best.score.load(Ordering::Relaxed)) {
            return;
        }
        let mut held = best.held.lock().unwrap_or_else(PoisonError::into_inner);
        if score > held.0 || score == held.0 && row < held.1 {
            *held = (score, row);
            best.score.store(score.to_bits(), Ordering::Relaxed);
        }
    }

    fn open(&mut self, groups: usize) {
        self.of_group.resize_with(groups, || Best {
            score: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            held: Mutex::new((f64::NEG_INFINITY, -1)),
        });
    }

    fn held(&self) -> impl Iterator<Item = (f64, i64)> {
        self.of_group.iter().map(|best| *best.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The search for nearest rows in one index.
#[derive(Debug)]
pub(super) struct Search {
    bests: Bests,
    sieve: RisingSieve,
    /// Distinct rows of the blocks that went by.
    seen: usize,
}

impl Search {
    pub fn new(sieve: RisingSieve) -> Self {
        Self { bests: Bests::default(), sieve, seen: 0 }
    }

    pub fn nbytes(&self) -> usize {
        self.bests.of_group.capacity() * size_of::<Best>() + self.sieve.nbytes()
    }
}

/// What [`NearIndex::nearest`] found, by group.
#[derive(Debug, Default)]
pub struct Nearest {
    /// The highest cosine; NaN where no usable row went by.
    pub cosine: Vec<f64>,
    /// The first row that has it, -1 where there is none.
    pub row: Vec<i64>,
}

impl NearIndex {
    /// Takes a block of rows, numbered from `first_row`, into the search for the nearest row of every group;
    /// a [`Usability`](super::Usability) for each.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] when groups were added since the
    /// first block.
    pub fn seek(&mut self, rows: &[f32], first_row: i64, watch: &Watch) -> Result<Vec<u8>, ScanError> {
        let described = describe(rows, self.dim, self.kernel, watch)?;
        let Distinct { mut first_rows, .. } = Distinct::of(&described, watch)?;
        // In the order of their hashes no row is likelier than another to be nearer than all before it, so
        // that in a block thresholds rise fast, however the rows are sorted.
        first_rows.sort_unstable_by_key(|&row| described.keys[row]);
        let groups = self.norms.len();
        let Search { bests, sieve, seen } = &mut self.search;
        if *seen > 0 && bests.of_group.len() != groups {
            return Err(ScanError::Value("rows were added to an index that blocks had gone by".into()));
        }
        bests.open(groups);
        let right = Rows { dim: self.dim, values: &self.vectors, squares: &self.norms, chosen: None };
        let usable = first_rows.len();
        let units = described.usability.len();
        let share = |rows: usize| rows * units / usable;
        let mut done = 0;
        while done < usable {
            let seeds =
                (*seen * (SEED_GROWTH - 1)).max(FIRST_SEEDS).min(sieve.policy.seeds.saturating_sub(*seen));
            // Between the parts of a long block the sieve may be fitted to thresholds that have risen.
            let most = if seeds > 0 { seeds } else { (*seen * (REFIT - 1)).max(LEAST_PART) };
            let part = &first_rows[done..(done + most).min(usable)];
            let units = share(done + part.len()) - share(done);
            let left = Rows { dim: self.dim, values: rows, squares: &described.squares, chosen: Some(part) };
            let number = |place: usize| first_row + part[place] as i64;
            if seeds > 0 {
                self.product.raise(left, right, bests, number, units, watch)?;
            } else {
                let sieved = sieve.raise(left, right, bests, number, *seen, units, watch)?;
                let rest: Vec<usize> = sieved.left_over.iter().map(|&place| part[place]).collect();
                let left = Rows { chosen: Some(&rest), ..left };
                let number = |place: usize| first_row + rest[place] as i64;
                self.product.raise(left, right, bests, number, units - sieved.advanced, watch)?;
            }
            done += part.len();
            *seen += part.len();
        }
        if usable == 0 {
            watch.advance(units as u64);
        }
        Ok(described.usability)
    }

    /// The nearest row of every group among the blocks that went by.
    pub fn nearest(&self) -> Nearest {
        let mut nearest = Nearest::default();
        let none = std::iter::repeat((f64::NEG_INFINITY, -1));
        for (score, row) in self.search.bests.held().chain(none).take(self.norms.len()) {
            nearest.cosine.push(if row < 0 { f64::NAN } else { score });
            nearest.row.push(row);
        }
        nearest
    }
}
