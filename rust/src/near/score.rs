//! The score of two rows, and which rows meet.

use crate::kernel;

/// x.y in float64. Lane `j` sums the products at positions congruent to `j` modulo 16 in ascending
/// order; the lanes are then added in halves (16, 8, 4, 2, 1). The product of two float32 values is
/// exact in float64, so fused and separate multiply-adds agree and every kernel gives the same bits.
///
/// # Panics
/// When the rows differ in length.
pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    kernel::available()[0].dot(x, y)
}

/// x.y / sqrt((x.x)(y.y)), clamped to [-1, 1]; exactly 1.0 when x equals y, for sqrt(a * a) is a.
pub fn cosine(dot_xy: f64, dot_xx: f64, dot_yy: f64) -> f64 {
    (dot_xy / (dot_xx * dot_yy).sqrt()).clamp(-1.0, 1.0)
}

/// A left and a right row whose score reaches the threshold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub left: u32,
    pub right: u32,
    pub cosine: f64,
}

/// Which left rows meet which right rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairing {
    /// Two sides: all with all.
    All,
    /// One side: each row with those after it.
    Within,
}
