//! Sketches: the little that a fingerprint keeps of a vector, and the largest cosine that it leaves open.
//!
//! `docs/fingerprint.md` has the proof. In short: with X and T of unit length, any directions P, and any
//! vectors w and c, X.T is w.c + (P X - w).c + w.P(T - P'c) + (X - P'w).(T - P'c), P' being the transpose.
//! Here c is what the code of the training row stands for and w is close to P X. The norms of the four
//! differences are measured or bounded row by row, and Cauchy and Schwarz do the rest.

use rayon::prelude::*;

use crate::error::ScanError;
use crate::kernel::{self, Kernel};
use crate::near::{Usability, row_key, usability};
use crate::parallel::Watch;

/// Components multiplied before a sum is added to what came before.
const DEPTH: usize = 256;

/// Rows of a task.
const TASK_ROWS: usize = 192;

/// Training panels between two looks at the watch.
const PANELS_PER_CHECK: usize = 256;

/// Tasks per thread that keep the threads busy to the end.
const TASKS_PER_THREAD: usize = 4;

/// Largest component of a code.
const PEAK: f64 = 127.0;

/// Unit of what is stored beside a code. Powers of two are exact in float32.
const GRAIN: f64 = 1.0 / 32768.0;

/// Directions may be this far from orthonormal, and the sketch is a good one.
const LARGEST_DEFECT: f64 = 1e-2;

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Room for roundings in float64, which are smaller by far.
const SLACK: f64 = 1e-9;

/// Nearly orthonormal directions, and the unit of the codes along each.
#[derive(Debug)]
pub struct Sketcher {
    kernel: &'static Kernel,
    dim: usize,
    width: usize,
    /// `(width, dim)` row-major.
    directions: Vec<f32>,
    steps: Vec<f64>,
    /// At least |P P' - I|.
    defect: f64,
    /// At least |P|.
    norm: f64,
}

/// The sketches of some rows.
#[derive(Debug, Default)]
pub struct Sketches {
    /// `(n, width)` integers; all zero for a row that takes no part.
    pub codes: Vec<i8>,
    /// Upper bounds of |T - P'c| and |P (T - P'c)|, in units of 2^-15.
    pub rests: Vec<[u16; 2]>,
    /// A [`Usability`] per row.
    pub usability: Vec<u8>,
    /// The [`row_key`] of each row.
    pub keys: Vec<[u64; 2]>,
}

impl Sketcher {
    /// A sketcher for rows of `dim` components, given `(width, dim)` directions and a step for each.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Value`] for directions that are far from orthonormal, and for steps
    /// that are not positive.
    pub fn new(directions: Vec<f32>, steps: Vec<f64>, dim: usize) -> Result<Self, ScanError> {
        Self::with_kernel(directions, steps, dim, kernel::active()?)
    }

    fn with_kernel(
        directions: Vec<f32>,
        steps: Vec<f64>,
        dim: usize,
        kernel: &'static Kernel,
    ) -> Result<Self, ScanError> {
        let width = steps.len();
        if dim == 0 || width == 0 || directions.len() != width * dim {
            return Err(ScanError::Shape(format!(
                "directions: expected ({width}, {dim}) values, got {}",
                directions.len()
            )));
        }
        if !steps.iter().all(|step| (1e-12..=1.0).contains(step)) {
            return Err(ScanError::Value("steps: expected numbers from 1e-12 to 1".into()));
        }
        let defect = defect(&directions, dim, kernel);
        // A defect that is NaN is refused as well.
        if defect.is_nan() || defect > LARGEST_DEFECT {
            return Err(ScanError::Value("directions: expected nearly orthonormal rows".into()));
        }
        Ok(Self { kernel, dim, width, directions, steps, defect, norm: (1.0 + defect).sqrt() + SLACK })
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Components per code.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bound of the distance between a projection in float32 and the exact one.
    fn slip(&self) -> f64 {
        let roundings = (DEPTH.min(self.dim) + self.dim.div_ceil(DEPTH) + 2) as f64 * UNIT;
        let sums = roundings / (1.0 - roundings) * (self.width as f64).sqrt();
        (sums + 2.0 * UNIT) * self.norm * 1.01 + SLACK
    }

    /// Bound of the error of a score, and of a component of a projection, in float64.
    fn score_error(&self) -> f64 {
        (self.dim as f64 / 4.0 + 64.0) * f64::EPSILON
    }

    /// Sketches rows, `(n, dim)` row-major.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`].
    pub fn sketch(&self, rows: &[f32], watch: &Watch) -> Result<Sketches, ScanError> {
        let count = self.count(rows)?;
        let mut out = Sketches {
            codes: vec![0; count * self.width],
            rests: vec![[0; 2]; count],
            usability: vec![0; count],
            keys: vec![[0; 2]; count],
        };
        let panels = self.panels();
        out.codes
            .par_chunks_mut(TASK_ROWS * self.width)
            .zip(out.rests.par_chunks_mut(TASK_ROWS))
            .zip(out.usability.par_chunks_mut(TASK_ROWS))
            .zip(out.keys.par_chunks_mut(TASK_ROWS))
            .zip(rows.par_chunks(TASK_ROWS * self.dim))
            .try_for_each_init(Scratch::default, |scratch, ((((codes, rests), usable), keys), rows)| {
                watch.check()?;
                let squares: Vec<f64> =
                    rows.chunks_exact(self.dim).map(|row| self.kernel.dot(row, row)).collect();
                for (row, ((code, key), square)) in
                    rows.chunks_exact(self.dim).zip(usable.iter_mut().zip(keys).zip(&squares))
                {
                    *code = usability(row, *square) as u8;
                    *key = row_key(row, &mut scratch.bytes);
                }
                self.project(rows, &squares, &panels, scratch);
                let projections = scratch.projections.chunks_exact(self.width);
                let outs = codes.chunks_exact_mut(self.width).zip(rests).zip(usable.iter());
                for (projection, ((code, rest), usable)) in projections.zip(outs) {
                    if *usable == Usability::Usable as u8 {
                        *rest = self.encode(projection, code);
                    }
                }
                watch.advance(squares.len() as u64);
                Ok::<_, ScanError>(())
            })?;
        Ok(out)
    }

    fn count(&self, rows: &[f32]) -> Result<usize, ScanError> {
        if rows.len().is_multiple_of(self.dim) {
            return Ok(rows.len() / self.dim);
        }
        Err(ScanError::Shape(format!("rows: expected (n, {}) values, got {}", self.dim, rows.len())))
    }

    /// The directions as panels of the kernel's lanes, each `(dim, lanes)`, filled up with zeros.
    fn panels(&self) -> Vec<f32> {
        let lanes = self.kernel.tile_lanes();
        let mut panels = vec![0.0; self.width.next_multiple_of(lanes) * self.dim];
        for (k, direction) in self.directions.chunks_exact(self.dim).enumerate() {
            let panel = &mut panels[k / lanes * lanes * self.dim..][..lanes * self.dim];
            for (value, slot) in direction.iter().zip(panel[k % lanes..].iter_mut().step_by(lanes)) {
                *slot = *value;
            }
        }
        panels
    }

    /// The projections in float32 of rows at unit length, `(n, width)` in `scratch.projections`.
    fn project(&self, rows: &[f32], squares: &[f64], panels: &[f32], scratch: &mut Scratch) {
        let (tile_rows, lanes) = (self.kernel.tile_rows(), self.kernel.tile_lanes());
        let Scratch { scaled, tile, projections, .. } = scratch;
        projections.clear();
        projections.resize(squares.len() * self.width, 0.0);
        scaled.clear();
        for (row, square) in rows.chunks_exact(self.dim).zip(squares) {
            // A row that takes no part becomes something finite or not; nobody looks at it.
            let scale = 1.0 / square.sqrt();
            scaled.extend(row.iter().map(|&x| (f64::from(x) * scale) as f32));
        }
        let tiles = scaled.chunks(tile_rows * self.dim).zip(projections.chunks_mut(tile_rows * self.width));
        for (rows, out) in tiles {
            let mut slices: Vec<&[f32]> = rows.chunks_exact(self.dim).collect();
            slices.resize(tile_rows, slices[0]);
            for (panel, first) in panels.chunks_exact(self.dim * lanes).zip((0..).step_by(lanes)) {
                tile.clear();
                tile.resize(tile_rows * lanes, 0.0);
                for depth in (0..self.dim).step_by(DEPTH) {
                    let end = (depth + DEPTH).min(self.dim);
                    let parts: Vec<&[f32]> = slices.iter().map(|row| &row[depth..end]).collect();
                    self.kernel.project(&parts, &panel[depth * lanes..end * lanes], tile);
                }
                let kept = lanes.min(self.width - first);
                for (out, sums) in out.chunks_exact_mut(self.width).zip(tile.chunks_exact(lanes)) {
                    out[first..first + kept].copy_from_slice(&sums[..kept]);
                }
            }
        }
    }

    /// The code of a projection in float32, and the bounds that belong to it.
    fn encode(&self, projection: &[f32], code: &mut [i8]) -> [u16; 2] {
        for ((q, &z), step) in code.iter_mut().zip(projection).zip(&self.steps) {
            *q = (f64::from(z) / step).round().clamp(-PEAK, PEAK) as i8;
        }
        if let Some(rests) = self.rests(projection, code) {
            return rests;
        }
        // Steps that do not suit the row at all: the code zero says nothing, and its bounds are small.
        code.fill(0);
        self.rests(projection, code).expect("the bounds of a unit vector are below two")
    }

    fn rests(&self, projection: &[f32], code: &[i8]) -> Option<[u16; 2]> {
        let (mut product, mut square, mut off) = (0.0, 0.0, 0.0);
        for ((&q, &z), step) in code.iter().zip(projection).zip(&self.steps) {
            let (c, z) = (f64::from(q) * step, f64::from(z));
            product += c * z;
            square += c * c;
            off += (c - z) * (c - z);
        }
        let (length, slip) = (square.sqrt(), self.slip());
        let rest =
            (1.0 - 2.0 * product + 2.0 * length * slip + (1.0 + self.defect) * square + SLACK).max(0.0);
        let error = off.sqrt() + slip + self.defect * length + SLACK;
        Some([grains(rest.sqrt() + SLACK)?, grains(error)?])
    }

    /// What is asked of a training row's sketch, given a row that can be compared.
    fn query(&self, row: &[f32], square: f64, longest: f64, query: &mut Vec<f32>) -> f64 {
        let scale = 1.0 / square.sqrt();
        let (mut product, mut squares, mut off) = (0.0, 0.0, 0.0);
        for (direction, step) in self.directions.chunks_exact(self.dim).zip(&self.steps) {
            let z = self.kernel.dot(row, direction) * scale;
            let value = (z * step) as f32;
            let w = f64::from(value) / step;
            query.push(value);
            product += w * z;
            squares += w * w;
            off += (z - w) * (z - w);
        }
        let error = self.score_error() * (self.width as f64).sqrt() * self.norm;
        let length = squares.sqrt();
        let rest = 1.0 - 2.0 * product + 2.0 * length * error + (1.0 + self.defect) * squares + SLACK;
        query.push(rounded_up(rest.max(0.0).sqrt() + SLACK));
        query.push(rounded_up(length + SLACK));
        (off.sqrt() + error) * longest + self.score_error() + SLACK
    }
}

/// |P P' - I| in the Frobenius norm, which is no less than the spectral one.
fn defect(directions: &[f32], dim: usize, kernel: &Kernel) -> f64 {
    let rows: Vec<&[f32]> = directions.chunks_exact(dim).collect();
    let squares: Vec<f64> = (0..rows.len())
        .into_par_iter()
        .map(|i| {
            let off: f64 = (0..i).map(|j| kernel.dot(rows[i], rows[j]).powi(2)).sum();
            2.0 * off + (kernel.dot(rows[i], rows[i]) - 1.0).powi(2)
        })
        .collect();
    // A parallel sum would depend on the number of threads.
    squares.iter().sum::<f64>().sqrt() + SLACK
}

/// `value` in units of [`GRAIN`], rounded up, if it fits.
fn grains(value: f64) -> Option<u16> {
    let grains = (value / GRAIN).ceil();
    (grains <= f64::from(u16::MAX)).then_some(grains as u16)
}

fn rounded_up(value: f64) -> f32 {
    let rounded = value as f32;
    if f64::from(rounded) < value { rounded.next_up() } else { rounded }
}

/// Room for one task, kept by its thread.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    scaled: Vec<f32>,
    tile: Vec<f32>,
    projections: Vec<f32>,
}

/// What a scan says of each row of a block.
#[derive(Debug, Default)]
pub struct Bounds {
    /// No score with a training row is above it; negative infinity where all are below the threshold.
    pub bound: Vec<f64>,
    /// A [`Usability`] per row.
    pub usability: Vec<u8>,
    /// The [`row_key`] of each row.
    pub keys: Vec<[u64; 2]>,
}

/// The sketches of the training rows.
#[derive(Debug)]
pub struct SketchIndex {
    sketcher: Sketcher,
    codes: Vec<i8>,
    rests: Vec<[u16; 2]>,
    /// At least the norm of what each code stands for.
    longest: f64,
}

impl SketchIndex {
    /// An index over `(n, width)` codes and what belongs to them.
    ///
    /// # Errors
    /// [`ScanError::Shape`].
    pub fn new(sketcher: Sketcher, codes: Vec<i8>, rests: Vec<[u16; 2]>) -> Result<Self, ScanError> {
        if codes.len() != rests.len() * sketcher.width {
            return Err(ScanError::Shape(format!(
                "codes: expected ({}, {}) values, got {}",
                rests.len(),
                sketcher.width,
                codes.len()
            )));
        }
        let longest = codes
            .par_chunks_exact(sketcher.width)
            .map(|code| {
                let square = |(&q, step): (&i8, &f64)| (f64::from(q) * step).powi(2);
                code.iter().zip(&sketcher.steps).map(square).sum::<f64>()
            })
            .reduce(|| 0.0, f64::max)
            .sqrt()
            + SLACK;
        Ok(Self { sketcher, codes, rests, longest })
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.sketcher.dim
    }

    /// Looks for rows, `(n, dim)` row-major, that may score at or above the threshold with a training row.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`].
    pub fn bounds(&self, rows: &[f32], threshold: f64, watch: &Watch) -> Result<Bounds, ScanError> {
        let Sketcher { kernel, dim, .. } = self.sketcher;
        let count = self.sketcher.count(rows)?;
        let mut out = Bounds {
            bound: vec![f64::NEG_INFINITY; count],
            usability: vec![0; count],
            keys: vec![[0; 2]; count],
        };
        let described: Vec<(Vec<f32>, f64)> = rows
            .par_chunks_exact(dim)
            .zip(out.usability.par_iter_mut())
            .zip(out.keys.par_iter_mut())
            .map(|((row, usable), key)| {
                watch.check()?;
                let square = kernel.dot(row, row);
                *usable = usability(row, square) as u8;
                *key = row_key(row, &mut Vec::new());
                let mut query = Vec::new();
                let mut extra = f64::NAN;
                if *usable == Usability::Usable as u8 {
                    extra = self.sketcher.query(row, square, self.longest, &mut query);
                }
                Ok((query, extra))
            })
            .collect::<Result<_, ScanError>>()?;
        let usable: Vec<usize> = (0..count).filter(|&i| !described[i].0.is_empty()).collect();
        let queries: Vec<&[f32]> = usable.iter().map(|&i| &described[i].0[..]).collect();
        let extras: Vec<f64> = usable.iter().map(|&i| described[i].1).collect();
        for (&i, bound) in usable.iter().zip(self.largest(&queries, &extras, threshold, watch)?) {
            out.bound[i] = bound;
        }
        watch.advance(count as u64);
        Ok(out)
    }

    /// For each query the largest of its products with training rows plus its extra, where it reaches the
    /// threshold.
    fn largest(
        &self,
        queries: &[&[f32]],
        extras: &[f64],
        threshold: f64,
        watch: &Watch,
    ) -> Result<Vec<f64>, ScanError> {
        let kernel = self.sketcher.kernel;
        let panels = self.rests.len().div_ceil(kernel.tile_lanes());
        let chunks = queries.len().div_ceil(TASK_ROWS);
        if chunks == 0 || panels == 0 {
            return Ok(vec![f64::NEG_INFINITY; queries.len()]);
        }
        let margin = self.margin(queries);
        // Few queries: the training rows are cut as well, so that no thread is idle.
        let parts = (rayon::current_num_threads() * TASKS_PER_THREAD).div_ceil(chunks).min(panels);
        let share = panels.div_ceil(parts);
        let of_tasks: Vec<Vec<f64>> = (0..chunks * parts)
            .into_par_iter()
            .with_max_len(1)
            .map(|task| {
                let from = task / parts * TASK_ROWS;
                let to = (from + TASK_ROWS).min(queries.len());
                let first = task % parts * share;
                let panels = first.min(panels)..(first + share).min(panels);
                self.task(&queries[from..to], &extras[from..to], panels, threshold, margin, watch)
            })
            .collect::<Result<_, ScanError>>()?;
        let mut largest = vec![f64::NEG_INFINITY; queries.len()];
        for (task, bounds) in of_tasks.iter().enumerate() {
            for (best, bound) in largest[task / parts * TASK_ROWS..].iter_mut().zip(bounds) {
                *best = bound.max(*best);
            }
        }
        Ok(largest)
    }

    /// Bound of the error of a product in float32: roundings times the largest sum of absolute products.
    fn margin(&self, queries: &[&[f32]]) -> f64 {
        let width = self.sketcher.width;
        let largest = |k: usize| queries.iter().map(|query| f64::from(query[k])).fold(0.0, f64::max);
        let stored = |k: usize| f64::from(self.rests.iter().map(|r| r[k]).max().unwrap_or(0)) * GRAIN;
        let length = largest(width + 1);
        let sum = length * self.longest + largest(width) * stored(0) + length * stored(1);
        let roundings = (width + 6) as f64 * UNIT;
        if roundings >= 0.5 {
            return f64::INFINITY;
        }
        roundings / (1.0 - roundings) * sum * 1.01 + SLACK
    }

    /// One training row as what a query is multiplied with.
    fn stored(&self, row: usize) -> impl Iterator<Item = f32> {
        let width = self.sketcher.width;
        let code = self.codes[row * width..][..width].iter().map(|&q| f32::from(q));
        code.chain(self.rests[row].map(|rest| (f64::from(rest) * GRAIN) as f32))
    }

    fn task(
        &self,
        queries: &[&[f32]],
        extras: &[f64],
        panels: std::ops::Range<usize>,
        threshold: f64,
        margin: f64,
        watch: &Watch,
    ) -> Result<Vec<f64>, ScanError> {
        let kernel = self.sketcher.kernel;
        let (tile_rows, lanes) = (kernel.tile_rows(), kernel.tile_lanes());
        let depth = self.sketcher.width + 2;
        let extra = extras.iter().copied().fold(0.0, f64::max);
        let limit = {
            let exact = threshold - margin - extra;
            let rounded = exact as f32;
            if f64::from(rounded) > exact { rounded.next_down() } else { rounded }
        };
        let mut left = vec![0.0; queries.len().next_multiple_of(tile_rows) * depth];
        for (i, query) in queries.iter().enumerate() {
            let panel = &mut left[i / tile_rows * tile_rows * depth..][..tile_rows * depth];
            panel[i % tile_rows..].iter_mut().step_by(tile_rows).zip(*query).for_each(|(v, q)| *v = *q);
        }
        let mut right = vec![0.0; depth * lanes];
        let mut tiles = vec![0.0; left.len() / depth * lanes];
        let mut positions = Vec::new();
        let mut stored = Vec::with_capacity(depth);
        let mut best = vec![f64::NEG_INFINITY; queries.len()];
        for (step, panel) in panels.enumerate() {
            if step % PANELS_PER_CHECK == 0 {
                watch.check()?;
            }
            let rows = panel * lanes..((panel + 1) * lanes).min(self.rests.len());
            right.fill(0.0);
            for (lane, row) in rows.clone().enumerate() {
                right[lane..].iter_mut().step_by(lanes).zip(self.stored(row)).for_each(|(v, s)| *v = s);
            }
            tiles.fill(0.0);
            for (left, tile) in
                left.chunks_exact(depth * tile_rows).zip(tiles.chunks_exact_mut(tile_rows * lanes))
            {
                kernel.multiply(left, &right, tile);
            }
            positions.clear();
            kernel.at_least(&tiles, limit, &mut positions);
            for &position in &positions {
                let (i, lane) = (position as usize / lanes, position as usize % lanes);
                if i >= queries.len() || lane >= rows.len() {
                    continue; // filled up
                }
                // In float32 it is seen to be no better than what was found.
                if f64::from(tiles[position as usize]) + margin + extras[i] < best[i] {
                    continue;
                }
                stored.clear();
                stored.extend(self.stored(rows.start + lane));
                let bound = kernel.dot(queries[i], &stored) + extras[i];
                if bound >= threshold && bound > best[i] {
                    best[i] = bound;
                }
            }
        }
        Ok(best)
    }
}
