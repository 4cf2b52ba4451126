//! The seeds of all items, found in a document in one pass over its tokens.

use super::grams::{gram_hash, roll};
use super::items::{FREQUENT, Grams, Items, by_item, distinct_items};

/// Tokens of a seed.
pub(super) const SEED: usize = 5;

/// An item that has a seed, and the first place at which it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posting {
    pub(super) item: u32,
    pub(super) place: u32,
}

/// Set in the item of the last posting of a gram.
const LAST: u32 = 1 << 31;
/// Bits of the filter for each gram, of which two are set.
const FILTER_BITS: usize = 8;

/// Where items have their seeds.
#[derive(Debug)]
pub(super) struct Seeds {
    filter: Vec<u64>,
    /// By hash, open addressing: the low half of a gram's hash, and one more than where its postings begin.
    table: Vec<(u32, u32)>,
    /// Gram by gram, the items that have it as a seed.
    postings: Vec<Posting>,
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
        let mut postings: Vec<Posting> = Vec::new();
        let mut found = Vec::new();
        for same in grams.groups(items) {
            let before = postings.len();
            let count = distinct_items(same);
            for here in by_item(same) {
                let first = here[0];
                if count > FREQUENT && rarest[first.item as usize] != (count as u32, first.place) {
                    continue;
                }
                postings.push(Posting { item: first.item, place: first.place });
                let start = items.places(first.item as usize).start;
                if here.len() > 1 {
                    repeated.push(start + first.place as usize);
                }
                for gram in here {
                    let place = start + gram.place as usize;
                    in_seed[place..place + SEED].fill(true);
                }
            }
            if postings.len() > before {
                postings.last_mut().expect("one was added").item |= LAST;
                found.push((same[0].hash, before as u32));
            }
        }
        drop(grams);
        for place in repeated {
            items.worth[place].set_repeated();
        }
        postings.shrink_to_fit();
        let weigh = |item| {
            let places = items.places(item);
            let worth = items.worth[places.clone()].iter().zip(&in_seed[places]);
            worth.map(|(worth, &seed)| if seed { worth.weight() } else { 0 }).sum()
        };
        let weight = (0..items.len()).map(weigh).collect();
        Self { filter: filter(&found), table: table(&found), postings, weight }
    }

    pub(super) fn nbytes(&self) -> usize {
        size_of::<u64>() * (self.filter.capacity() + self.table.capacity() + self.postings.capacity())
            + size_of::<u32>() * self.weight.capacity()
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

    /// The items of a seed, by what [`Self::find`] gave.
    pub(super) fn postings(&self, start: u32) -> impl Iterator<Item = Posting> {
        let mut more = true;
        self.postings[start as usize..]
            .iter()
            .take_while(move |posting| std::mem::replace(&mut more, posting.item & LAST == 0))
            .map(|posting| Posting { item: posting.item & !LAST, ..*posting })
    }

    #[inline(always)]
    fn passes(&self, hash: u64) -> bool {
        let bits = filter_bits(hash);
        self.filter[slot(hash, self.filter.len())] & bits == bits
    }

    fn lookup(&self, hash: u64, gram: &[u64], items: &Items) -> Option<u32> {
        let mut slot = slot(hash, self.table.len());
        loop {
            let (low, start) = self.table[slot];
            let start = start.checked_sub(1)?;
            if low == hash as u32 {
                let Posting { item, place } = self.postings[start as usize];
                let place = items.places((item & !LAST) as usize).start + place as usize;
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
    for same in grams.groups(items) {
        let count = distinct_items(same) as u32;
        for here in by_item(same) {
            let known = &mut rarest[here[0].item as usize];
            *known = (*known).min((count, here[0].place));
        }
    }
    rarest
}

#[inline(always)]
fn filter_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

/// A Bloom filter, one word of it for each hash. Its size is no power of two: it has to stay in the cache.
fn filter(found: &[(u64, u32)]) -> Vec<u64> {
    let mut filter = vec![0; found.len() * FILTER_BITS / 64 + 1];
    for &(hash, _) in found {
        let word = slot(hash, filter.len());
        filter[word] |= filter_bits(hash);
    }
    filter
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
