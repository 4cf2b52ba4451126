//! The longest common runs of two sequences of tokens, in time linear in both: a suffix automaton
//! (Blumer et al. 1985) of the one reads the other.

use hashbrown::HashMap;

/// A common run: `length` tokens from `own` on in the automaton's sequence, from `other` on in what it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) own: usize,
    pub(super) other: usize,
    pub(super) length: usize,
}

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;
/// Tokens of the sequence for each word of bits.
const KNOWN_WORD: usize = 4;

#[derive(Clone, Copy, Debug)]
struct State {
    /// Tokens of its longest run.
    length: u32,
    /// The state of the longest shorter end of that run which is another state.
    link: u32,
    /// The youngest of its steps.
    step: u32,
}

/// The suffix automaton of a sequence of tokens, and what it has read.
#[derive(Debug, Default)]
pub(super) struct Automaton {
    states: Vec<State>,
    /// A bit for each token of the sequence: most tokens that are read lead nowhere, and need not be looked up.
    known: Vec<u64>,
    steps: HashMap<(u32, u64), u32>,
    /// The tokens by which a state can be left, as lists: a token, and the one before it.
    tokens: Vec<(u64, u32)>,
    /// The state of each beginning of the sequence.
    beginnings: Vec<u32>,
    /// Of each state, the longest run that was read in it, and where it ended.
    read: Vec<(u32, u32)>,
    /// Tokens read, breaks included.
    longest: usize,
}

impl Automaton {
    /// Of `tokens`; nothing is read yet.
    pub(super) fn fill(&mut self, tokens: &[u64]) {
        self.states.clear();
        self.steps.clear();
        self.tokens.clear();
        self.beginnings.clear();
        self.states.push(State { length: 0, link: NONE, step: NONE });
        self.known.clear();
        self.known.resize((tokens.len() / KNOWN_WORD).next_power_of_two(), 0);
        let mut last = ROOT;
        for &token in tokens {
            let (word, bit) = self.bit(token);
            self.known[word] |= bit;
            last = self.append(last, token);
            self.beginnings.push(last);
        }
        self.forget();
    }

    /// Nothing is read yet.
    pub(super) fn forget(&mut self) {
        self.read.clear();
        self.read.resize(self.states.len(), (0, 0));
        self.longest = 0;
    }

    /// Reads tokens of another sequence, from `start` on in it.
    pub(super) fn read(&mut self, tokens: &[u64], start: usize) {
        let (mut state, mut length) = (ROOT, 0);
        for (at, &token) in tokens.iter().enumerate() {
            let (word, bit) = self.bit(token);
            if self.known[word] & bit == 0 {
                (state, length) = (ROOT, 0);
                continue;
            }
            let next = loop {
                if let Some(&next) = self.steps.get(&(state, token)) {
                    break Some(next);
                }
                if state == ROOT {
                    break None;
                }
                state = self.states[state as usize].link;
                length = self.states[state as usize].length;
            };
            let Some(next) = next else { continue };
            state = next;
            length += 1;
            let read = &mut self.read[state as usize];
            if length > read.0 {
                *read = (length, (start + at + 1) as u32);
                self.longest = self.longest.max(length as usize);
                if self.longest == self.beginnings.len() {
                    return; // the whole sequence: no longer run is to be had
                }
            }
        }
    }

    /// The word and the bit in it that stand for a token.
    #[inline(always)]
    fn bit(&self, token: u64) -> (usize, u64) {
        ((token >> 6) as usize & (self.known.len() - 1), 1 << (token & 63))
    }

    /// Tokens of the longest common run.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Of each place in the own sequence, the longest common run that ends with it.
    pub(super) fn ending(&self) -> Vec<Run> {
        let mut by_length: Vec<u32> = (1..self.states.len() as u32).collect();
        by_length.sort_unstable_by_key(|&state| self.states[state as usize].length);
        let mut read = self.read.clone();
        // What was read in a state was read in all ends of it; what was read in an end, in no longer run.
        for &state in by_length.iter().rev() {
            let link = self.states[state as usize].link;
            let whole = self.states[link as usize].length;
            if read[state as usize].0 > 0 && whole > read[link as usize].0 {
                read[link as usize] = (whole, read[state as usize].1);
            }
        }
        for &state in &by_length {
            if read[state as usize].0 == 0 {
                read[state as usize] = read[self.states[state as usize].link as usize];
            }
        }
        let run = |(place, &state): (usize, &u32)| {
            let (length, end) = read[state as usize];
            let length = length as usize;
            Run { own: place + 1 - length, other: end as usize - length, length }
        };
        self.beginnings.iter().enumerate().map(run).collect()
    }

    fn append(&mut self, last: u32, token: u64) -> u32 {
        let new = self.state(self.states[last as usize].length + 1);
        let mut from = last;
        while from != NONE && !self.steps.contains_key(&(from, token)) {
            self.lead(from, token, new);
            from = self.states[from as usize].link;
        }
        self.states[new as usize].link = if from == NONE {
            ROOT
        } else {
            let next = self.steps[&(from, token)];
            let length = self.states[from as usize].length + 1;
            if self.states[next as usize].length == length {
                next
            } else {
                self.split(from, token, next, length)
            }
        };
        new
    }

    /// Parts the runs of up to `length` tokens from state `next`.
    fn split(&mut self, mut from: u32, token: u64, next: u32, length: u32) -> u32 {
        let part = self.state(length);
        let mut step = self.states[next as usize].step;
        while step != NONE {
            let (token, before) = self.tokens[step as usize];
            self.lead(part, token, self.steps[&(next, token)]);
            step = before;
        }
        self.states[part as usize].link = self.states[next as usize].link;
        self.states[next as usize].link = part;
        while from != NONE && self.steps.get(&(from, token)) == Some(&next) {
            self.steps.insert((from, token), part);
            from = self.states[from as usize].link;
        }
        part
    }

    fn state(&mut self, length: u32) -> u32 {
        self.states.push(State { length, link: ROOT, step: NONE });
        self.states.len() as u32 - 1
    }

    fn lead(&mut self, from: u32, token: u64, to: u32) {
        self.steps.insert((from, token), to);
        let step = self.tokens.len() as u32;
        self.tokens.push((token, std::mem::replace(&mut self.states[from as usize].step, step)));
    }
}
