//! n-grams of tokens: their hash, and where those of one item stand.

/// Bits by which tokens of a gram are turned against each other. Token hashes are well mixed, so a gram's is
/// as well; and what is found by it is compared with the tokens themselves.
const TURN: u32 = 9;

/// The hash of a gram.
#[inline(always)]
pub(super) fn gram_hash(gram: &[u64]) -> u64 {
    gram.iter().fold(0, |hash: u64, token| hash.rotate_left(TURN) ^ token)
}

/// From the hash of the N-gram that begins with `first` to that of the next one, which ends with `next`.
#[inline(always)]
pub(super) fn roll<const N: u32>(hash: u64, first: u64, next: u64) -> u64 {
    hash.rotate_left(TURN) ^ first.rotate_left(TURN * N) ^ next
}

/// No gram of the item.
pub(super) const ELSE: u32 = u32::MAX;
/// Slots of the table for each gram, at least: most of what is looked for is not there, and found free at once.
const SLOTS: usize = 8;
/// Slots of a table that a cache holds: larger ones have two for each gram.
const CACHED: usize = 1 << 17;

/// The N-grams of one item by their tokens. A gram is known by the first place at which it stands.
#[derive(Debug, Default)]
pub(super) struct Places<const N: usize> {
    /// By hash, open addressing: grams.
    table: Vec<u32>,
    shift: u32,
    /// Of each place, the gram that begins there.
    gram_at: Vec<u32>,
    /// Of each gram, where its places begin in `places`, and how many they are.
    range: Vec<(u32, u32)>,
    places: Vec<u32>,
}

impl<const N: usize> Places<N> {
    /// Takes the grams of `item`.
    pub(super) fn fill(&mut self, item: &[u64]) {
        let grams = (item.len() + 1).saturating_sub(N);
        let slots = (SLOTS * grams).min(CACHED.max(2 * grams)).next_power_of_two().max(2);
        self.shift = 64 - slots.trailing_zeros();
        self.table.clear();
        self.table.resize(slots, ELSE);
        self.range.clear();
        self.range.resize(grams, (0, 0));
        self.gram_at.clear();
        for (place, tokens) in item.windows(N).enumerate() {
            let tokens = tokens.try_into().expect("N tokens");
            let slot = self.slot(item, tokens);
            if self.table[slot] == ELSE {
                self.table[slot] = place as u32;
            }
            self.gram_at.push(self.table[slot]);
            self.range[self.table[slot] as usize].1 += 1;
        }
        let mut start = 0;
        for range in &mut self.range {
            let count = std::mem::replace(range, (start, 0)).1;
            start += count;
        }
        self.places.clear();
        self.places.resize(grams, 0);
        for (place, &gram) in self.gram_at.iter().enumerate() {
            let (start, count) = &mut self.range[gram as usize];
            self.places[(*start + *count) as usize] = place as u32;
            *count += 1;
        }
    }

    /// The gram of `item` that begins at each place of `tokens`, or [`ELSE`].
    pub(super) fn read(&self, item: &[u64], tokens: &[u64]) -> impl Iterator<Item = u32> {
        let gram_at = |gram: &[u64]| self.table[self.slot(item, gram.try_into().expect("N tokens"))];
        tokens.windows(N).map(gram_at)
    }

    /// The places of a gram, ascending.
    #[inline]
    pub(super) fn of(&self, gram: u32) -> &[u32] {
        let (start, count) = self.range[gram as usize];
        &self.places[start as usize..(start + count) as usize]
    }

    /// Of each place, the gram that begins there.
    pub(super) fn at_places(&self) -> &[u32] {
        &self.gram_at
    }

    /// Places at which a gram begins.
    pub(super) fn len(&self) -> usize {
        self.gram_at.len()
    }

    /// Where in the table these tokens stand or would stand.
    #[inline]
    fn slot(&self, item: &[u64], tokens: &[u64; N]) -> usize {
        let mut slot = (gram_hash(tokens) >> self.shift) as usize;
        loop {
            let gram = self.table[slot];
            if gram == ELSE || item[gram as usize..gram as usize + N] == *tokens {
                return slot;
            }
            slot = (slot + 1) & (self.table.len() - 1);
        }
    }
}
