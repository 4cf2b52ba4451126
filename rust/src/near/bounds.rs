//! Bounds: what rounding can do to a distance or a product, and what codes of small integers can hold.

/// Half the distance from 1 to the next float32: the largest relative error of a rounding.
pub(super) const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Components multiplied before a tile is stored: a right panel of this depth stays in the first cache.
pub(super) const DEPTH: usize = 256;

/// Largest norm of either half of a code, so that its products fit sixteen bits.
pub(super) const HALF_NORM: f32 = 127.0;

/// Largest component of a code: with an offset of 64 it is an unsigned byte below 128.
pub(super) const PEAK: f32 = 63.0;

/// Norms of the components at positions 0 and 1, and at 2 and 3, modulo 4.
pub(super) fn half_norms(row: &[f32]) -> [f32; 2] {
    let mut squares = [0.0f32; 4];
    for four in row.as_chunks::<4>().0 {
        for (square, v) in squares.iter_mut().zip(four) {
            *square += v * v;
        }
    }
    [(squares[0] + squares[1]).sqrt(), (squares[2] + squares[3]).sqrt()]
}

/// The largest distance between the projections of two rows that score at least `score`, under a basis of this norm.
///
/// For unit vectors |x - y|^2 = 2 - 2 x.y, and a basis takes nothing further apart than by its norm. What decides is
/// the computed score, which is off from x.y: a product of two rows is summed in 16 lanes, at most dim / 16 + 5
/// roundings deep; it enters once above the line and once, under the root, below; the product under the root, the
/// root and the quotient add three. These are fewer than dim / 8 + 14 roundings of EPSILON / 2 each, and
/// `score_error` allows for four times as many. The last factor answers for the roundings of this function.
pub(super) fn radius(dim: usize, norm: f64, score: f64) -> f64 {
    let score_error = (dim as f64 / 4.0 + 64.0) * f64::EPSILON;
    norm * (2.0 - 2.0 * (score.max(-1.0) - score_error)).max(0.0).sqrt() * (1.0 + 1e-12)
}

/// What the products of a code must reach: half its square, less half the square of a distance in steps,
/// rounded down with a thousandth for the roundings of both.
pub(super) fn need(half: f64, distance: f64) -> i32 {
    (half - distance * distance / 2.0 - 1e-3).floor() as i32
}

/// The value that `share` of the values are not above.
pub(super) fn quantile(values: &mut [f64], share: f64) -> f64 {
    let place = ((values.len() - 1) as f64 * share).round() as usize;
    *values.select_nth_unstable_by(place, f64::total_cmp).1
}
