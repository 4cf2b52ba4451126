//! Text: Python's normalisation, bit for bit, and 128-bit hashes of what it yields.

use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use xxhash_rust::xxh3::xxh3_128;
use xxhash_rust::xxh64::xxh64;

use crate::error::ScanError;
use crate::ids::{ABSENT, KeyTable};
use crate::parallel::Watch;

/// The slot of a row whose normalised text is empty.
pub const EMPTY: i64 = -2;
/// The slot of a row whose normalised text has fewer characters than asked for.
pub const SHORT: i64 = -3;

const ROWS_PER_TASK: usize = 256;

/// Many strings in one buffer: row `i` is `data[offsets[i]..offsets[i + 1]]` (Arrow's `large_string`).
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    data: &'a [u8],
    offsets: &'a [i64],
}

impl<'a> Texts<'a> {
    /// Rows over `data`, bounded by `offsets` (one more than there are rows; empty means no rows).
    ///
    /// # Errors
    /// [`ScanError::Shape`] when offsets decrease or leave the buffer.
    pub fn new(data: &'a [u8], offsets: &'a [i64]) -> Result<Self, ScanError> {
        let inside = offsets.first().is_none_or(|&first| first >= 0)
            && offsets.last().is_none_or(|&last| last <= data.len() as i64)
            && offsets.windows(2).all(|w| w[0] <= w[1]);
        if !inside {
            return Err(ScanError::Shape(format!(
                "text offsets: expected ascending positions within {} bytes",
                data.len()
            )));
        }
        Ok(Self { data, offsets })
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one row.
    pub fn bytes(&self, row: usize) -> &'a [u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    fn text(&self, row: usize) -> Result<&'a str, ScanError> {
        std::str::from_utf8(self.bytes(row))
            .map_err(|e| ScanError::Value(format!("text row {row} is not UTF-8: {e}")))
    }
}

/// How texts are made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// The text as it is.
    None,
    /// Python's `re.sub(r"\s+", " ", text.lower()).strip()`.
    Default,
    /// NFKC, then [`Normalization::Default`] with every decimal digit as `0` and every run of
    /// punctuation or symbols as a blank (the deduplication key of CCNet, Wenzek et al. 2020, which
    /// removes the punctuation).
    Strict,
}

impl std::str::FromStr for Normalization {
    type Err = ScanError;

    fn from_str(name: &str) -> Result<Self, ScanError> {
        match name {
            "none" => Ok(Self::None),
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            _ => Err(ScanError::Value(format!("normalize: expected none, default or strict, got {name:?}"))),
        }
    }
}

/// The Unicode version of the lower-casing tables in use.
pub fn unicode_version() -> String {
    let (major, minor, patch) = char::UNICODE_VERSION;
    format!("{major}.{minor}.{patch}")
}

/// What Python's `str.isspace` and `re`'s `\s` call white space.
pub fn is_python_space(c: char) -> bool {
    matches!(c,
        '\t'..='\r' | '\x1c'..='\x20' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Writes the normalised `text` into `out`, which is cleared first.
pub fn normalize(text: &str, mode: Normalization, out: &mut String) {
    out.clear();
    match mode {
        Normalization::None => out.push_str(text),
        Normalization::Default => collapse(text.to_lowercase().chars(), out),
        Normalization::Strict => {
            let folded: String = text.nfkc().collect::<String>().to_lowercase().nfkc().map(fold).collect();
            collapse(folded.chars(), out);
        }
    }
}

fn fold(c: char) -> char {
    match c.general_category() {
        GeneralCategory::DecimalNumber => '0',
        _ => match c.general_category_group() {
            GeneralCategoryGroup::Punctuation | GeneralCategoryGroup::Symbol => ' ',
            _ => c,
        },
    }
}

/// Runs of white space become one blank; none stays at the ends.
fn collapse(chars: impl Iterator<Item = char>, out: &mut String) {
    let mut gap = false;
    for c in chars {
        if is_python_space(c) {
            gap = !out.is_empty();
        } else {
            if gap {
                out.push(' ');
                gap = false;
            }
            out.push(c);
        }
    }
}

/// The xxh3-128 hashes of the normalised texts, as (high, low) words.
///
/// # Errors
/// [`ScanError::Value`] when a row is not UTF-8; [`ScanError::Cancelled`].
pub fn hash128(texts: &Texts<'_>, mode: Normalization, watch: &Watch) -> Result<Vec<[u64; 2]>, ScanError> {
    map_normalized(texts, mode, watch, |normalized| {
        let hash = xxh3_128(normalized.as_bytes());
        [(hash >> 64) as u64, hash as u64]
    })
}

/// The xxh64 hashes (seed 0) of the normalised texts.
///
/// # Errors
/// As [`hash128`].
pub fn hash64(texts: &Texts<'_>, mode: Normalization, watch: &Watch) -> Result<Vec<u64>, ScanError> {
    map_normalized(texts, mode, watch, |normalized| xxh64(normalized.as_bytes(), 0))
}

fn map_normalized<T: Send + Default + Clone>(
    texts: &Texts<'_>,
    mode: Normalization,
    watch: &Watch,
    of: impl Fn(&str) -> T + Sync,
) -> Result<Vec<T>, ScanError> {
    let mut out = vec![T::default(); texts.len()];
    out.par_chunks_mut(ROWS_PER_TASK).enumerate().try_for_each_init(
        String::new,
        |buffer, (task, chunk)| {
            watch.check()?;
            for (i, value) in chunk.iter_mut().enumerate() {
                normalize(texts.text(task * ROWS_PER_TASK + i)?, mode, buffer);
                *value = of(buffer);
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
    table: KeyTable,
    ends: Vec<usize>,
    stored: String,
}

impl TextIndex {
    /// An empty index; texts of fewer than `min_chars` characters after normalisation get no slot.
    ///
    /// # Errors
    /// Never for now; the signature leaves room.
    pub fn new(mode: Normalization, min_chars: usize) -> Result<Self, ScanError> {
        Ok(Self { mode, min_chars, table: KeyTable::new(2)?, ends: Vec::new(), stored: String::new() })
    }

    /// Distinct texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no text has a slot.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        self.table.nbytes() + self.ends.capacity() * size_of::<usize>() + self.stored.capacity()
    }

    /// Inserts the normalised texts in order; the slot of each, or [`EMPTY`], or [`SHORT`].
    ///
    /// # Errors
    /// As [`hash128`].
    pub fn add(&mut self, texts: &Texts<'_>, watch: &Watch) -> Result<Vec<i64>, ScanError> {
        let mut slots = Vec::with_capacity(texts.len());
        let (mode, min_chars) = (self.mode, self.min_chars);
        let tasks: Vec<usize> = (0..texts.len()).step_by(ROWS_PER_TASK).collect();
        // A few tasks at a time, so that the normalised copies stay small.
        for batch in tasks.chunks(4 * rayon::current_num_threads().max(1)) {
            let normalized: Vec<Vec<Result<(u128, String), i64>>> = batch
                .par_iter()
                .map(|&start| {
                    watch.check()?;
                    (start..texts.len().min(start + ROWS_PER_TASK))
                        .map(|row| {
                            let mut text = String::new();
                            normalize(texts.text(row)?, mode, &mut text);
                            Ok(match unusable(&text, min_chars) {
                                Some(code) => Err(code),
                                None => Ok((xxh3_128(text.as_bytes()), text)),
                            })
                        })
                        .collect()
                })
                .collect::<Result<_, ScanError>>()?;
            for row in normalized.into_iter().flatten() {
                slots.push(match row {
                    Ok((hash, text)) => self.insert(hash, &text)?,
                    Err(code) => code,
                });
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
                .unwrap_or_else(|| self.probe(xxh3_128(text.as_bytes()), text).map_or(ABSENT, i64::from))
        })
    }

    fn insert(&mut self, hash: u128, text: &str) -> Result<i64, ScanError> {
        if let Some(slot) = self.probe(hash, text) {
            return Ok(i64::from(slot));
        }
        let mut key = hash;
        while self.table.find_one(&words(key)).is_some() {
            key = key.wrapping_add(1);
        }
        let slot = self.table.insert_one(&words(key))?;
        self.stored.push_str(text);
        self.ends.push(self.stored.len());
        Ok(i64::from(slot))
    }

    /// Two texts of one hash stand under successive keys.
    fn probe(&self, hash: u128, text: &str) -> Option<u32> {
        let mut key = hash;
        while let Some(slot) = self.table.find_one(&words(key)) {
            if self.stored_text(slot as usize) == text {
                return Some(slot);
            }
            key = key.wrapping_add(1);
        }
        None
    }

    fn stored_text(&self, slot: usize) -> &str {
        let start = if slot == 0 { 0 } else { self.ends[slot - 1] };
        &self.stored[start..self.ends[slot]]
    }
}

fn words(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

fn unusable(text: &str, min_chars: usize) -> Option<i64> {
    if text.is_empty() {
        return Some(EMPTY);
    }
    // As many bytes as four times the characters asked for cannot be too few characters.
    let short = text.len() < min_chars.saturating_mul(4) && text.chars().count() < min_chars;
    short.then_some(SHORT)
}
