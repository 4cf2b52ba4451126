//! The longest common runs of an item and of stretches of a document, by the grams of N tokens that both have: a
//! run of n grams is one of n + N - 1 tokens.
//!
//! A run goes on from a place of the item to the next while the document does, which is counted for each place
//! of each gram: mostly there is one. Where grams repeat, pairs of places could be as many as the product of
//! both texts. There the suffixes of both are sorted, in time linear in their tokens, but for a logarithm
//! (Manber and Myers 1993; Kasai et al. 2001).

use std::iter::successors;

use super::grams::{ELSE, Places};

/// The longest common run that begins at a place of the item: its tokens, and where it first stands in what was
/// read of the document. Shorter ones than a gram count nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) length: u32,
    pub(super) other: u32,
}

/// Pairs of places that are counted for each place of both texts, at most: sorting suffixes takes longer still.
const PAIRS: usize = 256;

/// What looking for common runs needs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    longest: Vec<Run>,
    /// Of each place of the item, the run that begins there at the place of the document that was seen last.
    seen: Vec<Run>,
}

impl Runs {
    /// Of each place of the item at which a gram begins, the longest run: `grams` are those of the item, and
    /// `read` the gram at each place of the document, [`ELSE`] where the item has it not.
    pub(super) fn find<const N: usize>(&mut self, grams: &Places<N>, read: &[u32]) -> &[Run] {
        let known = read.iter().filter(|&&gram| gram != ELSE);
        let pairs: usize = known.map(|&gram| grams.of(gram).len()).sum();
        if pairs <= PAIRS * (grams.len() + read.len()) {
            self.by_places(grams, read);
        } else {
            self.longest = by_suffixes(grams.at_places(), N, read);
        }
        &self.longest
    }

    fn by_places<const N: usize>(&mut self, grams: &Places<N>, read: &[u32]) {
        self.longest.clear();
        self.longest.resize(grams.len(), Run::default());
        self.seen.clear();
        self.seen.resize(grams.len() + 1, Run { length: 0, other: u32::MAX });
        for (at, &gram) in read.iter().enumerate().rev() {
            if gram == ELSE {
                continue;
            }
            let at = at as u32;
            for &place in grams.of(gram) {
                let place = place as usize;
                let next = self.seen[place + 1];
                let goes_on = next.other == at + 1;
                let run = Run { length: if goes_on { next.length + 1 } else { N as u32 }, other: at };
                self.seen[place] = run;
                if run.length >= self.longest[place].length {
                    self.longest[place] = run;
                }
            }
        }
    }
}

/// Suffixes that begin with the same `depth` grams, as far as they have been seen.
struct Node {
    depth: u32,
    /// The first place of the document among them.
    first: u32,
    /// Places of the item among them that have no run yet, as a list: the first and the last.
    open: Option<(u32, u32)>,
}

/// The longest runs by all suffixes of both in order: those with the same beginning stand together. Grams have
/// `n` tokens.
pub(super) fn by_suffixes(own: &[u32], n: usize, read: &[u32]) -> Vec<Run> {
    let mut longest = vec![Run::default(); own.len()];
    // What is in no gram of the item equals nothing, and so does the end of the item.
    let mut others = own.len() as u32..;
    let ends = read.iter().map(|&gram| if gram == ELSE { None } else { Some(gram) });
    let both = own.iter().copied().map(Some).chain([None]).chain(ends);
    let text: Vec<u32> = both.map(|gram| gram.unwrap_or_else(|| others.next().expect("endless"))).collect();
    let (order, common) = suffixes(&text);
    let start = own.len() as u32 + 1;
    let mut next = vec![u32::MAX; own.len()];
    let mut nodes: Vec<Node> = Vec::new();
    for (&suffix, depth) in order.iter().zip(common).chain([(&(own.len() as u32), 0)]) {
        while nodes.last().is_some_and(|node| node.depth > depth) {
            let mut node = nodes.pop().expect("there is one");
            if node.first != u32::MAX
                && let Some((first, _)) = node.open.take()
            {
                let run = Run { length: node.depth + n as u32 - 1, other: node.first };
                let after = |&place: &u32| Some(next[place as usize]).filter(|&next| next != u32::MAX);
                successors(Some(first), after).for_each(|place| longest[place as usize] = run);
            }
            if nodes.last().is_none_or(|above| above.depth < depth) {
                nodes.push(Node { depth, first: u32::MAX, open: None });
            }
            let above = nodes.last_mut().expect("there is one");
            above.first = above.first.min(node.first);
            above.open = match (above.open, node.open) {
                (Some((first, last)), Some((here, end))) => {
                    next[last as usize] = here;
                    Some((first, end))
                }
                (open, other) => open.or(other),
            };
        }
        let (first, open) = match suffix.checked_sub(start) {
            Some(place) => (place, None),
            None => (u32::MAX, Some((suffix, suffix)).filter(|_| suffix + 1 < start)),
        };
        nodes.push(Node { depth: u32::MAX, first, open });
    }
    longest
}

/// The suffixes of a text of symbols below its length in order, and how much each has in common with the one before.
fn suffixes(text: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let count = text.len();
    let mut rank = text.to_vec();
    // By what follows their first `sorted` symbols.
    let mut by_rest: Vec<u32> = (0..count as u32).collect();
    let (mut order, mut ends, mut sorted) = (by_rest.clone(), Vec::new(), 0);
    loop {
        ends.clear();
        ends.resize(count + 1, 0);
        rank.iter().for_each(|&rank| ends[rank as usize + 1] += 1);
        for of in 1..=count {
            ends[of] += ends[of - 1];
        }
        for &suffix in &by_rest {
            let end = &mut ends[rank[suffix as usize] as usize];
            order[*end as usize] = suffix;
            *end += 1;
        }
        let key =
            |suffix: u32| (rank[suffix as usize], rank.get(suffix as usize + sorted).filter(|_| sorted > 0));
        let mut ranks = 0;
        by_rest[order[0] as usize] = 0;
        for pair in order.windows(2) {
            ranks += u32::from(key(pair[0]) != key(pair[1]));
            by_rest[pair[1] as usize] = ranks;
        }
        std::mem::swap(&mut rank, &mut by_rest);
        if ranks as usize + 1 == count {
            break;
        }
        sorted = (2 * sorted).max(1);
        let without = (count.saturating_sub(sorted)..count).map(|suffix| suffix as u32);
        by_rest.clear();
        by_rest.extend(without.chain(order.iter().filter_map(|suffix| suffix.checked_sub(sorted as u32))));
    }
    let mut common = by_rest;
    common.fill(0);
    let mut same = 0;
    for (suffix, &place) in rank.iter().enumerate() {
        let Some(before) = (place as usize).checked_sub(1) else {
            same = 0;
            continue;
        };
        let before = order[before] as usize;
        let more = text[suffix + same..].iter().zip(&text[before + same..]);
        same += more.take_while(|(a, b)| a == b).count();
        common[place as usize] = same as u32;
        same = same.saturating_sub(1);
    }
    (order, common)
}
