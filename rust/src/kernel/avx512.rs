//! AVX-512 with its byte and word instructions: Intel's servers since 2017, AMD's processors since Zen 4. Most have
//! VNNI besides, which multiplies bytes and adds to 32 bits in one instruction.

use std::arch::x86_64::*;

use super::{Blocked, CODE_OFFSET, Codes, Kernel, LANES, LongCodes, SIEVE_LANES, SIEVE_ROWS, avx2, scalar};

const ROWS: usize = 12;
const COLUMNS: usize = 32;

/// Without VNNI.
static PLAIN: Kernel = Kernel {
    name: "avx512",
    tile_rows: ROWS,
    tile_lanes: COLUMNS,
    // SAFETY: the table leaves this file only where the features were detected.
    dot: |x, y| unsafe { dot(x, y) },
    // SAFETY: as above.
    dots: |xs, ys| unsafe { avx2::dots(xs, ys) },
    // SAFETY: as above.
    multiply: |left, right, tile| unsafe { multiply(left, right, tile) },
    // SAFETY: as above.
    at_least: |values, limit, positions| unsafe { avx2::at_least(values, limit, positions) },
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

static WITH_VNNI: Kernel = Kernel {
    name: "avx512vnni",
    // SAFETY: as above.
    sift: |left, right, blocked, positions| unsafe { sift_vnni(left, right, blocked, positions) },
    sift_share: 0.27,
    ..PLAIN
};

/// The kernels that this processor can run, fastest first.
pub(super) fn kernels() -> impl Iterator<Item = &'static Kernel> {
    let plain = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && avx2::kernel().is_some();
    let vnni = plain && is_x86_feature_detected!("avx512vnni");
    vnni.then_some(&WITH_VNNI).into_iter().chain(plain.then_some(&PLAIN))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(values: &[f32; 16]) -> __m512 {
    // SAFETY: the reference covers the sixteen values that are read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

/// Eight float32 values, widened.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen(values: &[f32; 8]) -> __m512d {
    // SAFETY: the reference covers the eight values that are read.
    _mm512_cvtps_pd(unsafe { _mm256_loadu_ps(values.as_ptr()) })
}

#[target_feature(enable = "avx512f,avx512bw")]
fn dot(x: &[f32], y: &[f32]) -> f64 {
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (ys, y_tail) = y.as_chunks::<LANES>();
    let mut sums = [_mm512_setzero_pd(); 2];
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (x.as_chunks::<8>().0, y.as_chunks::<8>().0);
        for j in 0..2 {
            sums[j] = _mm512_fmadd_pd(widen(&x[j]), widen(&y[j]), sums[j]);
        }
    }
    let mut lanes = [0.0f64; LANES];
    for (lane, sum) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: the reference covers the eight values that are written.
        unsafe { _mm512_storeu_pd(lane.as_mut_ptr(), sum) }
    }
    scalar::finish(lanes, x_tail, y_tail)
}

/// Adds the sums to the tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_to(tile: &mut [f32], sums: [[__m512; 2]; ROWS]) {
    let tile: &mut [[f32; 16]; 2 * ROWS] = tile.as_chunks_mut().0.try_into().expect("a tile");
    // With indices known at compile time the sums never leave their registers.
    for i in 0..ROWS {
        for j in 0..2 {
            let total = _mm512_add_ps(load(&tile[2 * i + j]), sums[i][j]);
            // SAFETY: the reference covers the sixteen values that are written.
            unsafe { _mm512_storeu_ps(tile[2 * i + j].as_mut_ptr(), total) }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn multiply(left: &[f32], right: &[f32], tile: &mut [f32]) {
    // Twelve rows by two registers: 24 sums, two of the right panel, one broadcast of the left, of 32.
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (x, y) in left.as_chunks::<ROWS>().0.iter().zip(right.as_chunks::<COLUMNS>().0) {
        let y = y.as_chunks::<16>().0;
        let (low, high) = (load(&y[0]), load(&y[1]));
        for i in 0..ROWS {
            let x = _mm512_set1_ps(x[i]);
            sums[i][0] = _mm512_fmadd_ps(x, low, sums[i][0]);
            sums[i][1] = _mm512_fmadd_ps(x, high, sums[i][1]);
        }
    }
    add_to(tile, sums);
}

#[target_feature(enable = "avx512f,avx512bw")]
fn project(left: &[&[f32]], right: &[f32], tile: &mut [f32]) {
    let panel = right.as_chunks::<COLUMNS>().0;
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for i in 0..ROWS {
        rows[i] = &left[i][..panel.len()];
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (k, y) in panel.iter().enumerate() {
        let y = y.as_chunks::<16>().0;
        let (low, high) = (load(&y[0]), load(&y[1]));
        for i in 0..ROWS {
            let x = _mm512_set1_ps(rows[i][k]);
            sums[i][0] = _mm512_fmadd_ps(x, low, sums[i][0]);
            sums[i][1] = _mm512_fmadd_ps(x, high, sums[i][1]);
        }
    }
    add_to(tile, sums);
}

#[target_feature(enable = "avx512f,avx512bw")]
fn square_distance(x: &[f32], y: &[f32]) -> f32 {
    let (xs, x_tail) = x.as_chunks::<32>();
    let (ys, y_tail) = y.as_chunks::<32>();
    let mut sums = [_mm512_setzero_ps(); 2];
    for (x, y) in xs.iter().zip(ys) {
        let (x, y) = (x.as_chunks::<16>().0, y.as_chunks::<16>().0);
        for j in 0..2 {
            let difference = _mm512_sub_ps(load(&x[j]), load(&y[j]));
            sums[j] = _mm512_fmadd_ps(difference, difference, sums[j]);
        }
    }
    let mut lanes = [0.0f32; 16];
    // SAFETY: the array has room for the sixteen values that are written.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), _mm512_add_ps(sums[0], sums[1])) }
    lanes.iter().sum::<f32>() + scalar::square_distance(x_tail, y_tail)
}

/// Four components of each row of a right panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_bytes(bytes: &[u8; 4 * SIEVE_LANES]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// The starts of the rows of a right panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_starts(starts: &[[i16; 2]; SIEVE_LANES]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read.
    unsafe { _mm512_loadu_si512(starts.as_ptr().cast()) }
}

/// Sixteen integers as they lie.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_integers(values: &[i32; SIEVE_LANES]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

/// A block of left rows by one or two right panels, which share each broadcast of the left: a load costs as much
/// as a product.
type Tile<const PANELS: usize> = [[__m512i; PANELS]; SIEVE_ROWS];

/// Right panels, in fours of components.
type Panels<'a, const PANELS: usize> = [&'a [[u8; 4 * SIEVE_LANES]]; PANELS];

/// The right panels of codes of this width.
#[inline(always)]
fn panels<const PANELS: usize>(bytes: &[u8], width: usize) -> Panels<'_, PANELS> {
    let mut panels: Panels<'_, PANELS> = [&[]; PANELS];
    for (j, panel) in panels.iter_mut().enumerate() {
        *panel = bytes[j * SIEVE_LANES * width..][..SIEVE_LANES * width].as_chunks().0;
    }
    panels
}

/// The fours `first..first + count` of panels.
#[inline(always)]
fn cut<const PANELS: usize>(panels: Panels<'_, PANELS>, first: usize, count: usize) -> Panels<'_, PANELS> {
    panels.map(|panel| &panel[first..][..count])
}

/// The codes of a block of left rows, in fours: `count` of them from `first` on.
#[inline(always)]
fn fours(rows: &[u8], first: usize, count: usize) -> [&[[u8; 4]]; SIEVE_ROWS] {
    let width = rows.len() / SIEVE_ROWS;
    let mut fours: [&[[u8; 4]]; SIEVE_ROWS] = [&[]; SIEVE_ROWS];
    for i in 0..SIEVE_ROWS {
        fours[i] = &rows[i * width..][..width].as_chunks().0[first..][..count];
    }
    fours
}

/// The low sixteen bits of two numbers, in every 32-bit word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn set_halves(low: i32, high: i32) -> __m512i {
    _mm512_set1_epi32(low & 0xffff | high << 16)
}

/// Sixteen sums of two 16-bit halves as 32-bit numbers: the halves added.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_halves(sums: __m512i) -> __m512i {
    _mm512_madd_epi16(sums, _mm512_set1_epi16(1))
}

/// Adds, in 16 bits that wrap around, the products of codes at positions 0 and 1, and 2 and 3, modulo 4: those of
/// the block of left rows from the four `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_products<const PANELS: usize>(
    mut sums: Tile<PANELS>,
    rows: &[u8],
    first: usize,
    panels: Panels<'_, PANELS>,
) -> Tile<PANELS> {
    let count = panels[0].len();
    let x = fours(rows, first, count);
    let panels = cut(panels, 0, count);
    for k in 0..count {
        let mut y = [_mm512_setzero_si512(); PANELS];
        for j in 0..PANELS {
            y[j] = load_bytes(&panels[j][k]);
        }
        for i in 0..SIEVE_ROWS {
            let x = _mm512_set1_epi32(i32::from_ne_bytes(x[i][k]));
            for j in 0..PANELS {
                // Two products of at most 127 * 127 do not saturate.
                sums[i][j] = _mm512_add_epi16(sums[i][j], _mm512_maddubs_epi16(y[j], x));
            }
        }
    }
    sums
}

/// Appends the positions of the tile whose values are not negative: its first one is `base`, and its rows are
/// `stride` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn push_passed<const PANELS: usize>(tests: Tile<PANELS>, base: u32, stride: u32, positions: &mut Vec<u32>) {
    let all_negative =
        tests.as_flattened().iter().fold(_mm512_set1_epi32(-1), |all, &test| _mm512_and_si512(all, test));
    if not_negative(all_negative) != 0 {
        for (tests, base) in tests.into_iter().zip((base..).step_by(stride as usize)) {
            for (test, base) in tests.into_iter().zip((base..).step_by(SIEVE_LANES)) {
                push_lanes(not_negative(test), base, positions);
            }
        }
    }
}

/// The lanes that are not negative.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn not_negative(test: __m512i) -> u32 {
    u32::from(_mm512_cmpge_epi32_mask(test, _mm512_setzero_si512()))
}

/// Appends the positions of some lanes of a panel and row, whose first lane is at `base`.
#[cold]
fn push_lanes(mut lanes: u32, base: u32, positions: &mut Vec<u32>) {
    while lanes != 0 {
        positions.push(base + lanes.trailing_zeros());
        lanes &= lanes - 1;
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sieve(left: &Codes<'_>, right: &Codes<'_>, width: usize, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(width, 2) {
        if right.starts.len() == SIEVE_LANES {
            sieve_panels::<1>(left, &right, width, (from, stride), positions);
        } else {
            sieve_panels::<2>(left, &right, width, (from, stride), positions);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sieve_panels<const PANELS: usize>(
    left: &Codes<'_>,
    right: &Codes<'_>,
    width: usize,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let panels = panels::<PANELS>(right.bytes, width);
    let mut lane_starts = [_mm512_setzero_si512(); PANELS];
    for (start, starts) in lane_starts.iter_mut().zip(right.starts.as_chunks().0) {
        *start = load_starts(starts);
    }
    let rows = left.bytes.chunks_exact(SIEVE_ROWS * width);
    let starts = left.starts.as_chunks::<SIEVE_ROWS>().0;
    for ((rows, starts), first) in rows.zip(starts).zip((0u32..).step_by(SIEVE_ROWS)) {
        let mut sums = [lane_starts; SIEVE_ROWS];
        for (sums, &[low, high]) in sums.iter_mut().zip(starts) {
            let start = set_halves(i32::from(low), i32::from(high));
            for sum in sums {
                *sum = _mm512_add_epi16(*sum, start);
            }
        }
        let mut sums = add_products(sums, rows, 0, panels);
        for sum in sums.as_flattened_mut() {
            *sum = add_halves(*sum);
        }
        push_passed(sums, first * stride + from, stride, positions);
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sift(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, 2) {
        if right.starts.len() == SIEVE_LANES {
            sift_panels::<1>(left, &right, blocked, (from, stride), positions);
        } else {
            sift_panels::<2>(left, &right, blocked, (from, stride), positions);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sift_panels<const PANELS: usize>(
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let Blocked { width, block } = blocked;
    let panels = panels::<PANELS>(right.bytes, width);
    let mut lane_starts = [_mm512_setzero_si512(); PANELS];
    for (start, starts) in lane_starts.iter_mut().zip(right.starts.as_chunks().0) {
        *start = load_integers(starts);
    }
    let rows = left.bytes.chunks_exact(SIEVE_ROWS * width);
    let rows = rows.zip(left.sums.chunks_exact(SIEVE_ROWS * blocked.blocks()));
    let starts = left.starts.as_chunks::<SIEVE_ROWS>().0;
    for (((rows, row_sums), starts), first) in rows.zip(starts).zip((0u32..).step_by(SIEVE_ROWS)) {
        let mut tests = [lane_starts; SIEVE_ROWS];
        for (tests, &start) in tests.iter_mut().zip(starts) {
            for test in tests {
                *test = _mm512_add_epi32(*test, _mm512_set1_epi32(start));
            }
        }
        for number in 0..blocked.blocks() {
            // What the offset will add, taken off first.
            let mut sums = [[_mm512_setzero_si512(); PANELS]; SIEVE_ROWS];
            for (sums, row_sums) in sums.iter_mut().zip(row_sums.chunks_exact(blocked.blocks())) {
                let [low, high] = row_sums[number];
                *sums = [set_halves(-CODE_OFFSET * i32::from(low), -CODE_OFFSET * i32::from(high)); PANELS];
            }
            let from = number * (block / 4);
            let count = (block / 4).min(width / 4 - from);
            let sums = add_products(sums, rows, from, cut(panels, from, count));
            for (test, sum) in tests.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                *test = _mm512_add_epi32(*test, add_halves(*sum));
            }
        }
        push_passed(tests, first * stride + from, stride, positions);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sift_vnni(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, 2) {
        if right.starts.len() == SIEVE_LANES {
            sift_panels_vnni::<1>(left, &right, blocked, (from, stride), positions);
        } else {
            sift_panels_vnni::<2>(left, &right, blocked, (from, stride), positions);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sift_panels_vnni<const PANELS: usize>(
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let panels = panels::<PANELS>(right.bytes, blocked.width);
    let mut lane_starts = [_mm512_setzero_si512(); PANELS];
    for (start, starts) in lane_starts.iter_mut().zip(right.starts.as_chunks().0) {
        *start = load_integers(starts);
    }
    let rows = left.bytes.chunks_exact(SIEVE_ROWS * blocked.width);
    let rows = rows.zip(left.sums.chunks_exact(SIEVE_ROWS * blocked.blocks()));
    let starts = left.starts.as_chunks::<SIEVE_ROWS>().0;
    for (((rows, row_sums), starts), first) in rows.zip(starts).zip((0u32..).step_by(SIEVE_ROWS)) {
        let mut tests = [lane_starts; SIEVE_ROWS];
        let row_starts = starts.iter().zip(row_sums.chunks_exact(blocked.blocks()));
        for (tests, (start, sums)) in tests.iter_mut().zip(row_starts) {
            let sum: i32 = sums.as_flattened().iter().map(|&sum| i32::from(sum)).sum();
            let start = _mm512_set1_epi32(start - CODE_OFFSET * sum);
            for test in tests {
                *test = _mm512_add_epi32(*test, start);
            }
        }
        let count = panels[0].len();
        let x = fours(rows, 0, count);
        let panels = cut(panels, 0, count);
        for k in 0..count {
            let mut y = [_mm512_setzero_si512(); PANELS];
            for j in 0..PANELS {
                y[j] = load_bytes(&panels[j][k]);
            }
            for i in 0..SIEVE_ROWS {
                let x = _mm512_set1_epi32(i32::from_ne_bytes(x[i][k]));
                for j in 0..PANELS {
                    tests[i][j] = _mm512_dpbusd_epi32(tests[i][j], y[j], x);
                }
            }
        }
        push_passed(tests, first * stride + from, stride, positions);
    }
}
