//! Equal n-grams of all items.

use rayon::prelude::*;

use super::grams::gram_hash;
use super::items::Items;

/// An n-gram of a distinct item, and the token at which it begins there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gram {
    pub(super) hash: u64,
    pub(super) item: u32,
    pub(super) place: u32,
}

/// Equal grams item by item.
pub(super) fn by_item(same: &[Gram]) -> impl Iterator<Item = &[Gram]> {
    same.chunk_by(|a, b| a.item == b.item)
}

/// In how many distinct items equal grams stand.
pub(super) fn distinct_items(same: &[Gram]) -> usize {
    by_item(same).count()
}

/// Grams that are sorted in one round, which bounds memory: 16 bytes each.
const ROUND: u64 = 1 << 23;
/// Grams in a part of a round, which the nearest cache holds.
const PART: u64 = 1 << 11;

/// Hands over all n-grams of some items, which ascend: equal ones together, by item and place; and mostly by hash.
pub(super) fn for_equal(
    items: &Items,
    these: impl Iterator<Item = u32> + Clone,
    length: usize,
    each: impl FnMut(&[Gram]),
) {
    for_equal_in_rounds(items, these, length, ROUND, each);
}

fn for_equal_in_rounds(
    items: &Items,
    these: impl Iterator<Item = u32> + Clone,
    length: usize,
    round: u64,
    mut each: impl FnMut(&[Gram]),
) {
    let grams: u64 = these.clone().map(|item| items.places(item as usize).len() as u64).sum();
    let rounds = grams.div_ceil(round).max(1);
    let parts = (grams / rounds / PART).clamp(1, 1 << 12);
    // Which of all parts of all rounds a gram belongs to.
    let part_of = |hash: u64| ((u128::from(hash) * u128::from(rounds * parts)) >> 64) as u64;
    let mut sorted: Vec<Vec<Gram>> = vec![Vec::new(); parts as usize];
    for round in 0..rounds {
        sorted.iter_mut().for_each(Vec::clear);
        for item in these.clone() {
            for (gram, place) in items.tokens[items.places(item as usize)].windows(length).zip(0..) {
                let hash = gram_hash(gram);
                if let Some(part) = part_of(hash).checked_sub(round * parts).filter(|&part| part < parts) {
                    sorted[part as usize].push(Gram { hash, item, place });
                }
            }
        }
        // They are by item and place already.
        sorted.par_iter_mut().for_each(|part| part.sort_by_key(|gram| gram.hash));
        for part in &mut sorted {
            for same_hash in part.chunk_by_mut(|a, b| a.hash == b.hash) {
                told_apart(items, length, same_hash, &mut each);
            }
        }
    }
}

/// Hands over grams of the same hash, equal ones together.
fn told_apart(items: &Items, length: usize, same_hash: &mut [Gram], each: &mut impl FnMut(&[Gram])) {
    let tokens = |gram: &Gram| {
        let start = items.places(gram.item as usize).start + gram.place as usize;
        &items.tokens[start..start + length]
    };
    let (first, others) = same_hash.split_first().expect("at least one");
    if others.iter().all(|other| tokens(other) == tokens(first)) {
        return each(same_hash);
    }
    same_hash.sort_by(|a, b| tokens(a).cmp(tokens(b)));
    same_hash.chunk_by(|a, b| tokens(a) == tokens(b)).for_each(each);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::items::ItemTokens;
    use super::super::tokens::tokenize;
    use super::*;

    proptest! {
        #[test]
        fn every_gram_comes_once_and_with_all_equal_ones(
            texts in prop::collection::vec(prop::collection::vec("[ab]{1,2}", 0..30), 0..8),
            round in 1u64..200,
        ) {
            let mut items = Items::default();
            for text in texts {
                let mut item = ItemTokens::default();
                tokenize(&text.join(" "), &mut item);
                items.push(&item).unwrap();
            }
            let mut expected: BTreeMap<&[u64], Vec<(u32, u32)>> = BTreeMap::new();
            for item in 0..items.len() {
                for (place, gram) in items.tokens[items.places(item)].windows(3).enumerate() {
                    expected.entry(gram).or_default().push((item as u32, place as u32));
                }
            }
            let mut got = BTreeMap::new();
            for_equal_in_rounds(&items, items.all(), 3, round, |same| {
                let start = items.places(same[0].item as usize).start + same[0].place as usize;
                let places = same.iter().map(|gram| (gram.item, gram.place)).collect();
                assert!(got.insert(&items.tokens[start..start + 3], places).is_none());
            });
            prop_assert_eq!(got, expected);
        }
    }
}
