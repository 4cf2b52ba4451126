//! Which 5-grams are frequent on the whole evaluation side, and what stands in for those of items that have no others:
//! all that the seeds of some items need to know of the rest. And which items are of templates.

use super::groups::{by_item, distinct_items, for_equal};
use super::items::{FREQUENT, Items};
use super::seeds::SEED;

/// An item is of a template if so many parts of these many of its 5-grams are frequent.
const TEMPLATE_PART: (usize, usize) = (2, 5);

/// Bits of the tokens of all items.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn get(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }
}

/// The 5-grams that are no seeds.
#[derive(Debug, Default)]
pub(super) struct Frequent {
    /// Of each token of the items, whether a frequent gram begins there.
    begins: Bits,
    /// The items of which all grams are frequent, ascending, and where the one begins that is their seed.
    seedless: Vec<(u32, u32)>,
}

impl Frequent {
    /// Of all items, which are closed. Marks the places of seeds that stand in an item more than once, and takes the
    /// marks of frequent runs from items that are not of templates.
    pub(super) fn new(items: &mut Items) -> Self {
        let mut begins = Bits(vec![0; items.tokens.len().div_ceil(64)]);
        // Of each item that has frequent grams alone so far, the rarest: in how many items it stands, and where.
        let mut rarest = vec![(u32::MAX, 0); items.len()];
        let mut repeated = Vec::new();
        for_equal(items, items.all(), SEED, |same| {
            let count = distinct_items(same);
            for here in by_item(same) {
                let item = here[0].item as usize;
                let start = items.places(item).start;
                if count > FREQUENT {
                    here.iter().for_each(|gram| begins.set(start + gram.place as usize));
                    rarest[item] = rarest[item].min((count as u32, here[0].place));
                } else {
                    rarest[item] = (0, 0);
                    if here.len() > 1 {
                        repeated.push(start + here[0].place as usize);
                    }
                }
            }
        });
        let seedless = (0..).zip(rarest).filter(|(_, (count, _))| (1..u32::MAX).contains(count));
        let made = Self { begins, seedless: seedless.map(|(item, (_, place))| (item, place)).collect() };
        for &(item, place) in &made.seedless {
            if made.equal(items, item, place).nth(1).is_some() {
                repeated.push(items.places(item as usize).start + place as usize);
            }
        }
        for place in repeated {
            items.worth[place].set_repeated();
        }
        for item in 0..items.len() {
            let places = items.places(item);
            let grams = (places.len() + 1).saturating_sub(SEED);
            let frequent = (places.start..places.start + grams).filter(|&place| made.begins(place)).count();
            let (part, of) = TEMPLATE_PART;
            if of * frequent < part * grams {
                items.covers_all(item);
            }
        }
        made
    }

    pub(super) fn nbytes(&self) -> usize {
        size_of::<u64>() * (self.begins.0.capacity() + self.seedless.capacity())
    }

    /// Whether a frequent gram begins at a token of the items.
    #[inline]
    pub(super) fn begins(&self, place: usize) -> bool {
        self.begins.get(place)
    }

    /// Where the only seed of an item begins of which all grams are frequent.
    pub(super) fn only_seed(&self, item: u32) -> Option<u32> {
        let at = self.seedless.binary_search_by_key(&item, |seedless| seedless.0).ok()?;
        Some(self.seedless[at].1)
    }

    /// The places of `item` at which the same gram begins as at `place`.
    pub(super) fn equal(&self, items: &Items, item: u32, place: u32) -> impl Iterator<Item = u32> {
        let tokens = &items.tokens[items.places(item as usize)];
        let gram = &tokens[place as usize..place as usize + SEED];
        tokens.windows(SEED).zip(0..).filter(move |(other, _)| *other == gram).map(|(_, place)| place)
    }
}
