//! The loops, written once over the instructions of a set.
//!
//! A value of a [`Simd`] type is the proof that its instructions are there: it is made only in functions that are
//! compiled for them. Everything here is `#[inline(always)]`, so that it is compiled once more, with the
//! instructions of the set, in each entry of the table that `kernel!` makes. The products of a tile of codes:
//!
//! ```text
//! for every block of left rows:
//!     sums[i][j] = starts of left row i and of the lanes of right panel j, in 16 bits that wrap around
//!     for every four components k:
//!         sums[i][j] += left[i][k] . right[j][k], components 0 and 1 apart from 2 and 3
//!     tests[i][j] = both halves of sums[i][j] added, in 32 bits
//!     append the positions of the tests that are not negative
//! ```
//!
//! Long codes do so block by block, whose sums fit 16 bits, and add up the blocks in 32.

use super::{Blocked, CODE_OFFSET, Codes, LANES, LongCodes, SIEVE_LANES, scalar};

/// Instructions on registers of `WIDTH` float32 values.
pub(super) trait Simd<const WIDTH: usize>: Copy {
    /// A register of float32 values.
    type Floats: Copy;
    /// The [`LANES`] sums of a dot product.
    type Doubles: Copy;
    /// For each lane of a right panel the sums of its products with a left row, in two halves.
    type Halves: Copy;
    /// For each lane of a right panel a test value.
    type Tests: Copy;

    /// Bits of a mask for each of its [`SIEVE_LANES`] lanes, of which the lowest counts.
    const MASK_BITS: u32;

    fn spread(self, value: f32) -> Self::Floats;
    fn load(self, values: &[f32; WIDTH]) -> Self::Floats;
    fn store(self, register: Self::Floats, values: &mut [f32; WIDTH]);
    fn add(self, x: Self::Floats, y: Self::Floats) -> Self::Floats;
    fn subtract(self, x: Self::Floats, y: Self::Floats) -> Self::Floats;
    /// x y + sum, rounded once.
    fn multiply_add(self, x: Self::Floats, y: Self::Floats, sum: Self::Floats) -> Self::Floats;
    fn total(self, x: Self::Floats) -> f32;
    /// The mask of the values at or above a limit.
    fn at_least(self, values: &[f32; SIEVE_LANES], limit: f32) -> u64;

    fn no_sums(self) -> Self::Doubles;
    /// Adds the product at each position to the sum of its lane.
    fn add_products(self, sums: Self::Doubles, x: &[f32; LANES], y: &[f32; LANES]) -> Self::Doubles;
    fn lanes(self, sums: Self::Doubles) -> [f64; LANES];

    fn spread_start(self, start: [i16; 2]) -> Self::Halves;
    fn load_starts(self, starts: &[[i16; 2]; SIEVE_LANES]) -> Self::Halves;
    fn add_halves(self, x: Self::Halves, y: Self::Halves) -> Self::Halves;
    /// Adds the products of four signed components of a left row and of four unsigned ones of every lane.
    fn add_codes(self, sums: Self::Halves, left: [u8; 4], right: &Fours) -> Self::Halves;
    /// The halves of each lane added.
    fn tests(self, sums: Self::Halves) -> Self::Tests;
    fn spread_test(self, value: i32) -> Self::Tests;
    fn load_tests(self, values: &[i32; SIEVE_LANES]) -> Self::Tests;
    fn add_tests(self, x: Self::Tests, y: Self::Tests) -> Self::Tests;
    /// Negative in the lanes in which both are.
    fn both(self, x: Self::Tests, y: Self::Tests) -> Self::Tests;
    /// The mask of the lanes that are not negative.
    fn passed(self, tests: Self::Tests) -> u64;
}

/// Methods of a set, each a few of its instructions.
macro_rules! instructions {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($set:tt $(, $argument:ident: $kind:ty)*) $(-> $result:ty)? $body:block
    )*) => {$(
        $(#[$doc])*
        #[inline(always)]
        fn $name($set $(, $argument: $kind)*) $(-> $result)? {
            // SAFETY: the set is a proof that the processor has the instructions; they read and write what a
            // reference covers, and arrays and registers of numbers of one size are the same bytes.
            unsafe { $body }
        }
    )*};
}
pub(super) use instructions;

/// The table of a set: the loops, compiled with its features.
macro_rules! kernel {
    ($name:literal, $set:ident, $features:literal, tile: [$rows:expr, $registers:expr],
     codes: [$code_rows:expr, $panels:expr], $sift_share:literal) => {{
        use $crate::kernel::{Blocked, Codes, Kernel, LongCodes, simd};

        #[target_feature(enable = $features)]
        fn dot(x: &[f32], y: &[f32]) -> f64 {
            simd::dot($set::here(), x, y)
        }
        #[target_feature(enable = $features)]
        fn multiply(left: &[f32], right: &[f32], tile: &mut [f32]) {
            simd::multiply::<_, _, $rows, $registers>($set::here(), left, right, tile);
        }
        #[target_feature(enable = $features)]
        fn project(left: &[&[f32]], right: &[f32], tile: &mut [f32]) {
            simd::project::<_, _, $rows, $registers>($set::here(), left, right, tile);
        }
        #[target_feature(enable = $features)]
        fn at_least(values: &[f32], limit: f32, positions: &mut Vec<u32>) {
            simd::at_least($set::here(), values, limit, positions);
        }
        #[target_feature(enable = $features)]
        fn square_distance(x: &[f32], y: &[f32]) -> f32 {
            simd::square_distance::<_, _, $registers>($set::here(), x, y)
        }
        #[target_feature(enable = $features)]
        fn sieve(left: &Codes<'_>, right: &Codes<'_>, width: usize, positions: &mut Vec<u32>) {
            simd::sieve::<_, _, $code_rows, $panels>($set::here(), left, right, width, positions);
        }
        #[target_feature(enable = $features)]
        fn sift(left: &LongCodes<'_>, right: &LongCodes<'_>, blocked: Blocked, positions: &mut Vec<u32>) {
            simd::sift::<_, _, $code_rows, $panels>($set::here(), left, right, blocked, positions);
        }
        Kernel {
            name: $name,
            tile_rows: $rows,
            tile_lanes: $registers * $set::WIDTH,
            // SAFETY: the table leaves the file of its set only where the features were detected.
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
            sift_share: $sift_share,
        }
    }};
}
pub(super) use kernel;

#[inline(always)]
pub(super) fn dot<S: Simd<W>, const W: usize>(set: S, x: &[f32], y: &[f32]) -> f64 {
    let (xs, x_tail) = x.as_chunks::<LANES>();
    let (ys, y_tail) = y.as_chunks::<LANES>();
    let mut sums = set.no_sums();
    for (x, y) in xs.iter().zip(ys) {
        sums = set.add_products(sums, x, y);
    }
    scalar::finish(set.lanes(sums), x_tail, y_tail)
}

#[inline(always)]
pub(super) fn multiply<S: Simd<W>, const W: usize, const ROWS: usize, const REGISTERS: usize>(
    set: S,
    left: &[f32],
    right: &[f32],
    tile: &mut [f32],
) {
    let panel = right.as_chunks::<W>().0.as_chunks::<REGISTERS>().0;
    let left = &left.as_chunks::<ROWS>().0[..panel.len()];
    add_to_tile::<_, _, ROWS, REGISTERS>(set, |k, i| left[k][i], panel, tile);
}

#[inline(always)]
pub(super) fn project<S: Simd<W>, const W: usize, const ROWS: usize, const REGISTERS: usize>(
    set: S,
    left: &[&[f32]],
    right: &[f32],
    tile: &mut [f32],
) {
    let panel = right.as_chunks::<W>().0.as_chunks::<REGISTERS>().0;
    // A loop, because `array::map` stays a call in functions with target features.
    let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
    for i in 0..ROWS {
        rows[i] = &left[i][..panel.len()];
    }
    add_to_tile::<_, _, ROWS, REGISTERS>(set, |k, i| rows[i][k], panel, tile);
}

/// Adds to a tile the products of a panel and the left components that `left` gives for each k and row: the sums,
/// a row of the panel and one left component are as many registers as there are.
#[inline(always)]
fn add_to_tile<S: Simd<W>, const W: usize, const ROWS: usize, const REGISTERS: usize>(
    set: S,
    left: impl Fn(usize, usize) -> f32,
    panel: &[[[f32; W]; REGISTERS]],
    tile: &mut [f32],
) {
    let mut sums = [[set.spread(0.0); REGISTERS]; ROWS];
    for (k, values) in panel.iter().enumerate() {
        let mut y = [set.spread(0.0); REGISTERS];
        for j in 0..REGISTERS {
            y[j] = set.load(&values[j]);
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let x = set.spread(left(k, i));
            for j in 0..REGISTERS {
                sums[j] = set.multiply_add(x, y[j], sums[j]);
            }
        }
    }
    let tile = tile.as_chunks_mut::<W>().0.as_chunks_mut::<REGISTERS>().0;
    let tile: &mut [_; ROWS] = tile.try_into().expect("a tile");
    // With indices known at compile time the sums never leave their registers.
    for i in 0..ROWS {
        for j in 0..REGISTERS {
            set.store(set.add(set.load(&tile[i][j]), sums[i][j]), &mut tile[i][j]);
        }
    }
}

#[inline(always)]
pub(super) fn square_distance<S: Simd<W>, const W: usize, const REGISTERS: usize>(
    set: S,
    x: &[f32],
    y: &[f32],
) -> f32 {
    let whole = x.len() / (W * REGISTERS) * (W * REGISTERS);
    let ((xs, x_tail), (ys, y_tail)) = (x.split_at(whole), y.split_at(whole));
    let xs = xs.as_chunks::<W>().0.as_chunks::<REGISTERS>().0;
    let ys = ys.as_chunks::<W>().0.as_chunks::<REGISTERS>().0;
    let mut sums = [set.spread(0.0); REGISTERS];
    for (x, y) in xs.iter().zip(ys) {
        for j in 0..REGISTERS {
            let difference = set.subtract(set.load(&x[j]), set.load(&y[j]));
            sums[j] = set.multiply_add(difference, difference, sums[j]);
        }
    }
    let mut step = 1;
    while step < REGISTERS {
        for j in (0..REGISTERS).step_by(2 * step) {
            sums[j] = set.add(sums[j], sums[j + step]);
        }
        step *= 2;
    }
    set.total(sums[0]) + scalar::square_distance(x_tail, y_tail)
}

#[inline(always)]
pub(super) fn at_least<S: Simd<W>, const W: usize>(
    set: S,
    values: &[f32],
    limit: f32,
    positions: &mut Vec<u32>,
) {
    let (chunks, tail) = values.as_chunks::<SIEVE_LANES>();
    for (chunk, base) in chunks.iter().zip((0u32..).step_by(SIEVE_LANES)) {
        push_lanes(set.at_least(chunk, limit), S::MASK_BITS, base, positions);
    }
    let base = (values.len() - tail.len()) as u32;
    positions.extend((base..).zip(tail).filter(|&(_, &value)| value >= limit).map(|(i, _)| i));
}

/// Appends the positions of the lanes of a mask, whose first one is at `base`.
#[inline(always)]
fn push_lanes(mut mask: u64, bits: u32, base: u32, positions: &mut Vec<u32>) {
    while mask != 0 {
        positions.push(base + mask.trailing_zeros() / bits);
        mask &= mask - 1;
    }
}

/// Four components of each row of a right panel.
pub(super) type Fours = [u8; 4 * SIEVE_LANES];

/// Right panels, in fours of components. Two of them share what is read of the left, where there are registers.
pub(super) type Panels<'a, const PANELS: usize> = [&'a [Fours]; PANELS];

/// The right panels of codes of this width.
#[inline(always)]
pub(super) fn panels<const PANELS: usize>(bytes: &[u8], width: usize) -> Panels<'_, PANELS> {
    let mut panels: Panels<'_, PANELS> = [&[]; PANELS];
    for (j, panel) in panels.iter_mut().enumerate() {
        *panel = bytes[j * SIEVE_LANES * width..][..SIEVE_LANES * width].as_chunks().0;
    }
    panels
}

/// The fours `first..first + count` of panels.
#[inline(always)]
pub(super) fn cut<const PANELS: usize>(
    mut panels: Panels<'_, PANELS>,
    first: usize,
    count: usize,
) -> Panels<'_, PANELS> {
    for panel in &mut panels {
        *panel = &panel[first..][..count];
    }
    panels
}

/// The codes of a block of left rows, in fours: `count` of them from `first` on.
#[inline(always)]
pub(super) fn fours<const ROWS: usize>(rows: &[u8], first: usize, count: usize) -> [&[[u8; 4]]; ROWS] {
    let width = rows.len() / ROWS;
    let mut fours: [&[[u8; 4]]; ROWS] = [&[]; ROWS];
    for i in 0..ROWS {
        fours[i] = &rows[i * width..][..width].as_chunks().0[first..][..count];
    }
    fours
}

/// Adds the products of some panels and of a block of left rows from the four `first` on.
#[inline(always)]
fn add_codes<S: Simd<W>, const W: usize, const ROWS: usize, const PANELS: usize>(
    set: S,
    mut sums: [[S::Halves; PANELS]; ROWS],
    rows: &[u8],
    first: usize,
    panels: Panels<'_, PANELS>,
) -> [[S::Halves; PANELS]; ROWS] {
    let count = panels[0].len();
    let x = fours::<ROWS>(rows, first, count);
    let panels = cut(panels, 0, count);
    for k in 0..count {
        for i in 0..ROWS {
            for j in 0..PANELS {
                sums[i][j] = set.add_codes(sums[i][j], x[i][k], &panels[j][k]);
            }
        }
    }
    sums
}

/// Appends the positions of the tests of a tile that are not negative: its first one is `base`, and its rows are
/// `stride` apart.
#[inline(always)]
pub(super) fn push_passed<S: Simd<W>, const W: usize, const ROWS: usize, const PANELS: usize>(
    set: S,
    tests: [[S::Tests; PANELS]; ROWS],
    base: u32,
    stride: u32,
    positions: &mut Vec<u32>,
) {
    let mut all_negative = tests[0][0];
    for &test in tests.as_flattened() {
        all_negative = set.both(all_negative, test);
    }
    if set.passed(all_negative) != 0 {
        for (tests, base) in tests.into_iter().zip((base..).step_by(stride as usize)) {
            for (test, base) in tests.into_iter().zip((base..).step_by(SIEVE_LANES)) {
                push_lanes(set.passed(test), S::MASK_BITS, base, positions);
            }
        }
    }
}

#[inline(always)]
pub(super) fn sieve<S: Simd<W>, const W: usize, const ROWS: usize, const PANELS: usize>(
    set: S,
    left: &Codes<'_>,
    right: &Codes<'_>,
    width: usize,
    positions: &mut Vec<u32>,
) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(width, PANELS) {
        if right.starts.len() == SIEVE_LANES {
            sieve_panels::<_, _, ROWS, 1>(set, left, &right, width, (from, stride), positions);
        } else {
            sieve_panels::<_, _, ROWS, PANELS>(set, left, &right, width, (from, stride), positions);
        }
    }
}

#[inline(always)]
fn sieve_panels<S: Simd<W>, const W: usize, const ROWS: usize, const PANELS: usize>(
    set: S,
    left: &Codes<'_>,
    right: &Codes<'_>,
    width: usize,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let panels = panels::<PANELS>(right.bytes, width);
    let mut lane_starts = [set.spread_start([0, 0]); PANELS];
    for (start, starts) in lane_starts.iter_mut().zip(right.starts.as_chunks().0) {
        *start = set.load_starts(starts);
    }
    let rows = left.bytes.chunks_exact(ROWS * width).zip(left.starts.as_chunks::<ROWS>().0);
    for ((rows, starts), first) in rows.zip((0u32..).step_by(ROWS)) {
        let mut sums = [lane_starts; ROWS];
        for (sums, &start) in sums.iter_mut().zip(starts) {
            for sum in sums {
                *sum = set.add_halves(*sum, set.spread_start(start));
            }
        }
        let sums = add_codes(set, sums, rows, 0, panels);
        let mut tests = [[set.spread_test(0); PANELS]; ROWS];
        for i in 0..ROWS {
            for j in 0..PANELS {
                tests[i][j] = set.tests(sums[i][j]);
            }
        }
        push_passed(set, tests, first * stride + from, stride, positions);
    }
}

#[inline(always)]
pub(super) fn sift<S: Simd<W>, const W: usize, const ROWS: usize, const PANELS: usize>(
    set: S,
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    positions: &mut Vec<u32>,
) {
    let stride = right.starts.len() as u32;
    for (from, right) in right.panels(blocked.width, PANELS) {
        if right.starts.len() == SIEVE_LANES {
            sift_panels::<_, _, ROWS, 1>(set, left, &right, blocked, (from, stride), positions);
        } else {
            sift_panels::<_, _, ROWS, PANELS>(set, left, &right, blocked, (from, stride), positions);
        }
    }
}

#[inline(always)]
fn sift_panels<S: Simd<W>, const W: usize, const ROWS: usize, const PANELS: usize>(
    set: S,
    left: &LongCodes<'_>,
    right: &LongCodes<'_>,
    blocked: Blocked,
    (from, stride): (u32, u32),
    positions: &mut Vec<u32>,
) {
    let (width, blocks, fours) = (blocked.width, blocked.blocks(), blocked.block / 4);
    let panels = panels::<PANELS>(right.bytes, width);
    let rows = left.bytes.chunks_exact(ROWS * width).zip(left.sums.chunks_exact(ROWS * blocks));
    let rows = rows.zip(left.starts.as_chunks::<ROWS>().0);
    for (((rows, row_sums), starts), first) in rows.zip((0u32..).step_by(ROWS)) {
        let mut tests = [[set.spread_test(0); PANELS]; ROWS];
        for i in 0..ROWS {
            for (j, lane_starts) in right.starts.as_chunks().0.iter().enumerate() {
                tests[i][j] = set.add_tests(set.spread_test(starts[i]), set.load_tests(lane_starts));
            }
        }
        for number in 0..blocks {
            let mut sums = [[set.spread_start([0, 0]); PANELS]; ROWS];
            for i in 0..ROWS {
                // What the offset will add, taken off first.
                let [low, high] = row_sums[i * blocks + number];
                let offsets = [low, high].map(|sum| (-CODE_OFFSET * i32::from(sum)) as i16);
                sums[i] = [set.spread_start(offsets); PANELS];
            }
            let from = number * fours;
            let panels = cut(panels, from, fours.min(width / 4 - from));
            let sums = add_codes(set, sums, rows, from, panels);
            for i in 0..ROWS {
                for j in 0..PANELS {
                    tests[i][j] = set.add_tests(tests[i][j], set.tests(sums[i][j]));
                }
            }
        }
        push_passed(set, tests, first * stride + from, stride, positions);
    }
}
