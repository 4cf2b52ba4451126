//! Rows as the sieve sees them: their projection in float32, and a code of small integers for the first tile.

use rayon::prelude::*;

use super::basis::{Basis, Directions};
use super::bounds::{DEPTH, HALF_NORM, PEAK, half_norms};
use super::rows::Rows;
use crate::error::ScanError;
use crate::kernel::{CODE_OFFSET, Kernel, SIEVE_LANES, SIEVE_ROWS};
use crate::parallel::Watch;

/// Right rows between two looks at what has survived: whole panels, and few in tests, whose sets are small.
pub(super) const STRIP: usize = SIEVE_LANES * if cfg!(test) { 3 } else { 32 };

/// Least need of a code: the products of a half of two codes are within plus and minus this.
pub(super) const LEAST: i32 = -(127 * 127);

/// Norms between these are scaled after the projection; others before it, in float64.
const PLAIN_SQUARES: std::ops::Range<f64> = 1e-30..1e30;

/// Adding and subtracting it rounds a small float32 to an integer, which stands in the low bits between.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// Room for projecting a batch of rows.
#[derive(Default)]
pub(super) struct Scratch {
    tiles: Vec<f32>,
    scaled: Vec<f32>,
    quotients: Vec<f32>,
    /// The integers of the row that was quantised last, as signed bytes.
    integers: Vec<u8>,
}

/// Encodes rows under one basis for pairs up to one distance.
#[derive(Clone, Copy)]
pub(super) struct Encoder<'a> {
    pub basis: &'a Basis,
    pub kernel: &'static Kernel,
    /// Largest distance that the exact projections of a pair to be kept can have.
    pub radius: f64,
    /// Bound of the distance between a row's projection in float32 and the exact one.
    pub slip: f64,
}

/// What rounding to integers made of a row.
#[derive(Clone, Default)]
pub(super) struct Quantised {
    /// Sums of squares of the integers over components 0 and 1, and 2 and 3, modulo 4.
    pub squares: [i32; 2],
    /// Their sums over the same.
    pub sums: [i32; 2],
    /// At least the distance between the code and the exact projection.
    pub error: f64,
}

impl Quantised {
    /// Half the square of the code.
    pub fn half(&self) -> f64 {
        f64::from(self.squares[0] + self.squares[1]) / 2.0
    }

    /// Whether a code that needs this much says anything: its products with other such codes fit sixteen bits.
    fn says(&self, need: i32) -> bool {
        need >= LEAST && self.squares.iter().all(|&square| square <= -LEAST)
    }
}

impl Encoder<'_> {
    /// The largest square of the distance in float32 that two projections can have whose exact ones are within
    /// a radius.
    pub fn limit(&self, radius: f64) -> f32 {
        // The distance in float32 has at most width + 2 roundings, each making it shorter by 2^-24 at most.
        let roundings = (self.basis.width + 8) as f64 * f64::from(f32::EPSILON);
        let reach = (radius + 2.0 * self.slip).powi(2) * (1.0 + roundings);
        (reach as f32).next_up()
    }

    /// Projections `(count, width)` of rows `from..from + count`.
    pub fn project(&self, rows: Rows<'_>, from: usize, projections: &mut [f32], scratch: &mut Scratch) {
        let Basis { width, ref directions, .. } = *self.basis;
        let count = projections.len() / width;
        let Scratch { tiles, scaled, .. } = scratch;
        scaled.clear();
        let plain = |i: usize| PLAIN_SQUARES.contains(&rows.get(from + i).1);
        for (row, square) in (0..count).filter(|&i| !plain(i)).map(|i| rows.get(from + i)) {
            let scale = 1.0 / square.sqrt();
            scaled.extend(row.iter().map(|&x| (f64::from(x) * scale) as f32));
        }
        let mut rescaled = scaled.chunks_exact(rows.dim);
        let mut slices: Vec<&[f32]> = Vec::with_capacity(count.next_multiple_of(self.kernel.tile_rows()));
        let mut scales = Vec::with_capacity(count);
        for i in 0..count {
            if plain(i) {
                let (row, square) = rows.get(from + i);
                slices.push(row);
                scales.push((1.0 / square.sqrt()) as f32);
            } else {
                slices.push(rescaled.next().expect("a scaled copy of each such row"));
                scales.push(1.0);
            }
        }
        match directions {
            Directions::Fitted(panels) => self.multiply(slices, panels, &scales, projections, tiles),
            Directions::Axes(axes) => self.pick(&slices, axes, &scales, projections),
        }
    }

    /// The projections of rows on fitted directions.
    fn multiply(
        &self,
        mut rows: Vec<&[f32]>,
        panels: &[f32],
        scales: &[f32],
        projections: &mut [f32],
        tiles: &mut Vec<f32>,
    ) {
        let Basis { width, ref centre, .. } = *self.basis;
        let (tile_rows, lanes, dim) = (self.kernel.tile_rows(), self.kernel.tile_lanes(), rows[0].len());
        rows.resize(rows.len().next_multiple_of(tile_rows), rows[0]);
        let tile = tile_rows * lanes;
        let row_tiles = rows.len() / tile_rows;
        tiles.clear();
        tiles.resize(width / lanes * row_tiles * tile, 0.0);
        let mut parts: Vec<&[f32]> = Vec::with_capacity(tile_rows);
        for depth in (0..dim).step_by(DEPTH) {
            let end = (depth + DEPTH).min(dim);
            for (panel, tiles) in
                panels.chunks_exact(dim * lanes).zip(tiles.chunks_exact_mut(row_tiles * tile))
            {
                let panel = &panel[depth * lanes..end * lanes];
                for (rows, tile) in rows.chunks_exact(tile_rows).zip(tiles.chunks_exact_mut(tile)) {
                    parts.clear();
                    parts.extend(rows.iter().map(|row| &row[depth..end]));
                    self.kernel.project(&parts, panel, tile);
                }
            }
        }
        for ((i, out), scale) in projections.chunks_exact_mut(width).enumerate().zip(scales) {
            let columns = out.chunks_exact_mut(lanes).zip(centre.chunks_exact(lanes));
            for ((out, centre), tiles) in columns.zip(tiles.chunks_exact(row_tiles * tile)) {
                let sums = &tiles[i * lanes..][..lanes];
                for ((out, sum), centre) in out.iter_mut().zip(sums).zip(centre) {
                    *out = sum * scale - centre;
                }
            }
        }
    }

    /// The projections of rows on axes.
    fn pick(&self, rows: &[&[f32]], axes: &[usize], scales: &[f32], projections: &mut [f32]) {
        let Basis { width, ref centre, .. } = *self.basis;
        for ((out, row), scale) in projections.chunks_exact_mut(width).zip(rows).zip(scales) {
            for ((out, &axis), centre) in out.iter_mut().zip(axes).zip(centre) {
                *out = row[axis] * scale - centre;
            }
        }
    }

    /// The integers of a projection, in `scratch.integers`, and what rounding to them did.
    fn quantise(&self, projection: &[f32], scratch: &mut Scratch) -> Quantised {
        let step = self.basis.step;
        let Scratch { quotients, integers, .. } = scratch;
        let exact = &projection[..self.basis.first];
        let [a, b] = half_norms(exact);
        let largest = a.max(b) / step;
        // A long row is shortened to fit, at the price of a large error, which is accounted for.
        let shrink = if largest > HALF_NORM - 2.0 { (HALF_NORM - 2.0) / largest } else { 1.0 };
        let unit = shrink / step;
        quotients.clear();
        quotients.extend(exact.iter().map(|z| (z * unit).clamp(-PEAK, PEAK) + ROUNDER));
        integers.clear();
        integers.extend(quotients.iter().map(|q| q.to_bits() as u8));
        let mut squares = [0i32; 2];
        let mut sums = [0i32; 2];
        for four in integers.as_chunks::<4>().0 {
            let [p, q, r, s] = four.map(|q| i32::from(q as i8));
            squares[0] += p * p + q * q;
            squares[1] += r * r + s * s;
            sums[0] += p + q;
            sums[1] += r + s;
        }
        let mut error = 0.0f32;
        for (z, q) in exact.iter().zip(quotients.iter()) {
            let difference = z - (q - ROUNDER) * step;
            error += difference * difference;
        }
        // The sum of squares has at most `first` + 3 roundings, each below 2^-24, of terms whose own
        // difference was rounded against the projection; a thousandth more is beyond all of them.
        let error = f64::from(error).sqrt() * 1.001 + self.slip + self.rounding();
        Quantised { squares, sums, error }
    }

    /// What the products of a code must reach for its own part when either row answers for half the radius:
    /// |q|^2 / 2 - (radius / 2 + error)^2 / step^2, rounded down.
    pub fn need(&self, row: &Quantised) -> i32 {
        let part = (self.radius / 2.0 + row.error) / f64::from(self.basis.step);
        (row.half() - part * part - 1e-3).floor() as i32
    }

    /// Bound of the norm of the roundings of `(q - ROUNDER) * step` and of its difference to z.
    fn rounding(&self) -> f64 {
        let largest = f64::from(PEAK) * f64::from(self.basis.step) + 4.0;
        2.0 * largest * (self.basis.first as f64).sqrt() * f64::from(f32::EPSILON)
    }

    /// Codes of left rows by what each needs, filled up to whole blocks.
    pub fn left(
        &self,
        projections: &[f32],
        need: impl Fn(&Quantised) -> i32,
        bytes: &mut Vec<u8>,
        starts: &mut Vec<[i16; 2]>,
        scratch: &mut Scratch,
    ) {
        bytes.clear();
        starts.clear();
        for projection in projections.chunks_exact(self.basis.width) {
            let row = self.quantise(projection, scratch);
            let need = need(&row);
            let (need, sums) = if row.says(need) {
                bytes.extend_from_slice(&scratch.integers);
                (need, row.sums)
            } else {
                // The code zero, whose products are zero, passes every test.
                bytes.resize(bytes.len() + self.basis.first, 0);
                (LEAST, [0, 0])
            };
            starts.push([(-need - CODE_OFFSET * sums[0]) as i16, (-CODE_OFFSET * sums[1]) as i16]);
        }
        let rows = starts.len().next_multiple_of(SIEVE_ROWS);
        bytes.resize(rows * self.basis.first, 0);
        starts.resize(rows, [i16::MIN / 2, i16::MIN / 2]);
    }

    /// The need of a left code that starts so: what was put into the start taken off again.
    pub fn need_of(&self, code: &[u8], [start, _]: [i16; 2]) -> i16 {
        let sum: i32 =
            code.as_chunks::<4>().0.iter().map(|q| i32::from(q[0] as i8) + i32::from(q[1] as i8)).sum();
        (-CODE_OFFSET * sum - i32::from(start)) as i16
    }
}

/// Puts the integers of a code, as signed bytes, into a lane of a right panel.
pub(super) fn fill_lane(code: &[u8], lane: usize, panel: &mut [u8]) {
    let parts = panel.as_chunks_mut::<{ 4 * SIEVE_LANES }>().0;
    for (part, four) in parts.iter_mut().zip(code.as_chunks::<4>().0) {
        part[lane * 4..][..4].copy_from_slice(&four.map(|q| q.wrapping_add(CODE_OFFSET as u8)));
    }
}

/// The codes of the right side and their projections.
#[derive(Debug)]
pub(super) struct Encoded {
    /// `(rows, width)`.
    pub projections: Vec<f32>,
    /// Panels of right codes.
    pub bytes: Vec<u8>,
}

impl Encoded {
    /// The right side encoded, and what rounding made of each row.
    pub fn of(
        encoder: Encoder<'_>,
        right: Rows<'_>,
        watch: &Watch,
    ) -> Result<(Self, Vec<Quantised>), ScanError> {
        let Basis { width, first, .. } = *encoder.basis;
        let filled = right.len().next_multiple_of(SIEVE_LANES);
        let mut projections = vec![0.0; right.len() * width];
        let mut bytes = vec![CODE_OFFSET as u8; filled * first];
        let mut quantised = vec![Quantised::default(); right.len()];
        projections
            .par_chunks_mut(SIEVE_LANES * width)
            .zip(bytes.par_chunks_mut(SIEVE_LANES * first))
            .zip(quantised.par_chunks_mut(SIEVE_LANES))
            .enumerate()
            .try_for_each_init(Scratch::default, |scratch, (panel, ((projections, bytes), quantised))| {
                watch.check()?;
                encoder.project(right, panel * SIEVE_LANES, projections, scratch);
                let rows = projections.chunks_exact(width).zip(quantised);
                for (lane, (projection, row)) in rows.enumerate() {
                    *row = encoder.quantise(projection, scratch);
                    fill_lane(&scratch.integers, lane, bytes);
                }
                Ok::<_, ScanError>(())
            })?;
        Ok((Self { projections, bytes }, quantised))
    }

    /// What a right code needs, or none where it says nothing: it becomes the code zero, which passes every test.
    pub fn need_or_erase(&mut self, place: usize, row: &Quantised, need: i32, first: usize) -> Option<i32> {
        if row.says(need) {
            return Some(need);
        }
        let panel = &mut self.bytes[place / SIEVE_LANES * SIEVE_LANES * first..][..SIEVE_LANES * first];
        fill_lane(&vec![0; first], place % SIEVE_LANES, panel);
        None
    }

    pub fn nbytes(&self) -> usize {
        self.projections.capacity() * 4 + self.bytes.capacity()
    }
}
