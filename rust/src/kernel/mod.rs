//! The inner loops of the cosine scan, one file per instruction set, chosen once at run time.
//!
//! The only place of the crate with `unsafe`. A [`Kernel`] is a table of safe functions; the table of an
//! instruction set is handed out only after the processor was seen to have it.

#![allow(unsafe_code)]

use std::sync::OnceLock;

use crate::error::ScanError;

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;

/// The environment variable that forces a kernel by name.
pub const VARIABLE: &str = "LVMFAST_KERNEL";

/// Independent sums of one float64 dot product; the order of summation that every kernel keeps.
const LANES: usize = 16;

/// The inner loops for one instruction set.
///
/// `dot` gives the same bits in every kernel. `multiply` does not: it is a first pass whose rounding
/// error the caller bounds.
#[derive(Debug)]
pub struct Kernel {
    name: &'static str,
    tile_rows: usize,
    tile_lanes: usize,
    dot: fn(&[f32], &[f32]) -> f64,
    multiply: fn(&[f32], &[f32], &mut [f32]),
    at_least: fn(&[f32], f32, &mut Vec<u32>),
}

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
        kernels.extend(avx2::kernel());
        kernels.push(scalar::kernel());
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
