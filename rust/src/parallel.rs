//! Thread pools, cancellation and progress: what every parallel loop of the crate shares.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::ScanError;

/// A running task seen from outside: it can be told to stop and says how far it is.
#[derive(Debug, Default)]
pub struct Watch {
    stop: AtomicBool,
    done: AtomicU64,
    /// Hits that may still be found.
    room: Room,
}

#[derive(Debug)]
struct Room(AtomicI64);

impl Default for Room {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Watch {
    /// A watch for a task that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the task to stop at its next check.
    pub fn cancel(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// To be called by the task every few milliseconds of work.
    ///
    /// # Errors
    /// [`ScanError::Cancelled`] once [`Watch::cancel`] was called.
    pub fn check(&self) -> Result<(), ScanError> {
        if self.stop.load(Ordering::Relaxed) { Err(ScanError::Cancelled) } else { Ok(()) }
    }

    /// From here on no more than `most` hits may be found.
    pub fn allow(&self, most: usize) {
        self.room.0.store(i64::try_from(most).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// To be called by the task for hits that it is about to keep.
    ///
    /// # Errors
    /// [`ScanError::TooMany`] once there are more than [`Watch::allow`] said.
    pub fn found(&self, hits: usize) -> Result<(), ScanError> {
        let before = self.room.0.fetch_sub(hits as i64, Ordering::Relaxed);
        if before < hits as i64 { Err(ScanError::TooMany) } else { Ok(()) }
    }

    /// Adds finished units (rows) to the progress.
    pub fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// Units finished so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

struct Cached {
    pid: u32,
    threads: usize,
    pool: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Cached>> = Mutex::new(None);

/// The pool with `threads` workers (0: one per available core), kept between calls.
///
/// A forked child has none of its parent's threads, so the pool is built anew when the process id
/// changes: a scan inside a data loader's worker must not wait for threads that do not exist.
///
/// # Errors
/// [`ScanError::Threads`] when the system gives no threads.
pub fn pool(threads: usize) -> Result<Arc<ThreadPool>, ScanError> {
    let threads =
        if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let pid = std::process::id();
    let mut cached = POOL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(c) = cached.as_ref() {
        if c.pid == pid && c.threads == threads {
            return Ok(Arc::clone(&c.pool));
        }
        if c.pid != pid {
            // Dropping the parent's pool would join threads that this process does not have.
            std::mem::forget(cached.take());
        }
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("lvmfast-{i}"))
        .build()
        .map_err(no_thread)?;
    let pool = Arc::new(pool);
    *cached = Some(Cached { pid, threads, pool: Arc::clone(&pool) });
    Ok(pool)
}

/// What it means when the system gives no thread.
pub fn no_thread(why: impl std::fmt::Display) -> ScanError {
    ScanError::Threads(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_kept_and_has_the_size_asked_for() {
        let first = pool(3).unwrap();
        assert_eq!(first.current_num_threads(), 3);
        assert!(Arc::ptr_eq(&first, &pool(3).unwrap()) || pool(3).unwrap().current_num_threads() == 3);
    }

    #[test]
    fn a_cancelled_watch_says_so() {
        let watch = Watch::new();
        assert!(watch.check().is_ok());
        watch.advance(7);
        watch.cancel();
        assert!(matches!(watch.check(), Err(ScanError::Cancelled)));
        assert_eq!(watch.done(), 7);
    }
}
