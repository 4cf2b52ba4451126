//! The seeds of all items, found in a document in one pass over its tokens.

use super::grams::{gram_hash, roll};
use super::groups::{by_item, distinct_items, for_equal};
use super::items::{FREQUENT, Items};
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
    /// Of each distinct item, how many places of seeds a document holds at least that makes it a candidate: no
    /// place carries more than the heaviest does.
    pub(super) fewest: Vec<u32>,
}

impl Seeds {
    /// Of items that are closed. Marks the places of seeds that stand in an item more than once.
    pub(super) fn new(items: &mut Items) -> Self {
        let mut found = Found { in_seed: vec![false; items.tokens.len()], ..Found::default() };
        // Of each item that has frequent grams alone so far, the rarest: in how many items it stands, and where.
        let mut rarest = vec![(u32::MAX, 0); items.len()];
        let mut seedless = vec![true; items.len()];
        let mut frequent = Vec::new();
        for_equal(items, SEED, |same| {
            let count = distinct_items(same);
            if count > FREQUENT {
                frequent.push(same[0].hash);
                for here in by_item(same) {
                    let known = &mut rarest[here[0].item as usize];
                    *known = (*known).min((count as u32, here[0].place));
                }
                return;
            }
            for here in by_item(same) {
                seedless[here[0].item as usize] = false;
                found.post(items, here[0].item, here.iter().map(|gram| gram.place));
            }
            found.end(same[0].hash);
        });
        let gram = |&(item, place): &(u32, u32)| {
            let start = items.places(item as usize).start + place as usize;
            &items.tokens[start..start + SEED]
        };
        let seedless = (0..)
            .zip(&rarest)
            .zip(seedless)
            .filter(|((_, rarest), seedless)| *seedless && rarest.0 < u32::MAX);
        let mut seedless: Vec<(u32, u32)> = seedless.map(|((item, rarest), _)| (item, rarest.1)).collect();
        seedless.sort_by(|a, b| gram(a).cmp(gram(b)));
        for same in seedless.chunk_by(|a, b| gram(a) == gram(b)) {
            for &(item, place) in same {
                let grams = items.tokens[items.places(item as usize)].windows(SEED).zip(0..);
                let equal = grams.filter(|(other, _)| *other == gram(&(item, place)));
                found.post(items, item, equal.map(|(_, place)| place));
            }
            found.end(gram_hash(gram(&same[0])));
        }
        let Found { mut postings, hashes, in_seed, repeated } = found;
        for place in repeated {
            items.worth[place].set_repeated();
        }
        postings.shrink_to_fit();
        let mut weight = Vec::with_capacity(items.len());
        let mut fewest = Vec::with_capacity(items.len());
        for item in 0..items.len() {
            let places = items.places(item);
            let (worth, in_seed) = (&items.worth[places.clone()], &in_seed[places]);
            let weights =
                worth.iter().zip(in_seed).map(|(worth, &seed)| if seed { worth.weight() } else { 0 });
            let weights: Vec<u32> = weights.collect();
            let all: u32 = weights.iter().sum();
            let most: u32 = weights.windows(SEED).map(|seed| seed.iter().sum()).max().unwrap_or(0);
            weight.push(all);
            fewest.push(all.div_ceil(CANDIDATE_PART as u32 * most.max(1)));
        }
        Self {
            filter: filter(&[&hashes[..], &frequent].concat()),
            table: table(&hashes, &postings),
            postings,
            weight,
            fewest,
        }
    }

    pub(super) fn nbytes(&self) -> usize {
        size_of::<u64>() * (self.filter.capacity() + self.table.capacity() + self.postings.capacity())
            + size_of::<u32>() * (self.weight.capacity() + self.fewest.capacity())
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

/// Seeds as they are found.
#[derive(Default)]
struct Found {
    postings: Vec<Posting>,
    /// Of each gram.
    hashes: Vec<u64>,
    /// Of each token of the items, whether it belongs to a seed.
    in_seed: Vec<bool>,
    /// Tokens at which a seed begins that stands more than once in the item.
    repeated: Vec<usize>,
}

impl Found {
    /// A gram is a seed of `item`, in which it stands at these places.
    fn post(&mut self, items: &Items, item: u32, places: impl Iterator<Item = u32>) {
        let start = items.places(item as usize).start;
        let mut first = None;
        for place in places {
            match first {
                None => first = Some(place),
                Some(first) if self.repeated.last() != Some(&(start + first as usize)) => {
                    self.repeated.push(start + first as usize);
                }
                Some(_) => {}
            }
            let place = start + place as usize;
            self.in_seed[place..place + SEED].fill(true);
        }
        self.postings.extend(first.map(|place| Posting { item, place }));
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
fn filter(hashes: &[u64]) -> Vec<u64> {
    let mut filter = vec![0; hashes.len() * FILTER_BITS / 64 + 1];
    for &hash in hashes {
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
