//! What makes two texts one: lower-casing, white space and the strict folding, at the speed of memory.
//!
//! A text is read in blocks. A block of ASCII is mapped as a whole, in loops that the compiler turns into
//! vector instructions, and is copied as it is unless two blanks meet in it. Any other block goes
//! character by character through a table of the Basic Multilingual Plane, built on first use from the
//! standard library's own tables, which would search them anew for every character.

use std::hint::select_unpredictable;
use std::sync::LazyLock;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::error::ScanError;

/// How texts are made comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// The text as it is.
    None,
    /// Python's `re.sub(r"\s+", " ", text.lower()).strip()`.
    Default,
    /// Looser than [`Normalization::Default`], in this order: NFKC; `Default`; NFKC again, since lower case
    /// can compose anew; every decimal digit (Nd) as `0`; every punctuation mark and symbol (P\*, S\*) as a
    /// blank; runs of white space as one blank, none at the ends.
    ///
    /// It is the deduplication key of CCNet (Wenzek et al. 2020) with two differences: accents stay, and
    /// punctuation parts words instead of joining them ("well-known" equals "well known" and not
    /// "wellknown"). Format characters (soft hyphen, zero-width space) stay too. A text of nothing but
    /// punctuation becomes empty.
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
    let mut normalizer = Normalizer::new(mode);
    out.clear();
    out.push_str(as_str(normalizer.apply(text)));
}

/// Normalises one text after another in the same buffers.
#[derive(Debug)]
pub(super) struct Normalizer {
    mode: Normalization,
    line: Line,
    composed: String,
}

impl Normalizer {
    pub(super) fn new(mode: Normalization) -> Self {
        Self { mode, line: Line::default(), composed: String::new() }
    }

    /// The UTF-8 bytes of the normalised `text`.
    pub(super) fn apply<'a>(&'a mut self, text: &'a str) -> &'a [u8] {
        match self.mode {
            Normalization::None => return text.as_bytes(),
            Normalization::Default => self.line.fill::<LowerCase>(text),
            Normalization::Strict if text.is_ascii() => self.line.fill::<Folded>(text),
            Normalization::Strict => {
                self.line.fill::<LowerCase>(compose(text, &mut self.composed));
                // Both buffers are in use by now, so the second NFKC reads the line and fills the other.
                let lower = as_str(self.line.written());
                if is_nfkc_quick(lower.chars()) == IsNormalized::Yes {
                    self.composed.clear();
                    self.composed.push_str(lower);
                } else {
                    self.composed.clear();
                    self.composed.extend(lower.nfkc());
                }
                self.line.fill::<Folded>(&self.composed);
            }
        }
        self.line.written()
    }
}

/// NFKC of `text`, which is most often `text` itself.
fn compose<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    if is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        return text;
    }
    buffer.clear();
    buffer.extend(text.nfkc());
    buffer
}

fn as_str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("whole characters in, whole characters out")
}

/// One character at a time, what a pass over a text does with it.
trait Rule {
    /// The rule on ASCII; every kind of white space comes out as a blank. Free of branches, so that it
    /// vectorises.
    fn ascii(byte: u8) -> u8;
    /// The rule on a whole block in which every character keeps its length, if it can tell; the bytes before
    /// and after the block are 0.
    fn block(window: &[u8; BLOCK + 2]) -> Option<[u8; BLOCK]>;
    /// The rule on the Basic Multilingual Plane.
    fn table() -> &'static Table;
    /// The rule on a character that has no entry in the table: `c`, which stands at `text[at..]`.
    fn rare(text: &str, at: usize, c: char, line: &mut Line);
}

/// Python's `str.lower`.
struct LowerCase;

impl Rule for LowerCase {
    #[inline(always)]
    fn ascii(byte: u8) -> u8 {
        let upper = byte.wrapping_sub(b'A') < 26;
        let space = (byte.wrapping_sub(b'\t') < 5) | (byte.wrapping_sub(0x1c) < 4);
        if space { b' ' } else { byte | (u8::from(upper) << 5) }
    }

    fn block(window: &[u8; BLOCK + 2]) -> Option<[u8; BLOCK]> {
        let mut out = [0; BLOCK];
        let mut known = true;
        for (i, to) in out.iter_mut().enumerate() {
            let (before, byte, after) = (window[i], window[i + 1], window[i + 2]);
            known &= keeps_length(before, byte, after);
            *to = lower_in_script(before, byte, after);
        }
        known.then_some(out)
    }

    fn table() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| {
            Table::new(|c| {
                let mut lower = c.to_lowercase();
                let first = lower.next()?;
                (c != SIGMA && lower.next().is_none()).then_some(first)
            })
        });
        &TABLE
    }

    fn rare(text: &str, at: usize, c: char, line: &mut Line) {
        if c == SIGMA {
            let final_sigma = before_is_cased(text, at) && !after_is_cased(text, at + SIGMA.len_utf8());
            line.push(if final_sigma { 'ς' } else { 'σ' });
        } else {
            for lower in c.to_lowercase() {
                line.push(lower);
            }
        }
    }
}

/// Whether [`lower_in_script`] knows the character that `byte` begins or goes on: ASCII; Cyrillic to U+04FF
/// and Greek from U+0390 to U+03CE but for a few; and what has no case: the quotation marks and dashes from
/// U+2010 to U+2027, U+3001 to U+9FFF (kana, Chinese), U+B000 to U+CFFF (Korean) and U+1F000 to U+1FFFF
/// (emoji). The rest of a character is known as its first byte is, but for the white space of U+2000 and
/// U+3000, which the third byte tells.
#[inline(always)]
fn keeps_length(before: u8, byte: u8, after: u8) -> bool {
    let space_by_third = (byte == 0x80)
        & (((before == 0xe2) & (after.wrapping_sub(0x90) >= 24)) | ((before == 0xe3) & (after <= 0x80)));
    let caseless = ((byte < 0xc0) & !space_by_third)
        | ((byte == 0xe2) & (after == 0x80))
        | ((byte == 0xe3) & (after != 0))
        | (byte.wrapping_sub(0xe4) < 6)
        | (byte.wrapping_sub(0xeb) < 2)
        | ((byte == 0xf0) & (after == 0x9f));
    let cyrillic = (byte == 0xd0)
        | (byte == 0xd1)
        | ((byte == 0xd2) & (after >= 0x8a))
        | ((byte == 0xd3) & (after >= 0x90));
    let greek =
        ((byte == 0xce) & (after >= 0x90) & (after & 0xfe != 0xa2)) | ((byte == 0xcf) & (after < 0x8f));
    caseless | cyrillic | greek
}

/// One byte of the lower case, by its neighbours. Free of branches, so that it vectorises.
#[inline(always)]
fn lower_in_script(before: u8, byte: u8, after: u8) -> u8 {
    // U+0400 to U+040F and U+0420 to U+042F, U+03A0 to U+03AB: the lower case has the next first byte.
    let next_lead =
        ((byte == 0xd0) & (after & 0x10 == 0)) | ((byte == 0xce) & (after.wrapping_sub(0xa0) < 12));
    let (cyrillic, greek) = (before == 0xd0, before == 0xce);
    let up_16 = cyrillic & (byte < 0x90);
    let up_32 = (cyrillic & (byte.wrapping_sub(0x90) < 16)) | (greek & (byte.wrapping_sub(0x91) < 15));
    let down_32 = (cyrillic & (byte.wrapping_sub(0xa0) < 16)) | (greek & (byte.wrapping_sub(0xa0) < 12));
    // U+0460 to U+04FF: small letters are odd, each after its capital.
    let odd = ((before == 0xd1) & (byte >= 0xa0)) | (before == 0xd2) | (before == 0xd3);
    let moved = (u8::from(up_16) << 4 | u8::from(up_32) << 5).wrapping_sub(u8::from(down_32) << 5);
    (LowerCase::ascii(byte) | u8::from(odd)).wrapping_add(moved).wrapping_add(u8::from(next_lead))
}

/// The last pass of [`Normalization::Strict`]. On ASCII it lower-cases too and so is the whole of it.
struct Folded;

impl Rule for Folded {
    #[inline(always)]
    fn ascii(byte: u8) -> u8 {
        let lower = LowerCase::ascii(byte);
        let digit = lower.wrapping_sub(b'0') < 10;
        let letter = lower.wrapping_sub(b'a') < 26;
        let graphic = lower.wrapping_sub(b'!') < 94;
        if digit {
            b'0'
        } else if graphic & !letter {
            b' '
        } else {
            lower
        }
    }

    fn block(_: &[u8; BLOCK + 2]) -> Option<[u8; BLOCK]> {
        None
    }

    fn table() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(|c| Some(fold(c))));
        &TABLE
    }

    fn rare(_: &str, _: usize, c: char, line: &mut Line) {
        line.push(fold(c));
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

/// Where each character of the Basic Multilingual Plane goes: the UTF-8 bytes of the result in the low
/// three bytes, first byte lowest, and their count in the high one; 0 where that is no single character of
/// the plane or depends on the neighbours.
struct Table(Box<[u32]>);

impl Table {
    fn new(rule: impl Fn(char) -> Option<char>) -> Self {
        let entry = |c: char| {
            let to = rule(c)?;
            let to = if is_python_space(to) { ' ' } else { to };
            if to.len_utf8() > 3 {
                return None;
            }
            let mut bytes = [0; 4];
            bytes[3] = to.encode_utf8(&mut bytes).len() as u8;
            Some(u32::from_le_bytes(bytes))
        };
        Self((0..0x1_0000).map(|code| char::from_u32(code).and_then(entry).unwrap_or(0)).collect())
    }
}

const BLOCK: usize = 32;
/// Room for what one block can become: a character of two bytes yields at most three characters.
const ROOM: usize = 8 * BLOCK;
/// The table's entry for a blank.
const BLANK: u32 = 1 << 24 | b' ' as u32;

/// A line under construction: a blank is dropped where it would follow another or stand first.
///
/// The bytes are kept longer than what is written, so that a block is stored whole and then counted.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    len: usize,
}

impl Line {
    fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Replaces the line by `text` under a rule, white space collapsed.
    fn fill<R: Rule>(&mut self, text: &str) {
        self.len = 0;
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self.make_room();
            let mut window = [0; BLOCK + 2];
            let mut n = BLOCK.min(bytes.len() - at);
            match bytes[at..].first_chunk::<BLOCK>() {
                Some(whole) => window[1..=BLOCK].copy_from_slice(whole),
                None => window[1..=n].copy_from_slice(&bytes[at..]),
            }
            if window[n] & 0xe0 == 0xc0 {
                // A character of two bytes is cut: it begins the next block.
                window[n] = 0;
                n -= 1;
            }
            let mut block = [0; BLOCK];
            block.copy_from_slice(&window[1..=BLOCK]);
            if block.iter().fold(0, |all, byte| all | byte) < 0x80 {
                // `array::map` would go byte by byte; this loop is one of vectors.
                for byte in &mut block {
                    *byte = R::ascii(*byte);
                }
                self.push_block(&block, n);
                at += n;
            } else if let Some(block) = R::block(&window) {
                self.push_block(&block, n);
                at += n;
            } else {
                at = self.push_chars::<R>(text, at, at + n);
            }
        }
        if self.written().ends_with(b" ") {
            self.len -= 1;
        }
    }

    fn make_room(&mut self) {
        if self.bytes.len() - self.len < ROOM {
            self.bytes.resize(2 * self.bytes.len() + ROOM, 0);
        }
    }

    fn takes_no_blank(&self) -> bool {
        self.written().last().is_none_or(|&last| last == b' ')
    }

    /// Appends the first `n` bytes of a block that holds no white space but blanks.
    #[inline(always)]
    fn push_block(&mut self, block: &[u8; BLOCK], n: usize) {
        const EACH: u64 = u64::MAX / 0xff;
        let words = block.as_chunks::<8>().0;
        let mut blanks = [0; BLOCK / 8];
        let mut carry = u64::from(self.takes_no_blank()) << 7;
        let mut meeting = 0;
        for (blanks, word) in blanks.iter_mut().zip(words) {
            // The high bit of each byte that is a blank: adding 0x7f to any other 7 bits sets that bit.
            let differs = u64::from_le_bytes(*word) ^ (EACH * u64::from(b' '));
            let found = !(((differs & (EACH * 0x7f)) + EACH * 0x7f) | differs) & (EACH * 0x80);
            *blanks = found & (found << 8 | carry);
            carry = found >> 56;
            meeting |= *blanks;
        }
        if meeting == 0 {
            self.bytes[self.len..][..BLOCK].copy_from_slice(block);
            self.len += n;
            return;
        }
        // One bit a byte: the product brings the eight high bits together in the highest byte.
        let gather = |bits: u64| ((bits >> 7).wrapping_mul(0x0102_0408_1020_4080)) >> 56;
        let dropped = blanks.iter().rev().fold(0, |all, &bits| all << 8 | gather(bits));
        let mut kept = !dropped & (u64::MAX >> (64 - n));
        let mut wide = [0; 2 * BLOCK];
        wide[..BLOCK].copy_from_slice(block);
        // Runs are stored a block wide, and what is too much is overwritten by the next one.
        while kept != 0 {
            let start = kept.trailing_zeros() as usize;
            let run = (kept >> start).trailing_ones() as usize;
            self.bytes[self.len..][..BLOCK].copy_from_slice(&wide[start..][..BLOCK]);
            self.len += run;
            kept &= u64::MAX << (start + run);
        }
    }

    /// Appends the characters that start in `text[at..until]`; the position after the last of them.
    fn push_chars<R: Rule>(&mut self, text: &str, mut at: usize, until: usize) -> usize {
        let table = &*R::table().0;
        let bytes = text.as_bytes();
        // The rest of a character whose first bytes a block before this one took as they are.
        while at < bytes.len() && bytes[at] & 0xc0 == 0x80 {
            self.bytes[self.len] = bytes[at];
            self.len += 1;
            at += 1;
        }
        let mut blank = self.takes_no_blank();
        while at < until {
            let (code, width) = decode(&bytes[at..]);
            let entry = table.get(code as usize).copied().unwrap_or(0);
            if entry == 0 {
                if let Some(c) = char::from_u32(code) {
                    R::rare(text, at, c, self);
                }
                blank = self.takes_no_blank();
            } else {
                // No branch on blanks: where a word ends cannot be foreseen.
                self.bytes[self.len..][..4].copy_from_slice(&entry.to_le_bytes());
                let is_blank = entry == BLANK;
                self.len += usize::from(!(is_blank & blank)) * (entry >> 24) as usize;
                blank = is_blank;
            }
            at += width;
        }
        at
    }

    /// Appends a character that needs no entry in a table.
    fn push(&mut self, c: char) {
        if c != ' ' || !self.takes_no_blank() {
            self.len += c.encode_utf8(&mut self.bytes[self.len..]).len();
        }
    }
}

/// The first character of UTF-8 text, and its bytes.
#[inline(always)]
fn decode(bytes: &[u8]) -> (u32, usize) {
    let tail = |i: usize| u32::from(bytes[i]) & 0x3f;
    let lead = u32::from(bytes[0]);
    if lead < 0xe0 {
        // One path for both widths: in most scripts blanks stand among letters of two bytes.
        let two = (lead & 0x1f) << 6 | u32::from(bytes.get(1).copied().unwrap_or(0)) & 0x3f;
        let is_ascii = lead < 0x80;
        (select_unpredictable(is_ascii, lead, two), 2 - usize::from(is_ascii))
    } else if lead < 0xf0 {
        ((lead & 0x0f) << 12 | tail(1) << 6 | tail(2), 3)
    } else {
        ((lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4)
    }
}

/// The one letter whose lower case depends on its neighbours (Unicode's Final_Sigma): `ς` after a cased
/// letter and before none, case-ignorable characters not counted.
const SIGMA: char = 'Σ';

/// What a neighbour means to a sigma. `Ignorable` goes before `Cased` where a character is both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Casing {
    Neither,
    Cased,
    Ignorable,
}

fn before_is_cased(text: &str, at: usize) -> bool {
    text[..at].chars().rev().map(casing).find(|&c| c != Casing::Ignorable) == Some(Casing::Cased)
}

fn after_is_cased(text: &str, at: usize) -> bool {
    text[at..].chars().map(casing).find(|&c| c != Casing::Ignorable) == Some(Casing::Cased)
}

fn casing(c: char) -> Casing {
    static TABLE: LazyLock<Box<[Casing]>> = LazyLock::new(|| {
        (0..0x1_0000).map(|code| char::from_u32(code).map_or(Casing::Neither, observed_casing)).collect()
    });
    TABLE.get(c as usize).copied().unwrap_or_else(|| observed_casing(c))
}

/// The standard library keeps the two properties to itself, but shows them in what a sigma becomes.
fn observed_casing(c: char) -> Casing {
    let is_final = |after: &[char]| {
        let mut probe = String::from("aΣ");
        probe.extend(after);
        probe.to_lowercase().starts_with("aς")
    };
    match (is_final(&[c]), is_final(&[c, 'a'])) {
        (false, _) => Casing::Cased,
        (true, false) => Casing::Ignorable,
        (true, true) => Casing::Neither,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, one step after the other, with the standard library's lower case.
    fn oracle(text: &str, mode: Normalization) -> String {
        let collapse = |text: &str| {
            let words: Vec<&str> = text.split(is_python_space).filter(|word| !word.is_empty()).collect();
            words.join(" ")
        };
        match mode {
            Normalization::None => text.to_owned(),
            Normalization::Default => collapse(&text.to_lowercase()),
            Normalization::Strict => {
                let lower = text.nfkc().collect::<String>().to_lowercase();
                collapse(&lower.nfkc().map(fold).collect::<String>())
            }
        }
    }

    fn assert_all_modes(text: &str) {
        for mode in [Normalization::None, Normalization::Default, Normalization::Strict] {
            let mut out = String::from("left over");
            normalize(text, mode, &mut out);
            assert_eq!(out, oracle(text, mode), "{mode:?} of {text:?}");
        }
    }

    #[test]
    fn every_character_alone_and_beside_a_sigma() {
        for c in '\0'..=char::MAX {
            assert_all_modes(&format!("{c} AΣ{c} {c}Σ{c}a Σ"));
        }
    }

    #[test]
    fn every_character_at_every_place_of_a_block() {
        for c in '\0'..='\u{ffff}' {
            let text = format!("{c}xЖ{c}{c} {c}Ωa{c}中{c}").repeat(4);
            assert_all_modes(&text);
            assert_all_modes(&format!("x{text}"));
            assert_all_modes(&format!("—{text}"));
        }
    }

    #[test]
    fn strict_normalisation_is_stable() {
        let (mut once, mut twice) = (String::new(), String::new());
        for c in '\0'..=char::MAX {
            normalize(&format!("a{c}b {c}"), Normalization::Strict, &mut once);
            normalize(&once, Normalization::Strict, &mut twice);
            assert_eq!(once, twice, "{c:?}");
        }
    }

    #[test]
    fn buffers_are_reused_and_hold_nothing_of_the_text_before() {
        let mut normalizer = Normalizer::new(Normalization::Strict);
        let texts = ["ΑΣ ﬁ 12", "plain", "", "x".repeat(5000).as_str(), "Ǆ Σ"].map(str::to_owned);
        for text in &texts {
            assert_eq!(normalizer.apply(text), oracle(text, Normalization::Strict).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_text(text in any::<String>()) {
            assert_all_modes(&text);
        }

        #[test]
        fn long_ascii(text in "[ -~\t\n\x1c\x1f\x00 ]{0,300}") {
            assert_all_modes(&text);
        }

        #[test]
        fn spaces_sigmas_and_marks(
            text in "([ \t\n\u{85}\u{a0}\u{1c}\u{3000}]|[AaΣςσİIıßǅ]|['’.·\u{301}\u{345}\u{ad}]|[жЖ漢😀𐐀1²])*"
        ) {
            assert_all_modes(&text);
        }
    }
}
