//! Whether a candidate stands in a document: coverage, and the rule.

use super::answers;
use super::coverage::{self, Cover, Covered, Item, Read};
use super::grams::Places;
use super::items::{Items, LONG_RUN, WORD, Worth};
use super::joined::{Rows, united};
use super::runs::{Run, Runs};
use super::seeds::SEED;
use super::{MATCH, Pair, SHORT};

/// Words in a match that covers half of an item, or has half of it in seeds.
const HALF_WORDS: u32 = 10 * WORD;
/// Words in a row in a match that covers half.
const HALF_IN_A_ROW: u32 = 8 * WORD;
/// Words in a match that covers three fifths.
const THREE_FIFTHS_WORDS: u32 = 8 * WORD;
/// Length of an item that matches if it is whole, or if three quarters are there.
const WHOLE_LENGTH: u32 = 8 * WORD;
/// Words in these three quarters, or in a row and of templates as well.
const THREE_QUARTERS_WORDS: u32 = 7 * WORD;
/// Words in a row, of templates as well, in any match where runs are long: chance and other orders leave single words.
const LONG_IN_A_ROW: u32 = 6 * WORD;

/// A document that holds seeds of an item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    pub(super) number: usize,
    pub(super) tokens: &'a [u64],
    pub(super) rows: &'a Rows,
    /// Its places of these seeds, ascending.
    pub(super) seeds: &'a [u32],
    /// The weight that held places of seeds carry, and that in words.
    pub(super) carried: (u32, u32),
}

/// Items whose runs have RUN tokens against documents.
#[derive(Debug, Default)]
pub(super) struct Judge<const RUN: usize> {
    grams: Places<RUN>,
    /// The item that these were last made for.
    grams_of: Option<usize>,
    read: Read,
    cover: Cover,
    runs: Runs,
}

impl<const RUN: usize> Judge<RUN> {
    /// The pair of the document and a distinct item that is a candidate, if it is one.
    pub(super) fn judge(&mut self, document: Document<'_>, item: usize, items: &Items) -> Option<Pair> {
        let (tokens, worth) = (&items.tokens[items.places(item)], &items.worth[items.places(item)]);
        if self.grams_of != Some(item) {
            self.grams.fill(tokens);
            self.grams_of = Some(item);
        }
        let length = coverage::window_length(tokens.len());
        let windows = coverage::windows(document.seeds, SEED, length, document.tokens.len());
        let seen = Item { tokens, worth, runs: &self.grams };
        self.read.fill(seen, document.tokens, &windows, length);
        let window = self.cover.best(seen, &self.read, &windows);
        let best = window.covered;
        // Where a seed is less than two words, a long document holds those of any item.
        let (in_document, words_in_document) = if RUN == LONG_RUN { (0, 0) } else { document.carried };
        let whole = best.tokens as usize == tokens.len();
        let weight = items.weight(item);
        let carries = |part: u32, (share, of): (u64, u64)| of * u64::from(part) >= share * u64::from(weight);
        let half = |part: u32| carries(part, (1, 2));
        if !whole && !half(best.weight) && !half(in_document) {
            return None;
        }
        let held = self.read.window(window.read);
        self.cover.hold(seen, held);
        let covered = worth.iter().zip(self.cover.tokens()).filter(|&(_, covered)| covered);
        let words_covered: u32 = covered.map(|(worth, _)| worth.words()).sum();
        let runs = self.runs.find(&self.grams, &self.read.grams);
        let covers = |share| carries(best.weight, share);
        let long = items.length(item) >= WHOLE_LENGTH;
        let in_a_row_anywhere = |least: u32| in_a_row::<RUN>(runs, worth, Worth::words_anywhere) >= least;
        let matches = half(best.weight) && words_covered >= HALF_WORDS
            || half(best.weight) && in_a_row::<RUN>(runs, worth, Worth::words) >= HALF_IN_A_ROW
            || covers((3, 5)) && words_covered >= THREE_FIFTHS_WORDS
            || long && whole
            || long
                && covers((3, 4))
                && (words_covered >= THREE_QUARTERS_WORDS || in_a_row_anywhere(THREE_QUARTERS_WORDS))
            || half(in_document) && words_in_document >= HALF_WORDS;
        let strength = if matches && (RUN != LONG_RUN || in_a_row_anywhere(LONG_IN_A_ROW)) {
            MATCH
        } else if whole && !long {
            SHORT
        } else {
            return None;
        };
        let number = |(worth, covered): (&Worth, bool)| covered || worth.is_number();
        let numbers_differ = !whole && worth.iter().zip(self.cover.tokens()).all(number);
        let extent = coverage::extent(held, RUN)?;
        let window = window.start + extent.start..window.start + extent.end;
        let rows = document.rows.of(&window);
        let near = document.rows.of(&answers::near(&window, document.tokens.len()));
        let mut touched = Vec::new();
        if document.rows.len() > 1 {
            let enough = |part: Covered| half(part.weight) || part.tokens as usize == tokens.len();
            let extents = self.cover.extents(seen, &self.read, &windows, enough);
            touched = united(extents.iter().chain([&window]).map(|tokens| document.rows.of(tokens)));
        }
        Some(Pair {
            document: document.number,
            item: items.first[item],
            covered: best,
            weight,
            words_covered: words_covered / WORD,
            longest: runs.iter().map(|run| run.length).max().unwrap_or(0),
            in_8: in_runs(runs, 8),
            in_13: in_runs(runs, 13),
            window,
            row_token: document.rows.start(rows.start),
            near_token: document.rows.start(near.start),
            rows,
            near,
            touched,
            strength,
            numbers_differ,
            in_document,
        })
    }
}

/// Tokens in runs of so many tokens or more, of the runs that begin at each place.
fn in_runs(runs: &[Run], least: u32) -> u32 {
    let (mut tokens, mut reach) = (0, 0);
    for (place, run) in (0..).zip(runs).filter(|(_, run)| run.length >= least) {
        let end = place + run.length;
        tokens += end - reach.max(place);
        reach = end;
    }
    tokens
}

/// The most that tokens are worth which one of the runs that begin at each place covers.
fn in_a_row<const RUN: usize>(runs: &[Run], worth: &[Worth], of: impl Fn(Worth) -> u32) -> u32 {
    let before = |of: &dyn Fn(Worth) -> u32| {
        let mut before = vec![0];
        worth.iter().for_each(|&worth| before.push(before[before.len() - 1] + of(worth)));
        before
    };
    let templates = before(&|worth| if worth.is_template() { of(worth) } else { 0 });
    let others = before(&|worth| if worth.is_template() { 0 } else { of(worth) });
    // Of each place, how many places before it begin a gram that covers all its tokens; and those places.
    let covers_all = |worth: Worth| u32::from(!worth.begins_frequent());
    let (count, places) =
        (before(&covers_all), (0..worth.len()).filter(|&place| covers_all(worth[place]) == 1));
    let places: Vec<usize> = places.collect();
    let of_run = |(place, run): (usize, &Run)| {
        let end = place + run.length as usize;
        let all = &places[count[place] as usize..count[(end + 1).saturating_sub(RUN).max(place)] as usize];
        let others = match all {
            [] => 0,
            [first, ..] => others[all[all.len() - 1] + RUN] - others[*first],
        };
        templates[end] - templates[place] + others
    };
    runs.iter().enumerate().map(of_run).max().unwrap_or(0)
}
