//! The pairs of two sides or of one: the sieve first, and the product for what it leaves over.

use rayon::prelude::*;

use super::costs::Policy;
use super::distinct::Distinct;
use super::fixed::FixedSieve;
use super::product::{Blocks, Product};
use super::rows::{Rows, check_space, describe};
use super::score::{Pair, Pairing};
use crate::error::ScanError;
use crate::kernel::{self, Kernel};
use crate::parallel::Watch;

/// The pairs of two sides: the sieve first, and the product for the left rows that the sieve leaves over.
pub(super) fn join(
    sieve: &mut FixedSieve,
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

pub(super) fn within(
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
    let sieve = FixedSieve::new(kernel, threshold, policy);
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
pub(super) fn pairs_within(
    mut sieve: FixedSieve,
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
