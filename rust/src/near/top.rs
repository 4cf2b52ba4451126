//! Exact retrieval: the k rows with the highest scores for every query, over all rows that went by.
//!
//! The score of its k-th row so far is a query's threshold; `docs/retrieval.md` has the proof.

use super::costs::Policy;
use super::distinct::Distinct;
use super::goals::{Bests, Goals};
use super::product::{Blocks, Product};
use super::rows::{Rows, Usability, check_space, describe};
use super::search::Search;
use crate::error::ScanError;
use crate::kernel::{self, Kernel};
use crate::parallel::Watch;

/// Rows that are not there for some queries: those of query i are `rows[offsets[i]..offsets[i + 1]]`,
/// ascending.
#[derive(Clone, Debug)]
pub struct Excluded {
    /// One more than there are queries.
    pub offsets: Vec<i64>,
    /// Numbers of rows.
    pub rows: Vec<i64>,
}

impl Excluded {
    fn of(&self, query: usize) -> &[i64] {
        &self.rows[self.offsets[query] as usize..self.offsets[query + 1] as usize]
    }

    fn check(&self, queries: usize) -> Result<(), ScanError> {
        let ascending = |values: &[i64]| values.windows(2).all(|two| two[0] <= two[1]);
        let spans =
            self.offsets.first() == Some(&0) && self.offsets.last() == Some(&(self.rows.len() as i64));
        if self.offsets.len() != queries + 1 || !spans || !ascending(&self.offsets) {
            return Err(ScanError::Shape(format!(
                "excluded: expected {} offsets from 0 to {}, got {}",
                queries + 1,
                self.rows.len(),
                self.offsets.len()
            )));
        }
        if (0..queries).any(|query| !ascending(self.of(query))) {
            return Err(ScanError::Value("excluded: the rows of a query do not ascend".into()));
        }
        Ok(())
    }
}

/// A search for the best rows of some queries.
#[derive(Debug)]
pub struct TopSearch {
    dim: usize,
    count: usize,
    /// Row-major vectors of all queries, and those of them that have a direction.
    vectors: Vec<f32>,
    squares: Vec<f64>,
    usable: Vec<usize>,
    excluded: Excluded,
    kernel: &'static Kernel,
    product: Product,
    search: Search,
    /// By the place of a query in `usable`.
    bests: Bests,
}

/// What [`TopSearch::best`] found, by query, best first.
#[derive(Debug)]
pub struct Top {
    /// `(queries, count)`; NaN where there are no more rows.
    pub cosine: Vec<f64>,
    /// `(queries, count)`; -1 where there are no more rows.
    pub row: Vec<i64>,
}

/// The rows of a block that are wanted by the queries. Equal rows are multiplied once and offered each.
struct Wanted<'a> {
    count: usize,
    usable: &'a [usize],
    excluded: &'a Excluded,
    bests: &'a Bests,
    first_row: i64,
    /// The group of equal rows of each row of the block.
    place: &'a [Option<u32>],
    /// Rows of the block in the order of their groups, and where each group starts.
    members: Vec<u32>,
    starts: Vec<u32>,
}

impl Goals for Wanted<'_> {
    fn score(&self, right: usize) -> f64 {
        self.bests.score(right)
    }

    fn offer(&self, left_row: usize, right: usize, score: f64) {
        let gone = self.excluded.of(self.usable[right]);
        let Some(place) = self.place[left_row] else { return };
        let (start, end) = (self.starts[place as usize], self.starts[place as usize + 1]);
        // Of rows that score the same the first ones are better: no more of them can be among the best.
        for &row in self.members[start as usize..end as usize].iter().take(self.count + gone.len()) {
            let row = self.first_row + i64::from(row);
            if gone.binary_search(&row).is_err() {
                self.bests.offer(right, score, row);
            }
        }
    }
}

impl TopSearch {
    /// A search for the `count` best rows of each of the `queries`, `(q, dim)` row-major.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] when `dim` or `count` is 0, the
    /// excluded rows of a query do not ascend, or the kernel that the environment asks for is not to be had.
    pub fn new(
        queries: &[f32],
        dim: usize,
        count: usize,
        excluded: Excluded,
        watch: &Watch,
    ) -> Result<Self, ScanError> {
        check_space(dim, 1.0)?;
        let kernel = kernel::active()?;
        Self::with_kernel(queries, dim, count, excluded, kernel, Blocks::default(), Policy::default(), watch)
    }

    #[expect(clippy::too_many_arguments)]
    pub(super) fn with_kernel(
        queries: &[f32],
        dim: usize,
        count: usize,
        excluded: Excluded,
        kernel: &'static Kernel,
        blocks: Blocks,
        policy: Policy,
        watch: &Watch,
    ) -> Result<Self, ScanError> {
        if count == 0 {
            return Err(ScanError::Value("expected at least one row per query, got 0".into()));
        }
        let described = describe(queries, dim, kernel, false, watch)?;
        excluded.check(described.usability.len())?;
        let usable = |&i: &usize| described.usability[i] == Usability::Usable as u8;
        let usable: Vec<usize> = (0..described.usability.len()).filter(usable).collect();
        let mut bests = Bests::new(count);
        bests.open(usable.len());
        Ok(Self {
            dim,
            count,
            vectors: queries.to_vec(),
            squares: described.squares,
            usable,
            excluded,
            kernel,
            product: Product::new(kernel, 1.0, blocks),
            search: Search::new(kernel, policy),
            bests,
        })
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.vectors.capacity() * 4
            + self.squares.capacity() * 8
            + (self.usable.capacity() + self.excluded.rows.capacity() + self.excluded.offsets.capacity()) * 8
            + self.product.nbytes()
            + self.search.nbytes()
            + self.bests.nbytes()
    }

    /// Takes a block of rows, numbered from `first_row`; a [`Usability`] for each.
    ///
    /// # Errors
    /// [`ScanError::Shape`]; [`ScanError::Cancelled`]; [`ScanError::Value`] past 2^32 - 1 rows in a block.
    pub fn seek(&mut self, rows: &[f32], first_row: i64, watch: &Watch) -> Result<Vec<u8>, ScanError> {
        let described = describe(rows, self.dim, self.kernel, true, watch)?;
        let Distinct { first_rows, place } = Distinct::of(&described, rows, self.dim, watch)?;
        let (members, starts) = by_place(&place, first_rows.len());
        let Self { count, usable, excluded, bests, .. } = self;
        let wanted =
            Wanted { count: *count, usable, excluded, bests, first_row, place: &place, members, starts };
        let right =
            Rows { dim: self.dim, values: &self.vectors, squares: &self.squares, chosen: Some(usable) };
        self.search.pass(&mut self.product, rows, &described, first_rows, right, &wanted, watch)?;
        Ok(described.usability)
    }

    /// The best rows of every query among the blocks that went by.
    pub fn best(&self) -> Top {
        let total = self.squares.len() * self.count;
        let mut top = Top { cosine: vec![f64::NAN; total], row: vec![-1; total] };
        for (place, &query) in self.usable.iter().enumerate() {
            for (i, held) in self.bests.held(place).into_iter().enumerate() {
                top.cosine[query * self.count + i] = held.score;
                top.row[query * self.count + i] = held.row;
            }
        }
        top
    }
}

/// Rows sorted by their place and then by themselves, and where each place starts.
fn by_place(place: &[Option<u32>], places: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; places + 1];
    for &place in place.iter().flatten() {
        starts[place as usize + 1] += 1;
    }
    for i in 0..places {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut members = vec![0; starts[places] as usize];
    for (row, place) in place.iter().enumerate() {
        if let Some(place) = place {
            let slot = &mut next[*place as usize];
            members[*slot as usize] = row as u32;
            *slot += 1;
        }
    }
    (members, starts)
}
