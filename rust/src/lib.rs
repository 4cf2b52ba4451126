//! The arithmetic of lvmfast: text hashing, key intersection and exact cosine scans.
//!
//! One module per level of the scan. `python` alone knows PyO3; everything else is plain Rust that
//! returns [`error::ScanError`] and runs on the rayon pool it is called from.

pub mod csv;
pub mod digest;
pub mod error;
pub mod gzip;
pub mod ids;
pub mod kernel;
pub mod lines;
pub mod near;
pub mod overlap;
pub mod parallel;
pub mod sketch;
pub mod strings;
pub mod text;

#[cfg(feature = "python")]
mod python;
