//! Text: Python's normalisation, bit for bit, and 128-bit hashes of what it yields.

mod normalize;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;
use xxhash_rust::xxh64::xxh64;

use crate::error::ScanError;
use crate::ids::{ABSENT, KeyTable};
use crate::parallel::Watch;
use crate::strings::Texts;

use self::normalize::Normalizer;
pub use self::normalize::{Normalization, is_python_space, normalize, unicode_version};

/// The slot of a row whose normalised text is empty.
pub const EMPTY: i64 = -2;
/// The slot of a row whose normalised text has fewer characters than asked for.
pub const SHORT: i64 = -3;

/// Rows between two looks at the watch.
const ROWS_PER_TASK: usize = 32;
/// Bytes of text that a worker normalises before what it yields is indexed.
const BYTES_PER_SHARE: i64 = 1 << 20;

/// The xxh3-128 hashes of the normalised texts, as (high, low) words.
///
/// # Errors
/// [`ScanError::Value`] when a row is not UTF-8; [`ScanError::Cancelled`].
pub fn hash128(texts: &Texts<'_>, mode: Normalization, watch: &Watch) -> Result<Vec<[u64; 2]>, ScanError> {
    map_normalized(texts, mode, watch, |normalized| words(xxh3_128(normalized)))
}

/// The xxh64 hashes (seed 0) of the normalised texts.
///
/// # Errors
/// As [`hash128`].
pub fn hash64(texts: &Texts<'_>, mode: Normalization, watch: &Watch) -> Result<Vec<u64>, ScanError> {
    map_normalized(texts, mode, watch, |normalized| xxh64(normalized, 0))
}

/// The first word of a key that stands for no text; the second is the negative of [`EMPTY`] or [`SHORT`].
const NO_TEXT: u64 = 0;

/// Keys of the normalised texts: their [`hash128`], whose high word is never 0 here, or (0, 2) for a text
/// that is empty and (0, 3) for one of fewer than `min_chars` characters.
///
/// # Errors
/// As [`hash128`].
pub fn text_keys(
    texts: &Texts<'_>,
    mode: Normalization,
    min_chars: usize,
    watch: &Watch,
) -> Result<Vec<[u64; 2]>, ScanError> {
    map_normalized(texts, mode, watch, |text| match unusable(text, min_chars) {
        Some(code) => [NO_TEXT, code.unsigned_abs()],
        None => {
            let [high, low] = words(xxh3_128(text));
            [high.max(NO_TEXT + 1), low]
        }
    })
}

fn map_normalized<T: Send + Default + Clone>(
    texts: &Texts<'_>,
    mode: Normalization,
    watch: &Watch,
    of: impl Fn(&[u8]) -> T + Sync,
) -> Result<Vec<T>, ScanError> {
    let mut out = vec![T::default(); texts.len()];
    out.par_chunks_mut(ROWS_PER_TASK).enumerate().try_for_each_init(
        || Normalizer::new(mode),
        |normalizer, (task, chunk)| {
            watch.check()?;
            for (i, value) in chunk.iter_mut().enumerate() {
                *value = of(normalizer.apply(texts.text(task * ROWS_PER_TASK + i)?));
            }
            Ok::<_, ScanError>(())
        },
    )?;
    Ok(out)
}

/// The distinct normalised texts of the indexed side, each with a slot.
///
/// A text is found by its 128-bit hash and then compared with the text that is stored, so a match is
/// an equality and not a likelihood.
#[derive(Debug)]
pub struct TextIndex {
    mode: Normalization,
    min_chars: usize,
    texts: StoredTexts,
}

impl TextIndex {
    /// An empty index; texts of fewer than `min_chars` characters after normalisation get no slot.
    pub fn new(mode: Normalization, min_chars: usize) -> Self {
        Self { mode, min_chars, texts: StoredTexts::new() }
    }

    /// Distinct texts.
    pub fn len(&self) -> usize {
        self.texts.ends.len()
    }

    /// Whether no text has a slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.texts.nbytes()
    }

    /// Inserts the normalised texts in order; the slot of each, or [`EMPTY`], or [`SHORT`].
    ///
    /// # Errors
    /// As [`hash128`].
    pub fn add(&mut self, texts: &Texts<'_>, watch: &Watch) -> Result<Vec<i64>, ScanError> {
        let mut slots = Vec::with_capacity(texts.len());
        let mut shares: Vec<Share> =
            (0..4 * rayon::current_num_threads()).map(|_| Share::new(self.mode)).collect();
        let mut row = 0;
        while row < texts.len() {
            let mut planned = 0;
            for share in &mut shares {
                (share.start, share.end) = (row, texts.rows_within(row, BYTES_PER_SHARE));
                row = share.end;
                planned += usize::from(share.start < share.end);
            }
            let shares = &mut shares[..planned];
            shares.par_iter_mut().try_for_each(|share| share.normalize(texts, self.min_chars, watch))?;
            for share in shares {
                let mut start = 0;
                for normalized in &share.rows {
                    slots.push(match *normalized {
                        Normalized::Unusable(code) => code,
                        Normalized::Text { hash, end } => {
                            let text = &share.bytes[start..end];
                            start = end;
                            i64::from(self.texts.insert(hash, text)?)
                        }
                    });
                }
            }
        }
        Ok(slots)
    }

    /// The slot of each normalised text, or [`ABSENT`], [`EMPTY`] or [`SHORT`].
    ///
    /// # Errors
    /// As [`hash128`].
    pub fn find(&self, texts: &Texts<'_>, watch: &Watch) -> Result<Vec<i64>, ScanError> {
        map_normalized(texts, self.mode, watch, |text| {
            unusable(text, self.min_chars)
                .unwrap_or_else(|| self.texts.find(xxh3_128(text), text).map_or(ABSENT, i64::from))
        })
    }
}

/// Consecutive rows that one worker normalises for [`TextIndex::add`], and what they become.
struct Share {
    start: usize,
    end: usize,
    normalizer: Normalizer,
    bytes: Vec<u8>,
    rows: Vec<Normalized>,
}

enum Normalized {
    /// A text that ends at `end` of the share's bytes.
    Text { hash: u128, end: usize },
    /// [`EMPTY`] or [`SHORT`].
    Unusable(i64),
}

impl Share {
    fn new(mode: Normalization) -> Self {
        Self { start: 0, end: 0, normalizer: Normalizer::new(mode), bytes: Vec::new(), rows: Vec::new() }
    }

    fn normalize(&mut self, texts: &Texts<'_>, min_chars: usize, watch: &Watch) -> Result<(), ScanError> {
        watch.check()?;
        self.bytes.clear();
        self.rows.clear();
        for row in self.start..self.end {
            let text = self.normalizer.apply(texts.text(row)?);
            self.rows.push(match unusable(text, min_chars) {
                Some(code) => Normalized::Unusable(code),
                None => {
                    self.bytes.extend_from_slice(text);
                    Normalized::Text { hash: xxh3_128(text), end: self.bytes.len() }
                }
            });
        }
        Ok(())
    }
}

/// Distinct texts with slots, found by hash and told apart by their bytes.
#[derive(Debug)]
struct StoredTexts {
    table: KeyTable,
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl StoredTexts {
    fn new() -> Self {
        let table = KeyTable::new(2).expect("a key of two words");
        Self { table, ends: Vec::new(), bytes: Vec::new() }
    }

    fn nbytes(&self) -> usize {
        self.table.nbytes() + self.ends.capacity() * size_of::<usize>() + self.bytes.capacity()
    }

    fn insert(&mut self, hash: u128, text: &[u8]) -> Result<u32, ScanError> {
        match self.probe(hash, text) {
            Ok(slot) => Ok(slot),
            Err(free) => {
                let slot = self.table.insert_one(&words(free))?;
                self.bytes.extend_from_slice(text);
                self.ends.push(self.bytes.len());
                Ok(slot)
            }
        }
    }

    fn find(&self, hash: u128, text: &[u8]) -> Option<u32> {
        self.probe(hash, text).ok()
    }

    /// The slot of `text`, or the key under which it would stand: texts of one hash have successive keys.
    fn probe(&self, hash: u128, text: &[u8]) -> Result<u32, u128> {
        let mut key = hash;
        while let Some(slot) = self.table.find_one(&words(key)) {
            if self.text(slot as usize) == text {
                return Ok(slot);
            }
            key = key.wrapping_add(1);
        }
        Err(key)
    }

    fn text(&self, slot: usize) -> &[u8] {
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.bytes[start..self.ends[slot]]
    }
}

fn words(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

fn unusable(text: &[u8], min_chars: usize) -> Option<i64> {
    if text.is_empty() {
        return Some(EMPTY);
    }
    // As many bytes as four times the characters asked for cannot be too few characters.
    let short = text.len() < min_chars.saturating_mul(4) && characters(text) < min_chars;
    short.then_some(SHORT)
}

/// Characters of UTF-8 text: the bytes that continue none.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn packed(texts: &[String]) -> (Vec<u8>, Vec<i64>) {
        let mut offsets = vec![0];
        for text in texts {
            offsets.push(offsets[offsets.len() - 1] + text.len() as i64);
        }
        (texts.concat().into_bytes(), offsets)
    }

    #[test]
    fn texts_of_one_hash_keep_their_own_slots() {
        let mut stored = StoredTexts::new();
        for hash in [7, u128::MAX] {
            let first = stored.insert(hash, b"one").unwrap();
            let second = stored.insert(hash, b"two").unwrap();
            let neighbour = stored.insert(hash.wrapping_add(1), b"three").unwrap();
            assert_eq!([second, neighbour], [first + 1, first + 2]);
            assert_eq!(stored.insert(hash, b"two").unwrap(), second);
            assert_eq!(stored.find(hash, b"one"), Some(first));
            assert_eq!(stored.find(hash, b"two"), Some(second));
            assert_eq!(stored.find(hash.wrapping_add(1), b"three"), Some(neighbour));
            assert_eq!(stored.find(hash, b"four"), None);
        }
    }

    #[test]
    fn offsets_must_ascend_within_the_data() {
        for offsets in [&[-1, 1][..], &[0, 4], &[0, 2, 1], &[4]] {
            assert!(matches!(Texts::new(b"abc", offsets), Err(ScanError::Shape(_))), "{offsets:?}");
        }
        assert!(Texts::new(b"abc", &[]).unwrap().is_empty());
        assert!(Texts::new(b"abc", &[3]).unwrap().is_empty());
        assert_eq!(Texts::new(b"abc", &[1, 1, 3]).unwrap().bytes(1), b"bc");
    }

    #[test]
    fn a_row_that_is_not_utf8_is_named() {
        let texts = Texts::new(b"ab\xffc", &[0, 2, 4]).unwrap();
        let mut index = TextIndex::new(Normalization::Default, 0);
        let watch = Watch::new();
        for error in [
            hash128(&texts, Normalization::None, &watch).map(|_| ()),
            index.find(&texts, &watch).map(|_| ()),
            index.add(&texts, &watch).map(|_| ()),
        ] {
            assert!(error.unwrap_err().to_string().contains("text row 1 is not UTF-8"));
        }
    }

    #[test]
    fn shares_end_at_the_bytes_given_and_take_one_row_at_least() {
        let texts = Texts::new(&[0; 20], &[0, 0, 5, 10, 20]).unwrap();
        assert_eq!(texts.rows_within(0, 5), 2);
        assert_eq!(texts.rows_within(0, 9), 2);
        assert_eq!(texts.rows_within(2, 1), 3);
        assert_eq!(texts.rows_within(0, i64::MAX), 4);
        assert_eq!(texts.rows_within(4, 1), 4);
    }

    proptest! {
        #[test]
        fn slots_equal_a_hash_map(
            texts in prop::collection::vec("[aA ж]{0,5}", 0..200),
            probes in prop::collection::vec("[aA ж]{0,5}", 0..50),
            min_chars in 0usize..4,
        ) {
            let watch = Watch::new();
            let mut index = TextIndex::new(Normalization::Default, min_chars);
            let mut oracle: HashMap<String, i64> = HashMap::new();
            let mut expected = |text: &String, insert: bool| {
                let mut key = String::new();
                normalize(text, Normalization::Default, &mut key);
                let next = oracle.len() as i64;
                match key.chars().count() {
                    0 => EMPTY,
                    n if n < min_chars => SHORT,
                    _ if insert => *oracle.entry(key).or_insert(next),
                    _ => oracle.get(&key).copied().unwrap_or(ABSENT),
                }
            };
            // Two calls, since slots go on from one to the next.
            for half in texts.chunks(100) {
                let (data, offsets) = packed(half);
                let slots = index.add(&Texts::new(&data, &offsets).unwrap(), &watch).unwrap();
                prop_assert_eq!(slots, half.iter().map(|t| expected(t, true)).collect::<Vec<_>>());
            }
            let (data, offsets) = packed(&probes);
            let slots = index.find(&Texts::new(&data, &offsets).unwrap(), &watch).unwrap();
            prop_assert_eq!(slots, probes.iter().map(|t| expected(t, false)).collect::<Vec<_>>());
            prop_assert_eq!(index.len(), oracle.len());
        }
    }
}
