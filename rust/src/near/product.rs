//! The blocked product: every pair of two sides once in float32, the survivors again in float64.
//!
//! **No pair is missed.** Let u = 2^-24 and x' the normalised row rounded to float32, so that each
//! component is within (1 + u)(1 + e) of x / |x|, where e < u / 2^20 holds the float64 roundings of the norm
//! and of the division. A sum of d products in float32, in whatever order and with or without fused
//! steps, is off by at most g(d) sum |x'_i y'_i| with g(n) = n u / (1 - n u) (Higham, Accuracy and
//! Stability, 3.1), and sum |x'_i y'_i| <= |x'||y'| <= (1 + 3 u)^2. The tile is added to once per
//! [`DEPTH`] terms, which makes n = d + d / DEPTH + 1 roundings on the longest path; two more for the
//! roundings of x' and y' and five in hand for e, for the canonical score's own float64 rounding, and for
//! the products below the normal range (2^-149 each). A pair whose float32 product is below
//! threshold - g(d + d / DEPTH + 8) therefore scores below the threshold, and is dropped; every other
//! pair is scored by [`super::score::dot`], and that score alone decides.

use rayon::prelude::*;

use super::bounds::DEPTH;
use super::goals::Goals;
use super::rescore::Rescoring;
use super::rows::Rows;
use super::score::{Pair, cosine};
use crate::error::ScanError;
use crate::kernel::Kernel;
use crate::parallel::Watch;

/// How much is packed at a time. The result does not depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Bytes of left rows per task, which should stay in the second cache.
    pub left: usize,
    /// Bytes of right rows, which should stay in the last cache.
    pub right: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { left: 320 << 10, right: 16 << 20 }
    }
}

/// Tasks per thread that keep the threads busy to the end.
const TASKS_PER_THREAD: usize = 4;

/// The largest float32 that the product of a pair at the threshold cannot be below.
fn limit(threshold: f64, dim: usize) -> f32 {
    let roundings = (dim + dim / DEPTH + 8) as f64 * f64::from(f32::EPSILON) / 2.0;
    if roundings >= 0.5 {
        return f32::NEG_INFINITY;
    }
    let exact = threshold - roundings / (1.0 - roundings);
    let rounded = exact as f32;
    if f64::from(rounded) > exact { rounded.next_down() } else { rounded }
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch {
    left: Vec<f32>,
    tiles: Vec<f32>,
    floors: Vec<f32>,
    positions: Vec<u32>,
    candidates: Vec<(u32, u32)>,
}

/// The blocked product of one index: its kernel, and the room for packed right rows between scans.
#[derive(Debug)]
pub(super) struct Product {
    kernel: &'static Kernel,
    threshold: f64,
    blocks: Blocks,
    packed: Vec<f32>,
}

impl Product {
    pub fn new(kernel: &'static Kernel, threshold: f64, blocks: Blocks) -> Self {
        Self { kernel, threshold, blocks, packed: Vec::new() }
    }

    pub fn nbytes(&self) -> usize {
        self.packed.capacity() * 4
    }

    /// Every pair of a left and a right row that scores at or above the threshold, sorted by left and
    /// right row, in chunks of left rows.
    ///
    /// With `places`, left row i meets only the right rows after `places[i]`, which ascend.
    ///
    /// `units` of progress are given to the watch, spread over the work.
    pub fn scan(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        places: Option<&[usize]>,
        units: usize,
        watch: &Watch,
    ) -> Result<Vec<Vec<Pair>>, ScanError> {
        let (kernel, threshold) = (self.kernel, self.threshold);
        let limit = limit(threshold, left.dim);
        let mut found: Vec<(usize, Vec<Pair>)> = Vec::new();
        let mut of_chunk = |(from, count): (usize, usize), mut pairs: Vec<Pair>| {
            let chunk = from / count;
            if found.len() == chunk {
                found.push((from, Vec::new()));
            }
            found[chunk].1.append(&mut pairs);
        };
        let left_rows = self.sweep(left, right, places, units, watch, &mut of_chunk, |scratch, task| {
            candidates(kernel, left, task.left, task.panels, Floors::Same(limit), scratch, watch)?;
            let rescored =
                Rescoring { kernel, left, right, from: (task.left.0, task.right_from), places, threshold };
            rescored.pairs(&scratch.candidates, watch)
        })?;
        found
            .into_par_iter()
            .map(|(from, pairs)| {
                watch.check()?;
                Ok(by_left_row(&pairs, from, left_rows))
            })
            .collect()
    }

    /// Scores every pair that may reach the goal of its right row, and offers it.
    pub fn raise(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        goals: &impl Goals,
        units: usize,
        watch: &Watch,
    ) -> Result<(), ScanError> {
        let kernel = self.kernel;
        let lanes = kernel.tile_lanes();
        let margin = margin(left.dim);
        self.sweep(left, right, None, units, watch, &mut |_, ()| (), |scratch, task| {
            let rows = task.panels.len() / left.dim;
            scratch.floors.clear();
            scratch.floors.extend((0..rows.next_multiple_of(lanes)).map(|lane| {
                let group = task.right_from + lane;
                if group < right.len() { floor(goals.score(group), margin) } else { f32::MAX }
            }));
            let floors = std::mem::take(&mut scratch.floors);
            candidates(kernel, left, task.left, task.panels, Floors::OfLanes(&floors), scratch, watch)?;
            scratch.floors = floors;
            for (i, &(row, lane)) in scratch.candidates.iter().enumerate() {
                if i % 4096 == 0 {
                    watch.check()?;
                }
                let (i, j) = (task.left.0 + row as usize, task.right_from + lane as usize);
                if i < left.len() && j < right.len() {
                    let ((x, xx), (y, yy)) = (left.get(i), right.get(j));
                    goals.offer(left.row(i), j, cosine(kernel.dot(x, y), xx, yy));
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Does `work` on every chunk of left rows with every part of the packed right rows, and gives what
    /// comes of it to `collect`, with the chunk's left rows, in ascending order within each slab of right
    /// rows. Returns the left rows of a chunk.
    #[expect(clippy::too_many_arguments)]
    fn sweep<T: Send>(
        &mut self,
        left: Rows<'_>,
        right: Rows<'_>,
        places: Option<&[usize]>,
        units: usize,
        watch: &Watch,
        collect: &mut impl FnMut((usize, usize), T),
        work: impl Fn(&mut Scratch, Task<'_>) -> Result<T, ScanError> + Sync,
    ) -> Result<usize, ScanError> {
        let Self { kernel, blocks, packed, .. } = self;
        let dim = left.dim;
        let (tile_rows, lanes) = (kernel.tile_rows(), kernel.tile_lanes());
        let threads = rayon::current_num_threads();
        let left_rows = (blocks.left / 4 / dim)
            .min(left.len().div_ceil(threads * TASKS_PER_THREAD))
            .next_multiple_of(tile_rows)
            .max(tile_rows);
        let chunks = left.len().div_ceil(left_rows);
        // Slabs of equal size: a short last one would be multiplied as if it were full.
        let slabs = right.len().div_ceil((blocks.right / 4 / dim).max(lanes));
        let slab_rows = right.len().div_ceil(slabs.max(1)).next_multiple_of(lanes);
        if chunks == 0 || slabs == 0 {
            watch.advance(units as u64);
            return Ok(left_rows);
        }
        packed.resize(slab_rows * dim, 0.0);

        // Few left rows: the slab is cut as well, so that no thread is idle.
        let parts = (threads * TASKS_PER_THREAD).div_ceil(chunks).min(slab_rows / lanes);
        let part_rows = (slab_rows / lanes).div_ceil(parts) * lanes;

        let tasks = chunks * parts;
        for slab in 0..slabs {
            let first = slab * slab_rows;
            packed.par_chunks_mut(lanes * dim).enumerate().try_for_each(|(panel, out)| {
                watch.check()?;
                right.pack(first + panel * lanes, lanes, out);
                Ok::<_, ScanError>(())
            })?;
            let packed = &packed[..];
            let of_tasks: Vec<T> = (0..tasks)
                .into_par_iter()
                .with_max_len(1)
                .map_init(Scratch::default, |scratch, task| {
                    let rows = (task / parts * left_rows, left_rows);
                    let part = (task % parts * part_rows).min(slab_rows);
                    let end = (part + part_rows).min(slab_rows);
                    let past = places.map_or(0, |places| (places[rows.0] + 1).saturating_sub(first));
                    let part = (past / lanes * lanes).clamp(part, end);
                    let panels = &packed[part * dim..end * dim];
                    let done = work(scratch, Task { left: rows, right_from: first + part, panels })?;
                    // Shares of the units that add up to them exactly.
                    let (step, steps) = (slab * tasks + task, slabs * tasks);
                    watch.advance(((step + 1) * units / steps - step * units / steps) as u64);
                    Ok(done)
                })
                .collect::<Result<_, ScanError>>()?;
            for (task, done) in of_tasks.into_iter().enumerate() {
                collect((task / parts * left_rows, left_rows), done);
            }
        }
        Ok(left_rows)
    }
}

/// A chunk of left rows and a part of the right ones.
struct Task<'a> {
    /// First left row, and how many, rows past the end included.
    left: (usize, usize),
    right_from: usize,
    /// The right rows, packed.
    panels: &'a [f32],
}

/// What a float32 product must reach to be looked at closer.
#[derive(Clone, Copy)]
enum Floors<'a> {
    Same(f32),
    /// One for each right row of a task.
    OfLanes(&'a [f32]),
}

/// How far below a right row's best score a float32 product may be that starts from the negated floor: the
/// start is a term like others, of absolute value up to 2, in sums with one rounding more.
fn margin(dim: usize) -> f64 {
    let roundings = (dim + dim / DEPTH + 9) as f64 * f64::from(f32::EPSILON) / 2.0;
    if roundings >= 0.5 { f64::INFINITY } else { 3.0 * roundings / (1.0 - roundings) }
}

/// The largest float32 that the product of a pair at `score` cannot be below, or what every product is above.
fn floor(score: f64, margin: f64) -> f32 {
    if margin.is_infinite() {
        return f32::MIN;
    }
    let exact = (score - margin).max(LOWEST);
    let rounded = exact as f32;
    if f64::from(rounded) > exact { rounded.next_down() } else { rounded }
}

/// Below any product, whatever its rounding.
const LOWEST: f64 = -2.0;

/// The pairs by left row, which is one of `(from, count)`. They came panel by panel, so that those of one
/// left row are in the order of their right rows, and stay in it.
fn by_left_row(pairs: &[Pair], from: usize, count: usize) -> Vec<Pair> {
    let mut places = vec![0; count + 1];
    for pair in pairs {
        places[pair.left as usize - from + 1] += 1;
    }
    for row in 0..count {
        places[row + 1] += places[row];
    }
    let mut sorted = vec![Pair { left: 0, right: 0, cosine: 0.0 }; pairs.len()];
    for pair in pairs {
        let place = &mut places[pair.left as usize - from];
        sorted[*place] = *pair;
        *place += 1;
    }
    sorted
}

/// The pairs of left rows `(from, count)` and the packed panels whose float32 product reaches its floor, as
/// offsets from the first row of both sides.
fn candidates(
    kernel: &Kernel,
    left: Rows<'_>,
    (from, count): (usize, usize),
    panels: &[f32],
    floors: Floors<'_>,
    scratch: &mut Scratch,
    watch: &Watch,
) -> Result<(), ScanError> {
    let dim = left.dim;
    let (tile_rows, lanes) = (kernel.tile_rows(), kernel.tile_lanes());
    let Scratch { left: packed, tiles, positions, candidates, .. } = scratch;
    candidates.clear();
    if panels.is_empty() {
        return Ok(());
    }
    packed.resize(count * dim, 0.0);
    left.pack(from, tile_rows, packed);
    tiles.resize(count * lanes, 0.0);
    for (panel, right) in panels.chunks_exact(dim * lanes).enumerate() {
        watch.check()?;
        let limit = match floors {
            Floors::Same(limit) => {
                tiles.fill(0.0);
                limit
            }
            Floors::OfLanes(floors) => {
                let floors = &floors[panel * lanes..][..lanes];
                for row in tiles.chunks_exact_mut(lanes) {
                    row.iter_mut().zip(floors).for_each(|(start, floor)| *start = -floor);
                }
                0.0
            }
        };
        for depth in (0..dim).step_by(DEPTH) {
            let end = (depth + DEPTH).min(dim);
            let tiles = tiles.chunks_exact_mut(tile_rows * lanes);
            for (left, tile) in packed.chunks_exact(dim * tile_rows).zip(tiles) {
                kernel.multiply(
                    &left[depth * tile_rows..end * tile_rows],
                    &right[depth * lanes..end * lanes],
                    tile,
                );
            }
        }
        positions.clear();
        kernel.at_least(tiles, limit, positions);
        candidates.extend(positions.iter().map(|&position| {
            let (row, lane) = (position as usize / lanes, position as usize % lanes);
            (row as u32, (panel * lanes + lane) as u32)
        }));
    }
    Ok(())
}
