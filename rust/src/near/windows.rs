//! The cosine of a target and each vector of its window: no search, every pair is scored.

use rayon::prelude::*;

use super::rows::{Usability, usability};
use super::score::cosine;
use crate::error::ScanError;
use crate::kernel;
use crate::parallel::Watch;

/// The cosine of each row's target with each position of its window.
#[derive(Debug)]
pub struct WindowCosines {
    /// `(n, length)` values, NaN where either vector takes no part in scans.
    pub cosine: Vec<f64>,
    /// A [`Usability`] per target.
    pub targets: Vec<u8>,
    /// A [`Usability`] per position, `(n, length)`.
    pub windows: Vec<u8>,
}

/// Compares `targets`, `(n, dim)`, with their `windows`, `(n, length, dim)`.
///
/// # Errors
/// [`ScanError::Shape`]; [`ScanError::Cancelled`].
pub fn window_cosines(
    targets: &[f32],
    windows: &[f32],
    dim: usize,
    length: usize,
    watch: &Watch,
) -> Result<WindowCosines, ScanError> {
    let rows = targets.len() / dim.max(1);
    if dim == 0 || targets.len() != rows * dim || windows.len() != rows * length * dim {
        return Err(ScanError::Shape(format!(
            "windows: expected ({rows}, {length}, {dim}) values, got {}",
            windows.len()
        )));
    }
    let (targets, windows) = (Lengths::of(targets, dim, watch)?, Lengths::of(windows, dim, watch)?);
    compare(rows, length, |row| targets.vector(row), |cell| windows.vector(cell), watch)
}

/// As [`window_cosines`], of `vectors`, `(k, dim)`, that `targets`, `(n,)`, and `windows`, `(n, length)`, name
/// by number.
///
/// # Errors
/// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] when a number names no vector.
pub fn numbered_window_cosines(
    vectors: &[f32],
    targets: &[i64],
    windows: &[i64],
    dim: usize,
    length: usize,
    watch: &Watch,
) -> Result<WindowCosines, ScanError> {
    if dim == 0 || !vectors.len().is_multiple_of(dim) || windows.len() != targets.len() * length {
        return Err(ScanError::Shape(format!(
            "windows: expected ({}, {length}) numbers of (k, {dim}) values, got {} of {}",
            targets.len(),
            windows.len(),
            vectors.len()
        )));
    }
    let count = (vectors.len() / dim) as i64;
    if let Some(number) = targets.iter().chain(windows).find(|&&number| !(0..count).contains(&number)) {
        return Err(ScanError::Value(format!("windows: vector {number}: there are {count}")));
    }
    let vectors = Lengths::of(vectors, dim, watch)?;
    let at = |number: i64| vectors.vector(number as usize);
    compare(targets.len(), length, |row| at(targets[row]), |cell| at(windows[cell]), watch)
}

/// Vectors, and of each its product with itself and whether it takes part in scans.
struct Lengths<'a> {
    values: &'a [f32],
    dim: usize,
    of_vector: Vec<(f64, Usability)>,
}

impl<'a> Lengths<'a> {
    fn of(values: &'a [f32], dim: usize, watch: &Watch) -> Result<Self, ScanError> {
        let kernel = kernel::active()?;
        let of_vector = values
            .par_chunks_exact(dim)
            .map(|row| {
                let dot_xx = kernel.dot(row, row);
                (dot_xx, usability(row, dot_xx))
            })
            .collect();
        watch.check()?;
        Ok(Self { values, dim, of_vector })
    }

    fn vector(&self, place: usize) -> Vector<'a> {
        let (dot_xx, usability) = self.of_vector[place];
        Vector { values: &self.values[place * self.dim..][..self.dim], dot_xx, usability }
    }
}

struct Vector<'a> {
    values: &'a [f32],
    dot_xx: f64,
    usability: Usability,
}

fn compare<'a>(
    rows: usize,
    length: usize,
    target: impl Fn(usize) -> Vector<'a> + Sync,
    window: impl Fn(usize) -> Vector<'a> + Sync,
    watch: &Watch,
) -> Result<WindowCosines, ScanError> {
    let kernel = kernel::active()?;
    let positions: Vec<(f64, u8)> = (0..rows * length)
        .into_par_iter()
        .map(|cell| {
            let (x, y) = (target(cell / length), window(cell));
            let usable = x.usability == Usability::Usable && y.usability == Usability::Usable;
            let score =
                if usable { cosine(kernel.dot(x.values, y.values), x.dot_xx, y.dot_xx) } else { f64::NAN };
            (score, y.usability as u8)
        })
        .collect();
    watch.check()?;
    Ok(WindowCosines {
        cosine: positions.iter().map(|p| p.0).collect(),
        targets: (0..rows).map(|row| target(row).usability as u8).collect(),
        windows: positions.iter().map(|p| p.1).collect(),
    })
}
