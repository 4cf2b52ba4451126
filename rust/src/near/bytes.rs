//! The product in bytes: every pair once in small integers, all components of it, with a threshold for every
//! right row that may rise while left rows go by.
//!
//! It is the first test of [`super::rising`] without directions, so that nothing is lost but what rounding
//! does. It rules out less than a good sieve and costs more, but on any data it costs a fraction of the
//! product in float32, and what it leaves are the pairs within a few hundredths of their threshold.

use std::ops::Range;

use rayon::prelude::*;

use super::bounds::{UNIT, need, quantile, radius};
use super::codes::{ROUNDER, STRIP, fill_lane};
use super::costs::{Policy, REFIT, product_cycles, test_cycles};
use super::goals::Goals;
use super::rotation::Rotation;
use super::rows::Rows;
use super::score::cosine;
use super::tasks::{TASK_ROWS, Tried};
use crate::error::ScanError;
use crate::kernel::{Blocked, CODE_OFFSET, Kernel, LongCodes, SIEVE_LANES, SIEVE_ROWS};
use crate::parallel::Watch;

/// Components of a block, about: half of them with this norm are coarse enough for their peaks to fit a byte.
const BLOCK: usize = 192;

/// Largest norm of either half of a block, so that products of two fit sixteen bits.
const HALF_NORM: f32 = 181.0;

/// Largest components of codes.
const LEFT_PEAK: f32 = 127.0;
const RIGHT_PEAK: f32 = 63.0;

/// Beyond this many components the bounds of the roundings in `quantise` do not hold.
const MOST_DIM: usize = 8192;

/// With steps no smaller a test value is far from what 32 bits hold.
const LEAST_STEP: f64 = 2.5e-4;

/// Sampled rows of each side, and the shares of their norms and of their components that fit a code.
const SAMPLE: usize = 256;
const WHOLE_ROWS: f64 = 0.98;
const WHOLE_COMPONENTS: f64 = 0.9995;

/// The share of left rows whose error the right side answers for.
const TYPICAL: f64 = 0.9;

/// A task may spend this share of the product's cost on pairs that pass.
const WASTE: f64 = 0.6;

/// Tasks per thread that keep the threads busy to the end.
const TASKS_PER_THREAD: usize = 4;

/// The product in bytes of one search.
#[derive(Debug)]
pub(super) struct Bytes {
    kernel: &'static Kernel,
    policy: Policy,
    /// Left rows from which it is tried (again).
    next: usize,
    fitted: Option<Fitted>,
}

/// How rows become codes, and the codes of the right side.
#[derive(Debug)]
struct Fitted {
    coder: Coder,
    /// An error that few left rows are above, in steps. The right side answers for it.
    error: f64,
    /// Panels of right codes.
    bytes: Vec<u8>,
    /// Of each right row half the square of its code, and its error in steps.
    codes: Vec<Code>,
}

/// How rows become codes: rotated, less the centre, in steps, rounded.
#[derive(Debug)]
struct Coder {
    dim: usize,
    blocked: Blocked,
    rotation: Rotation,
    /// About the mean, and any value would do.
    centre: Vec<f32>,
    step: f32,
}

/// What a row became.
#[derive(Clone, Copy, Debug, Default)]
struct Code {
    /// Half the square of its integers.
    half: f64,
    /// At least the distance between them and the exact row less the centre, in steps.
    error: f64,
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch {
    centred: Vec<f32>,
    /// The integers of the row that was quantised last, as signed bytes, and their sums by block and half.
    integers: Vec<u8>,
    sums: Vec<[i16; 2]>,
    left: Vec<u8>,
    left_sums: Vec<[i16; 2]>,
    left_starts: Vec<i32>,
    right_starts: Vec<i32>,
    positions: Vec<u32>,
    candidates: Vec<(usize, usize)>,
}

impl Bytes {
    pub fn new(kernel: &'static Kernel, policy: Policy) -> Self {
        Self { kernel, policy, next: 0, fitted: None }
    }

    /// What multiplying in full costs, bytes first where they pay, as a share of the product in float32.
    pub fn share(&self, dim: usize) -> f64 {
        let share = self.kernel.sift_share();
        if dim > MOST_DIM || dim < self.policy.least_dim || share > self.policy.bytes {
            1.0
        } else {
            share + 0.1
        }
    }

    pub fn nbytes(&self) -> usize {
        self.fitted.as_ref().map_or(0, |f| f.bytes.capacity() + f.codes.capacity() * size_of::<Code>())
    }

    /// Offers what it can of the left rows, `seen` of which went by before.
    pub fn raise(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        goals: &impl Goals,
        seen: usize,
        units: usize,
        watch: &Watch,
    ) -> Result<Tried<()>, ScanError> {
        if self.fitted.is_none() && seen >= self.next && self.share(left.dim) < 1.0 {
            self.fitted = Some(Fitted::of(left, right, watch)?);
        }
        let Some(fitted) = self.fitted.as_ref().filter(|_| left.len() > 0 && right.len() > 0) else {
            return Ok(Tried::nothing(left.len()));
        };
        let rows = left.len().div_ceil(rayon::current_num_threads() * TASKS_PER_THREAD);
        let rows = rows.clamp(1, TASK_ROWS).next_multiple_of(SIEVE_ROWS);
        let tried = Tried::of(left.len(), rows, units, watch, |rows, scratch| {
            self.task(fitted, left, right, goals, rows, scratch, watch)
        })?;
        if tried.hopeless {
            self.fitted = None;
            self.next = (seen + left.len()) * REFIT;
        }
        Ok(tried)
    }

    /// Offers some left rows; none when so many pairs pass that the product is cheaper.
    #[expect(clippy::too_many_arguments)]
    fn task(
        &self,
        fitted: &Fitted,
        left: Rows<'_>,
        right: Rows<'_>,
        goals: &impl Goals,
        rows: Range<usize>,
        scratch: &mut Scratch,
        watch: &Watch,
    ) -> Result<Option<()>, ScanError> {
        let blocked = fitted.coder.blocked;
        let reach = scratch.set_right(fitted, goals);
        scratch.set_left(fitted, left, rows.clone(), reach);
        let Scratch { left: bytes, left_sums, left_starts, right_starts, positions, candidates, .. } =
            scratch;
        let left_codes = LongCodes { bytes, sums: left_sums, starts: left_starts };
        let (_, test) = test_cycles(0, left.dim);
        let budget = WASTE * rows.len() as f64 * product_cycles(left.dim, right.len());
        let mut spent = 0.0;
        let strips = fitted.bytes.chunks(STRIP * blocked.width).zip(right_starts.chunks(STRIP));
        for ((bytes, starts), from) in strips.zip((0..).step_by(STRIP)) {
            watch.check()?;
            positions.clear();
            self.kernel.sift(&left_codes, &LongCodes { bytes, sums: &[], starts }, blocked, positions);
            candidates.clear();
            candidates.extend(positions.iter().filter_map(|&position| {
                let (i, j) = (position as usize / starts.len(), from + position as usize % starts.len());
                (i < rows.len() && j < right.len()).then_some((rows.start + i, j))
            }));
            spent += candidates.len() as f64 * test;
            if spent > budget {
                return Ok(None);
            }
            for &(i, j) in candidates.iter() {
                let ((x, xx), (y, yy)) = (left.get(i), right.get(j));
                goals.offer(left.row(i), j, cosine(self.kernel.dot(x, y), xx, yy));
            }
        }
        Ok(Some(()))
    }
}

impl Fitted {
    fn of(left: Rows<'_>, right: Rows<'_>, watch: &Watch) -> Result<Self, ScanError> {
        let coder = Coder::fit(left, right);
        let mut scratch = Scratch::default();
        let mut errors: Vec<f64> =
            sample(left).map(|row| coder.quantise(left.get(row), LEFT_PEAK, &mut scratch).error).collect();
        let error = quantile(&mut errors, TYPICAL);
        let panel = SIEVE_LANES * coder.blocked.width;
        let mut bytes = vec![CODE_OFFSET as u8; right.len().div_ceil(SIEVE_LANES) * panel];
        let mut codes = vec![Code::default(); right.len()];
        bytes.par_chunks_mut(panel).zip(codes.par_chunks_mut(SIEVE_LANES)).enumerate().try_for_each_init(
            Scratch::default,
            |scratch, (number, (bytes, codes))| {
                watch.check()?;
                for (lane, code) in codes.iter_mut().enumerate() {
                    *code = coder.quantise(right.get(number * SIEVE_LANES + lane), RIGHT_PEAK, scratch);
                    fill_lane(&scratch.integers, lane, bytes);
                }
                Ok::<_, ScanError>(())
            },
        )?;
        Ok(Self { coder, error, bytes, codes })
    }
}

/// Rows at even distances.
fn sample(rows: Rows<'_>) -> impl Iterator<Item = usize> {
    let count = SAMPLE.min(rows.len());
    (0..count).map(move |i| i * rows.len() / count)
}

impl Coder {
    /// The centre of both sides, and the finest step whose codes fit nearly all of them.
    fn fit(left: Rows<'_>, right: Rows<'_>) -> Self {
        let dim = left.dim;
        let width = dim.next_multiple_of(4);
        let blocks = width.div_ceil(BLOCK);
        let blocked = Blocked { width, block: (width / 4).div_ceil(blocks) * 4 };
        let rotation = Rotation::new(dim);
        let mut coder = Self { dim, blocked, rotation, centre: vec![0.0; width], step: 1.0 };
        let mut centred = Vec::new();
        let mut sums = vec![0.0f64; width];
        for side in [left, right] {
            for row in sample(side) {
                coder.centre_row(side.get(row), &mut centred);
                sums.iter_mut().zip(&centred).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
        let count = (sample(left).count() + sample(right).count()) as f64;
        coder.centre.iter_mut().zip(sums).for_each(|(centre, sum)| *centre = (sum / count) as f32);
        let (mut norms, mut peaks) = (Vec::new(), Vec::new());
        for (side, peak) in [(left, LEFT_PEAK), (right, RIGHT_PEAK)] {
            for row in sample(side) {
                coder.centre_row(side.get(row), &mut centred);
                norms.push(f64::from(largest_half(&centred, blocked.block)));
                peaks.extend(centred.iter().map(|z| f64::from(z.abs() / peak)));
            }
        }
        let norm = quantile(&mut norms, WHOLE_ROWS) / f64::from(half_limit(blocked));
        let peak = quantile(&mut peaks, WHOLE_COMPONENTS);
        coder.step = norm.max(peak).max(LEAST_STEP) as f32;
        coder
    }

    /// The normalised row, rotated, less the centre: `(width,)`.
    fn centre_row(&self, (row, square): (&[f32], f64), centred: &mut Vec<f32>) {
        let scale = 1.0 / square.sqrt();
        centred.clear();
        centred.extend(row.iter().map(|&x| (f64::from(x) * scale) as f32));
        self.rotation.turn(centred);
        centred.resize(self.blocked.width, 0.0);
        centred.iter_mut().zip(&self.centre).for_each(|(z, centre)| *z -= centre);
    }

    /// The code of a row in `scratch.integers`, and its sums.
    fn quantise(&self, row: (&[f32], f64), peak: f32, scratch: &mut Scratch) -> Code {
        let Scratch { centred, integers, sums, .. } = scratch;
        self.centre_row(row, centred);
        let largest = largest_half(centred, self.blocked.block) / self.step;
        // A long row is shortened to fit, at the price of a large error, which is accounted for.
        let limit = half_limit(self.blocked);
        let shrink = if largest > limit { limit / largest } else { 1.0 };
        let unit = shrink / self.step;
        integers.clear();
        integers.extend(centred.iter().map(|z| ((z * unit).clamp(-peak, peak) + ROUNDER).to_bits() as u8));
        let mut error = [0.0f32; 16];
        let (zs, z_tail) = centred.as_chunks::<16>();
        let (qs, q_tail) = integers.as_chunks::<16>();
        for (z, q) in zs.iter().zip(qs) {
            for lane in 0..16 {
                let difference = z[lane] - f32::from(q[lane] as i8) * self.step;
                error[lane] += difference * difference;
            }
        }
        let tail = z_tail.iter().zip(q_tail).map(|(z, &q)| (z - f32::from(q as i8) * self.step).powi(2));
        let error = error.into_iter().chain(tail).sum::<f32>();
        let mut square = 0;
        sums.clear();
        for block in integers.chunks(self.blocked.block) {
            let mut totals = [0i32; 4];
            let mut squares = [0i32; 4];
            for four in block.as_chunks::<4>().0 {
                for lane in 0..4 {
                    let q = i32::from(four[lane] as i8);
                    totals[lane] += q;
                    squares[lane] += q * q;
                }
            }
            debug_assert!(
                [0, 2].iter().all(|&h| (squares[h] + squares[h + 1]) as f32 <= HALF_NORM * HALF_NORM)
            );
            sums.push([(totals[0] + totals[1]) as i16, (totals[2] + totals[3]) as i16]);
            square += squares.iter().sum::<i32>();
        }
        // The sum of squares has far fewer roundings than the thousandth allows for. Of norms of at most 3 the
        // scaled row was rounded once, the rotated one a few times, and the centred one, the product with the
        // step, and the difference once each.
        let largest = 3.0 + f64::from(peak * self.step) * (self.blocked.width as f64).sqrt();
        let slack = (self.rotation.roundings() + 4) as f64 * UNIT * 1.01 * largest;
        let error = f64::from(error).sqrt() * 1.001 + slack;
        Code { half: f64::from(square) / 2.0, error: error / f64::from(self.step) }
    }
}

/// What a half of a block may have, in steps, before each of its components is rounded.
fn half_limit(blocked: Blocked) -> f32 {
    HALF_NORM - 1.0 - (blocked.block as f32 / 8.0).sqrt()
}

/// The largest norm of a half of a block: the components at positions 0 and 1, or 2 and 3, modulo 4.
fn largest_half(row: &[f32], block: usize) -> f32 {
    let squares = row.chunks(block).map(|block| {
        let mut squares = [0.0f32; 4];
        for four in block.as_chunks::<4>().0 {
            squares.iter_mut().zip(four).for_each(|(square, v)| *square += v * v);
        }
        (squares[0] + squares[1]).max(squares[2] + squares[3])
    });
    squares.fold(0.0, f32::max).sqrt()
}

impl Scratch {
    /// The starts of the right rows at their best scores so far; the largest distance they answer for.
    fn set_right(&mut self, fitted: &Fitted, goals: &impl Goals) -> f64 {
        let (dim, step) = (fitted.coder.dim, f64::from(fitted.coder.step));
        let mut reach = 0.0f64;
        self.right_starts.clear();
        for (j, code) in fitted.codes.iter().enumerate() {
            let distance = radius(dim, 1.0, goals.score(j)) / step + code.error + fitted.error;
            reach = reach.max(distance);
            self.right_starts.push(-need(code.half, distance));
        }
        self.right_starts.resize(self.right_starts.len().next_multiple_of(SIEVE_LANES), i32::MIN / 4);
        reach
    }

    /// The codes of the left rows, filled up to whole blocks.
    fn set_left(&mut self, fitted: &Fitted, left: Rows<'_>, chosen: Range<usize>, reach: f64) {
        let Blocked { width, .. } = fitted.coder.blocked;
        let blocks = fitted.coder.blocked.blocks();
        self.left.clear();
        self.left_sums.clear();
        self.left_starts.clear();
        let rows = chosen.len().next_multiple_of(SIEVE_ROWS);
        for row in chosen {
            let code = fitted.coder.quantise(left.get(row), LEFT_PEAK, self);
            // What the error is above the one that the right side answers for.
            let more = (code.error - fitted.error).max(0.0);
            self.left_starts.push(-need(code.half - reach * more, more));
            self.left.extend_from_slice(&self.integers);
            self.left_sums.extend_from_slice(&self.sums);
        }
        self.left.resize(rows * width, 0);
        self.left_sums.resize(rows * blocks, [0, 0]);
        self.left_starts.resize(rows, i32::MIN / 4);
    }
}
