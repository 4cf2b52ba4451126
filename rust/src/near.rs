//! Exact cosine near-duplicates: every pair at or above a threshold, none missed and none too many.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::ScanError;
use crate::ids::KeyTable;
use crate::kernel::{self, Kernel};
use crate::parallel::Watch;

mod basis;
mod bytes;
mod cells;
mod codes;
mod nearest;
mod product;
mod rescore;
mod rising;
mod rotation;
mod rows;
mod search;
mod sieve;
mod top;
mod widths;
mod windows;

pub use nearest::Nearest;
use product::{Blocks, Product, Rows};
use rows::{Described, describe, row_keys};
pub use rows::{Usability, row_key, usability};
use search::{Bests, Search};
use sieve::{Policy, Sieve};
pub use top::{Excluded, Top, TopSearch};
pub use windows::{WindowCosines, numbered_window_cosines, window_cosines};

/// x.y in float64. Lane `j` sums the products at positions congruent to `j` modulo 16 in ascending
/// order; the lanes are then added in halves (16, 8, 4, 2, 1). The product of two float32 values is
/// exact in float64, so fused and separate multiply-adds agree and every kernel gives the same bits.
///
/// # Panics
/// When the rows differ in length.
pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    kernel::available()[0].dot(x, y)
}

/// x.y / sqrt((x.x)(y.y)), clamped to [-1, 1]; exactly 1.0 when x equals y, for sqrt(a * a) is a.
pub fn cosine(dot_xy: f64, dot_xx: f64, dot_yy: f64) -> f64 {
    (dot_xy / (dot_xx * dot_yy).sqrt()).clamp(-1.0, 1.0)
}

/// A left and a right row whose score reaches the threshold.
#[derive(Clone, Copy, Debug)]
struct Pair {
    left: u32,
    right: u32,
    cosine: f64,
}

/// What a scan of one block of rows found.
#[derive(Debug, Default)]
pub struct Hits {
    /// Row of the block, ascending.
    pub row: Vec<i64>,
    /// Group of the index, ascending within a row.
    pub group: Vec<i64>,
    /// The cosine of the two.
    pub cosine: Vec<f64>,
    /// A [`Usability`] per row of the block.
    pub usability: Vec<u8>,
    /// The [`row_key`] of each row of the block, or of those with a hit alone and zeros for the others.
    pub keys: Vec<[u64; 2]>,
}

/// The distinct rows of the indexed side, ready to be scanned against.
#[derive(Debug)]
pub struct NearIndex {
    dim: usize,
    groups: KeyTable,
    /// The group of every added row, -1 for a row that takes no part.
    group_of_row: Vec<i64>,
    /// Row-major vectors of the groups, `(groups, dim)`.
    vectors: Vec<f32>,
    /// `dot(v, v)` of each group.
    norms: Vec<f64>,
    kernel: &'static Kernel,
    sieve: Sieve,
    product: Product,
    search: Search,
    /// The nearest row of each group.
    nearest: Bests,
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

    fn with_kernel(
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
            sieve: Sieve::new(kernel, threshold, policy),
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

    /// The [`Usability`] and the [`row_key`] of each row, as [`NearIndex::scan`] gives them.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`].
    pub fn describe(&self, rows: &[f32], watch: &Watch) -> Result<(Vec<u8>, Vec<[u64; 2]>), ScanError> {
        let described = describe(rows, self.dim, self.kernel, true, watch)?;
        Ok((described.usability, described.keys))
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

/// Which left rows meet which right rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pairing {
    /// Two sides: all with all.
    All,
    /// One side: each row with those after it.
    Within,
}

/// The pairs of two sides: the sieve first, and the product for the left rows that the sieve leaves over.
fn join(
    sieve: &mut Sieve,
    product: &mut Product,
    left: Rows<'_>,
    right: Rows<'_>,
    pairing: Pairing,
    units: usize,
    watch: &Watch,
) -> Result<Vec<Vec<Pair>>, ScanError> {
    let mut sieved = sieve.scan(left, right, pairing, units, watch)?;
    let rest: Vec<usize> = sieved.left_over.iter().map(|&i| left.chosen.map_or(i, |c| c[i])).collect();
    let rest = Rows { chosen: Some(&rest), ..left };
    let places = (pairing == Pairing::Within).then_some(&sieved.left_over[..]);
    for mut pairs in product.scan(rest, right, places, units - sieved.advanced, watch)? {
        for pair in &mut pairs {
            pair.left = sieved.left_over[pair.left as usize] as u32;
        }
        sieved.found.push(pairs);
    }
    Ok(sieved.found)
}

/// Pairs of distinct rows of one set.
#[derive(Debug, Default)]
pub struct Pairs {
    /// The earlier row of each pair, ascending.
    pub left: Vec<i64>,
    /// The later row, ascending within a left row.
    pub right: Vec<i64>,
    /// The cosine of the two.
    pub cosine: Vec<f64>,
    /// The cells that the rows were in, 0 where the pairs were found without.
    pub cells: usize,
}

/// What a scan of one set of rows against itself found.
#[derive(Debug, Default)]
pub struct Within {
    /// The pairs of distinct rows, named by the first of equal ones.
    pub pairs: Pairs,
    /// For every row the first row that equals it, itself included; -1 for a row that takes no part.
    pub first_row: Vec<i64>,
    /// A [`Usability`] per row.
    pub usability: Vec<u8>,
}

/// Every pair of distinct rows, `(n, dim)` row-major, with cosine at or above `threshold`, each once. The
/// rows are borrowed: what is held beside them is about `6 * width + 150` bytes per row, with `width` a
/// small part of `dim`, a few MiB per thread, and the pairs.
///
/// # Errors
/// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] as [`NearIndex::new`] has it, or past
/// 2^32 - 1 distinct rows.
pub fn scan_within(rows: &[f32], dim: usize, threshold: f64, watch: &Watch) -> Result<Within, ScanError> {
    check_space(dim, threshold)?;
    within(rows, dim, threshold, kernel::active()?, Blocks::default(), Policy::default(), watch)
}

fn within(
    rows: &[f32],
    dim: usize,
    threshold: f64,
    kernel: &'static Kernel,
    blocks: Blocks,
    policy: Policy,
    watch: &Watch,
) -> Result<Within, ScanError> {
    let described = describe(rows, dim, kernel, false, watch)?;
    let Distinct { first_rows, place } = Distinct::of(&described, rows, dim, watch)?;
    let side = Rows { dim, values: rows, squares: &described.squares, chosen: Some(&first_rows) };
    let sieve = Sieve::new(kernel, threshold, policy);
    let mut product = Product::new(kernel, threshold, blocks);
    let mut pairs = pairs_within(sieve, &mut product, side, described.usability.len(), watch)?;
    for place in pairs.left.iter_mut().chain(&mut pairs.right) {
        *place = first_rows[*place as usize] as i64;
    }
    Ok(Within {
        pairs,
        first_row: place.iter().map(|p| p.map_or(-1, |p| first_rows[p as usize] as i64)).collect(),
        usability: described.usability,
    })
}

/// Every pair of the rows of one side, which are distinct.
fn pairs_within(
    mut sieve: Sieve,
    product: &mut Product,
    side: Rows<'_>,
    units: usize,
    watch: &Watch,
) -> Result<Pairs, ScanError> {
    let mut found = join(&mut sieve, product, side, side, Pairing::Within, units, watch)?.concat();
    // The product's chunks come after the sieve's, whatever rows they hold.
    found.par_sort_unstable_by_key(|pair| (pair.left, pair.right));
    Ok(Pairs {
        left: found.iter().map(|pair| i64::from(pair.left)).collect(),
        right: found.iter().map(|pair| i64::from(pair.right)).collect(),
        cosine: found.iter().map(|pair| pair.cosine).collect(),
        cells: sieve.cells,
    })
}

/// Whether vectors of `dim` components can be compared at `threshold`.
fn check_space(dim: usize, threshold: f64) -> Result<(), ScanError> {
    if dim == 0 {
        return Err(ScanError::Value("vectors have no components".into()));
    }
    if !(-1.0..=1.0).contains(&threshold) {
        return Err(ScanError::Value(format!("threshold: expected a cosine in [-1, 1], got {threshold}")));
    }
    Ok(())
}

/// Rows of a loop that does little per row, between two looks at the watch.
const ROWS_PER_CHECK: usize = 4096;

/// The distinct usable rows of a block.
struct Distinct {
    /// The first row of each.
    first_rows: Vec<usize>,
    /// For each row of the block, its place in `first_rows`; `None` for a row that takes no part.
    place: Vec<Option<u32>>,
}

impl Distinct {
    /// Rows without keys are told apart by their squares, and only those that share one by their keys.
    fn of(described: &Described, rows: &[f32], dim: usize, watch: &Watch) -> Result<Self, ScanError> {
        if described.keyed {
            return Self::by(&described.usability, &described.keys, watch);
        }
        let mut keys: Vec<[u64; 2]> = described.squares.iter().map(|square| [square.to_bits(), 0]).collect();
        let by_square = Self::by(&described.usability, &keys, watch)?;
        let mut sharing = vec![0u32; by_square.first_rows.len()];
        by_square.place.iter().flatten().for_each(|&place| sharing[place as usize] += 1);
        let is_alike = |&row: &usize| by_square.place[row].is_some_and(|place| sharing[place as usize] > 1);
        let alike: Vec<usize> = (0..keys.len()).filter(is_alike).collect();
        if alike.is_empty() {
            return Ok(by_square);
        }
        for (&row, key) in alike.iter().zip(row_keys(rows, dim, &alike, watch)?) {
            keys[row] = key;
        }
        Self::by(&described.usability, &keys, watch)
    }

    /// The rows that are distinct by their `keys`.
    fn by(usability: &[u8], keys: &[[u64; 2]], watch: &Watch) -> Result<Self, ScanError> {
        let mut table = KeyTable::with_capacity(2, usability.len())?;
        let mut distinct = Self {
            first_rows: Vec::with_capacity(usability.len()),
            place: Vec::with_capacity(usability.len()),
        };
        for (row, (code, key)) in usability.iter().zip(keys).enumerate() {
            if row % ROWS_PER_CHECK == 0 {
                watch.check()?;
            }
            if *code != Usability::Usable as u8 {
                distinct.place.push(None);
                continue;
            }
            let place = table.insert_one(key)?;
            if place as usize == distinct.first_rows.len() {
                distinct.first_rows.push(row);
            }
            distinct.place.push(Some(place));
        }
        Ok(distinct)
    }

    /// The hits of every row of the block, given those of the distinct ones, sorted by left row in chunks.
    fn expand(&self, found: &[Vec<Pair>], watch: &Watch) -> Result<Hits, ScanError> {
        let mut of_place: Vec<&[Pair]> = vec![&[]; self.first_rows.len()];
        for pairs in found {
            for equal in pairs.chunk_by(|a, b| a.left == b.left) {
                of_place[equal[0].left as usize] = equal;
            }
        }
        let count = self.place.iter().flatten().map(|&place| of_place[place as usize].len()).sum();
        let mut hits = Hits {
            row: Vec::with_capacity(count),
            group: Vec::with_capacity(count),
            cosine: Vec::with_capacity(count),
            ..Hits::default()
        };
        for (row, place) in self.place.iter().enumerate() {
            if row % ROWS_PER_CHECK == 0 {
                watch.check()?;
            }
            let Some(place) = place else { continue };
            for pair in of_place[*place as usize] {
                hits.row.push(row as i64);
                hits.group.push(i64::from(pair.right));
                hits.cosine.push(pair.cosine);
            }
        }
        Ok(hits)
    }
}

#[cfg(test)]
mod tests;
