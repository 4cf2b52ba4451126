//! A search whose every right row has a threshold of its own, which rises while blocks of left rows go by.

use super::bytes::Bytes;
use super::costs::{Policy, REFIT};
use super::goals::Goals;
use super::product::Product;
use super::rising::RisingSieve;
use super::rows::{Described, Rows};
use crate::error::ScanError;
use crate::kernel::Kernel;
use crate::parallel::Watch;

/// Rows of the first batch that is multiplied in full. Each further one makes the rows some times as many, so
/// that few pairs are scored in vain.
const FIRST_SEEDS: usize = 8;
const SEED_GROWTH: usize = 8;

/// Rows that a block is not cut below.
const LEAST_PART: usize = 64;

/// How far the blocks have brought a search, and the sieve that it uses.
#[derive(Debug)]
pub(super) struct Search {
    sieve: RisingSieve,
    bytes: Bytes,
    /// Distinct rows of the blocks that went by.
    seen: usize,
}

impl Search {
    pub fn new(kernel: &'static Kernel, policy: Policy) -> Self {
        Self { sieve: RisingSieve::new(kernel, policy), bytes: Bytes::new(kernel, policy), seen: 0 }
    }

    pub fn nbytes(&self) -> usize {
        self.sieve.nbytes() + self.bytes.nbytes()
    }

    pub fn begun(&self) -> bool {
        self.seen > 0
    }

    /// Offers the distinct `usable` rows of a block, at least all that may reach the goal of a right row.
    #[expect(clippy::too_many_arguments)]
    pub fn pass(
        &mut self,
        product: &mut Product,
        rows: &[f32],
        described: &Described,
        mut usable: Vec<usize>,
        right: Rows<'_>,
        goals: &impl Goals,
        watch: &Watch,
    ) -> Result<(), ScanError> {
        // In the order of their hashes no row is likelier than another to be nearer than all before it, so
        // that in a block thresholds rise fast, however the rows are sorted.
        usable.sort_unstable_by_key(|&row| described.keys[row]);
        let Self { sieve, bytes, seen } = self;
        let units = described.usability.len();
        let share = |rows: usize| rows * units / usable.len();
        let mut done = 0;
        while done < usable.len() {
            let seeds =
                (*seen * (SEED_GROWTH - 1)).max(FIRST_SEEDS).min(sieve.policy.seeds.saturating_sub(*seen));
            // Between the parts of a long block the sieve may be fitted to thresholds that have risen.
            let most = if seeds > 0 { seeds } else { (*seen * (REFIT - 1)).max(LEAST_PART) };
            let part = &usable[done..(done + most).min(usable.len())];
            let units = share(done + part.len()) - share(done);
            let left = Rows { dim: right.dim, values: rows, squares: &described.squares, chosen: Some(part) };
            let mut left_over: Vec<usize> = part.to_vec();
            let mut units = units;
            if seeds == 0 {
                let sieved = sieve.raise(left, right, goals, *seen, bytes.share(right.dim), units, watch)?;
                left_over = sieved.left_over.iter().map(|&place| part[place]).collect();
                units -= sieved.advanced;
            }
            let rest = Rows { chosen: Some(&left_over), ..left };
            let multiplied = bytes.raise(rest, right, goals, *seen, units, watch)?;
            let rest: Vec<usize> = multiplied.left_over.iter().map(|&place| left_over[place]).collect();
            let rest = Rows { chosen: Some(&rest), ..left };
            product.raise(rest, right, goals, units - multiplied.advanced, watch)?;
            done += part.len();
            *seen += part.len();
        }
        if usable.is_empty() {
            watch.advance(units as u64);
        }
        Ok(())
    }
}
