//! The sieve at one threshold for all pairs, and the join over cells where one side meets itself.

use rayon::prelude::*;

use super::basis::{Basis, fit_work};
use super::bounds::radius;
use super::cells::join::{Join, Joined, Order};
use super::cells::{self, Bound, Points};
use super::codes::{Encoded, Encoder, LEAST, Quantised};
use super::costs::{Policy, Terms};
use super::rows::Rows;
use super::score::{Pair, Pairing};
use super::sieve::{Sieve, Thresholds};
use super::tasks::Tried;
use crate::error::ScanError;
use crate::kernel::{Kernel, SIEVE_LANES};
use crate::parallel::Watch;

/// Fits that may prove wrong before the sieve is given up.
const FITS: usize = 3;

/// A sieve for the scans of one index.
#[derive(Debug)]
pub(super) struct FixedSieve {
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
    /// What the right codes start from, filled up to whole panels.
    starts: Vec<[i16; 2]>,
}

/// One threshold, as the scan of two sides sees it.
struct Fixed<'a> {
    encoder: Encoder<'a>,
    starts: &'a [[i16; 2]],
    limit: f32,
    threshold: f64,
    pairing: Pairing,
}

impl Thresholds for Fixed<'_> {
    type Seen = ();
    type Found = Vec<Pair>;

    fn left_need(&self, row: &Quantised) -> i32 {
        self.encoder.need(row)
    }

    fn look(&self, _: &mut ()) {}

    fn starts<'a>(&'a self, _: &'a ()) -> &'a [[i16; 2]] {
        self.starts
    }

    fn limit(&self, _: &(), _: usize) -> f32 {
        self.limit
    }

    fn skipped(&self, left: usize) -> usize {
        // Within one side the rows before these have met them already.
        if self.pairing == Pairing::Within { left } else { 0 }
    }

    fn meet(&self, left: usize, right: usize) -> bool {
        self.pairing == Pairing::All || right > left
    }

    fn take(&self, left: usize, right: usize, score: f64, found: &mut Vec<Pair>) -> bool {
        let is_match = score >= self.threshold;
        if is_match {
            found.push(Pair { left: left as u32, right: right as u32, cosine: score });
        }
        is_match
    }
}

impl FixedSieve {
    pub fn new(kernel: &'static Kernel, threshold: f64, policy: Policy) -> Self {
        Self { kernel, threshold, policy, seen: 0.0, groups: 0, fits: 0, fitted: None, cells: 0 }
    }

    /// Another sieve for the same scans, without what this one has learnt.
    pub fn afresh(&self) -> Self {
        Self::new(self.kernel, self.threshold, self.policy)
    }

    pub fn nbytes(&self) -> usize {
        self.fitted.as_ref().map_or(0, |f| f.right.nbytes() + f.starts.capacity() * 4 + f.basis.nbytes())
    }

    /// Scans what it can of the left rows.
    pub fn scan(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        pairing: Pairing,
        units: usize,
        watch: &Watch,
    ) -> Result<Tried<Vec<Pair>>, ScanError> {
        self.cells = 0;
        self.prepare(left, right, pairing, watch)?;
        if self.fitted.is_none() {
            return Ok(Tried::nothing(left.len()));
        };
        let joined = match pairing {
            Pairing::Within => self.join_cells(left, units, watch)?,
            Pairing::All => Joined::default(),
        };
        if let Some(found) = joined.found {
            self.cells = joined.cells;
            // The projections are in the order of the cells now.
            self.fitted = None;
            return Ok(Tried { found, advanced: joined.advanced, ..Tried::nothing(0) });
        }
        let Fitted { basis, right: encoded, starts } =
            self.fitted.as_ref().expect("cells leave the basis as it is");
        let encoder = self.encoder(basis, left.dim);
        let limit = encoder.limit(encoder.radius);
        let thresholds = Fixed { encoder, starts, limit, threshold: self.threshold, pairing };
        let sieve = Sieve { encoder, encoded, left, right, thresholds, waste: self.policy.waste };
        let mut tried = sieve.scan(units - joined.advanced, watch)?;
        // Those of a strip are in no order.
        tried
            .found
            .par_iter_mut()
            .for_each(|pairs| pairs.sort_unstable_by_key(|pair| (pair.left, pair.right)));
        tried.advanced += joined.advanced;
        if tried.hopeless {
            self.fitted = None;
        }
        Ok(tried)
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
        Fitted { basis, right, .. }: &mut Fitted,
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
            limit: encoder.limit(encoder.radius),
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
        let (mut encoded, quantised) = Encoded::of(encoder, right, watch)?;
        let mut starts = Vec::with_capacity(right.len() + SIEVE_LANES);
        for (row, code) in quantised.iter().enumerate() {
            let need = encoded.need_or_erase(row, code, encoder.need(code), basis.first);
            starts.push([0, (-need.unwrap_or(LEAST)) as i16]);
        }
        starts.resize(starts.len().next_multiple_of(SIEVE_LANES), [0, i16::MIN / 2]);
        self.fitted = Some(Fitted { basis, right: encoded, starts });
        Ok(())
    }
}
