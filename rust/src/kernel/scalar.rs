//! Plain Rust: what runs everywhere, and what the other kernels are tested against.

use super::{Blocked, CODE_OFFSET, Codes, Kernel, LANES, LongCodes, SIEVE_LANES};

static KERNEL: Kernel = Kernel {
    name: "scalar",
    tile_rows: 4,
    tile_lanes: 8,
    dot,
    dots: |xs, ys| xs.map(|x| ys.map(|y| dot(x, y))),
    multiply: multiply::<4, 8>,
    at_least,
    project: project::<4, 8>,
    square_distance,
    sieve,
    sift,
    sift_share: 1.0,
};

pub(super) fn kernel() -> &'static Kernel {
    &KERNEL
}

/// Tiles as large as those of any other kernel, for the tests of what is built on them.
#[cfg(test)]
pub(super) fn wide() -> &'static Kernel {
    static WIDE: Kernel = Kernel {
        name: "scalar, wide",
        tile_rows: 12,
        tile_lanes: 32,
        multiply: multiply::<12, 32>,
        project: project::<12, 32>,
        ..KERNEL
    };
    &WIDE
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

fn multiply<const ROWS: usize, const COLUMNS: usize>(left: &[f32], right: &[f32], tile: &mut [f32]) {
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

fn project<const ROWS: usize, const COLUMNS: usize>(left: &[&[f32]], right: &[f32], tile: &mut [f32]) {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    for (k, y) in right.chunks_exact(COLUMNS).enumerate() {
        for i in 0..ROWS {
            let x = left[i][k];
            for j in 0..COLUMNS {
                sums[i][j] += x * y[j];
            }
        }
    }
    for (value, sum) in tile.iter_mut().zip(sums.as_flattened()) {
        *value += sum;
    }
}

pub(super) fn square_distance(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (xs, x_tail) = x.as_chunks::<8>();
    let (ys, y_tail) = y.as_chunks::<8>();
    for (x, y) in xs.iter().zip(ys) {
        for j in 0..8 {
            lanes[j] += (x[j] - y[j]) * (x[j] - y[j]);
        }
    }
    let tail: f32 = x_tail.iter().zip(y_tail).map(|(x, y)| (x - y) * (x - y)).sum();
    lanes.iter().sum::<f32>() + tail
}

fn sieve(left: &Codes<'_>, right: &Codes<'_>, width: usize, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(width, 1) {
        let rows = left.bytes.chunks_exact(width).zip(left.starts);
        for ((x, x_start), base) in rows.zip((from..).step_by(stride as usize)) {
            let mut sums = [[0i16; 2]; SIEVE_LANES];
            for (sum, y_start) in sums.iter_mut().zip(right.starts) {
                *sum = [x_start[0].wrapping_add(y_start[0]), x_start[1].wrapping_add(y_start[1])];
            }
            for (x, panel) in x.as_chunks::<4>().0.iter().zip(right.bytes.chunks_exact(4 * SIEVE_LANES)) {
                let x = x.map(|x| i16::from(x as i8));
                for (sum, y) in sums.iter_mut().zip(panel.as_chunks::<4>().0) {
                    let y = y.map(i16::from);
                    sum[0] = sum[0].wrapping_add(x[0] * y[0] + x[1] * y[1]);
                    sum[1] = sum[1].wrapping_add(x[2] * y[2] + x[3] * y[3]);
                }
            }
            let passed =
                sums.iter().zip(base..).filter(|(sum, _)| i32::from(sum[0]) + i32::from(sum[1]) >= 0);
            positions.extend(passed.map(|(_, position)| position));
        }
    }
}

fn sift(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, 1) {
        let rows = left.bytes.chunks_exact(blocked.width).zip(left.starts);
        for ((x, x_start), base) in rows.zip((from..).step_by(stride as usize)) {
            let mut tests = [*x_start; SIEVE_LANES];
            for (test, y_start) in tests.iter_mut().zip(right.starts) {
                *test += y_start;
            }
            for (x, panel) in x.as_chunks::<4>().0.iter().zip(right.bytes.chunks_exact(4 * SIEVE_LANES)) {
                let x = x.map(|x| i32::from(x as i8));
                for (test, y) in tests.iter_mut().zip(panel.as_chunks::<4>().0) {
                    let y = y.map(|y| i32::from(y) - CODE_OFFSET);
                    *test += x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3];
                }
            }
            let passed = tests.iter().zip(base..).filter(|&(&test, _)| test >= 0);
            positions.extend(passed.map(|(_, position)| position));
        }
    }
}
