//! AVX2 with FMA: x86-64 processors since 2013.

use std::arch::x86_64::*;

use super::{
    Blocked, CODE_OFFSET, Codes, DOT_COLUMNS, DOT_ROWS, Kernel, LANES, LongCodes, Products, SIEVE_LANES,
    SIEVE_ROWS, scalar,
};

const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// The kernel, if this processor can run it.
pub(super) fn kernel() -> Option<&'static Kernel> {
    static KERNEL: Kernel = Kernel {
        name: "avx2",
        tile_rows: ROWS,
        tile_lanes: COLUMNS,
        // SAFETY: the table leaves this function only where the features were detected.
        dot: |x, y| unsafe { dot(x, y) },
        // SAFETY: as above.
        dots: |xs, ys| unsafe { dots(xs, ys) },
        // SAFETY: as above.
        multiply: |left, right, tile| unsafe { multiply(left, right, tile) },
        // SAFETY: as above.
        at_least: |values, limit, positions| unsafe { at_least(values, limit, positions) },
        // SAFETY: as above.
        project: |left, right, tile| unsafe { project(left, right, tile) },
        // SAFETY: as above.
        square_distance: |x, y| unsafe { square_distance(x, y) },
        // SAFETY: as above.
        sieve: |left, right, width, positions| unsafe { sieve(left, right, width, positions) },
        // SAFETY: as above.
        sift: |left, right, blocked, positions| unsafe { sift(left, right, blocked, positions) },
        sift_share: 0.3,
    };
    (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&KERNEL)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(values: &[f32; 8]) -> __m256 {
    // SAFETY: the reference covers the eight values that are read.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

/// Four float32 values, widened.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn widen(values: &[f32; 4]) -> __m256d {
    // SAFETY: the reference covers the four values that are read.
    _mm256_cvtps_pd(unsafe { _mm_loadu_ps(values.as_ptr()) })
}

#[target_feature(enable = "avx2,fma")]
fn dot(x: &[f32], y: &[f32]) -> f64 {
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (ys, y_tail) = y.as_chunks::<LANES>();
    let mut sums = [_mm256_setzero_pd(); 4];
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (x.as_chunks::<4>().0, y.as_chunks::<4>().0);
        for j in 0..4 {
            sums[j] = _mm256_fmadd_pd(widen(&x[j]), widen(&y[j]), sums[j]);
        }
    }
    let mut lanes = [0.0f64; LANES];
    for (lane, sum) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        // SAFETY: the reference covers the four values that are written.
        unsafe { _mm256_storeu_pd(lane.as_mut_ptr(), sum) }
    }
    scalar::finish(lanes, x_tail, y_tail)
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn dots(xs: &[&[f32]; DOT_ROWS], ys: &[&[f32]; DOT_COLUMNS]) -> Products {
    let whole = xs[0].len() / LANES;
    let x = xs.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let y = ys.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let mut lanes = [[[0.0f64; LANES]; DOT_COLUMNS]; DOT_ROWS];
    // Four of the sixteen partial sums at a time: twelve pairs of them fit the registers.
    for four in 0..LANES / 4 {
        let mut sums = [[_mm256_setzero_pd(); DOT_COLUMNS]; DOT_ROWS];
        for k in 0..whole {
            let mut x_four = [_mm256_setzero_pd(); DOT_ROWS];
            for i in 0..DOT_ROWS {
                x_four[i] = widen(&x[i][k].as_chunks::<4>().0[four]);
            }
            for j in 0..DOT_COLUMNS {
                let y_four = widen(&y[j][k].as_chunks::<4>().0[four]);
                for i in 0..DOT_ROWS {
                    sums[i][j] = _mm256_fmadd_pd(x_four[i], y_four, sums[i][j]);
                }
            }
        }
        for (lanes, sum) in lanes.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            // SAFETY: the reference covers the four values that are written.
            unsafe { _mm256_storeu_pd(lanes.as_chunks_mut::<4>().0[four].as_mut_ptr(), *sum) }
        }
    }
    let mut products = [[0.0; DOT_COLUMNS]; DOT_ROWS];
    for i in 0..DOT_ROWS {
        for j in 0..DOT_COLUMNS {
            products[i][j] = scalar::finish(lanes[i][j], &xs[i][whole * LANES..], &ys[j][whole * LANES..]);
        }
    }
    products
}

#[target_feature(enable = "avx2,fma")]
fn multiply(left: &[f32], right: &[f32], tile: &mut [f32]) {
    // Six rows by two registers: twelve sums, two of the right panel, one broadcast of the left, of sixteen.
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for (x, y) in left.as_chunks::<ROWS>().0.iter().zip(right.as_chunks::<COLUMNS>().0) {
        let y = y.as_chunks::<8>().0;
        let (low, high) = (load(&y[0]), load(&y[1]));
        for i in 0..ROWS {
            let x = _mm256_set1_ps(x[i]);
            sums[i][0] = _mm256_fmadd_ps(x, low, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(x, high, sums[i][1]);
        }
    }
    for (values, sum) in tile.as_chunks_mut::<8>().0.iter_mut().zip(sums.as_flattened()) {
        let total = _mm256_add_ps(load(values), *sum);
        // SAFETY: the reference covers the eight values that are written.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), total) }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn at_least(values: &[f32], limit: f32, positions: &mut Vec<u32>) {
    let (chunks, tail) = values.as_chunks::<8>();
    let limits = _mm256_set1_ps(limit);
    for (chunk, base) in chunks.iter().zip((0u32..).step_by(8)) {
        let mut mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(load(chunk), limits)) as u32;
        while mask != 0 {
            positions.push(base + mask.trailing_zeros());
            mask &= mask - 1;
        }
    }
    let base = (values.len() - tail.len()) as u32;
    positions.extend((base..).zip(tail).filter(|&(_, &value)| value >= limit).map(|(i, _)| i));
}

#[target_feature(enable = "avx2,fma")]
fn project(left: &[&[f32]], right: &[f32], tile: &mut [f32]) {
    let panel = right.as_chunks::<COLUMNS>().0;
    let left: &[&[f32]; ROWS] = left.try_into().expect("as many rows as a tile has");
    let left = left.map(|row| &row[..panel.len()]);
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for (k, y) in panel.iter().enumerate() {
        let y = y.as_chunks::<8>().0;
        let (low, high) = (load(&y[0]), load(&y[1]));
        for i in 0..ROWS {
            let x = _mm256_set1_ps(left[i][k]);
            sums[i][0] = _mm256_fmadd_ps(x, low, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(x, high, sums[i][1]);
        }
    }
    for (values, sum) in tile.as_chunks_mut::<8>().0.iter_mut().zip(sums.as_flattened()) {
        let total = _mm256_add_ps(load(values), *sum);
        // SAFETY: the reference covers the eight values that are written.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), total) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn square_distance(x: &[f32], y: &[f32]) -> f32 {
    let (xs, x_tail) = x.as_chunks::<16>();
    let (ys, y_tail) = y.as_chunks::<16>();
    let mut sums = [_mm256_setzero_ps(); 2];
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (x.as_chunks::<8>().0, y.as_chunks::<8>().0);
        for j in 0..2 {
            let difference = _mm256_sub_ps(load(&x[j]), load(&y[j]));
            sums[j] = _mm256_fmadd_ps(difference, difference, sums[j]);
        }
    }
    let mut lanes = [0.0f32; 8];
    // SAFETY: the array has room for the eight values that are written.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_add_ps(sums[0], sums[1])) }
    lanes.iter().sum::<f32>() + scalar::square_distance(x_tail, y_tail)
}

/// Thirty-two bytes as they lie.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers the bytes that are read.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// The starts of eight rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_starts(starts: &[[i16; 2]; 8]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read.
    unsafe { _mm256_loadu_si256(starts.as_ptr().cast()) }
}

/// Eight integers as they lie.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_integers(values: &[i32; 8]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
fn sieve(left: &Codes<'_>, right: &Codes<'_>, width: usize, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(width, 1) {
        sieve_panel(left, &right, width, (from, stride), positions);
    }
}

#[target_feature(enable = "avx2,fma")]
fn sieve_panel(
    left: &Codes<'_>,
    right: &Codes<'_>,
    width: usize,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let panel = right.bytes.as_chunks::<{ 4 * SIEVE_LANES }>().0;
    let lane_starts = right.starts.as_chunks::<8>().0;
    let lane_starts = [load_starts(&lane_starts[0]), load_starts(&lane_starts[1])];
    let ones = _mm256_set1_epi16(1);
    let blocks = left.bytes.chunks_exact(SIEVE_ROWS * width);
    let starts = left.starts.as_chunks::<SIEVE_ROWS>().0;
    for ((rows, starts), first) in blocks.zip(starts).zip((0u32..).step_by(SIEVE_ROWS)) {
        let mut x: [&[[u8; 4]]; SIEVE_ROWS] = [&[]; SIEVE_ROWS];
        for i in 0..SIEVE_ROWS {
            x[i] = &rows[i * width..][..width].as_chunks::<4>().0[..panel.len()];
        }
        // Twelve sums, two of the right panel, one broadcast, one product: all sixteen registers.
        let mut sums = [[_mm256_setzero_si256(); 2]; SIEVE_ROWS];
        for i in 0..SIEVE_ROWS {
            let [low, high] = starts[i];
            let start = _mm256_set1_epi32(i32::from(low as u16) | (i32::from(high) << 16));
            sums[i][0] = _mm256_add_epi16(start, lane_starts[0]);
            sums[i][1] = _mm256_add_epi16(start, lane_starts[1]);
        }
        for (k, y) in panel.iter().enumerate() {
            let y = y.as_chunks::<32>().0;
            let (low, high) = (load_bytes(&y[0]), load_bytes(&y[1]));
            for i in 0..SIEVE_ROWS {
                let x = _mm256_set1_epi32(i32::from_ne_bytes(x[i][k]));
                // Two products of at most 127 * 127 do not saturate.
                sums[i][0] = _mm256_add_epi16(sums[i][0], _mm256_maddubs_epi16(low, x));
                sums[i][1] = _mm256_add_epi16(sums[i][1], _mm256_maddubs_epi16(high, x));
            }
        }
        for sum in sums.as_flattened_mut() {
            *sum = _mm256_madd_epi16(*sum, ones);
        }
        push_passed(&sums, first * stride + from, stride, positions);
    }
}

/// Appends the positions of the tile whose values are not negative: its first one is `base`, and its rows are
/// `stride` apart.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn push_passed(tests: &[[__m256i; 2]; SIEVE_ROWS], base: u32, stride: u32, positions: &mut Vec<u32>) {
    let all_negative =
        tests.as_flattened().iter().fold(_mm256_set1_epi32(-1), |all, &test| _mm256_and_si256(all, test));
    if _mm256_movemask_ps(_mm256_castsi256_ps(all_negative)) == 0xff {
        return;
    }
    for (tests, base) in tests.iter().zip((base..).step_by(stride as usize)) {
        for (test, base) in tests.iter().zip((base..).step_by(8)) {
            let mut mask = !_mm256_movemask_ps(_mm256_castsi256_ps(*test)) as u32 & 0xff;
            while mask != 0 {
                positions.push(base + mask.trailing_zeros());
                mask &= mask - 1;
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn sift(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, 1) {
        sift_panel(left, &right, blocked, (from, stride), positions);
    }
}

#[target_feature(enable = "avx2,fma")]
fn sift_panel(
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let Blocked { width, block } = blocked;
    let panel = right.bytes.as_chunks::<{ 4 * SIEVE_LANES }>().0;
    let lane_starts = right.starts.as_chunks::<8>().0;
    let ones = _mm256_set1_epi16(1);
    let rows = left.bytes.chunks_exact(SIEVE_ROWS * width);
    let rows = rows.zip(left.sums.chunks_exact(SIEVE_ROWS * blocked.blocks()));
    let starts = left.starts.as_chunks::<SIEVE_ROWS>().0;
    for (((rows, row_sums), starts), first) in rows.zip(starts).zip((0u32..).step_by(SIEVE_ROWS)) {
        let mut tests = [[_mm256_setzero_si256(); 2]; SIEVE_ROWS];
        for i in 0..SIEVE_ROWS {
            for half in 0..2 {
                let start = load_integers(&lane_starts[half]);
                tests[i][half] = _mm256_add_epi32(_mm256_set1_epi32(starts[i]), start);
            }
        }
        for (number, panel) in panel.chunks(block / 4).enumerate() {
            let mut x: [&[[u8; 4]]; SIEVE_ROWS] = [&[]; SIEVE_ROWS];
            let mut sums = [[_mm256_setzero_si256(); 2]; SIEVE_ROWS];
            for i in 0..SIEVE_ROWS {
                let row = &rows[i * width..][..width].as_chunks::<4>().0[number * (block / 4)..];
                x[i] = &row[..panel.len()];
                // What the offset will add, taken off first; sixteen bits wrap around.
                let offsets =
                    row_sums[i * blocked.blocks() + number].map(|sum| -CODE_OFFSET * i32::from(sum));
                let start = _mm256_set1_epi32(offsets[0] & 0xffff | offsets[1] << 16);
                sums[i] = [start; 2];
            }
            for (k, y) in panel.iter().enumerate() {
                let y = y.as_chunks::<32>().0;
                let (low, high) = (load_bytes(&y[0]), load_bytes(&y[1]));
                for i in 0..SIEVE_ROWS {
                    let x = _mm256_set1_epi32(i32::from_ne_bytes(x[i][k]));
                    // Two products of at most 127 * 127 do not saturate.
                    sums[i][0] = _mm256_add_epi16(sums[i][0], _mm256_maddubs_epi16(low, x));
                    sums[i][1] = _mm256_add_epi16(sums[i][1], _mm256_maddubs_epi16(high, x));
                }
            }
            for (test, sum) in tests.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                *test = _mm256_add_epi32(*test, _mm256_madd_epi16(*sum, ones));
            }
        }
        push_passed(&tests, first * stride + from, stride, positions);
    }
}
