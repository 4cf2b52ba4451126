//! Tasks: some left rows each with all right ones, and how they fare.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::score::Pair;

/// What a scan found, and what it left to the product.
#[derive(Default)]
pub(super) struct Sieved {
    /// Pairs in chunks of left rows, sorted within them.
    pub found: Vec<Vec<Pair>>,
    /// Left rows that were not scanned.
    pub left_over: Vec<usize>,
    /// Units of progress given to the watch.
    pub advanced: usize,
}

/// Left rows of a task.
pub(super) const TASK_ROWS: usize = 192;

/// How the tasks of a scan fare, seen by all threads.
#[derive(Default)]
pub(super) struct Gauge {
    tasks: AtomicUsize,
    given_up: AtomicUsize,
    hopeless: AtomicBool,
    pub advanced: AtomicUsize,
}

impl Gauge {
    pub fn hopeless(&self) -> bool {
        self.hopeless.load(Ordering::Relaxed)
    }

    pub fn record(&self, scanned: bool) {
        let tasks = self.tasks.fetch_add(1, Ordering::Relaxed) + 1;
        if !scanned {
            let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
            if given_up >= 4 && given_up * 4 > tasks {
                self.hopeless.store(true, Ordering::Relaxed);
            }
        }
    }
}
