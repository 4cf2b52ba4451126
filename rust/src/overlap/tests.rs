//! Parts against naive ones; the whole is held to a twin in Python (`tests/core/test_overlap.py`).

use std::collections::HashMap;

use proptest::prelude::*;

use super::coverage::{self, Cover, Covered, Item, RUN};
use super::grams::Places;
use super::items::{ItemTokens, Items, Worth};
use super::runs::Automaton;
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
    Covered { weight: 4 * tokens, tokens }
}

/// The longest run that ends at each place of `own` and stands in `other`.
fn longest_naively(own: &[u64], other: &[u64]) -> Vec<usize> {
    let stands = |run: &[u64]| run.is_empty() || other.windows(run.len()).any(|there| there == run);
    (1..=own.len())
        .map(|end| (0..=end).find(|&start| stands(&own[start..end])).map_or(0, |start| end - start))
        .collect()
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
        let mut runs = Places::default();
        runs.fill(&item);
        let seen = Item { tokens: &item, worth: &worth, runs: &runs };
        let starts = coverage::windows(&seeds, 5, length, document.len());
        let got = Cover::default().best(seen, &document, &starts, length);
        let mut best = (Covered::default(), 0);
        for start in 0..=document.len().saturating_sub(length) {
            let end = document.len().min(start + length);
            let holds = seeds.iter().any(|&seed| seed as usize >= start && seed as usize + 5 <= end);
            let covered = covered_naively(&item, &document[start..end]);
            if holds && covered > best.0 {
                best = (covered, start);
            }
        }
        prop_assert_eq!(got, best);
    }

    #[test]
    fn the_automaton_finds_the_longest_runs(own in few(40), others in prop::collection::vec(few(30), 1..3)) {
        let mut automaton = Automaton::default();
        automaton.fill(&own);
        // What stands between two stretches is in no run.
        let mut together = Vec::new();
        for other in &others {
            automaton.read(other, together.len());
            together.extend_from_slice(other);
            together.push(u64::MAX);
        }
        let expected = longest_naively(&own, &together);
        let runs = automaton.ending();
        prop_assert_eq!(runs.iter().map(|run| run.length).collect::<Vec<_>>(), expected.clone());
        prop_assert_eq!(automaton.longest(), expected.into_iter().max().unwrap_or(0));
        for run in runs {
            let (there, here) = (&together[run.other..], &own[run.own..]);
            prop_assert_eq!(&here[..run.length], &there[..run.length]);
        }
    }

    #[test]
    fn places_are_those_of_equal_grams(item in few(60)) {
        let mut places = Places::<3>::default();
        places.fill(&item);
        for gram in item.windows(3) {
            let same = (0..).zip(item.windows(3)).filter(|(_, other)| *other == gram);
            let expected: Vec<u32> = same.map(|(place, _)| place).collect();
            let found = places.find(&item, gram.try_into().unwrap()).unwrap();
            prop_assert_eq!(places.of(found), &expected[..]);
        }
        prop_assert_eq!(places.find(&item, &[u64::MAX; 3]), None);
    }
}
