//! Rows as the sieve sees them: their projection in float32, and a code of small integers for the first tile.

use super::basis::{Basis, Directions};
use super::bounds::{DEPTH, HALF_NORM, PEAK, half_norms};
use super::rows::Rows;
use crate::kernel::{Codes, Kernel, SIEVE_LANES, SIEVE_ROWS};

/// Added to the components of right codes, so that they are unsigned bytes.
pub(super) const OFFSET: i32 = 64;

/// Right rows between two looks at what has survived: whole panels, and few in tests, whose sets are small.
pub(super) const STRIP: usize = SIEVE_LANES * if cfg!(test) { 3 } else { 32 };

/// Least value of `Code::need`: the products of a half of two codes are within plus and minus this.
pub(super) const LEAST: i32 = -(127 * 127);

/// Norms between these are scaled after the projection; others before it, in float64.
const PLAIN_SQUARES: std::ops::Range<f64> = 1e-30..1e30;

/// Adding and subtracting it rounds a small float32 to an integer, which stands in the low bits between.
const ROUNDER: f32 = 12_582_912.0;

/// Room for projecting a batch of rows.
#[derive(Default)]
pub(super) struct Scratch {
    tiles: Vec<f32>,
    scaled: Vec<f32>,
    quotients: Vec<f32>,
    /// The integers of the row that was quantised last.
    pub integers: Vec<i8>,
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

/// What the first tile needs to know of a row.
struct Code {
    /// A pair passes when the product of its codes is at least the sum of both needs.
    need: i32,
    /// Sums of the integers over components 0 and 1, and 2 and 3, modulo 4.
    sums: [i32; 2],
}

/// What rounding to integers made of a row.
pub(super) struct Quantised {
    /// Sums of squares of the integers over components 0 and 1, and 2 and 3, modulo 4.
    pub squares: [i32; 2],
    /// Their sums over the same.
    pub sums: [i32; 2],
    /// At least the distance between the code and the exact projection.
    pub error: f64,
}

impl Quantised {
    /// Whether its products with other such codes fit sixteen bits.
    pub fn fits(&self) -> bool {
        self.squares.iter().all(|&square| square <= -LEAST)
    }
}

impl Encoder<'_> {
    /// The largest square of the distance of two projections of a pair to be kept, in float32.
    pub fn limit(&self) -> f32 {
        // The distance in float32 has at most width + 2 roundings, each making it shorter by 2^-24 at most.
        let roundings = (self.basis.width + 8) as f64 * f64::from(f32::EPSILON);
        let reach = (self.radius + 2.0 * self.slip).powi(2) * (1.0 + roundings);
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

    /// The integers of a projection, in `scratch.integers`.
    fn code(&self, projection: &[f32], scratch: &mut Scratch) -> Code {
        let row = self.quantise(projection, scratch);
        let need = self.need(row.squares[0] + row.squares[1], row.error);
        if need >= LEAST && row.fits() {
            return Code { need, sums: row.sums };
        }
        // Nothing can be said of this row: the code zero, whose products are zero, passes every test.
        scratch.integers.iter_mut().for_each(|q| *q = 0);
        Code { need: LEAST, sums: [0, 0] }
    }

    /// The integers of a projection, in `scratch.integers`, and what rounding to them did.
    pub fn quantise(&self, projection: &[f32], scratch: &mut Scratch) -> Quantised {
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
        integers.extend(quotients.iter().map(|q| q.to_bits() as i8));
        let mut squares = [0i32; 2];
        let mut sums = [0i32; 2];
        for four in integers.as_chunks::<4>().0 {
            let [p, q, r, s] = four.map(i32::from);
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

    /// |q|^2 / 2 - (radius / 2 + error)^2 / step^2, rounded down.
    fn need(&self, square: i32, error: f64) -> i32 {
        let part = (self.radius / 2.0 + error) / f64::from(self.basis.step);
        (f64::from(square) / 2.0 - part * part - 1e-3).floor() as i32
    }

    /// Bound of the norm of the roundings of `(q - ROUNDER) * step` and of its difference to z.
    fn rounding(&self) -> f64 {
        let largest = f64::from(PEAK) * f64::from(self.basis.step) + 4.0;
        2.0 * largest * (self.basis.first as f64).sqrt() * f64::from(f32::EPSILON)
    }

    /// Codes of left rows, filled up to whole blocks.
    pub fn left(
        &self,
        projections: &[f32],
        bytes: &mut Vec<u8>,
        starts: &mut Vec<[i16; 2]>,
        scratch: &mut Scratch,
    ) {
        bytes.clear();
        starts.clear();
        for projection in projections.chunks_exact(self.basis.width) {
            let code = self.code(projection, scratch);
            bytes.extend(scratch.integers.iter().map(|&q| q as u8));
            starts.push([(-code.need - OFFSET * code.sums[0]) as i16, (-OFFSET * code.sums[1]) as i16]);
        }
        let rows = starts.len().next_multiple_of(SIEVE_ROWS);
        bytes.resize(rows * self.basis.first, 0);
        starts.resize(rows, [i16::MIN / 2, i16::MIN / 2]);
    }

    /// The need of a left code that starts so: what was put into the start taken off again.
    pub fn need_of(&self, code: &[u8], [start, _]: [i16; 2]) -> i16 {
        let sum: i32 =
            code.as_chunks::<4>().0.iter().map(|q| i32::from(q[0] as i8) + i32::from(q[1] as i8)).sum();
        (-OFFSET * sum - i32::from(start)) as i16
    }

    /// Puts a left code into a lane of a right panel.
    pub fn fill_lane(&self, code: &[u8], lane: usize, bytes: &mut [u8]) {
        let panel = bytes.as_chunks_mut::<{ 4 * SIEVE_LANES }>().0;
        for (part, four) in panel.iter_mut().zip(code.as_chunks::<4>().0) {
            part[lane * 4..][..4].copy_from_slice(&four.map(|q| q.wrapping_add(OFFSET as u8)));
        }
    }

    /// One panel of right codes from at most as many projections as it has lanes.
    pub fn right(
        &self,
        projections: &[f32],
        bytes: &mut [u8],
        starts: &mut [[i16; 2]],
        scratch: &mut Scratch,
    ) {
        bytes.fill(OFFSET as u8);
        starts.fill([0, i16::MIN / 2]);
        for (lane, projection) in projections.chunks_exact(self.basis.width).enumerate() {
            let code = self.code(projection, scratch);
            self.store(lane, bytes, scratch);
            starts[lane] = [0, (-code.need) as i16];
        }
    }

    /// Puts the integers of the row that was quantised last into a lane of a right panel.
    pub fn store(&self, lane: usize, panel: &mut [u8], scratch: &Scratch) {
        for (k, q) in scratch.integers.iter().enumerate() {
            panel[k / 4 * 4 * SIEVE_LANES + lane * 4 + k % 4] = (i32::from(*q) + OFFSET) as u8;
        }
    }

    /// Makes a lane of a right panel the code zero.
    pub fn erase(&self, lane: usize, panel: &mut [u8]) {
        for k in 0..self.basis.first {
            panel[k / 4 * 4 * SIEVE_LANES + lane * 4 + k % 4] = OFFSET as u8;
        }
    }
}

/// The codes of the right side and their projections.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub projections: Vec<f32>,
    pub bytes: Vec<u8>,
    pub starts: Vec<[i16; 2]>,
}

impl Encoded {
    /// The codes from panel `from` on, some panels at a time.
    pub fn strips(&self, first: usize, from: usize) -> impl Iterator<Item = Codes<'_>> {
        let bytes = self.bytes[from * SIEVE_LANES * first..].chunks(STRIP * first);
        let starts = self.starts[from * SIEVE_LANES..].chunks(STRIP);
        bytes.zip(starts).map(|(bytes, starts)| Codes { bytes, starts })
    }

    pub fn panel_mut(&mut self, panel: usize, first: usize) -> &mut [u8] {
        &mut self.bytes[panel * SIEVE_LANES * first..][..SIEVE_LANES * first]
    }

    pub fn nbytes(&self) -> usize {
        self.projections.capacity() * 4 + self.bytes.capacity() + self.starts.capacity() * 4
    }
}
