//! The inner loops of the cosine scan, written once in [`simd`] over the instructions that a file per set names,
//! and chosen once at run time; [`words`] of the overlap scan; and [`marks`] of the reader of lines.
//!
//! The only place of the crate with `unsafe`. A [`Kernel`] is a table of safe functions; the table of an
//! instruction set is handed out only after the processor was seen to have it.

#![allow(unsafe_code)]

use std::sync::OnceLock;

use crate::error::ScanError;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod marks;
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
mod neon;
mod scalar;
mod simd;
pub mod words;

/// The environment variable that forces a kernel by name.
pub const VARIABLE: &str = "LVMFAST_KERNEL";

/// Independent sums of one float64 dot product; the order of summation that every kernel keeps.
const LANES: usize = 16;

/// The inner loops for one instruction set.
///
/// `dot` and `dots` give the same bits in every kernel. `multiply` does not: it is a first pass whose rounding
/// error the caller bounds.
#[derive(Debug)]
pub struct Kernel {
    name: &'static str,
    tile_rows: usize,
    tile_lanes: usize,
    dot: fn(&[f32], &[f32]) -> f64,
    dots: fn(&Left<'_>, &Right<'_>) -> Products,
    multiply: fn(&[f32], &[f32], &mut [f32]),
    at_least: fn(&[f32], f32, &mut Vec<u32>),
    project: fn(&[&[f32]], &[f32], &mut [f32]),
    square_distance: fn(&[f32], &[f32]) -> f32,
    sieve: fn(&Codes<'_>, &Codes<'_>, usize, &mut Vec<u32>),
    sift: fn(&LongCodes<'_>, &LongCodes<'_>, Blocked, &mut Vec<u32>),
    sift_share: f64,
}

/// Left rows of [`Kernel::dots`].
pub const DOT_ROWS: usize = 3;

/// Right rows of [`Kernel::dots`].
pub const DOT_COLUMNS: usize = 4;

/// The left rows of [`Kernel::dots`].
pub type Left<'a> = [&'a [f32]; DOT_ROWS];

/// The right rows of [`Kernel::dots`].
pub type Right<'a> = [&'a [f32]; DOT_COLUMNS];

/// What [`Kernel::dots`] gives: a row for each left row.
pub type Products = [[f64; DOT_COLUMNS]; DOT_ROWS];

/// Left rows in each step of [`Kernel::sieve`], of any kernel: left codes are filled up to whole steps.
pub const SIEVE_ROWS: usize = 6;

/// Rows in a right panel of [`Kernel::sieve`].
pub const SIEVE_LANES: usize = 16;

/// Codes of rows: small integers, and what they start the test with.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    /// `(rows, width)` signed bytes on the left; on the right panels of [`SIEVE_LANES`] rows, each
    /// `(width / 4, lanes, 4)` unsigned bytes below 128. Left components are within -127 to 127.
    pub bytes: &'a [u8],
    /// Per row the starting values of the sums over components 0 and 1, and 2 and 3, modulo 4.
    pub starts: &'a [[i16; 2]],
}

impl<'a> Codes<'a> {
    /// Right codes, `count` panels at a time, with the number of the first row of each part.
    fn panels(self, width: usize, count: usize) -> impl Iterator<Item = (u32, Codes<'a>)> {
        let parts =
            self.bytes.chunks(count * SIEVE_LANES * width).zip(self.starts.chunks(count * SIEVE_LANES));
        (0u32..).step_by(count * SIEVE_LANES).zip(parts.map(|(bytes, starts)| Codes { bytes, starts }))
    }
}

/// Codes of rows of any width, for [`Kernel::sift`].
#[derive(Clone, Copy, Debug)]
pub struct LongCodes<'a> {
    /// As in [`Codes`], with left components within -127 to 127 and right ones, without their offset,
    /// within -63 to 63.
    pub bytes: &'a [u8],
    /// Of left rows the sums of the components at positions 0 and 1, and at 2 and 3, modulo 4, for each block
    /// of components: `(rows, blocks)`. Right rows have none.
    pub sums: &'a [[i16; 2]],
    /// Per row, what the test value starts with.
    pub starts: &'a [i32],
}

impl<'a> LongCodes<'a> {
    /// As [`Codes::panels`].
    fn panels(self, width: usize, count: usize) -> impl Iterator<Item = (u32, LongCodes<'a>)> {
        let parts =
            self.bytes.chunks(count * SIEVE_LANES * width).zip(self.starts.chunks(count * SIEVE_LANES));
        let parts = parts.map(|(bytes, starts)| LongCodes { bytes, sums: &[], starts });
        (0u32..).step_by(count * SIEVE_LANES).zip(parts)
    }
}

/// How the components of long codes are cut into blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    /// Components of a code, a multiple of 4.
    pub width: usize,
    /// Components of a block, a multiple of 4; the last one may be shorter.
    pub block: usize,
}

impl Blocked {
    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.width.div_ceil(self.block)
    }
}

/// Added to the components of right codes, so that they are unsigned bytes.
pub const CODE_OFFSET: i32 = 64;

impl Kernel {
    /// The name that [`VARIABLE`] knows it by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Rows in a left panel of [`Kernel::multiply`].
    pub fn tile_rows(&self) -> usize {
        self.tile_rows
    }

    /// Rows in a right panel of [`Kernel::multiply`].
    pub fn tile_lanes(&self) -> usize {
        self.tile_lanes
    }

    /// x.y in float64, in the order that [`crate::near::dot`] documents.
    pub fn dot(&self, x: &[f32], y: &[f32]) -> f64 {
        assert_eq!(x.len(), y.len(), "a dot product of rows of different length");
        (self.dot)(x, y)
    }

    /// [`Kernel::dot`] of each of some rows with each of others, which costs about half as much a pair.
    pub fn dots(&self, xs: &[&[f32]; DOT_ROWS], ys: &[&[f32]; DOT_COLUMNS]) -> Products {
        let dim = xs[0].len();
        assert!(xs.iter().chain(ys).all(|row| row.len() == dim), "dot products of rows of different length");
        (self.dots)(xs, ys)
    }

    /// Adds the products of two panels to a tile: `tile[i, j] += sum_k left[k, i] * right[k, j]` in
    /// float32, one rounding or two per term.
    ///
    /// `left` is `(k, tile_rows)`, `right` `(k, tile_lanes)` and `tile` `(tile_rows, tile_lanes)`.
    pub fn multiply(&self, left: &[f32], right: &[f32], tile: &mut [f32]) {
        let depth = left.len() / self.tile_rows;
        assert_eq!(left.len(), depth * self.tile_rows, "a left panel with a ragged end");
        assert_eq!(right.len(), depth * self.tile_lanes, "panels of different depth");
        assert_eq!(tile.len(), self.tile_rows * self.tile_lanes, "a tile of another kernel");
        (self.multiply)(left, right, tile);
    }

    /// [`Kernel::multiply`] with left rows that are not packed: `(k,)` each, `tile_rows` of them.
    pub fn project(&self, left: &[&[f32]], right: &[f32], tile: &mut [f32]) {
        assert_eq!(left.len(), self.tile_rows, "left rows of another kernel");
        let depth = left[0].len();
        assert!(left.iter().all(|row| row.len() == depth), "left rows of different length");
        assert_eq!(right.len(), depth * self.tile_lanes, "a panel of different depth");
        assert_eq!(tile.len(), self.tile_rows * self.tile_lanes, "a tile of another kernel");
        (self.project)(left, right, tile);
    }

    /// The sum of squared differences, in float32, at most n + 2 roundings on any path.
    pub fn square_distance(&self, x: &[f32], y: &[f32]) -> f32 {
        assert_eq!(x.len(), y.len(), "a distance of rows of different length");
        (self.square_distance)(x, y)
    }

    /// Appends `row * rows on the right + right row` for every pair whose test value is not negative, in no order.
    /// The right has whole panels.
    ///
    /// With x the left and u the right bytes, the sums `h0 = starts of both + sum of x u over the
    /// components 0 and 1 modulo 4` and `h1`, over the others, wrap around in 16 bits; the test value is
    /// h0 + h1 in 32 bits.
    pub fn sieve(&self, left: &Codes<'_>, right: &Codes<'_>, width: usize, positions: &mut Vec<u32>) {
        assert!(width.is_multiple_of(4), "codes come in fours");
        assert!(left.starts.len().is_multiple_of(SIEVE_ROWS), "left codes are filled up");
        assert_eq!(left.bytes.len(), left.starts.len() * width, "left codes and starts differ");
        assert!(right.starts.len().is_multiple_of(SIEVE_LANES), "right panels are filled up");
        assert_eq!(right.bytes.len(), right.starts.len() * width, "right codes and starts differ");
        (self.sieve)(left, right, width, positions);
    }

    /// Appends `row * rows on the right + right row` for every pair whose test value is not negative, in no order:
    /// the starts of both and the product of both codes, the offset taken off. The right has whole panels.
    ///
    /// In every block the products over the components at positions 0 and 1, and at 2 and 3, modulo 4, must
    /// add up to what sixteen bits can hold, and the test value to what 32 can.
    pub fn sift(
        &self,
        left: &LongCodes<'_>,
        right: &LongCodes<'_>,
        blocked: Blocked,
        positions: &mut Vec<u32>,
    ) {
        let Blocked { width, block } = blocked;
        assert!(width.is_multiple_of(4) && block.is_multiple_of(4), "codes come in fours");
        assert!(left.starts.len().is_multiple_of(SIEVE_ROWS), "left codes are filled up");
        assert_eq!(left.bytes.len(), left.starts.len() * width, "left codes and starts differ");
        assert_eq!(left.sums.len(), left.starts.len() * blocked.blocks(), "left codes and sums differ");
        assert!(right.starts.len().is_multiple_of(SIEVE_LANES), "right panels are filled up");
        assert_eq!(right.bytes.len(), right.starts.len() * width, "right codes and starts differ");
        (self.sift)(left, right, blocked, positions);
    }

    /// What [`Kernel::sift`] costs, as a share of [`Kernel::multiply`] over as many components.
    pub fn sift_share(&self) -> f64 {
        self.sift_share
    }

    /// Appends the positions of the values at or above `limit`, ascending.
    pub fn at_least(&self, values: &[f32], limit: f32, positions: &mut Vec<u32>) {
        (self.at_least)(values, limit, positions);
    }
}

/// The bytes of float32 values, in the machine's order.
pub fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: the bytes are those that the reference covers, every float32 is four initialised bytes, and
    // u8 has no alignment to keep.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The kernels that this processor can run, fastest first.
pub fn available() -> &'static [&'static Kernel] {
    static AVAILABLE: OnceLock<Vec<&'static Kernel>> = OnceLock::new();
    AVAILABLE.get_or_init(|| {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        kernels.extend(avx512::kernels().chain(avx2::kernel()));
        #[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
        kernels.extend([neon::kernel()]);
        kernels.push(scalar::kernel());
        #[cfg(test)]
        kernels.push(scalar::wide());
        kernels
    })
}

/// The kernel of this process: the one that [`VARIABLE`] names, else the fastest available. The choice is
/// made at the first call and kept.
///
/// # Errors
/// [`ScanError::Value`] when [`VARIABLE`] names no kernel, or one that this processor cannot run.
pub fn active() -> Result<&'static Kernel, ScanError> {
    static ACTIVE: OnceLock<Result<&'static Kernel, String>> = OnceLock::new();
    let chosen = ACTIVE.get_or_init(|| match std::env::var_os(VARIABLE) {
        None => choose(None),
        Some(name) => choose(Some(&name.to_string_lossy())),
    });
    chosen.clone().map_err(ScanError::Value)
}

fn choose(forced: Option<&str>) -> Result<&'static Kernel, String> {
    let Some(name) = forced.filter(|name| !name.is_empty()) else {
        return Ok(available()[0]);
    };
    available().iter().find(|kernel| kernel.name == name).copied().ok_or_else(|| {
        let names: Vec<_> = available().iter().map(|kernel| kernel.name).collect();
        format!("{VARIABLE}: expected one of {}, as this processor runs them, got {name:?}", names.join(", "))
    })
}

#[cfg(test)]
mod tests;
