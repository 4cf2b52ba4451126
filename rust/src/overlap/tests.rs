//! Parts against naive ones; the whole is held to a twin in Python (`tests/core/test_overlap.py`).

use std::collections::HashMap;

use proptest::prelude::*;

use super::coverage::{self, Cover, Covered, Item, Read, Window};
use super::grams::{ELSE, Places};
use super::items::{ItemTokens, Items, RUN, WORD, Worth};
use super::runs::{self, Run, Runs};
use super::tokens::tokenize;

/// Tokens of few kinds, so that everything repeats.
fn few(most: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0u64..4, 0..most)
}

fn worth_of_words(tokens: usize) -> Vec<Worth> {
    let mut items = Items::default();
    let mut item = ItemTokens::default();
    tokenize(&"word ".repeat(tokens), &mut item);
    items.push(&item).unwrap();
    items.worth
}

/// What a window covers by the words of the definition.
fn covered_naively(item: &[u64], window: &[u64]) -> Covered {
    let mut held: HashMap<&[u64], usize> = HashMap::new();
    for gram in window.windows(RUN) {
        *held.entry(gram).or_default() += 1;
    }
    let mut covered = vec![false; item.len()];
    for (place, gram) in item.windows(RUN).enumerate() {
        if let Some(left @ 1..) = held.get_mut(gram) {
            *left -= 1;
            covered[place..place + RUN].fill(true);
        }
    }
    let tokens = covered.iter().filter(|&&covered| covered).count() as u32;
    Covered { weight: WORD * tokens, tokens }
}

/// The longest run that begins at each place of `own` and stands in one of `others`, with its first place there:
/// each of those is behind the one before, and a token more.
fn longest_naively(own: &[u64], others: &[Vec<u64>]) -> Vec<Run> {
    let mut longest = Vec::new();
    for start in 0..(own.len() + 1).saturating_sub(RUN) {
        let mut best = Run::default();
        let mut before = 0;
        for other in others {
            for place in 0..other.len() {
                let both = own[start..].iter().zip(&other[place..]);
                let length = both.take_while(|(a, b)| a == b).count() as u32;
                if length >= RUN as u32 && length > best.length {
                    best = Run { length, other: (before + place) as u32 };
                }
            }
            before += (other.len() + 1).saturating_sub(RUN) + 1;
        }
        longest.push(best);
    }
    longest
}

proptest! {
    #[test]
    fn the_best_window_is_the_best_of_all(
        item in few(12),
        document in few(80),
        seeds in prop::collection::btree_set(0u32..76, 1..4),
        length in 5usize..40,
    ) {
        prop_assume!(document.len() >= 5);
        let seeds: Vec<u32> = seeds.into_iter().filter(|&seed| seed as usize + 5 <= document.len()).collect();
        let worth = worth_of_words(item.len());
        let mut runs = Places::<RUN>::default();
        runs.fill(&item);
        let seen = Item { tokens: &item, worth: &worth, runs: &runs };
        let starts = coverage::windows(&seeds, 5, length, document.len());
        let mut read = Read::default();
        read.fill(seen, &document, &starts, length);
        let got = Cover::default().best(seen, &read, &starts);
        let mut best = (Covered::default(), 0);
        for start in 0..=document.len().saturating_sub(length) {
            let end = document.len().min(start + length);
            let holds = seeds.iter().any(|&seed| seed as usize >= start && seed as usize + 5 <= end);
            let covered = covered_naively(&item, &document[start..end]);
            if holds && covered > best.0 {
                best = (covered, start);
            }
        }
        let Window { covered, start, read: at } = got;
        prop_assert_eq!((covered, start), best);
        let window = &document[start..document.len().min(start + length)];
        let grams: Vec<u32> = runs.read(&item, window).collect();
        prop_assert!(covered.tokens == 0 || read.window(at).starts_with(&grams));
    }

    /// Of few tokens all repeats, and suffixes are sorted; of many little does, and places are counted.
    #[test]
    fn the_longest_runs_are_found(
        (own, others) in (1u64..30).prop_flat_map(|kinds| {
            let text = move |most| prop::collection::vec(0..kinds, 0..most);
            (text(40), prop::collection::vec(text(30), 1..3))
        }),
    ) {
        let mut grams = Places::<RUN>::default();
        grams.fill(&own);
        let mut read = Vec::new();
        for other in &others {
            read.extend(grams.read(&own, other));
            read.push(ELSE);
        }
        let expected = longest_naively(&own, &others);
        prop_assert_eq!(Runs::default().find(&grams, &read).to_vec(), expected.clone());
        prop_assert_eq!(runs::by_suffixes(grams.at_places(), RUN, &read), expected);
    }

    #[test]
    fn places_are_those_of_equal_grams(item in few(60)) {
        let mut places = Places::<3>::default();
        places.fill(&item);
        for gram in item.windows(3) {
            let same = (0..).zip(item.windows(3)).filter(|(_, other)| *other == gram);
            let expected: Vec<u32> = same.map(|(place, _)| place).collect();
            let found: Vec<u32> = places.read(&item, gram).collect();
            prop_assert_eq!(places.of(found[0]), &expected[..]);
        }
        prop_assert_eq!(places.read(&item, &[u64::MAX; 4]).collect::<Vec<_>>(), [ELSE; 2]);
    }
}
