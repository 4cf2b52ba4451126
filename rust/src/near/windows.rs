//! The cosine of a target and each vector of its window: no search, every pair is scored.

use rayon::prelude::*;

use super::rows::usability;
use super::{Usability, cosine};
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
    let kernel = kernel::active()?;
    let self_dot = |row: &[f32]| {
        let dot_xx = kernel.dot(row, row);
        (dot_xx, usability(row, dot_xx))
    };
    let scored: Vec<(f64, Usability)> = targets.par_chunks_exact(dim).map(self_dot).collect();
    watch.check()?;
    let positions: Vec<(f64, Usability)> = windows
        .par_chunks_exact(dim)
        .enumerate()
        .map(|(cell, vector)| {
            let row = cell / length;
            let (dot_vv, usable) = self_dot(vector);
            let (dot_tt, target_usable) = scored[row];
            if usable != Usability::Usable || target_usable != Usability::Usable {
                return (f64::NAN, usable);
            }
            let target = &targets[row * dim..][..dim];
            (cosine(kernel.dot(target, vector), dot_tt, dot_vv), usable)
        })
        .collect();
    watch.check()?;
    Ok(WindowCosines {
        cosine: positions.iter().map(|p| p.0).collect(),
        targets: scored.iter().map(|s| s.1 as u8).collect(),
        windows: positions.iter().map(|p| p.1 as u8).collect(),
    })
}
