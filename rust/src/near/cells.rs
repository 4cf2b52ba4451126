//! Cells: the rows of one side in groups that lie together, so that few rows of one group can have a match
//! in another.
//!
//! `docs/near-duplicates.md` has the proof under "Cells". In short: seen along the line between two
//! centroids, two rows are no further apart than they are; a row's margin is how far it is on its own side
//! of the middle of that line, and a pair whose margins add up to more than the reach is ruled out.

use rayon::prelude::*;

use super::bounds::{DEPTH, UNIT};
use super::costs::{join_cycles, routing_cycles};
use crate::error::ScanError;
use crate::kernel::Kernel;
use crate::parallel::Watch;

pub(super) mod join;

/// Rows that are assigned by one task.
const TASK_ROWS: usize = 192;

/// Sampled rows per centroid, and rounds of Lloyd's iteration over them.
const ROWS_PER_CENTROID: usize = 8;
const ROUNDS: usize = 3;

/// Other sampled rows, on which the cost of a partition is estimated.
const PROBES: usize = 768;

/// Counts of cells that are weighed against each other, one after the other until more do not pay.
const COUNTS: [usize; 7] = [16, 128, 256, 512, 1024, 2048, 4096];

/// Points in the space of projections: of each row the first `depth` of `width` values.
#[derive(Clone, Copy)]
pub(super) struct Points<'a> {
    pub values: &'a [f32],
    pub width: usize,
    pub depth: usize,
}

impl<'a> Points<'a> {
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn get(&self, i: usize) -> &'a [f32] {
        &self.values[i * self.width..][..self.depth]
    }
}

/// Centroids, and for each row how it is told which is nearest: by the largest x.c - |c|^2 / 2.
pub(super) struct Centroids {
    depth: usize,
    /// `(cells, depth)`.
    values: Vec<f32>,
    /// |c|^2 / 2 of each.
    halves: Vec<f32>,
}

/// The cell of a row, and x.c - |c|^2 / 2 for its centroid c.
type Nearest = (u32, f32);

impl Centroids {
    fn new(values: Vec<f32>, depth: usize) -> Self {
        let half = |c: &[f32]| c.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() as f32 / 2.0;
        let halves = values.chunks_exact(depth).map(half).collect();
        Self { depth, values, halves }
    }

    pub fn len(&self) -> usize {
        self.halves.len()
    }

    fn get(&self, cell: usize) -> &[f32] {
        &self.values[cell * self.depth..][..self.depth]
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        let squares =
            self.get(a).iter().zip(self.get(b)).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2));
        squares.sum::<f64>().sqrt()
    }

    /// Lloyd's iteration on some of the points, evenly spread.
    fn fit(points: Points<'_>, count: usize, kernel: &Kernel, watch: &Watch) -> Result<Self, ScanError> {
        let depth = points.depth;
        let size = points.len().min(count * ROWS_PER_CENTROID);
        let sampled: Vec<f32> =
            (0..size).flat_map(|i| points.get(i * points.len() / size)).copied().collect();
        let sample = Points { values: &sampled, width: depth, depth };
        let start = (0..count).flat_map(|i| sample.get(i * size / count)).copied().collect();
        let mut centroids = Self::new(start, depth);
        for _ in 0..ROUNDS {
            let nearest = centroids.nearest(sample, kernel, watch)?;
            let mut sums = vec![0.0f64; count * depth];
            let mut counts = vec![0usize; count];
            for (i, (cell, _)) in nearest.into_iter().enumerate() {
                let cell = cell as usize;
                counts[cell] += 1;
                let sums = &mut sums[cell * depth..][..depth];
                sums.iter_mut().zip(sample.get(i)).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            let mut values = centroids.values;
            for (cell, &rows) in counts.iter().enumerate().filter(|&(_, &rows)| rows > 0) {
                let means = sums[cell * depth..][..depth].iter().map(|sum| (sum / rows as f64) as f32);
                values[cell * depth..][..depth].iter_mut().zip(means).for_each(|(v, mean)| *v = mean);
            }
            centroids = Self::new(values, depth);
        }
        Ok(centroids)
    }

    /// The nearest centroid of every point, up to rounding.
    fn nearest(&self, points: Points<'_>, kernel: &Kernel, watch: &Watch) -> Result<Vec<Nearest>, ScanError> {
        let lanes = kernel.tile_lanes();
        let panels = Panels::of(self, 0..self.len(), lanes);
        let mut nearest = vec![(0, 0.0); points.len()];
        let tile_size = kernel.tile_rows() * lanes;
        let room = || (Vec::new(), Vec::new(), Vec::new());
        nearest.par_chunks_mut(TASK_ROWS).enumerate().try_for_each_init(room, |room, (task, nearest)| {
            watch.check()?;
            let (tile, best, best_panel) = room;
            for (block, nearest) in nearest.chunks_mut(kernel.tile_rows()).enumerate() {
                let from = task * TASK_ROWS + block * kernel.tile_rows();
                let rows = tile_of(points, from, nearest.len(), kernel.tile_rows());
                best.clear();
                best.resize(tile_size, f32::NEG_INFINITY);
                best_panel.resize(tile_size, 0);
                for panel in 0..panels.len() {
                    panels.scores(panel, &rows, kernel, tile);
                    for ((best, best_panel), &score) in best.iter_mut().zip(&mut *best_panel).zip(&*tile) {
                        *best_panel = if score > *best { panel as u32 } else { *best_panel };
                        *best = if score > *best { score } else { *best };
                    }
                }
                let lanes_of = best.chunks_exact(lanes).zip(best_panel.chunks_exact(lanes));
                for (nearest, (best, best_panel)) in nearest.iter_mut().zip(lanes_of) {
                    let lane = (0..lanes).max_by(|&a, &b| best[a].total_cmp(&best[b])).expect("a lane");
                    *nearest = (best_panel[lane] * lanes as u32 + lane as u32, best[lane]);
                }
            }
            Ok::<_, ScanError>(())
        })?;
        Ok(nearest)
    }
}

/// Rows of a tile: points `from..from + count`, the last one repeated up to `tile_rows`.
fn tile_of(points: Points<'_>, from: usize, count: usize, tile_rows: usize) -> Vec<&[f32]> {
    (0..tile_rows).map(|i| points.get(from + i.min(count - 1))).collect()
}

/// Centroids as panels of the kernel's lanes, each `(depth, lanes)`.
struct Panels {
    lanes: usize,
    depth: usize,
    values: Vec<f32>,
    /// |c|^2 / 2 of each lane; infinite where there is no centroid.
    halves: Vec<f32>,
}

impl Panels {
    fn of(centroids: &Centroids, cells: impl ExactSizeIterator<Item = usize>, lanes: usize) -> Self {
        let depth = centroids.depth;
        let count = cells.len().next_multiple_of(lanes);
        let mut values = vec![0.0; count * depth];
        let mut halves = vec![f32::INFINITY; count];
        for (i, cell) in cells.enumerate() {
            halves[i] = centroids.halves[cell];
            let panel = &mut values[i / lanes * lanes * depth..][..lanes * depth];
            for (slot, v) in panel[i % lanes..].iter_mut().step_by(lanes).zip(centroids.get(cell)) {
                *slot = *v;
            }
        }
        Self { lanes, depth, values, halves }
    }

    fn len(&self) -> usize {
        self.halves.len() / self.lanes
    }

    /// x.c - |c|^2 / 2 of every row x and every centroid c of one panel.
    fn scores(&self, panel: usize, rows: &[&[f32]], kernel: &Kernel, tile: &mut Vec<f32>) {
        let size = self.lanes * self.depth;
        let values = &self.values[panel * size..][..size];
        let halves = &self.halves[panel * self.lanes..][..self.lanes];
        tile.clear();
        tile.resize(rows.len() * self.lanes, 0.0);
        for depth in (0..self.depth).step_by(DEPTH) {
            let end = (depth + DEPTH).min(self.depth);
            let values = &values[depth * self.lanes..end * self.lanes];
            if end - depth == self.depth {
                kernel.project(rows, values, tile);
            } else {
                let parts: Vec<&[f32]> = rows.iter().map(|row| &row[depth..end]).collect();
                kernel.project(&parts, values, tile);
            }
        }
        for scores in tile.chunks_exact_mut(self.lanes) {
            scores.iter_mut().zip(halves).for_each(|(score, half)| *score -= half);
        }
    }
}

/// The largest distance of the points of a match, and what decides how sums of two margins are off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Largest distance of two points that belong to a match.
    pub reach: f64,
    /// At least the norm of every point.
    pub norm: f64,
}

impl Bound {
    /// The margins of a match, x.c - |c|^2/2 - (x.c' - |c'|^2/2) and its twin for y, add up to no more.
    fn limit(&self, centroids: &Centroids, roundings: f64, a: usize, b: usize) -> f32 {
        ((self.reach * centroids.distance(a, b) * (1.0 + 1e-9) + roundings) as f32).next_up()
    }

    /// How far the computed sum of the margins of a pair can be above the exact one.
    fn roundings(&self, centroids: &Centroids) -> f64 {
        let longest = f64::from(centroids.halves.iter().copied().fold(0.0, f32::max) * 2.0).sqrt() * 1.001;
        let roundings = (centroids.depth + 12) as f64 * UNIT;
        4.0 * roundings / (1.0 - roundings) * (self.norm + longest) * longest + 1e-30
    }
}

/// What a join over cells is expected to cost, in cycles of one core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub cycles: f64,
    /// The part that more cells would make larger.
    pub routing: f64,
}

/// The centroids that make a join of the points with themselves cheapest, and what it is expected to cost
/// beside the tests of what the first tile lets through; no cells of fewer than `least_rows` rows.
pub(super) fn fit(
    points: Points<'_>,
    bound: Bound,
    least_rows: usize,
    kernel: &Kernel,
    watch: &Watch,
) -> Result<Option<(Centroids, Estimate)>, ScanError> {
    let mut best: Option<(Centroids, Estimate)> = None;
    for count in COUNTS.into_iter().filter(|count| count * least_rows <= points.len()) {
        let centroids = Centroids::fit(points, count, kernel, watch)?;
        let estimate = estimate(&centroids, points, bound, kernel, watch)?;
        let worse = best.as_ref().is_some_and(|(_, old)| estimate.cycles > old.cycles);
        if !worse {
            best = Some((centroids, estimate));
        }
        if worse || estimate.routing * 2.0 > estimate.cycles {
            break;
        }
    }
    Ok(best)
}

fn estimate(
    centroids: &Centroids,
    points: Points<'_>,
    bound: Bound,
    kernel: &Kernel,
    watch: &Watch,
) -> Result<Estimate, ScanError> {
    let (cells, depth) = (centroids.len(), points.depth);
    let rows = points.len();
    let count = rows.min(PROBES);
    // Half a step away from the rows that the centroids were fitted to.
    let probes: Vec<f32> =
        (0..count).flat_map(|i| points.get((2 * i + 1) * rows / (2 * count))).copied().collect();
    let probes = Points { values: &probes, width: depth, depth };
    let nearest = centroids.nearest(probes, kernel, watch)?;
    let roundings = bound.roundings(centroids) as f32;
    let panels = Panels::of(centroids, 0..cells, kernel.tile_lanes());
    let stride = panels.halves.len();
    // Of every probe to every cell: the margin, and what is left of the limit beside it.
    let mut margins = vec![0.0f32; count * stride];
    let mut rooms = vec![0.0f32; count * stride];
    let block_rows = kernel.tile_rows();
    let reached: usize = margins
        .par_chunks_mut(block_rows * stride)
        .zip(rooms.par_chunks_mut(block_rows * stride))
        .enumerate()
        .map(|(block, (margins, rooms))| {
            watch.check()?;
            let own = &nearest[block * block_rows..][..margins.len() / stride];
            let rows = tile_of(probes, block * block_rows, own.len(), block_rows);
            let own_centroids: Vec<&[f32]> =
                (0..block_rows).map(|i| centroids.get(own[i.min(own.len() - 1)].0 as usize)).collect();
            let (mut tile, mut between) = (Vec::new(), Vec::new());
            let mut reached = 0;
            for panel in 0..panels.len() {
                panels.scores(panel, &rows, kernel, &mut tile);
                panels.scores(panel, &own_centroids, kernel, &mut between);
                for (i, &(cell, score)) in own.iter().enumerate() {
                    for lane in 0..panels.lanes {
                        let square =
                            2.0 * (centroids.halves[cell as usize] - between[i * panels.lanes + lane]);
                        let margin = score - tile[i * panels.lanes + lane];
                        let room = square.max(0.0).sqrt() * bound.reach as f32 + roundings - margin;
                        margins[i * stride + panel * panels.lanes + lane] = margin;
                        rooms[i * stride + panel * panels.lanes + lane] = room;
                        reached += usize::from(room >= 0.0 && panel * panels.lanes + lane < cells);
                    }
                }
            }
            Ok::<_, ScanError>(reached)
        })
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    let met: usize = (0..count)
        .into_par_iter()
        .map(|i| {
            watch.check()?;
            let own = nearest[i].0 as usize;
            let meets = |j: usize| {
                let other = nearest[j].0 as usize;
                margins[j * stride + own] <= rooms[i * stride + other]
            };
            Ok::<_, ScanError>((0..i).filter(|&j| meets(j)).count())
        })
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    let rows = rows as f64;
    let pairs = (count * (count - 1) / 2).max(1) as f64;
    let routing = routing_cycles(rows, cells, depth);
    let entries = rows * reached as f64 / count as f64;
    let met = rows * rows / 2.0 * (met + 1) as f64 / pairs;
    Ok(Estimate { routing, cycles: routing + join_cycles(entries, met, depth) })
}
