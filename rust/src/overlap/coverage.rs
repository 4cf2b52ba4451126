//! How much of an item a window of a document covers.

use std::collections::VecDeque;
use std::ops::Range;

use super::grams::Places;
use super::items::Worth;

/// Tokens of the shortest common run that covers.
pub(super) const RUN: usize = 3;

/// What a window covers of an item. Ordered by what makes a window better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Covered {
    pub(super) weight: u32,
    pub(super) tokens: u32,
}

/// Tokens of the windows in which an item of `tokens` is looked for.
pub(super) fn window_length(tokens: usize) -> usize {
    2 * tokens + 64
}

/// The first tokens of all windows of `window` tokens that hold a seed, as ascending ranges: `seeds` are the
/// ascending places of seeds of `seed` tokens in a document of `tokens`. A shorter document is one window.
pub(super) fn windows(seeds: &[u32], seed: usize, window: usize, tokens: usize) -> Vec<Range<usize>> {
    let last = tokens.saturating_sub(window);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &place in seeds {
        let place = place as usize;
        let (from, to) = ((place + seed).saturating_sub(window).min(last), place.min(last) + 1);
        match ranges.last_mut() {
            Some(range) if from <= range.end => range.end = range.end.max(to),
            _ => ranges.push(from..to),
        }
    }
    ranges
}

/// A window that slides over a document, and what it covers of one item.
///
/// An n-gram that the window holds `d` times and the item `p` times covers its first `min(p, d)` places in
/// the item: a window cannot cover more than it holds. A step costs the same whatever the item is.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// Of each gram of the item, how often the window holds it.
    held: Vec<u32>,
    /// Of each token of the item, how many covering grams it belongs to.
    depth: Vec<u8>,
    /// The grams in the window, from its first token on; [`ELSE`] for one that the item has not.
    window: VecDeque<u32>,
    covered: Covered,
}

const ELSE: u32 = u32::MAX;

/// An item as coverage sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) tokens: &'a [u64],
    pub(super) worth: &'a [Worth],
    /// The grams of [`RUN`] tokens.
    pub(super) runs: &'a Places<RUN>,
}

impl Cover {
    /// The best of the windows of `length` tokens that begin in `starts`, and where it begins: most weight,
    /// then most tokens, then the first.
    pub(super) fn best(
        &mut self,
        item: Item<'_>,
        document: &[u64],
        starts: &[Range<usize>],
        length: usize,
    ) -> (Covered, usize) {
        let mut best = (Covered::default(), 0);
        for range in starts {
            self.hold(item, &document[range.start..document.len().min(range.start + length)]);
            let mut start = range.start;
            loop {
                if self.covered > best.0 {
                    best = (self.covered, start);
                    if self.covered.tokens as usize == item.tokens.len() {
                        return best;
                    }
                }
                start += 1;
                if start == range.end {
                    break;
                }
                self.leave(item);
                self.enter(item, &document[start + length - RUN..]);
            }
        }
        best
    }

    /// Looks at this window of a document alone.
    pub(super) fn hold(&mut self, item: Item<'_>, window: &[u64]) {
        self.held.clear();
        self.held.resize(item.runs.len(), 0);
        self.depth.clear();
        self.depth.resize(item.tokens.len(), 0);
        self.window.clear();
        self.covered = Covered::default();
        for at in 0..(window.len() + 1).saturating_sub(RUN) {
            self.enter(item, &window[at..]);
        }
    }

    /// Whether each token of the item is covered.
    pub(super) fn tokens(&self) -> impl Iterator<Item = bool> {
        self.depth.iter().map(|&depth| depth > 0)
    }

    /// From the first to the last token of the window that belongs to a common run.
    pub(super) fn extent(&self) -> Option<Range<usize>> {
        let common = |&gram: &u32| gram != ELSE;
        let first = self.window.iter().position(common)?;
        Some(first..self.window.iter().rposition(common)? + RUN)
    }

    /// The gram that `tokens` begin with comes into the window.
    #[inline]
    fn enter(&mut self, item: Item<'_>, tokens: &[u64]) {
        let gram = tokens.first_chunk().and_then(|gram| item.runs.find(item.tokens, gram));
        let Some(gram) = gram else {
            return self.window.push_back(ELSE);
        };
        self.window.push_back(gram);
        let held = &mut self.held[gram as usize];
        *held += 1;
        if let Some(&place) = item.runs.of(gram).get(*held as usize - 1) {
            for token in place as usize..place as usize + RUN {
                self.depth[token] += 1;
                if self.depth[token] == 1 {
                    self.covered.weight += item.worth[token].weight();
                    self.covered.tokens += 1;
                }
            }
        }
    }

    #[inline]
    fn leave(&mut self, item: Item<'_>) {
        let Some(gram) = self.window.pop_front().filter(|&gram| gram != ELSE) else { return };
        let held = &mut self.held[gram as usize];
        *held -= 1;
        if let Some(&place) = item.runs.of(gram).get(*held as usize) {
            for token in place as usize..place as usize + RUN {
                self.depth[token] -= 1;
                if self.depth[token] == 0 {
                    self.covered.weight -= item.worth[token].weight();
                    self.covered.tokens -= 1;
                }
            }
        }
    }
}
