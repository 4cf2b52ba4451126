//! Exact cosine near-duplicates: every pair at or above a threshold, none missed and none too many.
//!
//! What several algorithms share stands below them, and each module imports only from lines above its own:
//! `score`, `rows`, `distinct`, `goals`, `matrix`, `bounds`, `costs`, `tasks`; then `basis`, `codes`, `cells`, `sieve`;
//! then `fixed`, `rising`, `bytes`; then whoever asks.

mod basis;
mod bounds;
mod bytes;
mod cells;
mod codes;
mod costs;
mod distinct;
mod fixed;
mod goals;
mod index;
mod matrix;
mod nearest;
mod pairs;
mod product;
mod rescore;
mod rising;
mod rotation;
mod rows;
mod score;
mod search;
mod sieve;
mod tasks;
mod top;
mod widths;
mod windows;

pub use distinct::Hits;
pub use index::NearIndex;
pub use nearest::Nearest;
pub use pairs::{Pairs, Within, scan_within};
pub use rows::{Usability, describe_rows, row_key, usability};
pub use score::{cosine, dot};
pub use top::{Excluded, Top, TopSearch};
pub use windows::{WindowCosines, numbered_window_cosines, window_cosines};

#[cfg(test)]
mod tests;
