//! The scores of what the blocked product leaves: pair by pair, or tile by tile where most of a tile is left.

use super::rows::Rows;
use super::score::{Pair, cosine};
use crate::error::ScanError;
use crate::kernel::{DOT_COLUMNS, DOT_ROWS, Kernel};
use crate::parallel::Watch;

/// Pairs of a tile from which on all of its products are made: they share what is read.
const DENSE: u32 = (DOT_ROWS * DOT_COLUMNS) as u32 / 2;

/// Candidates of one task: offsets from the first row of both sides, panel by panel of right rows, and
/// ascending in each.
pub(super) struct Rescoring<'a> {
    pub kernel: &'static Kernel,
    pub left: Rows<'a>,
    pub right: Rows<'a>,
    /// The first row of both sides.
    pub from: (usize, usize),
    /// For each left row, the right row that those it meets come after.
    pub places: Option<&'a [usize]>,
    pub threshold: f64,
}

impl Rescoring<'_> {
    /// The candidates whose score reaches the threshold, those of one left row by right row.
    pub fn pairs(&self, candidates: &[(u32, u32)], watch: &Watch) -> Result<Vec<Pair>, ScanError> {
        let lanes = self.kernel.tile_lanes() as u32;
        let mut pairs = Vec::new();
        for panel in candidates.chunk_by(|a, b| a.1 / lanes == b.1 / lanes) {
            watch.check()?;
            let first = panel[0].1 / lanes * lanes;
            for rows in panel.chunk_by(|a, b| a.0 / DOT_ROWS as u32 == b.0 / DOT_ROWS as u32) {
                self.strip(rows, first, &mut pairs);
            }
        }
        watch.found(pairs.len())?;
        Ok(pairs)
    }

    /// Candidates of [`DOT_ROWS`] left rows and the right rows of one panel, which begins at `first`.
    fn strip(&self, candidates: &[(u32, u32)], first: u32, pairs: &mut Vec<Pair>) {
        let top = candidates[0].0 / DOT_ROWS as u32 * DOT_ROWS as u32;
        // Bit j of mask i: left row i meets lane j.
        let mut masks = [0u32; DOT_ROWS];
        for &(row, lane) in candidates {
            let (i, j) = (self.from.0 + row as usize, self.from.1 + lane as usize);
            // Rows past the end are padding, whose product may reach a limit that is not above zero.
            let met = i < self.left.len() && j < self.right.len();
            if met && self.places.is_none_or(|places| j > places[i]) {
                masks[(row - top) as usize] |= 1 << (lane - first);
            }
        }
        let (i, mut j) = (self.from.0 + top as usize, self.from.1 + first as usize);
        while masks.iter().any(|&mask| mask != 0) {
            let met = masks.map(|mask| mask & ((1 << DOT_COLUMNS) - 1));
            if met.iter().map(|mask| mask.count_ones()).sum::<u32>() >= DENSE
                && i + DOT_ROWS <= self.left.len()
                && j + DOT_COLUMNS <= self.right.len()
            {
                self.tile(i, j, met, pairs);
            } else {
                self.each(i, j, met, pairs);
            }
            masks = masks.map(|mask| mask >> DOT_COLUMNS);
            j += DOT_COLUMNS;
        }
    }

    fn tile(&self, i: usize, j: usize, met: [u32; DOT_ROWS], pairs: &mut Vec<Pair>) {
        let xs: [_; DOT_ROWS] = std::array::from_fn(|row| self.left.get(i + row));
        let ys: [_; DOT_COLUMNS] = std::array::from_fn(|lane| self.right.get(j + lane));
        let products = self.kernel.dots(&xs.map(|x| x.0), &ys.map(|y| y.0));
        for (row, mask) in met.into_iter().enumerate() {
            for lane in (0..DOT_COLUMNS).filter(|lane| mask >> lane & 1 == 1) {
                self.keep(i + row, j + lane, cosine(products[row][lane], xs[row].1, ys[lane].1), pairs);
            }
        }
    }

    fn each(&self, i: usize, j: usize, met: [u32; DOT_ROWS], pairs: &mut Vec<Pair>) {
        for (row, mask) in met.into_iter().enumerate() {
            for lane in (0..DOT_COLUMNS).filter(|lane| mask >> lane & 1 == 1) {
                let ((x, xx), (y, yy)) = (self.left.get(i + row), self.right.get(j + lane));
                self.keep(i + row, j + lane, cosine(self.kernel.dot(x, y), xx, yy), pairs);
            }
        }
    }

    fn keep(&self, i: usize, j: usize, score: f64, pairs: &mut Vec<Pair>) {
        if score >= self.threshold {
            pairs.push(Pair { left: i as u32, right: j as u32, cosine: score });
        }
    }
}
