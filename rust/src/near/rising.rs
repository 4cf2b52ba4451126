//! A sieve with a threshold for every right row, which may rise while left rows go by.
//!
//! It is the sieve of [`super::sieve`], but for the first test: there the sum of both errors and the radius is
//! cut in halves, here a left row answers for its own error alone, and only for what is above the common one.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::basis::{Basis, fit_work};
use super::bounds::{UNIT, need, quantile, radius};
use super::codes::{Encoded, Encoder, LEAST, OFFSET, Quantised, STRIP, Scratch as Coding};
use super::costs::{Policy, REFIT, Terms, product_cycles, test_cycles};
use super::goals::Goals;
use super::rows::Rows;
use super::score::cosine;
use super::tasks::{Gauge, Sieved, TASK_ROWS};
use crate::error::ScanError;
use crate::kernel::{Codes, Kernel, SIEVE_LANES, SIEVE_ROWS};
use crate::parallel::Watch;

/// The directions are fitted for the radius that this share of the right rows is within.
const TYPICAL: f64 = 0.6;

/// The share of right rows that the codes must be able to speak of.
const SPOKEN_OF: f64 = 0.995;

/// A fit may cost this share of the product since the last one, for it may be in vain.
const FIT_SHARE: f64 = 0.1;

/// A task may waste this share of the product's cost: its thresholds rise as it goes.
const WASTE: f64 = 0.6;

/// A sieve must be expected to cost less than this share of the product.
const EXPECTED: f64 = 0.6;

/// What the counted survivors are multiplied with after each fit that proved wrong.
const CAUTION: f64 = 3.0;

/// A sieve for the nearest rows of one index.
#[derive(Debug)]
pub(super) struct RisingSieve {
    kernel: &'static Kernel,
    pub policy: Policy,
    /// Left rows at which directions are fitted (again), and multiplications since the last fit, of those in
    /// bytes their share.
    next_fit: usize,
    work: f64,
    /// Fits that proved wrong.
    failures: i32,
    fitted: Option<Fitted>,
}

/// A basis and the right side encoded with it.
#[derive(Debug)]
struct Fitted {
    basis: Basis,
    slip: f64,
    right: Encoded,
    /// Per right row half the square of its code and its error in steps, or none where the code says nothing.
    spoken: Vec<Option<(f64, f64)>>,
    /// An error that left rows typically have, in steps. The right side answers for it.
    error: f64,
    /// The largest radius with the errors of the right side, in steps.
    reach: f64,
}

impl RisingSieve {
    pub fn new(kernel: &'static Kernel, policy: Policy) -> Self {
        let policy =
            Policy { waste: policy.waste.max(WASTE), expected: policy.expected.max(EXPECTED), ..policy };
        Self { kernel, policy, next_fit: 0, work: 0.0, failures: 0, fitted: None }
    }

    pub fn nbytes(&self) -> usize {
        self.fitted.as_ref().map_or(0, |f| {
            f.right.nbytes() + f.basis.nbytes() + f.spoken.capacity() * size_of::<Option<(f64, f64)>>()
        })
    }

    /// Offers what it can of the left rows, `seen` of which went by before. What it leaves costs `share` of the
    /// product.
    #[expect(clippy::too_many_arguments)]
    pub fn raise(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        goals: &impl Goals,
        seen: usize,
        share: f64,
        units: usize,
        watch: &Watch,
    ) -> Result<Sieved, ScanError> {
        self.prepare(left, right, goals, seen, share, watch)?;
        let Some(fitted) = &self.fitted else {
            return Ok(Sieved { left_over: (0..left.len()).collect(), ..Sieved::default() });
        };
        let gauge = Gauge::default();
        let scanned: Vec<bool> = (0..left.len().div_ceil(TASK_ROWS))
            .into_par_iter()
            .with_max_len(1)
            .map_init(Scratch::default, |scratch, task| {
                watch.check()?;
                let from = task * TASK_ROWS;
                let count = TASK_ROWS.min(left.len() - from);
                let scanned = !gauge.hopeless()
                    && self.task(fitted, left, right, goals, (from, count), share, scratch, watch)?;
                gauge.record(scanned);
                if scanned {
                    let share = |rows: usize| rows * units / left.len();
                    let done = share(from + count) - share(from);
                    gauge.advanced.fetch_add(done, Ordering::Relaxed);
                    watch.advance(done as u64);
                }
                Ok(scanned)
            })
            .collect::<Result<_, ScanError>>()?;
        let left_over = (0..left.len()).filter(|&row| !scanned[row / TASK_ROWS]).collect();
        if gauge.hopeless() {
            self.fitted = None;
            self.failures += 1;
            self.next_fit = 0;
        }
        Ok(Sieved { found: Vec::new(), left_over, advanced: gauge.advanced.load(Ordering::Relaxed) })
    }

    /// Fits a basis when it is worth it, and encodes the right side.
    fn prepare(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        goals: &impl Goals,
        seen: usize,
        share: f64,
        watch: &Watch,
    ) -> Result<(), ScanError> {
        let dim = left.dim;
        self.work += left.len() as f64 * right.len() as f64 * dim as f64 * share;
        if right.len() == 0
            || seen < self.next_fit
            || dim < self.policy.least_dim
            || self.work < self.policy.worth * fit_work(dim)
        {
            return Ok(());
        }
        let work = std::mem::take(&mut self.work) * FIT_SHARE;
        self.next_fit = seen * REFIT;
        let mut radii: Vec<f64> = (0..right.len()).map(|j| radius(dim, 1.0, goals.score(j))).collect();
        let terms = Terms {
            radius: quantile(&mut radii, TYPICAL),
            expected: self.policy.expected * share,
            caution: CAUTION.powi(self.failures),
            work,
            // Small sets, whose thresholds are far from where they will end, lost more by them than large ones won.
            axes: 0.0,
        };
        let Some(mut basis) = Basis::fit(left, right, terms, self.kernel, watch)? else {
            self.fitted = None;
            return Ok(());
        };
        // A code can speak of radii of up to 127 * sqrt(2) steps, errors included; a tenth is left for those.
        let widest = quantile(&mut radii, SPOKEN_OF) * basis.norm;
        basis.step = basis.step.max((widest * 1.1 / (127.0 * 2f64.sqrt())) as f32);
        self.fitted = Some(self.encode(basis, right, goals, watch)?);
        Ok(())
    }

    fn encode(
        &self,
        basis: Basis,
        right: Rows<'_>,
        goals: &impl Goals,
        watch: &Watch,
    ) -> Result<Fitted, ScanError> {
        let slip = basis.slip(right.dim);
        let step = f64::from(basis.step);
        let encoder = Encoder { basis: &basis, kernel: self.kernel, radius: 0.0, slip };
        let panels = right.len().div_ceil(SIEVE_LANES);
        let mut encoded = Encoded {
            projections: vec![0.0; right.len() * basis.width],
            bytes: vec![OFFSET as u8; panels * SIEVE_LANES * basis.first],
            starts: Vec::new(),
        };
        let mut quantised: Vec<Option<Quantised>> = Vec::new();
        quantised.resize_with(right.len(), || None);
        encoded
            .projections
            .par_chunks_mut(SIEVE_LANES * basis.width)
            .zip(encoded.bytes.par_chunks_mut(SIEVE_LANES * basis.first))
            .zip(quantised.par_chunks_mut(SIEVE_LANES))
            .enumerate()
            .try_for_each_init(Coding::default, |scratch, (panel, ((projections, bytes), quantised))| {
                watch.check()?;
                encoder.project(right, panel * SIEVE_LANES, projections, scratch);
                for (lane, projection) in projections.chunks_exact(basis.width).enumerate() {
                    quantised[lane] = Some(encoder.quantise(projection, scratch));
                    encoder.store(lane, bytes, scratch);
                }
                Ok::<_, ScanError>(())
            })?;
        let mut errors: Vec<f64> = quantised.iter().flatten().map(|row| row.error / step).collect();
        let error = quantile(&mut errors, 0.5);
        let mut reach = 0.0f64;
        let mut spoken = Vec::with_capacity(right.len());
        for (j, row) in quantised.iter().flatten().enumerate() {
            let half = f64::from(row.squares[0] + row.squares[1]) / 2.0;
            let widest = radius(right.dim, basis.norm, goals.score(j)) / step + row.error / step + error;
            if need(half, widest) >= LEAST && row.fits() {
                reach = reach.max(widest);
                spoken.push(Some((half, row.error / step)));
            } else {
                encoder.erase(j % SIEVE_LANES, encoded.panel_mut(j / SIEVE_LANES, basis.first));
                spoken.push(None);
            }
        }
        Ok(Fitted { basis, slip, right: encoded, spoken, error, reach })
    }

    /// Offers the left rows `(from, count)`; false when so many survive that the product is cheaper.
    #[expect(clippy::too_many_arguments)]
    fn task(
        &self,
        fitted: &Fitted,
        left: Rows<'_>,
        right: Rows<'_>,
        goals: &impl Goals,
        (from, count): (usize, usize),
        share: f64,
        scratch: &mut Scratch,
        watch: &Watch,
    ) -> Result<bool, ScanError> {
        let Basis { width, first, .. } = fitted.basis;
        let encoder = Encoder { basis: &fitted.basis, kernel: self.kernel, radius: 0.0, slip: fitted.slip };
        scratch.projections.resize(count * width, 0.0);
        encoder.project(left, from, &mut scratch.projections, &mut scratch.coding);
        scratch.encode_left(fitted, encoder);
        scratch.set_thresholds(fitted, left.dim, goals);
        let Scratch { projections, bytes, starts, right_starts, limits, positions, candidates, .. } = scratch;
        let left_codes = Codes { bytes, starts };
        let (second, third) = test_cycles(width, left.dim);
        let budget = self.policy.waste * share * count as f64 * product_cycles(left.dim, right.len());
        let mut spent = 0.0;
        let strips = fitted.right.bytes.chunks(STRIP * first).zip(right_starts.chunks(STRIP));
        for (strip, (bytes, starts)) in strips.enumerate() {
            watch.check()?;
            positions.clear();
            self.kernel.sieve(&left_codes, &Codes { bytes, starts }, first, positions);
            spent += positions.len() as f64 * second;
            candidates.clear();
            for &position in positions.iter() {
                let (i, lane) = (position as usize / starts.len(), position as usize % starts.len());
                let j = strip * STRIP + lane;
                if i < count && j < right.len() {
                    let (x, y) =
                        (&projections[i * width..][..width], &fitted.right.projections[j * width..][..width]);
                    if self.kernel.square_distance(x, y) <= limits[j] {
                        candidates.push((i as u32, j as u32));
                    }
                }
            }
            spent += candidates.len() as f64 * third;
            for &(i, j) in candidates.iter() {
                let (i, j) = (from + i as usize, j as usize);
                let ((x, xx), (y, yy)) = (left.get(i), right.get(j));
                goals.offer(left.row(i), j, cosine(self.kernel.dot(x, y), xx, yy));
            }
            if spent > budget {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch {
    coding: Coding,
    projections: Vec<f32>,
    bytes: Vec<u8>,
    starts: Vec<[i16; 2]>,
    /// What the right codes start from at the thresholds of this task,
    right_starts: Vec<[i16; 2]>,
    /// and the largest squared distance of projections that may be a match.
    limits: Vec<f32>,
    positions: Vec<u32>,
    candidates: Vec<(u32, u32)>,
}

impl Scratch {
    /// Codes of the projections, filled up to whole blocks.
    fn encode_left(&mut self, fitted: &Fitted, encoder: Encoder<'_>) {
        let Basis { width, first, step, .. } = fitted.basis;
        self.bytes.clear();
        self.starts.clear();
        for projection in self.projections.chunks_exact(width) {
            let row = encoder.quantise(projection, &mut self.coding);
            // What the error is above the one that the right side answers for.
            let more = (row.error / f64::from(step) - fitted.error).max(0.0);
            let half = f64::from(row.squares[0] + row.squares[1]) / 2.0;
            let need = need(half - fitted.reach * more, more);
            let (need, sums) = if need >= LEAST && row.fits() {
                self.bytes.extend(self.coding.integers.iter().map(|&q| q as u8));
                (need, row.sums)
            } else {
                self.bytes.resize(self.bytes.len() + first, 0);
                (LEAST, [0, 0])
            };
            self.starts.push([(-need - OFFSET * sums[0]) as i16, (-OFFSET * sums[1]) as i16]);
        }
        let rows = self.starts.len().next_multiple_of(SIEVE_ROWS);
        self.bytes.resize(rows * first, 0);
        self.starts.resize(rows, [i16::MIN / 2, i16::MIN / 2]);
    }

    /// The tests of every right row at its best score so far.
    fn set_thresholds(&mut self, fitted: &Fitted, dim: usize, goals: &impl Goals) {
        let Basis { width, step, norm, .. } = fitted.basis;
        // The distance in float32 has at most width + 2 roundings, each making it shorter by 2^-24 at most.
        let roundings = 1.0 + (width + 8) as f64 * 2.0 * UNIT;
        self.right_starts.clear();
        self.limits.clear();
        for (j, spoken) in fitted.spoken.iter().enumerate() {
            let radius = radius(dim, norm, goals.score(j));
            let need = spoken
                .map_or(LEAST, |(half, error)| need(half, radius / f64::from(step) + error + fitted.error));
            self.right_starts.push([0, (-need) as i16]);
            let reach = (radius + 2.0 * fitted.slip).powi(2) * roundings;
            self.limits.push((reach as f32).next_up());
        }
        let lanes = self.right_starts.len().next_multiple_of(SIEVE_LANES);
        self.right_starts.resize(lanes, [0, i16::MIN / 2]);
    }
}
