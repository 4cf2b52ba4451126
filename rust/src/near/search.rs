//! A search whose every right row has a threshold of its own, which rises while blocks of left rows go by.

use std::cmp::Ordering as Order;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bytes::Bytes;
use super::product::{Product, Rows};
use super::rising::{REFIT, RisingSieve};
use super::rows::Described;
use super::sieve::Policy;
use crate::error::ScanError;
use crate::kernel::Kernel;
use crate::parallel::Watch;

/// Rows of the first batch that is multiplied in full. Each further one makes the rows some times as many, so
/// that few pairs are scored in vain.
const FIRST_SEEDS: usize = 8;
const SEED_GROWTH: usize = 8;

/// Rows that a block is not cut below.
const LEAST_PART: usize = 64;

/// What right rows want of left rows.
pub(super) trait Goals: Sync {
    /// A left row that scores below this is of no use to a right row, now and later.
    fn score(&self, right: usize) -> f64;

    /// Takes the score of a row of the block.
    fn offer(&self, left_row: usize, right: usize, score: f64);
}

/// A row and its score. The greatest is the worst: of equal scores that of the last row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    pub score: f64,
    pub row: i64,
}

impl Eq for Held {}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Order {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

/// The best rows of one right row so far.
#[derive(Debug)]
struct Best {
    /// The bits of the score that a further row must reach, to be read without the lock.
    score: AtomicU64,
    /// Best first.
    held: Mutex<Vec<Held>>,
}

/// The `count` best rows of every right row so far: the highest scores, and of equal ones the first rows.
#[derive(Debug)]
pub(super) struct Bests {
    count: usize,
    of_right: Vec<Best>,
}

impl Bests {
    pub fn new(count: usize) -> Self {
        Self { count, of_right: Vec::new() }
    }

    /// Makes room for this many right rows.
    pub fn open(&mut self, rows: usize) {
        self.of_right.resize_with(rows, || Best {
            score: AtomicU64::new(f64::NEG_INFINITY.to_bits()),
            held: Mutex::new(Vec::new()),
        });
    }

    pub fn len(&self) -> usize {
        self.of_right.len()
    }

    pub fn nbytes(&self) -> usize {
        self.of_right.capacity() * (size_of::<Best>() + self.count * size_of::<Held>())
    }

    /// The score that a further row must reach, minus infinity before there are `count`.
    pub fn score(&self, right: usize) -> f64 {
        f64::from_bits(self.of_right[right].score.load(Ordering::Relaxed))
    }

    /// Takes a row if it is among the best and not held yet: what is given up half way is offered again.
    pub fn offer(&self, right: usize, score: f64, row: i64) {
        let best = &self.of_right[right];
        if score < f64::from_bits(best.score.load(Ordering::Relaxed)) {
            return;
        }
        let offered = Held { score, row };
        let mut held = best.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(place) = held.binary_search(&offered) else { return };
        if place == self.count {
            return;
        }
        held.truncate(self.count - 1);
        held.insert(place, offered);
        if held.len() == self.count {
            best.score.store(held[self.count - 1].score.to_bits(), Ordering::Relaxed);
        }
    }

    /// The rows of a right row, best first.
    pub fn held(&self, right: usize) -> Vec<Held> {
        self.of_right[right].held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How far the blocks have brought a search, and the sieve that it uses.
#[derive(Debug)]
pub(super) struct Search {
    sieve: RisingSieve,
    bytes: Bytes,
    /// Distinct rows of the blocks that went by.
    seen: usize,
}

impl Search {
    pub fn new(kernel: &'static Kernel, policy: Policy) -> Self {
        Self { sieve: RisingSieve::new(kernel, policy), bytes: Bytes::new(kernel, policy), seen: 0 }
    }

    pub fn nbytes(&self) -> usize {
        self.sieve.nbytes() + self.bytes.nbytes()
    }

    pub fn begun(&self) -> bool {
        self.seen > 0
    }

    /// Offers the distinct `usable` rows of a block, at least all that may reach the goal of a right row.
    #[expect(clippy::too_many_arguments)]
    pub fn pass(
        &mut self,
        product: &mut Product,
        rows: &[f32],
        described: &Described,
        mut usable: Vec<usize>,
        right: Rows<'_>,
        goals: &impl Goals,
        watch: &Watch,
    ) -> Result<(), ScanError> {
        // In the order of their hashes no row is likelier than another to be nearer than all before it, so
        // that in a block thresholds rise fast, however the rows are sorted.
        usable.sort_unstable_by_key(|&row| described.keys[row]);
        let Self { sieve, bytes, seen } = self;
        let units = described.usability.len();
        let share = |rows: usize| rows * units / usable.len();
        let mut done = 0;
        while done < usable.len() {
            let seeds =
                (*seen * (SEED_GROWTH - 1)).max(FIRST_SEEDS).min(sieve.policy.seeds.saturating_sub(*seen));
            // Between the parts of a long block the sieve may be fitted to thresholds that have risen.
            let most = if seeds > 0 { seeds } else { (*seen * (REFIT - 1)).max(LEAST_PART) };
            let part = &usable[done..(done + most).min(usable.len())];
            let units = share(done + part.len()) - share(done);
            let left = Rows { dim: right.dim, values: rows, squares: &described.squares, chosen: Some(part) };
            let mut left_over: Vec<usize> = part.to_vec();
            let mut units = units;
            if seeds == 0 {
                let sieved = sieve.raise(left, right, goals, *seen, bytes.share(right.dim), units, watch)?;
                left_over = sieved.left_over.iter().map(|&place| part[place]).collect();
                units -= sieved.advanced;
            }
            let rest = Rows { chosen: Some(&left_over), ..left };
            let multiplied = bytes.raise(rest, right, goals, *seen, units, watch)?;
            let rest: Vec<usize> = multiplied.left_over.iter().map(|&place| left_over[place]).collect();
            let rest = Rows { chosen: Some(&rest), ..left };
            product.raise(rest, right, goals, units - multiplied.advanced, watch)?;
            done += part.len();
            *seen += part.len();
        }
        if usable.is_empty() {
            watch.advance(units as u64);
        }
        Ok(())
    }
}
