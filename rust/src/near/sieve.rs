//! The sieve: most pairs are ruled out by a few small integers, and only the rest is looked at closer.
//!
//! `docs/near-duplicates.md` has the proof that no pair is lost. In short: for unit vectors
//! |x - y|^2 = 2 - 2 cos, so a pair at or above a threshold is within a radius; a projection of known
//! norm does not take it further apart than that; and what rounding to integers does to a row is measured
//! row by row and added to the radius.
//!
//! It is written once over its thresholds: one for all pairs in [`super::fixed`], one for every right row,
//! which rises while left rows go by, in [`super::rising`]. A task does this:
//!
//! ```text
//! project its left rows, and encode them as their thresholds have it
//! look at the thresholds of the right rows
//! for every strip of right panels, from the first that the left rows meet:
//!     passed = pairs whose product of codes reaches what both rows need
//!     candidates = those of them whose projections are within the limit of the right row
//!     for every candidate: take its score
//!     if the pairs in vain have cost a share of what the product would: give the task up
//! ```

use std::ops::Range;

use super::codes::{Encoded, Encoder, Quantised, STRIP, Scratch as Coding};
use super::costs::{product_cycles, test_cycles};
use super::rows::Rows;
use super::score::cosine;
use super::tasks::{TASK_ROWS, Tried};
use crate::error::ScanError;
use crate::kernel::{Codes, SIEVE_LANES};
use crate::parallel::Watch;

/// What pairs must reach, and what becomes of those that may.
pub(super) trait Thresholds: Sync {
    /// The thresholds as a task sees them.
    type Seen: Default;
    /// What a task finds.
    type Found: Default + Send;

    /// What the products of a left code must reach for its own part.
    fn left_need(&self, row: &Quantised) -> i32;

    /// Looks at the thresholds, which may have risen.
    fn look(&self, seen: &mut Self::Seen);

    /// What the right codes start from, filled up to whole panels.
    fn starts<'a>(&'a self, seen: &'a Self::Seen) -> &'a [[i16; 2]];

    /// The largest squared distance of projections that may be a match of a right row.
    fn limit(&self, seen: &Self::Seen, right: usize) -> f32;

    /// Right rows that the left ones from `left` on do not meet.
    fn skipped(&self, _left: usize) -> usize {
        0
    }

    /// Whether two rows meet, neither of which is skipped.
    fn meet(&self, _left: usize, _right: usize) -> bool {
        true
    }

    /// Takes the score of a pair; true where it is a match, which costs the product as much.
    fn take(&self, left: usize, right: usize, score: f64, found: &mut Self::Found) -> bool;
}

/// One scan: left rows against an encoded right side.
pub(super) struct Sieve<'a, T> {
    pub encoder: Encoder<'a>,
    pub encoded: &'a Encoded,
    pub left: Rows<'a>,
    pub right: Rows<'a>,
    pub thresholds: T,
    /// A task may waste this share of the product's cost.
    pub waste: f64,
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch<Seen> {
    seen: Seen,
    coding: Coding,
    projections: Vec<f32>,
    bytes: Vec<u8>,
    starts: Vec<[i16; 2]>,
    positions: Vec<u32>,
    candidates: Vec<(usize, usize)>,
}

impl<T: Thresholds> Sieve<'_, T> {
    /// Scans what it can of the left rows.
    pub fn scan(&self, units: usize, watch: &Watch) -> Result<Tried<T::Found>, ScanError> {
        Tried::of(self.left.len(), TASK_ROWS, units, watch, |rows, scratch| self.task(rows, scratch, watch))
    }

    /// What some left rows find, or none when so many pairs survive that the product is cheaper.
    fn task(
        &self,
        rows: Range<usize>,
        scratch: &mut Scratch<T::Seen>,
        watch: &Watch,
    ) -> Result<Option<T::Found>, ScanError> {
        let Self { encoder, encoded, left, right, thresholds, .. } = self;
        let (width, first, kernel) = (encoder.basis.width, encoder.basis.first, encoder.kernel);
        let Scratch { seen, coding, projections, bytes, starts, positions, candidates } = scratch;
        projections.resize(rows.len() * width, 0.0);
        encoder.project(*left, rows.start, projections, coding);
        encoder.left(projections, |row| thresholds.left_need(row), bytes, starts, coding);
        let left_codes = Codes { bytes, starts };
        thresholds.look(seen);

        let (second, third) = test_cycles(width, left.dim);
        let skipped = thresholds.skipped(rows.start) / SIEVE_LANES * SIEVE_LANES;
        let budget = self.waste * rows.len() as f64 * product_cycles(left.dim, right.len() - skipped);
        let mut spent = 0.0;
        let mut found = T::Found::default();
        let strips = encoded.bytes[skipped * first..].chunks(STRIP * first);
        let strips = strips.zip(thresholds.starts(seen)[skipped..].chunks(STRIP));
        for ((bytes, starts), from) in strips.zip((skipped..).step_by(STRIP)) {
            watch.check()?;
            positions.clear();
            kernel.sieve(&left_codes, &Codes { bytes, starts }, first, positions);
            candidates.clear();
            for &position in positions.iter() {
                let (i, j) = (position as usize / starts.len(), from + position as usize % starts.len());
                if i < rows.len() && j < right.len() && thresholds.meet(rows.start + i, j) {
                    let (x, y) =
                        (&projections[i * width..][..width], &encoded.projections[j * width..][..width]);
                    if kernel.square_distance(x, y) <= thresholds.limit(seen, j) {
                        candidates.push((rows.start + i, j));
                    }
                }
            }
            let mut matches = 0;
            for &(i, j) in candidates.iter() {
                let ((x, xx), (y, yy)) = (left.get(i), right.get(j));
                let score = cosine(kernel.dot(x, y), xx, yy);
                matches += usize::from(thresholds.take(i, j, score, &mut found));
            }
            watch.found(matches)?;
            spent += positions.len() as f64 * second + (candidates.len() - matches) as f64 * third;
            if spent > budget {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }
}
