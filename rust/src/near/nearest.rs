//! Exact nearest neighbours: of every group the highest score over all rows that went by, and its first row.
//!
//! The best score that a group has so far is a threshold of its own, which rises while blocks go by. What
//! cannot reach it is ruled out as in a scan at one threshold; `docs/near-duplicates.md` has the proof.

use super::distinct::Distinct;
use super::goals::{Bests, Goals};
use super::index::NearIndex;
use super::rows::{Rows, describe};
use crate::error::ScanError;
use crate::parallel::Watch;

/// The groups want the nearest row.
struct Wanted<'a> {
    bests: &'a Bests,
    first_row: i64,
}

impl Goals for Wanted<'_> {
    fn score(&self, right: usize) -> f64 {
        self.bests.score(right)
    }

    fn offer(&self, left_row: usize, right: usize, score: f64) {
        self.bests.offer(right, score, self.first_row + left_row as i64);
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
    /// a [`Usability`](super::rows::Usability) for each.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] when groups were added since the
    /// first block.
    pub fn seek(&mut self, rows: &[f32], first_row: i64, watch: &Watch) -> Result<Vec<u8>, ScanError> {
        let described = describe(rows, self.dim, self.kernel, true, watch)?;
        let Distinct { first_rows, .. } = Distinct::of(&described, rows, self.dim, watch)?;
        let groups = self.norms.len();
        if self.search.begun() && self.nearest.len() != groups {
            return Err(ScanError::Value("rows were added to an index that blocks had gone by".into()));
        }
        self.nearest.open(groups);
        let right = Rows { dim: self.dim, values: &self.vectors, squares: &self.norms, chosen: None };
        let wanted = Wanted { bests: &self.nearest, first_row };
        self.search.pass(&mut self.product, rows, &described, first_rows, right, &wanted, watch)?;
        Ok(described.usability)
    }

    /// The nearest row of every group among the blocks that went by.
    pub fn nearest(&self) -> Nearest {
        let mut nearest = Nearest::default();
        for group in 0..self.norms.len() {
            let best = if group < self.nearest.len() { self.nearest.held(group) } else { Vec::new() };
            nearest.cosine.push(best.first().map_or(f64::NAN, |best| best.score));
            nearest.row.push(best.first().map_or(-1, |best| best.row));
        }
        nearest
    }
}
