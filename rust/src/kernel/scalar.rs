//! Plain Rust: what runs everywhere, and what the other kernels are tested against.

use super::{Kernel, LANES};

const ROWS: usize = 4;
const COLUMNS: usize = 8;

pub(super) fn kernel() -> &'static Kernel {
    &Kernel { name: "scalar", tile_rows: ROWS, tile_lanes: COLUMNS, dot, multiply, at_least }
}

pub(super) fn dot(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (x_tail, y_tail) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for j in 0..LANES {
            lanes[j] += f64::from(x[j]) * f64::from(y[j]);
        }
    }
    finish(lanes, x_tail, y_tail)
}

/// Adds the products of the last components to the lanes, then the lanes in halves.
pub(super) fn finish(mut lanes: [f64; LANES], x_tail: &[f32], y_tail: &[f32]) -> f64 {
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_tail).zip(y_tail) {
        *lane += f64::from(x) * f64::from(y);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            lanes[j] += lanes[j + half];
        }
        half /= 2;
    }
    lanes[0]
}

fn multiply(left: &[f32], right: &[f32], tile: &mut [f32]) {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    for (x, y) in left.chunks_exact(ROWS).zip(right.chunks_exact(COLUMNS)) {
        for i in 0..ROWS {
            for j in 0..COLUMNS {
                sums[i][j] += x[i] * y[j];
            }
        }
    }
    for (value, sum) in tile.iter_mut().zip(sums.as_flattened()) {
        *value += sum;
    }
}

fn at_least(values: &[f32], limit: f32, positions: &mut Vec<u32>) {
    positions.extend((0..).zip(values).filter(|&(_, &value)| value >= limit).map(|(i, _)| i));
}
