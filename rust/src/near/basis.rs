//! The directions that a sieve projects on: fitted to a sample of both sides, or axes.
//!
//! Nothing here can make a scan wrong, only slow: the bound in [`super::bounds`] holds for any matrix
//! whose norm is known.

use rayon::prelude::*;

use super::bounds::{DEPTH, HALF_NORM, PEAK, UNIT, half_norms};
use super::costs::{Terms, product_cycles};
use super::matrix::{Matrix, panels};
use super::rows::Rows;
use super::widths::{CANDIDATES, Judged, Plan, choose};
use crate::error::ScanError;
use crate::kernel::Kernel;
use crate::parallel::Watch;

/// Rows of each side that directions are fitted to, and that they are judged by, at most.
const SAMPLE: usize = 1024;

/// Widths that are fitted one after the other until a wider one cannot pay.
const WIDTHS: [usize; 3] = [64, 192, 384];

/// Rounds of subspace iteration from a raw start, and from narrower directions: the sieve needs good
/// directions, not eigenvectors.
const ROUNDS: [usize; 2] = [4, 2];

/// Projection on `width` nearly orthonormal directions.
#[derive(Debug)]
pub(super) struct Basis {
    /// Directions.
    pub width: usize,
    /// Directions that the first tile looks at.
    pub first: usize,
    pub directions: Directions,
    /// What is subtracted from every projection, `(width,)`: about the mean, and any value would do.
    pub centre: Vec<f32>,
    /// At least the spectral norm of the matrix of directions.
    pub norm: f64,
    /// Size of one unit of a code.
    pub step: f32,
    /// What a left row is expected to cost, in cycles of one core.
    pub cycles: f64,
}

#[derive(Debug)]
pub(super) enum Directions {
    /// Fitted to the rows, as panels of the kernel's lanes, each `(dim, lanes)`; the first ones are mixed so that
    /// the energy is spread evenly.
    Fitted(Vec<f32>),
    /// Components of the rows themselves, by their numbers: where the rows have no directions of their own these
    /// are as good as any, and cost nothing.
    Axes(Vec<usize>),
}

/// Directions that were not chosen yet.
enum Candidate {
    Fitted(Matrix),
    Axes(Vec<usize>),
}

/// Multiplications that fitting the narrowest directions costs, about.
pub(super) fn fit_work(dim: usize) -> f64 {
    (2 * SAMPLE * dim * WIDTHS[0] * 2 * (ROUNDS[0] + 2)) as f64
}

impl Basis {
    /// The basis that makes scans of rows like `left` against `right` cheapest, or none on these terms.
    pub fn fit(
        left: Rows<'_>,
        right: Rows<'_>,
        terms: Terms,
        kernel: &Kernel,
        watch: &Watch,
    ) -> Result<Option<Self>, ScanError> {
        let dim = left.dim;
        let Sample { fitted, probes, probe_left, mean } = Sample::of(left, right);
        if fitted.rows() == 0 || probe_left == 0 || probe_left == probes.rows() {
            return Ok(None);
        }
        let transposed = fitted.transposed();
        let product = product_cycles(dim, right.len());
        let mut best: Option<(Plan, Matrix)> = None;
        let mut narrower: Option<Matrix> = None;
        let mut work = 0.0;
        for width in WIDTHS {
            let unaffordable =
                narrower.is_some() && work + fit_work(dim) * (width / WIDTHS[0]) as f64 / 2.0 > terms.work;
            if width * 4 > dim * 3 || width > fitted.rows() || unaffordable {
                break;
            }
            work += fit_work(dim) * (width / WIDTHS[0]) as f64 / 2.0;
            let directions = principal(&fitted, &transposed, narrower.as_ref(), width, kernel, watch)?;
            let projected = probes.times_transposed(&directions, kernel, watch)?;
            let judged = Judged { projected: &projected, left: probe_left, mixed: true };
            let plan = choose(judged, dim, right.len(), terms, kernel);
            // Where these directions did not pay against a third of them, more will not either.
            let wider_may_pay =
                plan.width > width / 3 && (plan.wasted >= 0.25 || plan.width == width && plan.wasted >= 0.1);
            if best.as_ref().is_none_or(|(old, _)| plan.cycles < old.cycles) {
                best = Some((plan, directions.clone()));
            }
            // Further directions hold no more than these do each: distances grow by no more than that.
            let growth = WIDTHS[WIDTHS.len() - 1] as f64 / width as f64;
            let hoped = Terms { radius: terms.radius / growth.sqrt(), caution: 1.0, ..terms };
            let hopeless = choose(judged, dim, right.len(), hoped, kernel).cycles >= terms.expected * product;
            narrower = Some(directions);
            if !wider_may_pay || hopeless {
                break;
            }
        }
        let mut best = best.map(|(plan, directions)| (plan, Candidate::Fitted(directions)));
        let most = WIDTHS[WIDTHS.len() - 1].min(dim * 3 / 4);
        if terms.axes > 0.0 && most >= CANDIDATES[0] {
            let mut axes = strongest(&fitted);
            axes.truncate(most);
            let projected = probes.columns(&axes);
            let judged = Judged { projected: &projected, left: probe_left, mixed: false };
            let plan = choose(judged, dim, right.len(), terms, kernel);
            if best.as_ref().is_none_or(|(old, _)| plan.cycles < terms.axes * old.cycles) {
                best = Some((plan, Candidate::Axes(axes)));
            }
        }
        let Some((plan, directions)) = best.filter(|(plan, _)| plan.cycles < terms.expected * product) else {
            return Ok(None);
        };
        Self::from_candidate(directions, plan, &probes, &mean, kernel, watch).map(Some)
    }

    fn from_candidate(
        directions: Candidate,
        plan: Plan,
        probes: &Matrix,
        mean: &[f32],
        kernel: &Kernel,
        watch: &Watch,
    ) -> Result<Self, ScanError> {
        let Plan { first, width, cycles, .. } = plan;
        let (directions, projected, centre, norm) = match directions {
            Candidate::Fitted(mut directions) => {
                directions.values.truncate(width * directions.depth);
                mix(&mut directions, first);
                let projected = probes.times_transposed(&directions, kernel, watch)?;
                // The probes were centred before they were projected; what is scanned is centred after.
                let centre = (0..width).map(|k| kernel.dot(directions.row(k), mean) as f32).collect();
                let panels = panels(&directions.values, directions.depth, kernel.tile_lanes());
                (Directions::Fitted(panels), projected, centre, norm_bound(&directions, kernel))
            }
            Candidate::Axes(mut axes) => {
                axes.truncate(width);
                // In the order in which a row lies in memory.
                let (first, rest) = axes.split_at_mut(first);
                first.sort_unstable();
                rest.sort_unstable();
                let projected = probes.columns(&axes);
                let centre = axes.iter().map(|&k| mean[k]).collect();
                (Directions::Axes(axes), projected, centre, 1.0)
            }
        };
        let rows = projected.rows();
        let step = {
            let mut halves: Vec<f32> = Vec::with_capacity(rows);
            let mut peaks: Vec<f32> = Vec::with_capacity(rows);
            for i in 0..rows {
                let row = &projected.row(i)[..first];
                halves.push(half_norms(row).into_iter().fold(0.0, f32::max));
                peaks.push(row.iter().fold(0.0, |peak, v| v.abs().max(peak)));
            }
            let rare = rows - 1 - rows / 200;
            halves.sort_by(f32::total_cmp);
            peaks.sort_by(f32::total_cmp);
            (halves[rare] / (HALF_NORM - 1.0)).max(peaks[rare] / PEAK).max(1e-9)
        };
        Ok(Self { width, first, directions, centre, norm, step, cycles })
    }

    /// Bound of the distance between a projection in float32 and the exact one.
    pub fn slip(&self, dim: usize) -> f64 {
        // Sums of DEPTH terms, added up: at most this many roundings on a path, of terms that add up to
        // no more than the norm of a direction, in each of `width` components.
        let roundings = (DEPTH.min(dim) + dim.div_ceil(DEPTH) + 2) as f64 * UNIT;
        let sums = self.norm * roundings / (1.0 - roundings) * (self.width as f64).sqrt();
        let centre = self.centre.iter().map(|&c| f64::from(c).powi(2)).sum::<f64>().sqrt();
        // The scale is rounded once, the scaled row or the scaled sum once, the centred sum once.
        (sums + UNIT * (4.0 * self.norm + centre)) * 1.01 + 1e-9
    }

    pub fn nbytes(&self) -> usize {
        match &self.directions {
            Directions::Fitted(panels) => panels.capacity() * size_of::<f32>(),
            Directions::Axes(axes) => axes.capacity() * size_of::<usize>(),
        }
    }
}

/// The components of a sample by falling energy.
fn strongest(sample: &Matrix) -> Vec<usize> {
    let mut energies = vec![0.0f32; sample.depth];
    for row in sample.values.chunks_exact(sample.depth) {
        energies.iter_mut().zip(row).for_each(|(energy, x)| *energy += x * x);
    }
    let mut axes: Vec<usize> = (0..sample.depth).collect();
    axes.sort_by(|&a, &b| energies[b].total_cmp(&energies[a]));
    axes
}

/// Normalised and centred rows of both sides, at even distances.
struct Sample {
    /// What directions are fitted to.
    fitted: Matrix,
    /// Other rows, to judge them by: on its own sample every direction looks better than it is.
    probes: Matrix,
    /// Rows of the left side among the probes, which come first.
    probe_left: usize,
    /// What was subtracted.
    mean: Vec<f32>,
}

impl Sample {
    fn of(left: Rows<'_>, right: Rows<'_>) -> Self {
        let dim = left.dim;
        let mut parts = [Vec::new(), Vec::new()];
        let mut probe_left = 0;
        for (side, rows) in [left, right].into_iter().enumerate() {
            // Directions hold more of the rows they were fitted to than of others, which are then too long
            // for the codes. The right side meets every left row, so few of its rows should be.
            let share = [16, 128][side];
            let fit = (rows.len() / share).max(64).min(rows.len() / 2).min(SAMPLE);
            let count = fit + SAMPLE.min(rows.len() - fit);
            for i in 0..count {
                let (row, square) = rows.get(i * rows.len() / count);
                let scale = 1.0 / square.sqrt();
                let part = usize::from(i * fit / count == (i + 1) * fit / count);
                parts[part].extend(row.iter().map(|&x| (f64::from(x) * scale) as f32));
            }
            probe_left += if side == 0 { count - fit } else { 0 };
        }
        let [mut fitted, mut probes] = parts;
        let mut sums = vec![0.0f64; dim];
        for row in fitted.chunks_exact(dim) {
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let count = (fitted.len() / dim) as f64;
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        for row in fitted.chunks_exact_mut(dim).chain(probes.chunks_exact_mut(dim)) {
            row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m);
        }
        let matrix = |values| Matrix { depth: dim, values };
        Self { fitted: matrix(fitted), probes: matrix(probes), probe_left, mean }
    }
}

/// About the `width` directions of largest energy in a sample, by falling energy: subspace iteration.
fn principal(
    sample: &Matrix,
    transposed: &Matrix,
    narrower: Option<&Matrix>,
    width: usize,
    kernel: &Kernel,
    watch: &Watch,
) -> Result<Matrix, ScanError> {
    // Any start will do that is not orthogonal to what is sought: rows of the sample are close to it.
    let rows = sample.rows();
    let mut start = narrower.map_or_else(Vec::new, |directions| directions.values.clone());
    for k in start.len() / sample.depth..width {
        start.extend_from_slice(sample.row(k * rows / width));
    }
    let mut directions = Matrix { depth: sample.depth, values: start };
    let rounds = ROUNDS[usize::from(narrower.is_some())];
    for round in 0..rounds {
        let projected = sample.times_transposed(&directions, kernel, watch)?;
        directions = projected.transposed().times_transposed(transposed, kernel, watch)?;
        orthonormalise(&mut directions, if round + 1 < rounds { 1 } else { 2 }, kernel);
    }
    let projected = sample.times_transposed(&directions, kernel, watch)?;
    let mut order: Vec<(f32, usize)> =
        (0..width).map(|k| ((0..rows).map(|i| projected.row(i)[k].powi(2)).sum(), k)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let sorted = order.iter().flat_map(|&(_, k)| directions.row(k)).copied().collect();
    Ok(Matrix { depth: sample.depth, values: sorted })
}

/// Gram and Schmidt, of which two passes are enough for the last word. A row that depends on those before it gives way to an axis, so that data of low rank
/// still have a basis of full rank, whose norm is near one.
fn orthonormalise(rows: &mut Matrix, passes: usize, kernel: &Kernel) {
    let depth = rows.depth;
    let mut axis = 0;
    for i in 0..rows.rows() {
        let (done, rest) = rows.values.split_at_mut(i * depth);
        let row = &mut rest[..depth];
        while !orthogonal_part(row, done, passes, kernel) && axis < depth {
            row.fill(0.0);
            row[axis] = 1.0;
            axis += 1;
        }
    }
}

/// Reduces `row` to its part orthogonal to the rows before it, at unit length; false if little is left.
fn orthogonal_part(row: &mut [f32], done: &[f32], passes: usize, kernel: &Kernel) -> bool {
    let size = kernel.dot(row, row).sqrt();
    for _ in 0..passes {
        for other in done.chunks_exact(row.len()) {
            let share = kernel.dot(row, other) as f32;
            row.iter_mut().zip(other).for_each(|(x, y)| *x -= share * y);
        }
        let norm = kernel.dot(row, row).sqrt();
        if norm <= 1e-3 * size || norm < 1e-30 {
            return false;
        }
        let scale = (1.0 / norm) as f32;
        row.iter_mut().for_each(|x| *x *= scale);
    }
    true
}

/// Spreads the energy of the first rows evenly: Hadamard transforms over groups of a power of two that
/// are interleaved, so that every group has its share of the strong rows.
fn mix(directions: &mut Matrix, first: usize) {
    let depth = directions.depth;
    let size = 1 << first.trailing_zeros();
    let groups = first / size;
    let mut half = 1;
    while half < size {
        for low in (0..size).filter(|i| i & half == 0) {
            for group in 0..groups {
                let (a, b) = (low * groups + group, (low + half) * groups + group);
                let (head, tail) = directions.values.split_at_mut(b * depth);
                for (x, y) in head[a * depth..][..depth].iter_mut().zip(&mut tail[..depth]) {
                    (*x, *y) = (
                        (*x + *y) * std::f32::consts::FRAC_1_SQRT_2,
                        (*x - *y) * std::f32::consts::FRAC_1_SQRT_2,
                    );
                }
            }
        }
        half *= 2;
    }
}

/// sqrt(1 + F), F the Frobenius norm of P P^T - I: no less than the spectral norm of P.
fn norm_bound(directions: &Matrix, kernel: &Kernel) -> f64 {
    let rows = directions.rows();
    let squares: f64 = (0..rows)
        .into_par_iter()
        .map(|i| {
            let off: f64 = (0..i).map(|j| kernel.dot(directions.row(i), directions.row(j)).powi(2)).sum();
            2.0 * off + (kernel.dot(directions.row(i), directions.row(i)) - 1.0).powi(2)
        })
        .sum();
    // The float64 sums are off by far less than the last term.
    (1.0 + squares.sqrt()).sqrt() + 1e-9
}
