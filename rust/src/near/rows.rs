//! Rows of one side, and what is asked of every row once: can it be scanned, which rows equal it, how long is it.

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::ScanError;
use crate::kernel::{self, Kernel, bytes_of};
use crate::parallel::Watch;

/// Rows described between two looks at the watch.
const ROWS_PER_TASK: usize = 256;

/// Why a row takes no part in a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Usability {
    /// It takes part.
    Usable = 0,
    /// Every component is zero.
    Zero = 1,
    /// A component is NaN.
    Nan = 2,
    /// A component is infinite.
    Infinite = 3,
    /// The norm is below the smallest normal float32, where the direction is noise.
    Denormal = 4,
}

/// Whether `row` can be scanned, given its `dot(row, row)`.
pub fn usability(row: &[f32], dot_xx: f64) -> Usability {
    if dot_xx.is_finite() {
        if dot_xx == 0.0 {
            return Usability::Zero;
        }
        let smallest = f64::from(f32::MIN_POSITIVE);
        return if dot_xx < smallest * smallest { Usability::Denormal } else { Usability::Usable };
    }
    if row.iter().any(|v| v.is_nan()) { Usability::Nan } else { Usability::Infinite }
}

const MINUS_ZERO: u32 = 1 << 31;

/// The identity of a row: equal rows, and no others, share it (minus zero counts as zero).
pub fn row_key(row: &[f32], scratch: &mut Vec<u8>) -> [u64; 2] {
    // A fold without an early way out is what the compiler turns into vector code.
    let minus_zeros = row.iter().fold(0, |seen, v| seen | u32::from(v.to_bits() == MINUS_ZERO));
    let hash = if minus_zeros == 0 {
        xxh3_128(bytes_of(row))
    } else {
        scratch.clear();
        for v in row {
            let bits = if v.to_bits() == MINUS_ZERO { 0 } else { v.to_bits() };
            scratch.extend_from_slice(&bits.to_ne_bytes());
        }
        xxh3_128(scratch)
    };
    [(hash >> 64) as u64, hash as u64]
}

/// The [`Usability`] and the [`row_key`] of each row, `(n, dim)` row-major.
///
/// # Errors
/// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] when `dim` is 0 or the kernel that the
/// environment asks for is not to be had.
pub fn describe_rows(rows: &[f32], dim: usize, watch: &Watch) -> Result<(Vec<u8>, Vec<[u64; 2]>), ScanError> {
    check_space(dim, 1.0)?;
    let described = describe(rows, dim, kernel::active()?, true, watch)?;
    Ok((described.usability, described.keys))
}

/// Rows and what [`describe`] found out about them.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// A [`Usability`] per row.
    pub usability: Vec<u8>,
    /// The [`row_key`] of each row, where every row was to have one, or else zeros.
    pub keys: Vec<[u64; 2]>,
    /// Whether every row has its key.
    pub keyed: bool,
    /// `dot(row, row)` of each row.
    pub squares: Vec<f64>,
}

/// What is to be known of every row, its key if it is `keyed`: to hash a row costs more than to square it.
pub(super) fn describe(
    rows: &[f32],
    dim: usize,
    kernel: &Kernel,
    keyed: bool,
    watch: &Watch,
) -> Result<Described, ScanError> {
    if !rows.len().is_multiple_of(dim) {
        return Err(ScanError::Shape(format!("rows: expected (n, {dim}) values, got {}", rows.len())));
    }
    let count = rows.len() / dim;
    let mut described =
        Described { usability: vec![0; count], keys: vec![[0; 2]; count], keyed, squares: vec![0.0; count] };
    rows.par_chunks(ROWS_PER_TASK * dim)
        .zip(described.usability.par_chunks_mut(ROWS_PER_TASK))
        .zip(described.keys.par_chunks_mut(ROWS_PER_TASK))
        .zip(described.squares.par_chunks_mut(ROWS_PER_TASK))
        .try_for_each(|(((rows, codes), keys), squares)| {
            watch.check()?;
            let mut scratch = Vec::new();
            let out = codes.iter_mut().zip(keys).zip(squares);
            for (row, ((code, key), square)) in rows.chunks_exact(dim).zip(out) {
                *square = kernel.dot(row, row);
                *code = usability(row, *square) as u8;
                if keyed {
                    *key = row_key(row, &mut scratch);
                }
            }
            Ok::<_, ScanError>(())
        })?;
    Ok(described)
}

/// The [`row_key`] of each of some rows of a block.
pub(super) fn row_keys(
    rows: &[f32],
    dim: usize,
    chosen: &[usize],
    watch: &Watch,
) -> Result<Vec<[u64; 2]>, ScanError> {
    let mut keys = vec![[0; 2]; chosen.len()];
    keys.par_chunks_mut(ROWS_PER_TASK).zip(chosen.par_chunks(ROWS_PER_TASK)).try_for_each(
        |(keys, chosen)| {
            watch.check()?;
            let mut scratch = Vec::new();
            for (key, &row) in keys.iter_mut().zip(chosen) {
                *key = row_key(&rows[row * dim..][..dim], &mut scratch);
            }
            Ok::<_, ScanError>(())
        },
    )?;
    Ok(keys)
}

/// Rows of one side: of `values`, those that `chosen` names, or all of them.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub dim: usize,
    /// `(n, dim)` row-major.
    pub values: &'a [f32],
    /// `dot(row, row)` of each of the n rows.
    pub squares: &'a [f64],
    pub chosen: Option<&'a [usize]>,
}

impl<'a> Rows<'a> {
    pub fn len(&self) -> usize {
        self.chosen.map_or(self.squares.len(), <[usize]>::len)
    }

    /// Where the values of row i are.
    pub fn row(&self, i: usize) -> usize {
        self.chosen.map_or(i, |chosen| chosen[i])
    }

    pub fn get(&self, i: usize) -> (&'a [f32], f64) {
        let row = self.row(i);
        (&self.values[row * self.dim..][..self.dim], self.squares[row])
    }

    /// Normalised rows `from..from + count` as panels of `lanes` rows, each `(dim, lanes)`; rows past the
    /// end are zero.
    pub fn pack(&self, from: usize, lanes: usize, panels: &mut [f32]) {
        for (panel, first) in panels.chunks_exact_mut(self.dim * lanes).zip((from..).step_by(lanes)) {
            for lane in 0..lanes {
                let values = panel[lane..].iter_mut().step_by(lanes);
                if first + lane >= self.len() {
                    values.for_each(|value| *value = 0.0);
                    continue;
                }
                let (row, square) = self.get(first + lane);
                let scale = 1.0 / square.sqrt();
                for (value, &x) in values.zip(row) {
                    *value = (f64::from(x) * scale) as f32;
                }
            }
        }
    }
}

/// Whether vectors of `dim` components can be compared at `threshold`.
pub(super) fn check_space(dim: usize, threshold: f64) -> Result<(), ScanError> {
    if dim == 0 {
        return Err(ScanError::Value("vectors have no components".into()));
    }
    if !(-1.0..=1.0).contains(&threshold) {
        return Err(ScanError::Value(format!("threshold: expected a cosine in [-1, 1], got {threshold}")));
    }
    Ok(())
}
