//! Keys and their tables: what the `doc`, `chunk` and `text` levels, the payload join and the groups
//! of equal vectors stand on.
//!
//! A key is a fixed number of 64-bit words: two for an id or a hash, four for a (doc, chunk) pair. Ids
//! compare as decimal text, so the integer 12 and the string "12" are one key.

use hashbrown::HashTable;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::ScanError;
use crate::parallel::Watch;
use crate::strings::Texts;

/// The slot of a key that is not in the table.
pub const ABSENT: i64 = -1;

const ROWS_PER_TASK: usize = 16 * 1024;

/// The key of an integer id: (0, id). No string hashes into that half of the key space.
pub fn integer_key(id: i64) -> [u64; 2] {
    [0, id as u64]
}

/// The key of a string id: the integer's key if it is the decimal text of an `i64`, else its 128-bit hash.
pub fn string_key(id: &[u8]) -> [u64; 2] {
    if let Some(integer) = canonical_integer(id) {
        return integer_key(integer);
    }
    let hash = xxh3_128(id);
    [((hash >> 64) as u64).max(1), hash as u64]
}

/// The integer that `id` spells, if it is spelled the way an integer prints: no sign but a minus, no
/// leading zero, no blank.
fn canonical_integer(id: &[u8]) -> Option<i64> {
    let digits = id.strip_prefix(b"-").unwrap_or(id);
    let canonical = match digits {
        [b'0'] => id.len() == 1,
        [first, ..] if digits.len() <= 19 => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(id).ok()?.parse().ok()
}

/// Whether `id` stands for a number and yet has another key than the integer of that value: what a float of
/// no fraction is written as (`7.0`, `7.`, `1e+16`, `1.5E7`, `1e3`), and an integer between blanks.
///
/// `1.5`, `2301.01234` and `1.5.2` are names. So is `12e4567`, a piece of a hash: where an exponent has no
/// sign and the mantissa no point, writers of floats put one digit before it and at most three behind.
pub fn misspells_number(id: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let trimmed = id.trim_ascii();
    let number = trimmed.strip_prefix(b"-").or(trimmed.strip_prefix(b"+")).unwrap_or(trimmed);
    let (whole, rest) = number.split_at(digits(number));
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => {
            let (fraction, rest) = rest.split_at(digits(rest));
            (Some(fraction), rest)
        }
        None => (None, rest),
    };
    if whole.is_empty() && fraction.is_none_or(<[u8]>::is_empty) {
        return false;
    }
    match (rest, fraction) {
        ([], None) => trimmed.len() < id.len(),
        ([], Some(fraction)) => fraction.iter().all(|&digit| digit == b'0'),
        ([b'e' | b'E', exponent @ ..], _) => {
            let signed = matches!(exponent, [b'-' | b'+', ..]);
            let exponent = &exponent[usize::from(signed)..];
            let usual = signed || fraction.is_some() || (whole.len() == 1 && exponent.len() <= 3);
            usual && !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// The first of `ids` that [`misspells_number`].
pub fn misspelt_number(ids: &Texts<'_>) -> Option<usize> {
    (0..ids.len()).find(|&row| misspells_number(ids.bytes(row)))
}

/// The keys of string ids, `(n, 2)` words.
///
/// # Errors
/// [`ScanError::Cancelled`].
pub fn string_keys(ids: &Texts<'_>, watch: &Watch) -> Result<Vec<[u64; 2]>, ScanError> {
    let mut keys = vec![[0; 2]; ids.len()];
    keys.par_chunks_mut(ROWS_PER_TASK).enumerate().try_for_each(|(task, chunk)| {
        watch.check()?;
        for (i, key) in chunk.iter_mut().enumerate() {
            *key = string_key(ids.bytes(task * ROWS_PER_TASK + i));
        }
        Ok::<_, ScanError>(())
    })?;
    Ok(keys)
}

/// Folded multiply, the mixing step of wyhash: every input bit reaches every output bit.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[inline]
fn hash_key(key: &[u64]) -> u64 {
    const SALT: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xe703_7ed1_a0b4_28db];
    let step = |state: u64, a: u64, b: u64| mix(a ^ state ^ SALT[0], b ^ SALT[1]);
    let (pairs, odd) = key.as_chunks::<2>();
    let state = pairs.iter().fold(0, |state, &[a, b]| step(state, a, b));
    odd.iter().fold(state, |state, &a| step(state, a, 0))
}

/// A set of keys that gives each a slot: 0, 1, 2, ... in order of first insertion.
#[derive(Debug)]
pub struct KeyTable {
    width: usize,
    keys: Vec<u64>,
    slots: HashTable<u32>,
}

impl KeyTable {
    /// An empty table of keys of `width` words.
    ///
    /// # Errors
    /// [`ScanError::Value`] when `width` is 0.
    pub fn new(width: usize) -> Result<Self, ScanError> {
        Self::with_capacity(width, 0)
    }

    /// An empty table with room for `keys` keys of `width` words.
    ///
    /// # Errors
    /// [`ScanError::Value`] when `width` is 0.
    pub fn with_capacity(width: usize, keys: usize) -> Result<Self, ScanError> {
        if width == 0 {
            return Err(ScanError::Value("a key has at least one word".into()));
        }
        Ok(Self { width, keys: Vec::with_capacity(keys * width), slots: HashTable::with_capacity(keys) })
    }

    /// Words per key.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Distinct keys so far.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no key was inserted.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.keys.capacity() * 8 + self.slots.allocation_size()
    }

    fn key(&self, slot: u32) -> &[u64] {
        &self.keys[slot as usize * self.width..][..self.width]
    }

    /// The slot of `key`, given one if it has none.
    ///
    /// # Errors
    /// [`ScanError::Value`] past 2^32 - 1 distinct keys.
    pub fn insert_one(&mut self, key: &[u64]) -> Result<u32, ScanError> {
        let hash = hash_key(key);
        let (keys, width) = (&self.keys, self.width);
        if let Some(slot) = self.slots.find(hash, |&s| keys[s as usize * width..][..width] == *key) {
            return Ok(*slot);
        }
        let slot = u32::try_from(self.slots.len())
            .map_err(|_| ScanError::Value("more than 2^32 - 1 distinct keys in one table".into()))?;
        self.keys.extend_from_slice(key);
        let keys = &self.keys;
        self.slots.insert_unique(hash, slot, |&s| hash_key(&keys[s as usize * width..][..width]));
        Ok(slot)
    }

    /// The slot of `key` if it was inserted.
    pub fn find_one(&self, key: &[u64]) -> Option<u32> {
        self.slots.find(hash_key(key), |&s| self.key(s) == key).copied()
    }

    /// Calls `found` with the place and the slot of each of `keys`, in order; it may pass over keys that
    /// `filter` knows to be absent.
    fn find_each(&self, keys: &[u64], filter: &Filter, found: impl FnMut(usize, Option<u32>)) {
        // A width that the compiler sees turns the comparison of two keys from a call into a few
        // instructions.
        match self.width {
            2 => self.find_each_of::<2>(keys, filter, found),
            4 => self.find_each_of::<4>(keys, filter, found),
            width => {
                let mut found = found;
                keys.chunks_exact(width).enumerate().for_each(|(i, key)| found(i, self.find_one(key)));
            }
        }
    }

    fn find_each_of<const WIDTH: usize>(
        &self,
        keys: &[u64],
        filter: &Filter,
        mut found: impl FnMut(usize, Option<u32>),
    ) {
        let (stored, _) = self.keys.as_chunks::<WIDTH>();
        for (i, key) in keys.as_chunks::<WIDTH>().0.iter().enumerate() {
            let hash = hash_key(key);
            if filter.may_hold(hash) {
                found(i, self.slots.find(hash, |&s| stored[s as usize] == *key).copied());
            }
        }
    }

    /// Inserts `keys`, `(n, width)` words, in order; the slot of each.
    ///
    /// # Errors
    /// [`ScanError::Shape`] when the words do not divide into keys; [`ScanError::Cancelled`].
    pub fn insert(&mut self, keys: &[u64], watch: &Watch) -> Result<Vec<i64>, ScanError> {
        self.check_shape(keys)?;
        let mut out = Vec::with_capacity(keys.len() / self.width);
        for task in keys.chunks(ROWS_PER_TASK * self.width) {
            watch.check()?;
            for key in task.chunks_exact(self.width) {
                out.push(i64::from(self.insert_one(key)?));
            }
        }
        Ok(out)
    }

    /// The slot of each of `keys`, `(n, width)` words, or [`ABSENT`].
    ///
    /// # Errors
    /// As [`KeyTable::insert`].
    pub fn find(&self, keys: &[u64], watch: &Watch) -> Result<Vec<i64>, ScanError> {
        self.check_shape(keys)?;
        // Zeros come from the system untouched, so the workers and not this thread fault the pages in.
        let mut out = vec![0; keys.len() / self.width];
        out.par_chunks_mut(ROWS_PER_TASK).zip(keys.par_chunks(ROWS_PER_TASK * self.width)).try_for_each(
            |(slots, keys)| {
                watch.check()?;
                self.find_each(keys, &Filter::none(), |i, slot| slots[i] = slot.map_or(ABSENT, i64::from));
                Ok::<_, ScanError>(())
            },
        )?;
        Ok(out)
    }

    /// The rows of `keys` that have a slot, ascending: few, as a rule, where [`KeyTable::find`] says
    /// something of every row.
    fn hits(&self, keys: &[u64], watch: &Watch) -> Result<Vec<Hit>, ScanError> {
        self.check_shape(keys)?;
        let filter = Filter::of(self);
        let found: Vec<Vec<Hit>> = keys
            .par_chunks(ROWS_PER_TASK * self.width)
            .enumerate()
            .map(|(task, keys)| {
                watch.check()?;
                let mut hits = Vec::new();
                self.find_each(keys, &filter, |i, slot| {
                    hits.extend(slot.map(|slot| Hit { row: task * ROWS_PER_TASK + i, slot }));
                });
                Ok(hits)
            })
            .collect::<Result<_, ScanError>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn check_shape(&self, keys: &[u64]) -> Result<(), ScanError> {
        if keys.len().is_multiple_of(self.width) {
            return Ok(());
        }
        Err(ScanError::Shape(format!("keys: expected (n, {}) words, got {}", self.width, keys.len())))
    }
}

/// One bit per hash: a key whose bit is not set is not in the table, which spares the look into it.
struct Filter {
    bits: Vec<u64>,
    mask: usize,
}

impl Filter {
    /// Bits per key: one absent key in sixteen passes, and a few thousand keys stay in the first cache.
    const SPARSITY: usize = 16;

    /// A filter that every key passes.
    fn none() -> Self {
        Self { bits: vec![u64::MAX], mask: 0 }
    }

    fn of(table: &KeyTable) -> Self {
        let words = (table.len() * Self::SPARSITY).div_ceil(64).next_power_of_two();
        let mut filter = Self { bits: vec![0; words], mask: words - 1 };
        for key in table.keys.chunks_exact(table.width) {
            let hash = hash_key(key);
            filter.bits[(hash >> 6) as usize & filter.mask] |= 1 << (hash & 63);
        }
        filter
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.bits[(hash >> 6) as usize & self.mask] >> (hash & 63) & 1 == 1
    }
}

/// Every (train row, eval row) whose keys are equal, sorted by train row, then eval row.
///
/// The table stands on the smaller side and the other side is probed in parallel. Beside the answer, which
/// is allocated once at its exact size, this holds a few words per row however often keys repeat.
///
/// # Errors
/// As [`KeyTable::insert`]; [`ScanError::Value`] when there is no memory for that many pairs.
pub fn intersect(
    train: &[u64],
    eval: &[u64],
    width: usize,
    watch: &Watch,
) -> Result<(Vec<i64>, Vec<i64>), ScanError> {
    let rows = train.len().min(eval.len()) / width.max(1);
    let mut table = KeyTable::with_capacity(width, rows)?;
    let (train_hits, eval_hits);
    if train.len() < eval.len() {
        train_hits = Hit::all(table.insert(train, watch)?);
        eval_hits = table.hits(eval, watch)?;
    } else {
        eval_hits = Hit::all(table.insert(eval, watch)?);
        train_hits = table.hits(train, watch)?;
    }
    let eval_rows = RowsBySlot::new(&eval_hits, table.len());
    let matched: Vec<usize> = train_hits
        .par_chunks(ROWS_PER_TASK)
        .map(|hits| hits.iter().map(|hit| eval_rows.of(hit.slot).len()).sum())
        .collect();
    let total = matched.iter().sum();
    let (mut left, mut right) = (zeros(total)?, zeros(total)?);
    let mut rest = (left.as_mut_slice(), right.as_mut_slice());
    let mut tasks = Vec::with_capacity(matched.len());
    for (hits, &pairs) in train_hits.chunks(ROWS_PER_TASK).zip(&matched) {
        let (left, left_rest) = rest.0.split_at_mut(pairs);
        let (right, right_rest) = rest.1.split_at_mut(pairs);
        rest = (left_rest, right_rest);
        tasks.push((hits, left, right));
    }
    tasks.into_par_iter().try_for_each(|(hits, mut left, mut right)| {
        for hit in hits {
            watch.check()?;
            let rows = eval_rows.of(hit.slot);
            let (here, later) = left.split_at_mut(rows.len());
            here.fill(hit.row as i64);
            left = later;
            let (here, later) = right.split_at_mut(rows.len());
            here.copy_from_slice(rows);
            right = later;
        }
        Ok::<_, ScanError>(())
    })?;
    Ok((left, right))
}

/// A row whose key has a slot.
struct Hit {
    row: usize,
    slot: u32,
}

impl Hit {
    /// A hit per row, given the slot of each.
    fn all(slots: Vec<i64>) -> Vec<Self> {
        slots.into_iter().enumerate().map(|(row, slot)| Self { row, slot: slot as u32 }).collect()
    }
}

fn zeros(len: usize) -> Result<Vec<i64>, ScanError> {
    let mut out = Vec::new();
    out.try_reserve_exact(len)
        .map_err(|_| ScanError::Value(format!("no memory for the {len} pairs of rows with equal keys")))?;
    out.resize(len, 0);
    Ok(out)
}

/// The rows behind each slot, ascending: a counting sort in compressed form.
struct RowsBySlot {
    starts: Vec<usize>,
    rows: Vec<i64>,
}

impl RowsBySlot {
    fn new(hits: &[Hit], slot_count: usize) -> Self {
        let mut starts = vec![0; slot_count + 1];
        for hit in hits {
            starts[hit.slot as usize + 1] += 1;
        }
        for i in 0..slot_count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; starts[slot_count]];
        for hit in hits {
            let place = &mut next[hit.slot as usize];
            rows[*place] = hit.row as i64;
            *place += 1;
        }
        Self { starts, rows }
    }

    fn of(&self, slot: u32) -> &[i64] {
        &self.rows[self.starts[slot as usize]..self.starts[slot as usize + 1]]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn flat<const W: usize>(keys: &[[u64; W]]) -> Vec<u64> {
        keys.concat()
    }

    #[test]
    fn an_integer_and_its_decimal_text_are_one_key() {
        for id in [0, 12, -12, i64::MAX, i64::MIN] {
            assert_eq!(string_key(id.to_string().as_bytes()), integer_key(id));
        }
    }

    #[test]
    fn numbers_that_integers_do_not_print_as_are_found_and_names_are_not() {
        for id in ["7.0", "7.", ".0", "-7.00", "+7.0", "1e3", "1E308", "1e+16", "12e-4", "1.5E7", " 7", "7\t"]
        {
            assert!(misspells_number(id.as_bytes()), "{id:?}");
            assert!(canonical_integer(id.as_bytes()).is_none(), "{id:?}");
        }
        let names =
            ["", " ", "7", "-7", "007", "1.5", "1.5.2", "v7.0", ".", "-", "e3", "1e", "1e+", "12e4567"];
        for id in
            names.into_iter().chain(["1e3456", "10.1000/182", "2301.01234", "7 0", "7.0a", "1e3.0", "--7.0"])
        {
            assert!(!misspells_number(id.as_bytes()), "{id:?}");
        }
        let data = b"7x7.0";
        assert_eq!(misspelt_number(&Texts::new(data, &[0, 1, 2, 5, 5]).unwrap()), Some(2));
        assert_eq!(misspelt_number(&Texts::new(data, &[0, 2, 2]).unwrap()), None);
    }

    #[test]
    fn other_spellings_of_a_number_are_other_ids() {
        for id in ["", "-", "-0", "+1", "01", " 1", "1 ", "1.0", "9223372036854775808", "١٢"] {
            assert_ne!(string_key(id.as_bytes())[0], 0, "{id:?} was read as an integer");
        }
    }

    proptest! {
        #[test]
        fn integer_text_round_trips(id: i64) {
            prop_assert_eq!(string_key(id.to_string().as_bytes()), integer_key(id));
        }

        #[test]
        fn slots_equal_a_hash_map(keys in prop::collection::vec([0u64..7, 0u64..3], 0..200)) {
            let watch = Watch::new();
            let mut table = KeyTable::new(2).unwrap();
            let slots = table.insert(&flat(&keys), &watch).unwrap();
            let mut oracle = HashMap::new();
            for (key, slot) in keys.iter().zip(&slots) {
                let next = oracle.len() as i64;
                prop_assert_eq!(*oracle.entry(*key).or_insert(next), *slot);
            }
            prop_assert_eq!(table.len(), oracle.len());
            let probes: Vec<[u64; 2]> = (0..8).flat_map(|a| (0..4).map(move |b| [a, b])).collect();
            let found = table.find(&flat(&probes), &watch).unwrap();
            for (probe, slot) in probes.iter().zip(found) {
                prop_assert_eq!(oracle.get(probe).copied().unwrap_or(ABSENT), slot);
            }
        }

        #[test]
        fn intersection_equals_the_nested_loop(
            train in prop::collection::vec([0u64..9, 0u64..4], 0..60),
            eval in prop::collection::vec([0u64..9, 0u64..4], 0..60),
        ) {
            let mut expected = Vec::new();
            for (i, a) in train.iter().enumerate() {
                for (j, b) in eval.iter().enumerate() {
                    if a == b {
                        expected.push((i as i64, j as i64));
                    }
                }
            }
            let (l, r) = intersect(&flat(&train), &flat(&eval), 2, &Watch::new()).unwrap();
            prop_assert_eq!(l.into_iter().zip(r).collect::<Vec<_>>(), expected);
        }
    }
}
