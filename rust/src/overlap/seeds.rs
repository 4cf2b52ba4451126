//! The seeds of all items, found in a document in one pass over its tokens.

use rayon::prelude::*;

use super::frequent::Frequent;
use super::grams::{gram_hash, roll};
use super::groups::{Gram, by_item, for_equal};
use super::items::Items;
use super::scan::CANDIDATE_PART;

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
/// Bits of the filter for each gram, of which up to three are set.
const FILTER_BITS: usize = 8;

/// Where some of the items have their seeds.
#[derive(Debug)]
pub(super) struct Seeds {
    filter: Vec<u64>,
    /// By hash, open addressing: the low half of a gram's hash, and one more than where its postings begin.
    table: Vec<(u32, u32)>,
    /// Gram by gram, the items that have it as a seed.
    postings: Vec<Posting>,
    /// The distinct items, ascending.
    these: Vec<u32>,
    /// Of each of these, the weight of its tokens that belong to seeds.
    weight: Vec<u32>,
    /// Of each of these, how many places of seeds a document holds at least that makes it a candidate: no place
    /// carries more than the heaviest does.
    fewest: Vec<u32>,
}

impl Seeds {
    /// Of `these` items, ascending, given what is frequent among all.
    pub(super) fn new(items: &Items, these: Vec<u32>, frequent: &Frequent) -> Self {
        let place_of = |gram: &Gram| items.places(gram.item as usize).start + gram.place as usize;
        let grams =
            these.iter().map(|&item| (items.places(item as usize).len() + 1).saturating_sub(SEED)).sum();
        let mut found = Found { postings: Vec::with_capacity(grams), hashes: Vec::with_capacity(grams) };
        let mut no_seeds = Vec::new();
        for_equal(items, these.iter().copied(), SEED, |same| {
            if frequent.begins(place_of(&same[0])) {
                no_seeds.push(same[0].hash);
                return;
            }
            for here in by_item(same) {
                found.post(here[0].item, here[0].place);
            }
            found.end(same[0].hash);
        });
        let gram = |&(item, place): &(u32, u32)| {
            let start = items.places(item as usize).start + place as usize;
            &items.tokens[start..start + SEED]
        };
        let only = these.iter().filter_map(|&item| frequent.only_seed(item).map(|place| (item, place)));
        let mut only: Vec<(u32, u32)> = only.collect();
        only.sort_by(|a, b| gram(a).cmp(gram(b)));
        for same in only.chunk_by(|a, b| gram(a) == gram(b)) {
            same.iter().for_each(|&(item, place)| found.post(item, place));
            found.end(gram_hash(gram(&same[0])));
        }
        let Found { mut postings, hashes } = found;
        postings.shrink_to_fit();
        let filter = filter(&[&hashes, &no_seeds]);
        drop(no_seeds);
        let table = table(&hashes, &postings);
        drop(hashes);
        let (weight, fewest) = these.par_iter().map(|&item| weight_of_seeds(items, item, frequent)).unzip();
        Self { filter, table, postings, these, weight, fewest }
    }

    /// The weight of the tokens of `item`, one of these, that belong to seeds.
    #[inline]
    pub(super) fn weight(&self, item: u32) -> u32 {
        self.weight[self.rank(item)]
    }

    /// How many places of seeds of `item`, one of these, a document holds at least that makes it a candidate.
    #[inline]
    pub(super) fn fewest(&self, item: u32) -> usize {
        self.fewest[self.rank(item)] as usize
    }

    /// The distinct items whose seeds these are, ascending.
    pub(super) fn items(&self) -> &[u32] {
        &self.these
    }

    #[inline]
    fn rank(&self, item: u32) -> usize {
        let rank = (item - self.these[0]) as usize;
        // A block of items has no gaps.
        if self.these.get(rank) == Some(&item) {
            return rank;
        }
        self.these.partition_point(|&other| other < item)
    }

    pub(super) fn nbytes(&self) -> usize {
        size_of::<u64>() * (self.filter.capacity() + self.table.capacity() + self.postings.capacity())
            + size_of::<u32>() * (self.these.capacity() + self.weight.capacity() + self.fewest.capacity())
    }

    /// Appends to `hits` every seed that stands among `tokens`: the beginning of its postings and its place. `maybe`
    /// are then the grams of [`SEED`] tokens that items may have, frequent ones as well, by hash and place.
    pub(super) fn find(
        &self,
        tokens: &[u64],
        items: &Items,
        maybe: &mut Vec<(u64, u32)>,
        hits: &mut Vec<(u32, u32)>,
    ) {
        maybe.clear();
        let Some(first) = tokens.get(..SEED) else { return };
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
        // In two steps, so that a step waits for the memory of many places at once.
        let before = hits.len();
        for &(hash, place) in &*maybe {
            if let Some(start) = self.lookup(hash, |_| true) {
                hits.push((start, place));
            }
        }
        let mut kept = before;
        for at in before..hits.len() {
            let (start, place) = hits[at];
            let gram = tokens[place as usize..].first_chunk().expect("a gram begins here");
            let found = if self.is_of(start, gram, items) {
                Some(start)
            } else {
                self.lookup(gram_hash(gram), |start| self.is_of(start, gram, items))
            };
            if let Some(start) = found {
                hits[kept] = (start, place);
                kept += 1;
            }
        }
        hits.truncate(kept);
    }

    /// The items of a seed, by what [`Self::find`] gave.
    pub(super) fn postings(&self, start: u32) -> impl Iterator<Item = Posting> {
        let mut more = true;
        self.postings[start as usize..]
            .iter()
            .take_while(move |posting| std::mem::replace(&mut more, posting.item & LAST == 0))
            .map(|posting| Posting { item: posting.item & !LAST, ..*posting })
    }

    /// What [`Self::postings`] takes, of every seed.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        let ends = self.postings.iter().zip(1..).filter(|(posting, _)| posting.item & LAST != 0);
        std::iter::once(0)
            .chain(ends.map(|(_, next)| next))
            .filter(|&start| (start as usize) < self.postings.len())
    }

    #[inline(always)]
    fn passes(&self, hash: u64) -> bool {
        let bits = filter_bits(hash);
        self.filter[slot(hash, self.filter.len())] & bits == bits
    }

    /// Where the postings begin of the first gram that may have this hash and is the one.
    #[inline(always)]
    fn lookup(&self, hash: u64, is_the_one: impl Fn(u32) -> bool) -> Option<u32> {
        let mut slot = slot(hash, self.table.len());
        loop {
            let (low, start) = self.table[slot];
            let start = start.checked_sub(1)?;
            if low == hash as u32 && is_the_one(start) {
                return Some(start);
            }
            slot = if slot + 1 == self.table.len() { 0 } else { slot + 1 };
        }
    }

    /// Whether these postings are of this gram.
    #[inline(always)]
    fn is_of(&self, start: u32, gram: &[u64; SEED], items: &Items) -> bool {
        let Posting { item, place } = self.postings[start as usize];
        let place = items.places((item & !LAST) as usize).start + place as usize;
        items.tokens[place..].first_chunk() == Some(gram)
    }
}

/// Of an item the weight of its tokens that belong to seeds, and how many places of seeds make a candidate.
fn weight_of_seeds(items: &Items, item: u32, frequent: &Frequent) -> (u32, u32) {
    let places = items.places(item as usize);
    let mut weights = vec![0; places.len()];
    let worth = &items.worth[places.clone()];
    let mut post = |place: usize| {
        for at in place..place + SEED {
            weights[at] = worth[at].weight();
        }
    };
    match frequent.only_seed(item) {
        Some(place) => frequent.equal(items, item, place).for_each(|place| post(place as usize)),
        None => (0..(places.len() + 1).saturating_sub(SEED))
            .filter(|place| !frequent.begins(places.start + place))
            .for_each(post),
    }
    let all: u32 = weights.iter().sum();
    let most: u32 = weights.windows(SEED).map(|seed| seed.iter().sum()).max().unwrap_or(0);
    (all, all.div_ceil(CANDIDATE_PART as u32 * most.max(1)))
}

/// Seeds as they are found.
struct Found {
    postings: Vec<Posting>,
    /// Of each gram.
    hashes: Vec<u64>,
}

impl Found {
    /// A gram is a seed of `item`, in which it stands first at `place`.
    fn post(&mut self, item: u32, place: u32) {
        self.postings.push(Posting { item, place });
    }

    /// The gram has been posted for all items.
    fn end(&mut self, hash: u64) {
        self.postings.last_mut().expect("it was posted").item |= LAST;
        self.hashes.push(hash);
    }
}

#[inline(always)]
fn filter_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

/// A Bloom filter, one word of it for each hash. Its size is no power of two: it has to stay in the cache.
fn filter(hashes: &[&[u64]]) -> Vec<u64> {
    let count: usize = hashes.iter().map(|some| some.len()).sum();
    let mut filter = vec![0; count * FILTER_BITS / 64 + 1];
    for &hash in hashes.iter().copied().flatten() {
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

/// Of grams by their hashes and postings, in the same order.
fn table(hashes: &[u64], postings: &[Posting]) -> Vec<(u32, u32)> {
    let mut table = vec![(0, 0); hashes.len() + hashes.len() / 2 + 1];
    let mut start = 0;
    for (&hash, postings) in hashes.iter().zip(postings.chunk_by(|a, _| a.item & LAST == 0)) {
        let mut slot = slot(hash, table.len());
        while table[slot].1 != 0 {
            slot = if slot + 1 == table.len() { 0 } else { slot + 1 };
        }
        table[slot] = (hash as u32, start + 1);
        start += postings.len() as u32;
    }
    table
}
