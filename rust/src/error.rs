//! The one error type of the crate.

use thiserror::Error;

/// What can go wrong in a scan. Nothing here panics across the language boundary.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScanError {
    /// Arrays whose shapes do not belong together.
    #[error("{0}")]
    Shape(String),
    /// A value outside its domain (a threshold of 3, an unknown normalisation).
    #[error("{0}")]
    Value(String),
    /// The caller asked the work to stop; partial results were dropped.
    #[error("cancelled")]
    Cancelled,
    /// More hits than the caller has room for; partial results were dropped.
    #[error("more hits than there is room for")]
    TooMany,
    /// The thread pool could not be built.
    #[error(
        "the system gives no more threads ({0}): fewer by --threads, or a higher limit (ulimit -u, -v, pids.max)"
    )]
    Threads(String),
    /// A file could not be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}
