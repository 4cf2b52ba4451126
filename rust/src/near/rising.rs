//! The sieve with a threshold for every right row, which may rise while left rows go by.
//!
//! The first test is not that of [`super::fixed`]: there the sum of both errors and the radius is cut in halves,
//! here a left row answers for its own error alone, and only for what is above the common one.

use super::basis::{Basis, fit_work};
use super::bounds::{need, quantile, radius};
use super::codes::{Encoded, Encoder, LEAST, Quantised};
use super::costs::{Policy, REFIT, Terms};
use super::goals::Goals;
use super::rows::Rows;
use super::sieve::{Sieve, Thresholds};
use super::tasks::Tried;
use crate::error::ScanError;
use crate::kernel::{Kernel, SIEVE_LANES};
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
    right: Encoded,
    /// Per right row half the square of its code and its error in steps, or none where the code says nothing.
    spoken: Vec<Option<(f64, f64)>>,
    /// An error that left rows typically have, in steps. The right side answers for it.
    error: f64,
    /// The largest radius with the errors of the right side, in steps.
    reach: f64,
}

/// The goals of the right rows, as a scan sees them.
struct Rising<'a, G> {
    fitted: &'a Fitted,
    encoder: Encoder<'a>,
    left: Rows<'a>,
    goals: &'a G,
}

/// What the goals were when a task began.
#[derive(Default)]
struct Seen {
    /// What the right codes start from,
    starts: Vec<[i16; 2]>,
    /// and the largest squared distance of projections that may be a match.
    limits: Vec<f32>,
}

impl<G: Goals> Thresholds for Rising<'_, G> {
    type Seen = Seen;
    type Found = ();

    fn left_need(&self, row: &Quantised) -> i32 {
        let Fitted { basis, error, reach, .. } = self.fitted;
        // What the error is above the one that the right side answers for.
        let more = (row.error / f64::from(basis.step) - error).max(0.0);
        need(row.half() - reach * more, more)
    }

    fn look(&self, Seen { starts, limits }: &mut Seen) {
        let Fitted { basis, spoken, error: common, .. } = self.fitted;
        starts.clear();
        limits.clear();
        for (j, spoken) in spoken.iter().enumerate() {
            let radius = radius(self.left.dim, basis.norm, self.goals.score(j));
            let need = spoken
                .map_or(LEAST, |(half, error)| need(half, radius / f64::from(basis.step) + error + common));
            starts.push([0, (-need) as i16]);
            limits.push(self.encoder.limit(radius));
        }
        starts.resize(starts.len().next_multiple_of(SIEVE_LANES), [0, i16::MIN / 2]);
    }

    fn starts<'a>(&'a self, seen: &'a Seen) -> &'a [[i16; 2]] {
        &seen.starts
    }

    fn limit(&self, seen: &Seen, right: usize) -> f32 {
        seen.limits[right]
    }

    fn take(&self, left: usize, right: usize, score: f64, (): &mut ()) -> bool {
        self.goals.offer(self.left.row(left), right, score);
        false
    }
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
    ) -> Result<Tried<()>, ScanError> {
        self.prepare(left, right, goals, seen, share, watch)?;
        let Some(fitted) = &self.fitted else {
            return Ok(Tried::nothing(left.len()));
        };
        let encoder = self.encoder(&fitted.basis, left.dim);
        let thresholds = Rising { fitted, encoder, left, goals };
        let waste = self.policy.waste * share;
        let sieve = Sieve { encoder, encoded: &fitted.right, left, right, thresholds, waste };
        let tried = sieve.scan(units, watch)?;
        if tried.hopeless {
            self.fitted = None;
            self.failures += 1;
            self.next_fit = 0;
        }
        Ok(tried)
    }

    /// The codes have no radius of their own: right rows answer for theirs.
    fn encoder<'a>(&self, basis: &'a Basis, dim: usize) -> Encoder<'a> {
        Encoder { basis, kernel: self.kernel, radius: 0.0, slip: basis.slip(dim) }
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
        let step = f64::from(basis.step);
        let (mut encoded, quantised) = Encoded::of(self.encoder(&basis, right.dim), right, watch)?;
        let mut errors: Vec<f64> = quantised.iter().map(|row| row.error / step).collect();
        let error = quantile(&mut errors, 0.5);
        let mut reach = 0.0f64;
        let mut spoken = Vec::with_capacity(right.len());
        for (j, row) in quantised.iter().enumerate() {
            let widest = radius(right.dim, basis.norm, goals.score(j)) / step + row.error / step + error;
            let need = encoded.need_or_erase(j, row, need(row.half(), widest), basis.first);
            if need.is_some() {
                reach = reach.max(widest);
            }
            spoken.push(need.map(|_| (row.half(), row.error / step)));
        }
        Ok(Fitted { basis, right: encoded, spoken, error, reach })
    }
}
