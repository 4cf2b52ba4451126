//! What right rows want: a score to be reached, which rises, and the best rows so far.

use std::cmp::Ordering as Order;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
