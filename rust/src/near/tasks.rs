//! Tasks: some left rows each with all right ones, and how they fare.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::ScanError;
use crate::parallel::Watch;

/// Left rows of a task.
pub(super) const TASK_ROWS: usize = 192;

/// What the tasks of a scan found, and what they left to the product.
#[derive(Debug, Default)]
pub(super) struct Tried<T> {
    /// Of each task that came to its end, in the order of their rows.
    pub found: Vec<T>,
    /// Left rows of the others.
    pub left_over: Vec<usize>,
    /// Units of progress given to the watch.
    pub advanced: usize,
    /// Whether so many tasks were given up that no further one was begun.
    pub hopeless: bool,
}

impl<T: Send> Tried<T> {
    /// Of `rows` left rows none was tried.
    pub fn nothing(rows: usize) -> Self {
        Self { found: Vec::new(), left_over: (0..rows).collect(), advanced: 0, hopeless: false }
    }

    /// Does `work` on `rows` left rows, `task_rows` at a time, with some room that its thread keeps; what it gives
    /// is none where it gave up. `units` of progress are spread over the rows.
    pub fn of<Room: Default>(
        rows: usize,
        task_rows: usize,
        units: usize,
        watch: &Watch,
        work: impl Fn(Range<usize>, &mut Room) -> Result<Option<T>, ScanError> + Sync,
    ) -> Result<Self, ScanError> {
        let part = |task: usize| task * task_rows..rows.min((task + 1) * task_rows);
        let gauge = Gauge::default();
        let of_tasks: Vec<Option<T>> = (0..rows.div_ceil(task_rows))
            .into_par_iter()
            .with_max_len(1)
            .map_init(Room::default, |room, task| {
                watch.check()?;
                let found = if gauge.hopeless() { None } else { work(part(task), room)? };
                gauge.record(found.is_some());
                if found.is_some() {
                    let share = |row: usize| row * units / rows;
                    let done = share(part(task).end) - share(part(task).start);
                    gauge.advanced.fetch_add(done, Ordering::Relaxed);
                    watch.advance(done as u64);
                }
                Ok(found)
            })
            .collect::<Result<_, ScanError>>()?;
        let mut tried = Self { hopeless: gauge.hopeless(), ..Self::nothing(0) };
        tried.advanced = gauge.advanced.into_inner();
        for (task, found) in of_tasks.into_iter().enumerate() {
            match found {
                Some(found) => tried.found.push(found),
                None => tried.left_over.extend(part(task)),
            }
        }
        Ok(tried)
    }
}

/// How the tasks of a scan fare, seen by all threads.
#[derive(Default)]
struct Gauge {
    tasks: AtomicUsize,
    given_up: AtomicUsize,
    hopeless: AtomicBool,
    advanced: AtomicUsize,
}

impl Gauge {
    fn hopeless(&self) -> bool {
        self.hopeless.load(Ordering::Relaxed)
    }

    fn record(&self, scanned: bool) {
        let tasks = self.tasks.fetch_add(1, Ordering::Relaxed) + 1;
        if !scanned {
            let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
            if given_up >= 4 && given_up * 4 > tasks {
                self.hopeless.store(true, Ordering::Relaxed);
            }
        }
    }
}
