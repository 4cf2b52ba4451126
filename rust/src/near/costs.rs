//! Costs, in cycles of one core, and when which way is tried. No result depends on them.

/// When a sieve is tried and when it is given up. The result does not depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Below this dimension the blocked product is as cheap as any sieve.
    pub least_dim: usize,
    /// The product must have this many times the work of a fit ahead of it.
    pub worth: f64,
    /// A sieve must be expected to cost less than this share of the product,
    pub expected: f64,
    /// and a task that wastes more than this share of the product's cost on pairs that are no match is
    /// left to the product.
    pub waste: f64,
    /// Axes are projected on where they are expected to cost less than this many times what directions do that
    /// are fitted to the rows.
    pub axes: f64,
    /// One side with itself: a join over cells must be expected to cost less than this share of the sieve
    /// over all pairs,
    pub cells: f64,
    /// it is given up when it comes to cost this share of it,
    pub cells_budget: f64,
    /// and cells have at least this many rows on average.
    pub cell_rows: usize,
    /// Rows that a search for nearest ones multiplies in full before a sieve is fitted: its thresholds must
    /// be somewhere near where they will end.
    pub seeds: usize,
    /// A search multiplies in bytes first where that costs at most this share of the product.
    pub bytes: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            least_dim: 96,
            worth: 10.0,
            expected: 0.5,
            waste: 0.3,
            axes: 1.0,
            cells: 0.8,
            cells_budget: 1.0,
            cell_rows: 64,
            seeds: 2048,
            bytes: 0.7,
        }
    }
}

/// What may be spent on a fit, and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The largest distance of a pair to be kept.
    pub radius: f64,
    /// A sieve must cost less than this share of the blocked product.
    pub expected: f64,
    /// What the counted survivors are multiplied with.
    pub caution: f64,
    /// Multiplications that may be spent, beyond the narrowest directions.
    pub work: f64,
    /// Axes are taken where they are expected to cost less than this many times what fitted directions do.
    pub axes: f64,
}

/// After this many times the rows thresholds are much higher, and other directions may be better.
pub(super) const REFIT: usize = 3;

/// Cycles of the blocked product per left row.
pub(super) fn product_cycles(dim: usize, right: usize) -> f64 {
    dim as f64 * right as f64 / 13.0
}

/// Cycles of the second and of the third test of a pair.
pub(super) fn test_cycles(width: usize, dim: usize) -> (f64, f64) {
    (60.0 + width as f64 * 0.7, 300.0 + dim as f64 * 0.8)
}

/// Cycles of finding out which rows of `rows` reach into which of as many cells.
pub(super) fn routing_cycles(rows: f64, cells: usize, depth: usize) -> f64 {
    rows * cells as f64 * (2.0 * depth as f64 / 13.0 + 4.0)
}

/// Cycles of joining so many entries of rows, of which so many pairs are not ruled out by their margins.
pub(super) fn join_cycles(entries: f64, pairs: f64, depth: usize) -> f64 {
    entries * 80.0 + pairs * 2.0 * tile_cycles(depth)
}

/// Cycles of the first tile per pair.
pub(super) fn tile_cycles(depth: usize) -> f64 {
    depth as f64 / 40.0
}
