//! How much of an item a window of a document covers.

use std::collections::VecDeque;
use std::ops::Range;

use super::grams::{ELSE, Places};
use super::items::Worth;

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

/// An item as coverage sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a, const RUN: usize> {
    pub(super) tokens: &'a [u64],
    pub(super) worth: &'a [Worth],
    /// Its grams of as many tokens as its runs have, at least.
    pub(super) runs: &'a Places<RUN>,
}

impl<const RUN: usize> Item<'_, RUN> {
    /// The tokens that the run which begins at `place` covers.
    #[inline]
    fn covers(&self, place: u32) -> impl Iterator<Item = usize> {
        let place = place as usize;
        let templates_alone = self.worth[place].begins_frequent();
        (place..place + RUN).filter(move |&token| !templates_alone || self.worth[token].is_template())
    }
}

/// The grams of an item in the windows of a document.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Of each stretch of the document in which windows stand, the gram at each token, and then [`ELSE`].
    pub(super) grams: Vec<u32>,
    /// Of each range of windows, where the first one begins.
    starts: Vec<usize>,
    /// Grams in a window.
    length: usize,
}

impl Read {
    /// Reads the windows of `length` tokens that begin in `starts`.
    pub(super) fn fill<const RUN: usize>(
        &mut self,
        item: Item<'_, RUN>,
        document: &[u64],
        starts: &[Range<usize>],
        length: usize,
    ) {
        self.grams.clear();
        self.starts.clear();
        self.length = length + 1 - RUN;
        let end = |range: &Range<usize>| document.len().min(range.end - 1 + length);
        for together in starts.chunk_by(|a, b| b.start <= end(a)) {
            let (start, end) = (together[0].start, end(&together[together.len() - 1]));
            self.starts.extend(together.iter().map(|range| self.grams.len() + range.start - start));
            self.grams.extend(item.runs.read(item.tokens, &document[start..end]));
            self.grams.push(ELSE);
        }
    }

    /// The grams of the window that begins here.
    pub(super) fn window(&self, start: usize) -> &[u32] {
        &self.grams[start..self.grams.len().min(start + self.length)]
    }
}

/// A window of a document: what it covers, where in the document it begins, and where in what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) covered: Covered,
    pub(super) start: usize,
    pub(super) read: usize,
}

/// What a window that slides over a document covers of one item.
///
/// An n-gram that the window holds `d` times and the item `p` times covers its first `min(p, d)` places in
/// the item: a window cannot cover more than it holds. A step costs the same whatever the item is.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// Of each gram of the item, how often the window holds it.
    held: Vec<u32>,
    /// Of each token of the item, how many covering grams it belongs to.
    depth: Vec<u8>,
    covered: Covered,
}

impl Cover {
    /// The best of the windows that were read and begin in `starts`: most weight, then most tokens, then the first.
    pub(super) fn best<const RUN: usize>(
        &mut self,
        item: Item<'_, RUN>,
        read: &Read,
        starts: &[Range<usize>],
    ) -> Window {
        let mut best = Window::default();
        for (range, &first) in starts.iter().zip(&read.starts) {
            self.hold(item, read.window(first));
            if self.covered > best.covered {
                best = Window { covered: self.covered, start: range.start, read: first };
            }
            for step in 1..range.len() {
                let read_at = first + step;
                self.leave(item, read.grams[read_at - 1]);
                let enters = read.grams[read_at + read.length - 1];
                if enters == ELSE {
                    continue;
                }
                self.enter(item, enters);
                if self.covered > best.covered {
                    best = Window { covered: self.covered, start: range.start + step, read: read_at };
                }
            }
            if best.covered.tokens as usize == item.tokens.len() {
                break;
            }
        }
        best
    }

    /// From the first to the last common run of every window that was read, begins in `starts` and covers what is
    /// `enough`; those that meet are one.
    pub(super) fn extents<const RUN: usize>(
        &mut self,
        item: Item<'_, RUN>,
        read: &Read,
        starts: &[Range<usize>],
        enough: impl Fn(Covered) -> bool,
    ) -> Vec<Range<usize>> {
        let mut extents: Vec<Range<usize>> = Vec::new();
        let mut common = VecDeque::new();
        for (range, &first) in starts.iter().zip(&read.starts) {
            let window = read.window(first);
            self.hold(item, window);
            common.clear();
            common.extend((0..window.len()).filter(|&place| window[place] != ELSE));
            for step in 0..range.len() {
                if step > 0 {
                    self.leave(item, read.grams[first + step - 1]);
                    if common.front().is_some_and(|&place| place < step) {
                        common.pop_front();
                    }
                    let enters = step + read.length - 1;
                    if read.grams[first + enters] != ELSE {
                        self.enter(item, read.grams[first + enters]);
                        common.push_back(enters);
                    }
                }
                let (Some(from), Some(to)) = (common.front(), common.back()) else { continue };
                let extent = range.start + from..range.start + to + RUN;
                match extents.last_mut() {
                    _ if !enough(self.covered) => {}
                    Some(last) if extent.start <= last.end => last.end = last.end.max(extent.end),
                    _ => extents.push(extent),
                }
            }
        }
        extents
    }

    /// Looks at this window alone.
    pub(super) fn hold<const RUN: usize>(&mut self, item: Item<'_, RUN>, window: &[u32]) {
        self.held.clear();
        self.held.resize(item.runs.len(), 0);
        self.depth.clear();
        self.depth.resize(item.tokens.len(), 0);
        self.covered = Covered::default();
        for &gram in window {
            if gram != ELSE {
                self.enter(item, gram);
            }
        }
    }

    /// Whether each token of the item is covered.
    pub(super) fn tokens(&self) -> impl Iterator<Item = bool> {
        self.depth.iter().map(|&depth| depth > 0)
    }

    #[inline]
    fn enter<const RUN: usize>(&mut self, item: Item<'_, RUN>, gram: u32) {
        let held = &mut self.held[gram as usize];
        *held += 1;
        if let Some(&place) = item.runs.of(gram).get(*held as usize - 1) {
            for token in item.covers(place) {
                self.depth[token] += 1;
                if self.depth[token] == 1 {
                    self.covered.weight += item.worth[token].weight();
                    self.covered.tokens += 1;
                }
            }
        }
    }

    #[inline]
    fn leave<const RUN: usize>(&mut self, item: Item<'_, RUN>, gram: u32) {
        if gram == ELSE {
            return;
        }
        let held = &mut self.held[gram as usize];
        *held -= 1;
        if let Some(&place) = item.runs.of(gram).get(*held as usize) {
            for token in item.covers(place) {
                self.depth[token] -= 1;
                if self.depth[token] == 0 {
                    self.covered.weight -= item.worth[token].weight();
                    self.covered.tokens -= 1;
                }
            }
        }
    }
}

/// From the first to the last token of a window that belongs to a common run of `run` tokens.
pub(super) fn extent(window: &[u32], run: usize) -> Option<Range<usize>> {
    let common = |&gram: &u32| gram != ELSE;
    let first = window.iter().position(common)?;
    Some(first..window.iter().rposition(common)? + run)
}
