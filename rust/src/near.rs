//! Exact cosine near-duplicates: every pair at or above a threshold, none missed and none too many.

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::ScanError;
use crate::ids::KeyTable;
use crate::parallel::Watch;

/// Why a row takes no part in a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Usability {
    /// It takes part.
    Usable = 0,
    /// Every component is zero.
    Zero = 1,
    /// A component is NaN.
    Nan = 2,
    /// A component is infinite.
    Infinite = 3,
    /// The norm is below the smallest normal float32, where the direction is noise.
    Denormal = 4,
}

/// Independent sums of one dot product; the order of summation that every kernel keeps.
const LANES: usize = 16;

/// x.y in float64. Lane `j` sums the products at positions congruent to `j` modulo 16 in ascending
/// order; the lanes are then added in halves (16, 8, 4, 2, 1). The product of two float32 values is
/// exact in float64, so fused and separate multiply-adds agree and every kernel gives the same bits.
pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (x_tail, y_tail) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for j in 0..LANES {
            lanes[j] += f64::from(x[j]) * f64::from(y[j]);
        }
    }
    for (j, (&x, &y)) in x_tail.iter().zip(y_tail).enumerate() {
        lanes[j] += f64::from(x) * f64::from(y);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            lanes[j] += lanes[j + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// x.y / sqrt((x.x)(y.y)), clamped to [-1, 1]; exactly 1.0 when x equals y, for sqrt(a * a) is a.
pub fn cosine(dot_xy: f64, dot_xx: f64, dot_yy: f64) -> f64 {
    (dot_xy / (dot_xx * dot_yy).sqrt()).clamp(-1.0, 1.0)
}

/// Whether `row` can be scanned, given its `dot(row, row)`.
pub fn usability(row: &[f32], dot_xx: f64) -> Usability {
    if dot_xx.is_finite() {
        if dot_xx == 0.0 {
            return Usability::Zero;
        }
        let smallest = f64::from(f32::MIN_POSITIVE);
        return if dot_xx < smallest * smallest { Usability::Denormal } else { Usability::Usable };
    }
    if row.iter().any(|v| v.is_nan()) { Usability::Nan } else { Usability::Infinite }
}

/// The identity of a row: equal rows, and no others, share it (minus zero counts as zero).
pub fn row_key(row: &[f32], scratch: &mut Vec<u8>) -> [u64; 2] {
    scratch.clear();
    scratch.extend(row.iter().flat_map(|v| (v + 0.0).to_ne_bytes()));
    let hash = xxh3_128(scratch);
    [(hash >> 64) as u64, hash as u64]
}

/// What a scan of one block of rows found.
#[derive(Debug, Default)]
pub struct Hits {
    /// Row of the block, ascending.
    pub row: Vec<i64>,
    /// Group of the index, ascending within a row.
    pub group: Vec<i64>,
    /// The cosine of the two.
    pub cosine: Vec<f64>,
    /// A [`Usability`] per row of the block.
    pub usability: Vec<u8>,
    /// The [`row_key`] of each row of the block.
    pub keys: Vec<[u64; 2]>,
}

/// The distinct rows of the indexed side, ready to be scanned against.
#[derive(Debug)]
pub struct NearIndex {
    dim: usize,
    threshold: f64,
    groups: KeyTable,
    /// The group of every added row, -1 for a row that takes no part.
    group_of_row: Vec<i64>,
    /// Row-major vectors of the groups, `(groups, dim)`.
    vectors: Vec<f32>,
    /// `dot(v, v)` of each group.
    norms: Vec<f64>,
}

impl NearIndex {
    /// An empty index over rows of `dim` components for pairs at or above `threshold`.
    ///
    /// # Errors
    /// [`ScanError::Value`] when `dim` is 0 or the threshold is not in [-1, 1].
    pub fn new(dim: usize, threshold: f64) -> Result<Self, ScanError> {
        if dim == 0 {
            return Err(ScanError::Value("vectors have no components".into()));
        }
        if !(-1.0..=1.0).contains(&threshold) {
            return Err(ScanError::Value(format!(
                "threshold: expected a cosine in [-1, 1], got {threshold}"
            )));
        }
        Ok(Self {
            dim,
            threshold,
            groups: KeyTable::new(2)?,
            group_of_row: Vec::new(),
            vectors: Vec::new(),
            norms: Vec::new(),
        })
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The group of every added row, -1 for a row that takes no part.
    pub fn group_of_row(&self) -> &[i64] {
        &self.group_of_row
    }

    /// Distinct usable rows.
    pub fn group_count(&self) -> usize {
        self.norms.len()
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.vectors.capacity() * 4
            + self.norms.capacity() * 8
            + self.group_of_row.capacity() * 8
            + self.groups.nbytes()
    }

    /// Adds rows, `(n, dim)` row-major; a [`Usability`] for each.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`].
    pub fn add(&mut self, rows: &[f32], watch: &Watch) -> Result<Vec<u8>, ScanError> {
        let described = describe(rows, self.dim, watch)?;
        let mut codes = Vec::with_capacity(described.len());
        for (row, d) in rows.chunks_exact(self.dim).zip(&described) {
            codes.push(d.usability as u8);
            if d.usability != Usability::Usable {
                self.group_of_row.push(-1);
                continue;
            }
            let group = self.groups.insert_one(&d.key)?;
            if group as usize == self.norms.len() {
                self.vectors.extend_from_slice(row);
                self.norms.push(d.dot_xx);
            }
            self.group_of_row.push(i64::from(group));
        }
        Ok(codes)
    }

    /// Every (row of the block, group) with cosine at or above the threshold.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`].
    pub fn scan(&mut self, rows: &[f32], watch: &Watch) -> Result<Hits, ScanError> {
        let described = describe(rows, self.dim, watch)?;
        let found: Vec<Vec<(i64, i64, f64)>> = rows
            .par_chunks_exact(self.dim)
            .zip(&described)
            .enumerate()
            .map(|(i, (row, d))| {
                watch.check()?;
                let mut hits = Vec::new();
                if d.usability == Usability::Usable {
                    for (group, vector) in self.vectors.chunks_exact(self.dim).enumerate() {
                        let score = cosine(dot(row, vector), d.dot_xx, self.norms[group]);
                        if score >= self.threshold {
                            hits.push((i as i64, group as i64, score));
                        }
                    }
                }
                Ok(hits)
            })
            .collect::<Result<_, ScanError>>()?;
        let mut hits = Hits {
            usability: described.iter().map(|d| d.usability as u8).collect(),
            keys: described.iter().map(|d| d.key).collect(),
            ..Hits::default()
        };
        for (row, group, score) in found.into_iter().flatten() {
            hits.row.push(row);
            hits.group.push(group);
            hits.cosine.push(score);
        }
        Ok(hits)
    }
}

struct Described {
    usability: Usability,
    key: [u64; 2],
    dot_xx: f64,
}

fn describe(rows: &[f32], dim: usize, watch: &Watch) -> Result<Vec<Described>, ScanError> {
    if !rows.len().is_multiple_of(dim) {
        return Err(ScanError::Shape(format!("rows: expected (n, {dim}) values, got {}", rows.len())));
    }
    let mut out = Vec::new();
    rows.par_chunks_exact(dim)
        .map_init(Vec::new, |scratch, row| {
            let dot_xx = dot(row, row);
            Described { usability: usability(row, dot_xx), key: row_key(row, scratch), dot_xx }
        })
        .collect_into_vec(&mut out);
    watch.check()?;
    Ok(out)
}

/// The cosine of each row's target with each position of its window.
#[derive(Debug)]
pub struct WindowCosines {
    /// `(n, length)` values, NaN where either vector takes no part in scans.
    pub cosine: Vec<f64>,
    /// A [`Usability`] per target.
    pub targets: Vec<u8>,
    /// A [`Usability`] per position, `(n, length)`.
    pub windows: Vec<u8>,
}

/// Compares `targets`, `(n, dim)`, with their `windows`, `(n, length, dim)`.
///
/// # Errors
/// [`ScanError::Shape`]; [`ScanError::Cancelled`].
pub fn window_cosines(
    targets: &[f32],
    windows: &[f32],
    dim: usize,
    length: usize,
    watch: &Watch,
) -> Result<WindowCosines, ScanError> {
    let rows = targets.len() / dim.max(1);
    if dim == 0 || targets.len() != rows * dim || windows.len() != rows * length * dim {
        return Err(ScanError::Shape(format!(
            "windows: expected ({rows}, {length}, {dim}) values, got {}",
            windows.len()
        )));
    }
    let scored: Vec<(f64, Usability)> = targets.par_chunks_exact(dim).map(|row| self_dot(row)).collect();
    watch.check()?;
    let positions: Vec<(f64, Usability)> = windows
        .par_chunks_exact(dim)
        .enumerate()
        .map(|(cell, vector)| {
            let row = cell / length;
            let (dot_vv, usable) = self_dot(vector);
            let (dot_tt, target_usable) = scored[row];
            if usable != Usability::Usable || target_usable != Usability::Usable {
                return (f64::NAN, usable);
            }
            let target = &targets[row * dim..][..dim];
            (cosine(dot(target, vector), dot_tt, dot_vv), usable)
        })
        .collect();
    watch.check()?;
    Ok(WindowCosines {
        cosine: positions.iter().map(|p| p.0).collect(),
        targets: scored.iter().map(|s| s.1 as u8).collect(),
        windows: positions.iter().map(|p| p.1 as u8).collect(),
    })
}

fn self_dot(row: &[f32]) -> (f64, Usability) {
    let dot_xx = dot(row, row);
    (dot_xx, usability(row, dot_xx))
}
