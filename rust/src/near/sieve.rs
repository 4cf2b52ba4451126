//! The sieve: most pairs are ruled out by a few small integers, and only the rest is looked at closer.
//!
//! `docs/near-duplicates.md` has the proof that no pair is lost. In short: for unit vectors
//! |x - y|^2 = 2 - 2 cos, so a pair at or above the threshold is within a radius; a projection of known
//! norm does not take it further apart than that; and what rounding to integers does to a row is measured
//! row by row and added to the radius.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::basis::{Basis, fit_work};
use super::bounds::radius;
use super::cells::join::{Join, Joined, Order};
use super::cells::{self, Bound, Points};
use super::codes::{Encoded, Encoder, STRIP, Scratch as Coding};
use super::costs::{Policy, Terms, product_cycles, test_cycles};
use super::rows::Rows;
use super::score::{Pair, Pairing, cosine};
use super::tasks::{Gauge, Sieved, TASK_ROWS};
use crate::error::ScanError;
use crate::kernel::{Codes, Kernel, SIEVE_LANES};
use crate::parallel::Watch;

/// Fits that may prove wrong before the sieve is given up.
const FITS: usize = 3;

/// A sieve for the scans of one index.
#[derive(Debug)]
pub(super) struct Sieve {
    kernel: &'static Kernel,
    threshold: f64,
    policy: Policy,
    /// Multiplications that the product would have done since the last fit.
    seen: f64,
    /// Groups at the last fit, and fits for as many.
    groups: usize,
    fits: usize,
    fitted: Option<Fitted>,
    /// Cells of the last scan, 0 where no join over cells gave its pairs.
    pub cells: usize,
}

/// A basis and the right side encoded with it.
#[derive(Debug)]
struct Fitted {
    basis: Basis,
    right: Encoded,
}

impl Sieve {
    pub fn new(kernel: &'static Kernel, threshold: f64, policy: Policy) -> Self {
        Self { kernel, threshold, policy, seen: 0.0, groups: 0, fits: 0, fitted: None, cells: 0 }
    }

    /// Another sieve for the same scans, without what this one has learnt.
    pub fn afresh(&self) -> Self {
        Self::new(self.kernel, self.threshold, self.policy)
    }

    pub fn nbytes(&self) -> usize {
        self.fitted.as_ref().map_or(0, |f| f.right.nbytes() + f.basis.nbytes())
    }

    /// Scans what it can of the left rows.
    pub fn scan(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        pairing: Pairing,
        units: usize,
        watch: &Watch,
    ) -> Result<Sieved, ScanError> {
        self.cells = 0;
        self.prepare(left, right, pairing, watch)?;
        if self.fitted.is_none() {
            return Ok(Sieved { left_over: (0..left.len()).collect(), ..Sieved::default() });
        };
        let joined = match pairing {
            Pairing::Within => self.join_cells(left, units, watch)?,
            Pairing::All => Joined::default(),
        };
        if let Some(found) = joined.found {
            self.cells = joined.cells;
            // The projections are in the order of the cells now.
            self.fitted = None;
            return Ok(Sieved { found, left_over: Vec::new(), advanced: joined.advanced });
        }
        let units = units - joined.advanced;
        let fitted = self.fitted.as_ref().expect("cells leave the basis as it is");
        let encoder = self.encoder(&fitted.basis, left.dim);
        let gauge = Gauge::default();
        let of_tasks: Vec<Option<Vec<Pair>>> = (0..left.len().div_ceil(TASK_ROWS))
            .into_par_iter()
            .with_max_len(1)
            .map_init(Scratch::default, |scratch, task| {
                watch.check()?;
                let from = task * TASK_ROWS;
                let count = TASK_ROWS.min(left.len() - from);
                let pairs = if gauge.hopeless() {
                    None
                } else {
                    self.task(encoder, &fitted.right, left, right, pairing, (from, count), scratch, watch)?
                };
                gauge.record(pairs.is_some());
                if pairs.is_some() {
                    let share = |rows: usize| rows * units / left.len();
                    let done = share(from + count) - share(from);
                    gauge.advanced.fetch_add(done, Ordering::Relaxed);
                    watch.advance(done as u64);
                }
                Ok(pairs)
            })
            .collect::<Result<_, ScanError>>()?;
        let advanced = joined.advanced + gauge.advanced.load(Ordering::Relaxed);
        let mut sieved = Sieved { advanced, ..Sieved::default() };
        for (task, pairs) in of_tasks.into_iter().enumerate() {
            match pairs {
                Some(pairs) => sieved.found.push(pairs),
                None => {
                    let from = task * TASK_ROWS;
                    sieved.left_over.extend(from..(from + TASK_ROWS).min(left.len()));
                }
            }
        }
        if gauge.hopeless() {
            self.fitted = None;
        }
        Ok(sieved)
    }

    /// The pairs of a side with itself by way of cells, where those pay.
    fn join_cells(&mut self, side: Rows<'_>, units: usize, watch: &Watch) -> Result<Joined, ScanError> {
        let mut fitted = self.fitted.take().expect("a basis");
        let joined = self.join_cells_of(&mut fitted, side, units, watch);
        self.fitted = Some(fitted);
        joined
    }

    fn join_cells_of(
        &self,
        Fitted { basis, right }: &mut Fitted,
        side: Rows<'_>,
        units: usize,
        watch: &Watch,
    ) -> Result<Joined, ScanError> {
        let encoder = self.encoder(basis, side.dim);
        let centre = basis.centre.iter().map(|&c| f64::from(c).powi(2)).sum::<f64>().sqrt();
        let bound =
            Bound { reach: encoder.radius + 2.0 * encoder.slip, norm: basis.norm + centre + encoder.slip };
        let all_pairs = basis.cycles * side.len() as f64 / 2.0;
        let points = Points { values: &right.projections, width: basis.width, depth: basis.first };
        let Some((centroids, estimate)) =
            cells::fit(points, bound, self.policy.cell_rows, self.kernel, watch)?
        else {
            return Ok(Joined::default());
        };
        if estimate.cycles >= self.policy.cells * all_pairs {
            return Ok(Joined::default());
        }
        let order = Order::of(&centroids, points, self.kernel, watch)?;
        order.apply(&mut right.projections, basis.width);
        let join = Join {
            encoder,
            side,
            threshold: self.threshold,
            limit: encoder.limit(),
            bound,
            budget: self.policy.cells_budget * all_pairs,
        };
        let joined = join.scan(&order, &centroids, &right.projections, units, watch)?;
        if joined.found.is_none() {
            order.undo(&mut right.projections, basis.width);
        }
        Ok(joined)
    }

    fn encoder<'a>(&self, basis: &'a Basis, dim: usize) -> Encoder<'a> {
        let radius = radius(dim, basis.norm, self.threshold);
        Encoder { basis, kernel: self.kernel, radius, slip: basis.slip(dim) }
    }

    /// Fits a basis when it is worth it, and encodes the right side when it has grown.
    fn prepare(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        pairing: Pairing,
        watch: &Watch,
    ) -> Result<(), ScanError> {
        let dim = left.dim;
        self.seen += left.len() as f64 * right.len() as f64 * dim as f64;
        if self.groups != right.len() {
            self.groups = right.len();
            self.fits = 0;
            self.fitted = None;
        }
        if self.fitted.is_some()
            || self.fits == FITS
            || dim < self.policy.least_dim
            || self.seen < self.policy.worth * fit_work(dim)
        {
            return Ok(());
        }
        let work = self.seen / self.policy.worth;
        self.seen = 0.0;
        self.fits += 1;
        // A fit that proved wrong counted too few survivors.
        let caution = 10f64.powi(self.fits as i32 - 1);
        let expected = self.policy.expected;
        // Cells want the directions along which rows differ most.
        let axes = if pairing == Pairing::All { self.policy.axes } else { 0.0 };
        let terms = Terms { radius: radius(dim, 1.0, self.threshold), expected, caution, work, axes };
        let fit = Basis::fit(left, right, terms, self.kernel, watch)?;
        let Some(basis) = fit else {
            self.fits = FITS;
            return Ok(());
        };
        let encoder = self.encoder(&basis, dim);
        let panels = right.len().div_ceil(SIEVE_LANES);
        let mut encoded = Encoded {
            projections: vec![0.0; right.len() * basis.width],
            bytes: vec![0; panels * SIEVE_LANES * basis.first],
            starts: vec![[0; 2]; panels * SIEVE_LANES],
        };
        encoded
            .projections
            .par_chunks_mut(SIEVE_LANES * basis.width)
            .zip(encoded.bytes.par_chunks_mut(SIEVE_LANES * basis.first))
            .zip(encoded.starts.par_chunks_mut(SIEVE_LANES))
            .enumerate()
            .try_for_each_init(Coding::default, |scratch, (panel, ((projections, bytes), starts))| {
                watch.check()?;
                encoder.project(right, panel * SIEVE_LANES, projections, scratch);
                encoder.right(projections, bytes, starts, scratch);
                Ok::<_, ScanError>(())
            })?;
        self.fitted = Some(Fitted { basis, right: encoded });
        Ok(())
    }

    /// The pairs of left rows `(from, count)`, or none when so many survive that the product is cheaper.
    #[expect(clippy::too_many_arguments)]
    fn task(
        &self,
        encoder: Encoder<'_>,
        codes: &Encoded,
        left: Rows<'_>,
        right: Rows<'_>,
        pairing: Pairing,
        (from, count): (usize, usize),
        scratch: &mut Scratch,
        watch: &Watch,
    ) -> Result<Option<Vec<Pair>>, ScanError> {
        let Basis { width, first, .. } = *encoder.basis;
        let Scratch { coding, projections, bytes, starts, positions, candidates } = scratch;
        projections.resize(count * width, 0.0);
        encoder.project(left, from, projections, coding);
        encoder.left(projections, bytes, starts, coding);
        let left_codes = Codes { bytes, starts };

        let limit = encoder.limit();
        let (second, third) = test_cycles(width, left.dim);
        // Within one side the rows before the task's have met these already.
        let skipped = if pairing == Pairing::Within { from / SIEVE_LANES } else { 0 };
        let met = right.len() - skipped * SIEVE_LANES;
        let budget = self.policy.waste * count as f64 * product_cycles(left.dim, met);
        let mut spent = 0.0;
        let mut pairs = Vec::new();
        for (strip, right_codes) in codes.strips(first, skipped).enumerate() {
            watch.check()?;
            positions.clear();
            self.kernel.sieve(&left_codes, &right_codes, first, positions);
            spent += positions.len() as f64 * second;
            let (lanes, first_lane) = (right_codes.starts.len(), skipped * SIEVE_LANES + strip * STRIP);
            candidates.clear();
            for &position in positions.iter() {
                let (i, j) = (position as usize / lanes, first_lane + position as usize % lanes);
                let met = pairing == Pairing::All || j > from + i;
                if met && i < count && j < right.len() {
                    let (x, y) =
                        (&projections[i * width..][..width], &codes.projections[j * width..][..width]);
                    if self.kernel.square_distance(x, y) <= limit {
                        candidates.push((i as u32, j as u32));
                    }
                }
            }
            let before = pairs.len();
            for &(i, j) in candidates.iter() {
                let ((x, xx), (y, yy)) = (left.get(from + i as usize), right.get(j as usize));
                let score = cosine(self.kernel.dot(x, y), xx, yy);
                if score >= self.threshold {
                    pairs.push(Pair { left: from as u32 + i, right: j, cosine: score });
                }
            }
            // A match costs the product as much, so it is not held against the sieve.
            watch.found(pairs.len() - before)?;
            spent += (candidates.len() - (pairs.len() - before)) as f64 * third;
            if spent > budget {
                return Ok(None);
            }
        }
        // The positions of a strip are in no order.
        pairs.sort_unstable_by_key(|pair| (pair.left, pair.right));
        Ok(Some(pairs))
    }
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch {
    coding: Coding,
    projections: Vec<f32>,
    bytes: Vec<u8>,
    starts: Vec<[i16; 2]>,
    positions: Vec<u32>,
    candidates: Vec<(u32, u32)>,
}
