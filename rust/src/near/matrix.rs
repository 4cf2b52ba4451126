//! Matrices of the kernel's float32 products.

use rayon::prelude::*;

use crate::error::ScanError;
use crate::kernel::Kernel;
use crate::parallel::Watch;

/// Row-major `(rows, depth)`.
#[derive(Clone)]
pub(super) struct Matrix {
    pub depth: usize,
    pub values: Vec<f32>,
}

impl Matrix {
    pub fn rows(&self) -> usize {
        self.values.len() / self.depth
    }

    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.depth..][..self.depth]
    }

    /// These columns alone.
    pub fn columns(&self, columns: &[usize]) -> Self {
        let rows = self.values.chunks_exact(self.depth);
        Self { depth: columns.len(), values: rows.flat_map(|row| columns.iter().map(|&k| row[k])).collect() }
    }

    pub fn transposed(&self) -> Self {
        let (rows, depth) = (self.rows(), self.depth);
        let mut values = vec![0.0; rows * depth];
        values.par_chunks_mut(rows).enumerate().for_each(|(k, column)| {
            for (i, value) in column.iter_mut().enumerate() {
                *value = self.values[i * depth + k];
            }
        });
        Self { depth: rows, values }
    }

    /// `self[i] . other[j]` for every i and j.
    pub fn times_transposed(&self, other: &Self, kernel: &Kernel, watch: &Watch) -> Result<Self, ScanError> {
        let (rows, lanes) = (kernel.tile_rows(), kernel.tile_lanes());
        let panels = panels(&other.values, self.depth, lanes);
        let columns = other.rows();
        let mut values = vec![0.0; self.rows() * columns];
        values.par_chunks_mut(rows * columns).enumerate().try_for_each(|(block, out)| {
            watch.check()?;
            let count = out.len() / columns;
            let mut left: Vec<&[f32]> = (0..count).map(|i| self.row(block * rows + i)).collect();
            left.resize(rows, left[0]);
            let mut tile = vec![0.0; rows * lanes];
            for (panel, first) in panels.chunks_exact(self.depth * lanes).zip((0..).step_by(lanes)) {
                tile.fill(0.0);
                kernel.project(&left, panel, &mut tile);
                let kept = lanes.min(columns - first);
                for (out, tile) in out.chunks_exact_mut(columns).zip(tile.chunks_exact(lanes)) {
                    out[first..first + kept].copy_from_slice(&tile[..kept]);
                }
            }
            Ok::<_, ScanError>(())
        })?;
        Ok(Self { depth: columns, values })
    }
}

/// Rows of `depth` values as panels of `lanes` rows, each `(depth, lanes)`; rows past the end are zero.
pub(super) fn panels(values: &[f32], depth: usize, lanes: usize) -> Vec<f32> {
    let rows = values.len() / depth;
    let mut panels = vec![0.0; rows.next_multiple_of(lanes) * depth];
    for (i, row) in values.chunks_exact(depth).enumerate() {
        let panel = &mut panels[i / lanes * lanes * depth..][..lanes * depth];
        for (value, slot) in row.iter().zip(panel[i % lanes..].iter_mut().step_by(lanes)) {
            *slot = *value;
        }
    }
    panels
}
