//! NEON: every 64-bit ARM processor.

use std::arch::aarch64::*;

use super::{Blocked, CODE_OFFSET, Codes, Kernel, LANES, LongCodes, SIEVE_LANES, SIEVE_ROWS, scalar};

const ROWS: usize = 6;
const COLUMNS: usize = 16;

/// Rows of the sieve whose sums fit into the registers.
const SIEVE_PART: usize = 3;

/// Vectors of four lanes in a right panel of the sieve.
const FOURS: usize = SIEVE_LANES / 4;

pub(super) fn kernel() -> &'static Kernel {
    &Kernel {
        name: "neon",
        tile_rows: ROWS,
        tile_lanes: COLUMNS,
        // SAFETY: this file is compiled only for targets that have NEON, which is then on every processor.
        dot: |x, y| unsafe { dot(x, y) },
        // SAFETY: as above.
        dots: |xs, ys| xs.map(|x| ys.map(|y| unsafe { dot(x, y) })),
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
        sift_share: 0.6,
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: the reference covers the four values that are read.
    unsafe { vld1q_f32(values.as_ptr()) }
}

#[target_feature(enable = "neon")]
fn dot(x: &[f32], y: &[f32]) -> f64 {
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (ys, y_tail) = y.as_chunks::<LANES>();
    let mut sums = [[vdupq_n_f64(0.0); 2]; LANES / 4];
    for (x, y) in xs.iter().zip(ys) {
        for ((x, y), sums) in x.as_chunks().0.iter().zip(y.as_chunks().0).zip(&mut sums) {
            let (x, y) = (load(x), load(y));
            sums[0] = vfmaq_f64(sums[0], vcvt_f64_f32(vget_low_f32(x)), vcvt_f64_f32(vget_low_f32(y)));
            sums[1] = vfmaq_f64(sums[1], vcvt_high_f64_f32(x), vcvt_high_f64_f32(y));
        }
    }
    let mut lanes = [0.0f64; LANES];
    for (lane, sum) in lanes.as_chunks_mut::<2>().0.iter_mut().zip(sums.as_flattened()) {
        // SAFETY: the reference covers the two values that are written.
        unsafe { vst1q_f64(lane.as_mut_ptr(), *sum) }
    }
    scalar::finish(lanes, x_tail, y_tail)
}

/// Adds to a tile the products of a panel and the left components, row by row, that `left` gives for each k.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(left: impl Fn(usize) -> [f32; ROWS], panel: &[[f32; COLUMNS]], tile: &mut [f32]) {
    // Six rows by four registers: twenty-four sums, four of the right panel, one of the left, of thirty-two.
    let mut sums = [[vdupq_n_f32(0.0); COLUMNS / 4]; ROWS];
    for (k, y) in panel.iter().enumerate() {
        let x = left(k);
        let y = y.as_chunks::<4>().0;
        let y = [load(&y[0]), load(&y[1]), load(&y[2]), load(&y[3])];
        for i in 0..ROWS {
            for j in 0..COLUMNS / 4 {
                sums[i][j] = vfmaq_n_f32(sums[i][j], y[j], x[i]);
            }
        }
    }
    for (values, sum) in tile.as_chunks_mut::<4>().0.iter_mut().zip(sums.as_flattened()) {
        let total = vaddq_f32(load(values), *sum);
        // SAFETY: the reference covers the four values that are written.
        unsafe { vst1q_f32(values.as_mut_ptr(), total) }
    }
}

#[target_feature(enable = "neon")]
fn multiply(left: &[f32], right: &[f32], tile: &mut [f32]) {
    let panel = right.as_chunks::<COLUMNS>().0;
    let left = &left.as_chunks::<ROWS>().0[..panel.len()];
    add_products(|k| left[k], panel, tile);
}

#[target_feature(enable = "neon")]
fn project(left: &[&[f32]], right: &[f32], tile: &mut [f32]) {
    let panel = right.as_chunks::<COLUMNS>().0;
    // Loops, because `array::map` stays a call in functions with target features.
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for i in 0..ROWS {
        rows[i] = &left[i][..panel.len()];
    }
    let component = |k: usize| {
        let mut x = [0.0; ROWS];
        for i in 0..ROWS {
            x[i] = rows[i][k];
        }
        x
    };
    add_products(component, panel, tile);
}

/// Appends `base` plus the place of every lane that is all ones, of eight.
#[inline]
#[target_feature(enable = "neon")]
fn push_set(low: uint32x4_t, high: uint32x4_t, base: u32, positions: &mut Vec<u32>) {
    // NEON cannot gather sign bits: the lanes are narrowed to the bytes of one word.
    let bytes = vmovn_u16(vcombine_u16(vmovn_u32(low), vmovn_u32(high)));
    let mut mask = vget_lane_u64::<0>(vreinterpret_u64_u8(bytes)) & 0x0101_0101_0101_0101;
    while mask != 0 {
        positions.push(base + mask.trailing_zeros() / 8);
        mask &= mask - 1;
    }
}

#[target_feature(enable = "neon")]
fn at_least(values: &[f32], limit: f32, positions: &mut Vec<u32>) {
    let (chunks, tail) = values.as_chunks::<8>();
    let limits = vdupq_n_f32(limit);
    for (chunk, base) in chunks.iter().zip((0u32..).step_by(8)) {
        let fours = chunk.as_chunks::<4>().0;
        let (low, high) = (vcgeq_f32(load(&fours[0]), limits), vcgeq_f32(load(&fours[1]), limits));
        push_set(low, high, base, positions);
    }
    let base = (values.len() - tail.len()) as u32;
    positions.extend((base..).zip(tail).filter(|&(_, &value)| value >= limit).map(|(i, _)| i));
}

#[target_feature(enable = "neon")]
fn square_distance(x: &[f32], y: &[f32]) -> f32 {
    let (xs, x_tail) = x.as_chunks::<16>();
    let (ys, y_tail) = y.as_chunks::<16>();
    let mut sums = [vdupq_n_f32(0.0); 4];
    for (x, y) in xs.iter().zip(ys) {
        for ((x, y), sum) in x.as_chunks().0.iter().zip(y.as_chunks().0).zip(&mut sums) {
            let difference = vsubq_f32(load(x), load(y));
            *sum = vfmaq_f32(*sum, difference, difference);
        }
    }
    let sum = vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]));
    vaddvq_f32(sum) + scalar::square_distance(x_tail, y_tail)
}

/// The codes of two lanes, four components each. Right codes are below 128, so that they are the same signed.
#[inline]
#[target_feature(enable = "neon")]
fn load_codes(bytes: &[u8; 8]) -> int8x8_t {
    // SAFETY: the reference covers the bytes that are read.
    vreinterpret_s8_u8(unsafe { vld1_u8(bytes.as_ptr()) })
}

/// The starts of four rows.
#[inline]
#[target_feature(enable = "neon")]
fn load_starts(starts: &[[i16; 2]; 4]) -> int16x8_t {
    // SAFETY: the reference covers the eight values that are read.
    unsafe { vld1q_s16(starts.as_flattened().as_ptr()) }
}

#[target_feature(enable = "neon")]
fn sieve(left: &Codes<'_>, right: &Codes<'_>, width: usize, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(width, 1) {
        sieve_panel(left, &right, width, (from, stride), positions);
    }
}

#[target_feature(enable = "neon")]
fn sieve_panel(
    left: &Codes<'_>,
    right: &Codes<'_>,
    width: usize,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    const { assert!(SIEVE_ROWS.is_multiple_of(SIEVE_PART)) };
    let panel = right.bytes.as_chunks::<{ 4 * SIEVE_LANES }>().0;
    let lane_starts = right.starts.as_chunks::<4>().0;
    let parts = left.bytes.chunks_exact(SIEVE_PART * width);
    let starts = left.starts.as_chunks::<SIEVE_PART>().0;
    for ((rows, starts), first) in parts.zip(starts).zip((0u32..).step_by(SIEVE_PART)) {
        let mut x: [&[[u8; 4]]; SIEVE_PART] = [&[]; SIEVE_PART];
        for i in 0..SIEVE_PART {
            x[i] = &rows[i * width..][..width].as_chunks::<4>().0[..panel.len()];
        }
        // Per row and two lanes a sum of eight products, to be added in pairs: twenty-four sums, two lanes of
        // the right panel and three broadcasts, of thirty-two registers. A product is at most 127 * 127 and
        // sums wrap around, so it makes no difference that the pairs are added last.
        let mut sums = [[vdupq_n_s16(0); SIEVE_LANES / 2]; SIEVE_PART];
        for (k, y) in panel.iter().enumerate() {
            let mut broadcasts = [vdup_n_s8(0); SIEVE_PART];
            for i in 0..SIEVE_PART {
                broadcasts[i] = vreinterpret_s8_s32(vdup_n_s32(i32::from_ne_bytes(x[i][k])));
            }
            for (j, y) in y.as_chunks().0.iter().enumerate() {
                let y = load_codes(y);
                for i in 0..SIEVE_PART {
                    sums[i][j] = vmlal_s8(sums[i][j], broadcasts[i], y);
                }
            }
        }
        let mut tests = [[vdupq_n_s32(0); FOURS]; SIEVE_PART];
        for i in 0..SIEVE_PART {
            let start = spread(starts[i]);
            for j in 0..FOURS {
                let halves = vpaddq_s16(sums[i][2 * j], sums[i][2 * j + 1]);
                tests[i][j] = vpaddlq_s16(vaddq_s16(halves, vaddq_s16(start, load_starts(&lane_starts[j]))));
            }
        }
        push_passed(&tests, first * stride + from, stride, positions);
    }
}

/// A pair of values in every lane.
#[inline]
#[target_feature(enable = "neon")]
fn spread([low, high]: [i16; 2]) -> int16x8_t {
    vreinterpretq_s16_s32(vdupq_n_s32(i32::from(low as u16) | (i32::from(high) << 16)))
}

/// Appends the positions of the tile whose values are not negative: its first one is `base`, and its rows are
/// `stride` apart.
#[inline]
#[target_feature(enable = "neon")]
fn push_passed(tests: &[[int32x4_t; FOURS]; SIEVE_PART], base: u32, stride: u32, positions: &mut Vec<u32>) {
    let largest =
        tests.as_flattened().iter().fold(vdupq_n_s32(i32::MIN), |largest, &test| vmaxq_s32(largest, test));
    if vmaxvq_s32(largest) < 0 {
        return;
    }
    for (tests, base) in tests.iter().zip((base..).step_by(stride as usize)) {
        for (pair, base) in tests.as_chunks::<2>().0.iter().zip((base..).step_by(8)) {
            push_set(vcgezq_s32(pair[0]), vcgezq_s32(pair[1]), base, positions);
        }
    }
}

/// Four integers as they lie.
#[inline]
#[target_feature(enable = "neon")]
fn load_integers(values: &[i32; 4]) -> int32x4_t {
    // SAFETY: the reference covers the four values that are read.
    unsafe { vld1q_s32(values.as_ptr()) }
}

#[target_feature(enable = "neon")]
fn sift(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, 1) {
        sift_panel(left, &right, blocked, (from, stride), positions);
    }
}

#[target_feature(enable = "neon")]
fn sift_panel(
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let Blocked { width, block } = blocked;
    let panel = right.bytes.as_chunks::<{ 4 * SIEVE_LANES }>().0;
    let lane_starts = right.starts.as_chunks::<4>().0;
    let parts = left.bytes.chunks_exact(SIEVE_PART * width);
    let parts = parts.zip(left.sums.chunks_exact(SIEVE_PART * blocked.blocks()));
    let starts = left.starts.as_chunks::<SIEVE_PART>().0;
    for (((rows, row_sums), starts), first) in parts.zip(starts).zip((0u32..).step_by(SIEVE_PART)) {
        let mut tests = [[vdupq_n_s32(0); FOURS]; SIEVE_PART];
        for i in 0..SIEVE_PART {
            for j in 0..FOURS {
                tests[i][j] = vaddq_s32(vdupq_n_s32(starts[i]), load_integers(&lane_starts[j]));
            }
        }
        for (number, panel) in panel.chunks(block / 4).enumerate() {
            let mut x: [&[[u8; 4]]; SIEVE_PART] = [&[]; SIEVE_PART];
            for i in 0..SIEVE_PART {
                let row = &rows[i * width..][..width].as_chunks::<4>().0[number * (block / 4)..];
                x[i] = &row[..panel.len()];
            }
            let mut sums = [[vdupq_n_s16(0); SIEVE_LANES / 2]; SIEVE_PART];
            for (k, y) in panel.iter().enumerate() {
                let mut broadcasts = [vdup_n_s8(0); SIEVE_PART];
                for i in 0..SIEVE_PART {
                    broadcasts[i] = vreinterpret_s8_s32(vdup_n_s32(i32::from_ne_bytes(x[i][k])));
                }
                for (j, y) in y.as_chunks().0.iter().enumerate() {
                    let y = load_codes(y);
                    for i in 0..SIEVE_PART {
                        sums[i][j] = vmlal_s8(sums[i][j], broadcasts[i], y);
                    }
                }
            }
            for i in 0..SIEVE_PART {
                // What the offset has added; sixteen bits wrap around.
                let offsets = row_sums[i * blocked.blocks() + number];
                let start = spread(offsets.map(|sum| (-CODE_OFFSET * i32::from(sum)) as i16));
                for j in 0..FOURS {
                    let halves = vpaddq_s16(sums[i][2 * j], sums[i][2 * j + 1]);
                    tests[i][j] = vaddq_s32(tests[i][j], vpaddlq_s16(vaddq_s16(halves, start)));
                }
            }
        }
        push_passed(&tests, first * stride + from, stride, positions);
    }
}
