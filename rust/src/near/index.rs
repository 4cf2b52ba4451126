//! The indexed side: its distinct rows, and the scans of blocks against them.

use std::ops::Range;

use rayon::prelude::*;

use super::costs::Policy;
use super::distinct::{Distinct, Hits, ROWS_PER_CHECK};
use super::fixed::FixedSieve;
use super::goals::Bests;
use super::pairs::{Pairs, join, pairs_within};
use super::product::{Blocks, Product};
use super::rows::{Rows, Usability, check_space, describe, row_keys};
use super::score::{Pairing, cosine};
use super::search::Search;
use crate::error::ScanError;
use crate::ids::KeyTable;
use crate::kernel::{self, Kernel};
use crate::parallel::Watch;

/// The distinct rows of the indexed side, ready to be scanned against.
#[derive(Debug)]
pub struct NearIndex {
    pub(super) dim: usize,
    groups: KeyTable,
    /// The group of every added row, -1 for a row that takes no part.
    group_of_row: Vec<i64>,
    /// Row-major vectors of the groups, `(groups, dim)`.
    pub(super) vectors: Vec<f32>,
    /// `dot(v, v)` of each group.
    pub(super) norms: Vec<f64>,
    pub(super) kernel: &'static Kernel,
    sieve: FixedSieve,
    pub(super) product: Product,
    pub(super) search: Search,
    /// The nearest row of each group.
    pub(super) nearest: Bests,
}

impl NearIndex {
    /// An empty index over rows of `dim` components for pairs at or above `threshold`.
    ///
    /// # Errors
    /// [`ScanError::Value`] when `dim` is 0, the threshold is not in [-1, 1], or the kernel that the
    /// environment asks for is not to be had.
    pub fn new(dim: usize, threshold: f64) -> Result<Self, ScanError> {
        check_space(dim, threshold)?;
        Self::with_kernel(dim, threshold, kernel::active()?, Blocks::default(), Policy::default())
    }

    pub(super) fn with_kernel(
        dim: usize,
        threshold: f64,
        kernel: &'static Kernel,
        blocks: Blocks,
        policy: Policy,
    ) -> Result<Self, ScanError> {
        Ok(Self {
            dim,
            groups: KeyTable::new(2)?,
            group_of_row: Vec::new(),
            vectors: Vec::new(),
            norms: Vec::new(),
            kernel,
            sieve: FixedSieve::new(kernel, threshold, policy),
            product: Product::new(kernel, threshold, blocks),
            search: Search::new(kernel, policy),
            nearest: Bests::new(1),
        })
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The group of every added row, -1 for a row that takes no part.
    pub fn group_of_row(&self) -> &[i64] {
        &self.group_of_row
    }

    /// Distinct usable rows.
    pub fn group_count(&self) -> usize {
        self.norms.len()
    }

    /// Row-major vectors of the groups in `range`.
    ///
    /// # Errors
    /// [`ScanError::Value`] when there are no such groups.
    pub fn vectors(&self, range: Range<usize>) -> Result<&[f32], ScanError> {
        let (start, stop, count) = (range.start, range.end, self.group_count());
        if start > stop || stop > count {
            return Err(ScanError::Value(format!("groups {start} to {stop}: there are {count}")));
        }
        Ok(&self.vectors[start * self.dim..stop * self.dim])
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.vectors.capacity() * 4
            + self.norms.capacity() * 8
            + self.group_of_row.capacity() * 8
            + self.groups.nbytes()
            + self.sieve.nbytes()
            + self.product.nbytes()
            + self.search.nbytes()
            + self.nearest.nbytes()
    }

    /// Adds rows, `(n, dim)` row-major; a [`Usability`] for each.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] past 2^32 - 1 groups.
    pub fn add(&mut self, rows: &[f32], watch: &Watch) -> Result<Vec<u8>, ScanError> {
        let described = describe(rows, self.dim, self.kernel, true, watch)?;
        for (i, row) in rows.chunks_exact(self.dim).enumerate() {
            if i % ROWS_PER_CHECK == 0 {
                watch.check()?;
            }
            if described.usability[i] != Usability::Usable as u8 {
                self.group_of_row.push(-1);
                continue;
            }
            let group = self.groups.insert_one(&described.keys[i])?;
            if group as usize == self.norms.len() {
                self.vectors.extend_from_slice(row);
                self.norms.push(described.squares[i]);
            }
            self.group_of_row.push(i64::from(group));
        }
        watch.advance(described.usability.len() as u64);
        Ok(described.usability)
    }

    /// Every (row of the block, group) with cosine at or above the threshold. Equal rows of the block are
    /// multiplied once. Rows without a hit have a key only where `every_key` is asked for.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] past 2^32 - 1 rows in a block.
    pub fn scan(&mut self, rows: &[f32], every_key: bool, watch: &Watch) -> Result<Hits, ScanError> {
        let described = describe(rows, self.dim, self.kernel, every_key, watch)?;
        let distinct = Distinct::of(&described, rows, self.dim, watch)?;
        let left = Rows {
            dim: self.dim,
            values: rows,
            squares: &described.squares,
            chosen: Some(&distinct.first_rows),
        };
        let right = Rows { dim: self.dim, values: &self.vectors, squares: &self.norms, chosen: None };
        let units = described.usability.len();
        let found = join(&mut self.sieve, &mut self.product, left, right, Pairing::All, units, watch)?;
        let mut hits = distinct.expand(&found, watch)?;
        hits.usability = described.usability;
        hits.keys = described.keys;
        if !every_key {
            let with_hit: Vec<usize> =
                hits.row.chunk_by(|a, b| a == b).map(|of_row| of_row[0] as usize).collect();
            for (&row, key) in with_hit.iter().zip(row_keys(rows, self.dim, &with_hit, watch)?) {
                hits.keys[row] = key;
            }
        }
        Ok(hits)
    }

    /// Every pair of groups with cosine at or above the threshold, each once, or none where more than `most`
    /// were found: then blocks of rows can be scanned, whose hits fit.
    ///
    /// # Errors
    /// [`ScanError::Cancelled`]; [`ScanError::Value`].
    pub fn pairs(&mut self, most: usize, watch: &Watch) -> Result<Option<Pairs>, ScanError> {
        watch.allow(most);
        let side = Rows { dim: self.dim, values: &self.vectors, squares: &self.norms, chosen: None };
        match pairs_within(self.sieve.afresh(), &mut self.product, side, self.norms.len(), watch) {
            Ok(pairs) => Ok(Some(pairs)),
            Err(ScanError::TooMany) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The cosine of pairs of a usable row of a block and a group, for scans that rule pairs out elsewhere.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] when a pair names no row or group.
    pub fn score(
        &self,
        rows: &[f32],
        row: &[i64],
        group: &[i64],
        watch: &Watch,
    ) -> Result<Vec<f64>, ScanError> {
        if row.len() != group.len() {
            return Err(ScanError::Shape(format!("pairs: {} rows and {} groups", row.len(), group.len())));
        }
        let mut cosines = vec![0.0; row.len()];
        row.par_chunks(PAIRS_PER_TASK)
            .zip(group.par_chunks(PAIRS_PER_TASK))
            .zip(cosines.par_chunks_mut(PAIRS_PER_TASK))
            .try_for_each(|((row, group), cosines)| {
                watch.check()?;
                for ((&row, &group), out) in row.iter().zip(group).zip(cosines) {
                    let x = vector(rows, self.dim, row)?;
                    let y = vector(&self.vectors, self.dim, group)?;
                    let dot_xx = self.kernel.dot(x, x);
                    *out = cosine(self.kernel.dot(x, y), dot_xx, self.norms[group as usize]);
                }
                Ok::<_, ScanError>(())
            })?;
        Ok(cosines)
    }
}

/// Pairs that are scored between two looks at the watch.
const PAIRS_PER_TASK: usize = 1024;

/// Row `place` of `values`, `(n, dim)` row-major.
fn vector(values: &[f32], dim: usize, place: i64) -> Result<&[f32], ScanError> {
    let start = usize::try_from(place).ok().and_then(|place| place.checked_mul(dim));
    start
        .and_then(|start| values.get(start..)?.get(..dim))
        .ok_or_else(|| ScanError::Value(format!("pairs: there is no vector {place}")))
}
