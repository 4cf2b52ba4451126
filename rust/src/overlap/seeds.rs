//! The seeds of all items, found in a document in one pass over its tokens.

use super::grams::{gram_hash, roll};
use super::items::{FREQUENT, Grams, Items};

/// Tokens of a seed.
pub(super) const SEED: usize = 5;

/// Set in the last place of a gram's postings.
const LAST: u32 = 1 << 31;
/// Bits of the filter for each gram, of which two are set.
const FILTER_BITS: usize = 8;

/// Where items have their seeds.
#[derive(Debug)]
pub(super) struct Seeds {
    filter: Vec<u64>,
    shift: u32,
    /// By hash, open addressing: the low half of a gram's hash, and one more than where its postings begin.
    table: Vec<(u32, u32)>,
    /// Of each gram, its first place in each item that has it as a seed.
    postings: Vec<u32>,
    /// Of each distinct item, the weight of its tokens that belong to seeds.
    pub(super) weight: Vec<u32>,
}

impl Seeds {
    /// Of items that are closed. Marks the places of seeds that stand in an item more than once.
    pub(super) fn new(items: &mut Items) -> Self {
        let grams = Grams::new(items, SEED);
        let rarest = rarest_grams(&grams, items);
        let mut in_seed = vec![false; items.tokens.len()];
        let mut repeated = Vec::new();
        let mut postings: Vec<u32> = Vec::new();
        let mut found = Vec::new();
        for places in grams.groups(items) {
            let start = postings.len();
            let count = items.distinct_items(places);
            for (item, here) in items.by_item(places) {
                if count > FREQUENT && rarest[item] != (count as u32, here[0].1) {
                    continue;
                }
                postings.push(here[0].1);
                if here.len() > 1 {
                    repeated.push(here[0].1);
                }
                for &(_, place) in here {
                    in_seed[place as usize..place as usize + SEED].fill(true);
                }
            }
            if let Some(last) = postings[start..].last_mut() {
                *last |= LAST;
                found.push((places[0].0, start as u32));
            }
        }
        drop(grams);
        for place in repeated {
            items.worth[place as usize].set_repeated();
        }
        postings.shrink_to_fit();
        let weigh = |item| {
            let places = items.places(item);
            let worth = items.worth[places.clone()].iter().zip(&in_seed[places]);
            worth.map(|(worth, &seed)| if seed { worth.weight() } else { 0 }).sum()
        };
        let weight = (0..items.len()).map(weigh).collect();
        let (filter, shift) = filter(&found);
        Self { filter, shift, table: table(&found), postings, weight }
    }

    pub(super) fn nbytes(&self) -> usize {
        size_of::<u64>() * (self.filter.capacity() + self.table.capacity())
            + size_of::<u32>() * (self.postings.capacity() + self.weight.capacity())
    }

    /// Appends to `hits` every seed that stands among `tokens`: the beginning of its postings and its place.
    pub(super) fn find(
        &self,
        tokens: &[u64],
        items: &Items,
        maybe: &mut Vec<(u64, u32)>,
        hits: &mut Vec<(u32, u32)>,
    ) {
        let Some(first) = tokens.get(..SEED) else { return };
        maybe.clear();
        let mut hash = gram_hash(first);
        for (place, (&leaves, &enters)) in tokens.iter().zip(&tokens[SEED..]).enumerate() {
            if self.passes(hash) {
                maybe.push((hash, place as u32));
            }
            hash = roll::<{ SEED as u32 }>(hash, leaves, enters);
        }
        if self.passes(hash) {
            maybe.push((hash, (tokens.len() - SEED) as u32));
        }
        for &(hash, place) in &*maybe {
            let at = place as usize;
            if let Some(postings) = self.lookup(hash, &tokens[at..at + SEED], items) {
                hits.push((postings, place));
            }
        }
    }

    /// The places of a seed, one an item, by what [`Self::find`] gave.
    pub(super) fn postings(&self, start: u32) -> impl Iterator<Item = u32> {
        let mut more = true;
        self.postings[start as usize..]
            .iter()
            .take_while(move |&&place| std::mem::replace(&mut more, place & LAST == 0))
            .map(|place| place & !LAST)
    }

    #[inline(always)]
    fn passes(&self, hash: u64) -> bool {
        let bits = filter_bits(hash);
        self.filter[(hash >> self.shift) as usize] & bits == bits
    }

    fn lookup(&self, hash: u64, gram: &[u64], items: &Items) -> Option<u32> {
        let mut slot = slot(hash, self.table.len());
        loop {
            let (low, start) = self.table[slot];
            let start = start.checked_sub(1)?;
            if low == hash as u32 {
                let place = (self.postings[start as usize] & !LAST) as usize;
                if items.tokens[place..place + SEED] == *gram {
                    return Some(start);
                }
            }
            slot = if slot + 1 == self.table.len() { 0 } else { slot + 1 };
        }
    }
}

/// Of each item its rarest gram, the first of equals: in how many distinct items it stands, and where here.
fn rarest_grams(grams: &Grams, items: &Items) -> Vec<(u32, u32)> {
    let mut rarest = vec![(u32::MAX, 0); items.len()];
    for places in grams.groups(items) {
        let count = items.distinct_items(places) as u32;
        for (item, here) in items.by_item(places) {
            rarest[item] = rarest[item].min((count, here[0].1));
        }
    }
    rarest
}

#[inline(always)]
fn filter_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63)
}

/// A word of the filter by the highest bits of a hash, and the shift that leaves them.
fn filter(found: &[(u64, u32)]) -> (Vec<u64>, u32) {
    let words = (found.len() * FILTER_BITS / 64).next_power_of_two().max(2);
    let shift = 64 - words.trailing_zeros();
    let mut filter = vec![0; words];
    for &(hash, _) in found {
        filter[(hash >> shift) as usize] |= filter_bits(hash);
    }
    (filter, shift)
}

/// Where a hash belongs among `slots`.
#[inline(always)]
fn slot(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

fn table(found: &[(u64, u32)]) -> Vec<(u32, u32)> {
    let mut table = vec![(0, 0); found.len() + found.len() / 2 + 1];
    for &(hash, start) in found {
        let mut slot = slot(hash, table.len());
        while table[slot].1 != 0 {
            slot = if slot + 1 == table.len() { 0 } else { slot + 1 };
        }
        table[slot] = (hash as u32, start + 1);
    }
    table
}
