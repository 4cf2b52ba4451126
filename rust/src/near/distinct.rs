//! The distinct rows of a block, which alone are compared, and what was found for each of its rows.

use super::rows::{Described, Usability, row_keys};
use super::score::Pair;
use crate::error::ScanError;
use crate::ids::KeyTable;
use crate::parallel::Watch;

/// Rows of a loop that does little per row, between two looks at the watch.
pub(super) const ROWS_PER_CHECK: usize = 4096;

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
    /// The [`row_key`] of each row of the block, or of those with a hit alone and zeros for the others.
    pub keys: Vec<[u64; 2]>,
}

/// The distinct usable rows of a block.
pub(super) struct Distinct {
    /// The first row of each.
    pub first_rows: Vec<usize>,
    /// For each row of the block, its place in `first_rows`; `None` for a row that takes no part.
    pub place: Vec<Option<u32>>,
}

impl Distinct {
    /// Rows without keys are told apart by their squares, and only those that share one by their keys.
    pub fn of(described: &Described, rows: &[f32], dim: usize, watch: &Watch) -> Result<Self, ScanError> {
        if described.keyed {
            return Self::by(&described.usability, &described.keys, watch);
        }
        let mut keys: Vec<[u64; 2]> = described.squares.iter().map(|square| [square.to_bits(), 0]).collect();
        let by_square = Self::by(&described.usability, &keys, watch)?;
        let mut sharing = vec![0u32; by_square.first_rows.len()];
        by_square.place.iter().flatten().for_each(|&place| sharing[place as usize] += 1);
        let is_alike = |&row: &usize| by_square.place[row].is_some_and(|place| sharing[place as usize] > 1);
        let alike: Vec<usize> = (0..keys.len()).filter(is_alike).collect();
        if alike.is_empty() {
            return Ok(by_square);
        }
        for (&row, key) in alike.iter().zip(row_keys(rows, dim, &alike, watch)?) {
            keys[row] = key;
        }
        Self::by(&described.usability, &keys, watch)
    }

    /// The rows that are distinct by their `keys`.
    fn by(usability: &[u8], keys: &[[u64; 2]], watch: &Watch) -> Result<Self, ScanError> {
        let mut table = KeyTable::with_capacity(2, usability.len())?;
        let mut distinct = Self {
            first_rows: Vec::with_capacity(usability.len()),
            place: Vec::with_capacity(usability.len()),
        };
        for (row, (code, key)) in usability.iter().zip(keys).enumerate() {
            if row % ROWS_PER_CHECK == 0 {
                watch.check()?;
            }
            if *code != Usability::Usable as u8 {
                distinct.place.push(None);
                continue;
            }
            let place = table.insert_one(key)?;
            if place as usize == distinct.first_rows.len() {
                distinct.first_rows.push(row);
            }
            distinct.place.push(Some(place));
        }
        Ok(distinct)
    }

    /// The hits of every row of the block, given those of the distinct ones, sorted by left row in chunks.
    pub fn expand(&self, found: &[Vec<Pair>], watch: &Watch) -> Result<Hits, ScanError> {
        let mut of_place: Vec<&[Pair]> = vec![&[]; self.first_rows.len()];
        for pairs in found {
            for equal in pairs.chunk_by(|a, b| a.left == b.left) {
                of_place[equal[0].left as usize] = equal;
            }
        }
        let count = self.place.iter().flatten().map(|&place| of_place[place as usize].len()).sum();
        let mut hits = Hits {
            row: Vec::with_capacity(count),
            group: Vec::with_capacity(count),
            cosine: Vec::with_capacity(count),
            ..Hits::default()
        };
        for (row, place) in self.place.iter().enumerate() {
            if row % ROWS_PER_CHECK == 0 {
                watch.check()?;
            }
            let Some(place) = place else { continue };
            for pair in of_place[*place as usize] {
                hits.row.push(row as i64);
                hits.group.push(i64::from(pair.right));
                hits.cosine.push(pair.cosine);
            }
        }
        Ok(hits)
    }
}
