//! A text as tokens, each known by a 64-bit hash of its folded bytes.
//!
//! ASCII, which is most of most corpora, goes 64 bytes at a time: a mask says which bytes belong to words,
//! and a word of up to eight letters is one multiplication. A stretch with other characters, up to the next
//! ASCII separator, goes character by character through [`Page`]; only where characters compose or are out
//! of canonical order is it normalised in full.

use unicode_normalization::UnicodeNormalization;

use super::chars::{Class, Page, class, fold};

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any other token.
    Word,
    /// One ASCII letter.
    Letter,
    /// Up to three digits.
    ShortNumber,
    /// More digits.
    LongNumber,
    /// A character of a script that is written without spaces.
    Character,
}

/// A token and the bytes of the text that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) hash: u64,
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Where tokens go.
pub(super) trait Sink {
    fn push(&mut self, token: Token);
    fn len(&self) -> usize;
    fn truncate(&mut self, len: usize);
}

impl Sink for Vec<u64> {
    #[inline(always)]
    fn push(&mut self, token: Token) {
        Vec::push(self, token.hash);
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn truncate(&mut self, len: usize) {
        Vec::truncate(self, len);
    }
}

impl Sink for Vec<Token> {
    fn push(&mut self, token: Token) {
        Vec::push(self, token);
    }

    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn truncate(&mut self, len: usize) {
        Vec::truncate(self, len);
    }
}

/// Appends the tokens of `text` to `sink`.
pub(super) fn tokenize(text: &str, sink: &mut impl Sink) {
    Tokenizer { text, bytes: text.as_bytes(), sink, word: Word::default() }.run();
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;
const EACH: u64 = 0x0101_0101_0101_0101;
const LOWER_CASE: u64 = 0x20 * EACH;

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(FACTOR);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of `bytes`, each of which gets the bits of `case`.
#[inline(always)]
fn hash(bytes: &[u8], case: u64) -> u64 {
    let mut hash = SEED ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(hash, u64::from_le_bytes(chunk.try_into().expect("eight bytes")) | case);
    }
    let rest = chunks.remainder();
    if rest.is_empty() {
        return hash;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash, (u64::from_le_bytes(last) | case) & (!0 >> (64 - 8 * rest.len())))
}

const BLOCK: usize = 64;

/// Which bytes are ASCII letters and digits; `None` if some are not ASCII.
#[inline(always)]
fn ascii_words(block: &[u8; BLOCK]) -> Option<u64> {
    let (mut mask, mut all) = (0, 0);
    for (i, chunk) in block.chunks_exact(8).enumerate() {
        let bytes = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        all |= bytes;
        // In each byte, the highest bit: at least the first, and not more than the last of a range.
        let from = |bytes: u64, first: u8| bytes.wrapping_add(u64::from(0x80 - first) * EACH);
        let lower = bytes | LOWER_CASE;
        let letters = from(lower, b'a') & !from(lower, b'z' + 1);
        let digits = from(bytes, b'0') & !from(bytes, b'9' + 1);
        let bits = ((letters | digits) >> 7) & EACH;
        // The lowest bits of eight bytes, side by side in the highest byte of the product.
        mask |= (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    (all & (0x80 * EACH) == 0).then_some(mask)
}

/// A token that is not complete yet.
#[derive(Default)]
struct Word {
    class: Option<Class>,
    bytes: Vec<u8>,
    characters: usize,
    numeric: bool,
    start: usize,
    end: usize,
}

impl Word {
    fn kind(&self) -> Kind {
        match (self.class, self.numeric, self.characters) {
            (Some(Class::Alone), ..) => Kind::Character,
            (_, true, 0..=3) => Kind::ShortNumber,
            (_, true, _) => Kind::LongNumber,
            _ if self.bytes.len() == 1 => Kind::Letter,
            _ => Kind::Word,
        }
    }
}

struct Tokenizer<'a, S> {
    text: &'a str,
    bytes: &'a [u8],
    sink: &'a mut S,
    word: Word,
}

impl<S: Sink> Tokenizer<'_, S> {
    fn run(&mut self) {
        let mut at = 0;
        let mut open = None;
        while let Some(block) = self.bytes.get(at..at + BLOCK).and_then(|b| <&[u8; BLOCK]>::try_from(b).ok())
        {
            let Some(mut mask) = ascii_words(block) else {
                at = self.walk(open.take().unwrap_or(at), at + BLOCK);
                continue;
            };
            if let Some(start) = open {
                let length = (!mask).trailing_zeros();
                if length < BLOCK as u32 {
                    self.ascii(start, at + length as usize);
                    open = None;
                    mask &= !0 << length;
                } else {
                    mask = 0;
                }
            }
            while mask != 0 {
                let start = mask.trailing_zeros();
                let end = start + (!(mask >> start)).trailing_zeros();
                if end >= BLOCK as u32 {
                    open = Some(at + start as usize);
                    break;
                }
                self.ascii(at + start as usize, at + end as usize);
                mask &= !0 << end;
            }
            at += BLOCK;
        }
        self.walk(open.unwrap_or(at), self.bytes.len());
    }

    /// From the beginning of a word or what is none, until `end` is reached and no word is open.
    fn walk(&mut self, mut at: usize, end: usize) -> usize {
        while at < end {
            let start = at;
            while self.bytes.get(at).is_some_and(u8::is_ascii_alphanumeric) {
                at += 1;
            }
            if self.bytes.get(at).is_some_and(|byte| !byte.is_ascii()) {
                at = self.stretch(start);
            } else if at > start {
                self.ascii(start, at);
            } else {
                at += 1;
            }
        }
        at
    }

    /// The word of ASCII letters and digits from `start` to `end`.
    #[inline(always)]
    fn ascii(&mut self, start: usize, end: usize) {
        let length = end - start;
        let hash = match self.bytes.get(start..start + 8) {
            Some(eight) if length <= 8 => {
                let word = u64::from_le_bytes(eight.try_into().expect("eight bytes")) | LOWER_CASE;
                mix(SEED ^ length as u64, word & (!0 >> (64 - 8 * length)))
            }
            _ => hash(&self.bytes[start..end], LOWER_CASE),
        };
        let kind = match (self.bytes[start..end].iter().all(u8::is_ascii_digit), length) {
            (true, 1..=3) => Kind::ShortNumber,
            (true, _) => Kind::LongNumber,
            (false, 1) => Kind::Letter,
            (false, _) => Kind::Word,
        };
        self.sink.push(Token { hash, kind, start, end });
    }

    /// Tokens from `start` to the next ASCII separator, which is returned.
    fn stretch(&mut self, start: usize) -> usize {
        let before = self.sink.len();
        let mut combining = 0;
        let mut simple = true;
        let mut end = self.bytes.len();
        for (at, c) in self.text[start..].char_indices() {
            let at = start + at;
            if c.is_ascii() {
                if !c.is_ascii_alphanumeric() {
                    end = at;
                    break;
                }
                let class = if c.is_ascii_digit() { Class::Number } else { Class::Letter };
                self.take(c.to_ascii_lowercase(), class, at, at + 1);
                combining = 0;
                continue;
            }
            let page = Page::of(c);
            let folded = page.folded(c);
            let after = at + c.len_utf8();
            match folded.class {
                Class::Ignored => continue,
                Class::Composes => simple = false,
                Class::Mark if folded.combining != 0 && folded.combining < combining => simple = false,
                Class::Expands => {
                    for &(c, class) in page.expansion(folded) {
                        self.take(c, class, at, after);
                    }
                }
                class => self.take(folded.to(), class, at, after),
            }
            combining = folded.combining;
        }
        if simple {
            self.flush();
        } else {
            self.word = Word::default();
            self.sink.truncate(before);
            self.composed(start, end);
        }
        end
    }

    /// As [`Self::stretch`] where characters compose: piece by piece, over which none does.
    fn composed(&mut self, start: usize, end: usize) {
        let text = self.text;
        let mut piece = String::new();
        let (mut from, mut to) = (start, start);
        for (at, c) in text[start..end].char_indices() {
            let folded = Page::of(c).folded(c);
            if folded.class == Class::Ignored {
                continue;
            }
            if folded.is_boundary() && !piece.is_empty() {
                self.compose(&piece, from, to);
                piece.clear();
            }
            if piece.is_empty() {
                from = start + at;
            }
            piece.push_str(&fold(c));
            to = start + at + c.len_utf8();
        }
        self.compose(&piece, from, to);
        self.flush();
    }

    fn compose(&mut self, piece: &str, from: usize, to: usize) {
        for c in piece.nfc() {
            self.take(c, class(c), from, to);
        }
    }

    /// The next folded character, which stands for the bytes from `start` to `end`.
    #[inline]
    fn take(&mut self, c: char, class: Class, start: usize, end: usize) {
        match class {
            Class::Letter | Class::Number => {
                if self.word.class == Some(Class::Alone) {
                    self.flush();
                }
                if self.word.class.is_none() {
                    self.open(class, start);
                }
                self.word.characters += 1;
                self.word.numeric &= class == Class::Number;
            }
            Class::Alone => {
                self.flush();
                self.open(class, start);
            }
            Class::Mark if self.word.class.is_some() => {}
            Class::Mark => return,
            _ => return self.flush(),
        }
        self.word.end = end;
        self.word.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    #[inline]
    fn open(&mut self, class: Class, start: usize) {
        self.word.class = Some(class);
        self.word.start = start;
        self.word.characters = 0;
        self.word.numeric = true;
    }

    #[inline]
    fn flush(&mut self) {
        if self.word.class.is_none() {
            return;
        }
        let Word { start, end, .. } = self.word;
        self.sink.push(Token { hash: hash(&self.word.bytes, 0), kind: self.word.kind(), start, end });
        self.word.class = None;
        self.word.bytes.clear();
    }
}
