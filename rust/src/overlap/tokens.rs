//! A text as tokens, each known by a 64-bit hash of its folded bytes.
//!
//! A text goes 64 bytes at a time: masks say which bytes are ASCII letters and digits and which are not ASCII.
//! A stretch between two ASCII separators that is all ASCII is one word, and up to 16 bytes of it are hashed
//! at once. Any other stretch goes character by character through [`Page`]; only where characters compose
//! or are out of canonical order are these few normalised in full.

use unicode_normalization::UnicodeNormalization;

use super::chars::{Class, Folded, Page, Pairs, class};
use super::hash::{Hasher, hash_ascii, hash_folded, hash_of_character};
use crate::kernel::words::{self, BLOCK, Classify, Masks, Work};

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
    /// A character of Han, kana or Hangul.
    HalfOfWord,
    /// One of Thai, Lao, Tibetan, Myanmar or Khmer.
    ThirdOfWord,
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
}

impl Sink for Vec<u64> {
    #[inline(always)]
    fn push(&mut self, token: Token) {
        Vec::push(self, token.hash);
    }
}

impl Sink for Vec<Token> {
    fn push(&mut self, token: Token) {
        Vec::push(self, token);
    }
}

/// Appends the tokens of `text` to `sink`.
pub(super) fn tokenize(text: &str, sink: &mut impl Sink) {
    words::run(Tokenizer { text, bytes: text.as_bytes(), sink, piece: String::new() });
}

/// As [`tokenize`], without instructions that not every processor has.
#[cfg(test)]
pub(super) fn tokenize_plainly(text: &str, sink: &mut impl Sink) {
    words::run_plainly(Tokenizer { text, bytes: text.as_bytes(), sink, piece: String::new() });
}

/// A token that is not complete yet, as its characters come.
#[derive(Clone, Copy)]
struct Word {
    /// Of its first character; [`Class::Separator`] where there is no token.
    class: Class,
    /// The kind of one that is a character by itself.
    alone: Kind,
    bytes: Hasher,
    characters: usize,
    numeric: bool,
    start: usize,
    end: usize,
}

impl Word {
    const NONE: Self = Self {
        class: Class::Separator,
        alone: Kind::Word,
        bytes: Hasher::START,
        characters: 0,
        numeric: true,
        start: 0,
        end: 0,
    };

    fn kind(&self) -> Kind {
        match (self.class, self.numeric, self.characters) {
            (Class::Alone, ..) => self.alone,
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
    /// Characters that compose.
    piece: String,
}

impl<S: Sink> Work for Tokenizer<'_, S> {
    /// Cuts the text where ASCII separates.
    #[inline(always)]
    fn run(mut self, classify: impl Classify) {
        let (blocks, rest) = self.bytes.as_chunks::<BLOCK>();
        // What follows the text separates.
        let mut last = [b' '; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        // Whether the byte before belongs to a stretch, where that begins and whether it is not ASCII alone.
        let (mut open, mut start, mut mixed) = (0, 0, false);
        for (i, block) in blocks.iter().chain([&last]).enumerate() {
            let at = i * BLOCK;
            let Masks { words, mut others } = classify.masks(block);
            let inside = words | others;
            let before = inside << 1 | open;
            let (mut starts, mut ends) = (inside & !before, before & !inside);
            if open == 0 {
                start = at + starts.trailing_zeros() as usize;
                starts &= starts.wrapping_sub(1);
            }
            while ends != 0 {
                let end = ends.trailing_zeros();
                let below = (1 << end) - 1;
                if mixed || others & below != 0 {
                    self.mixed(classify, start, at + end as usize);
                    others &= !below;
                    mixed = false;
                } else {
                    self.ascii(start, at + end as usize);
                }
                ends &= ends - 1;
                start = at + starts.trailing_zeros() as usize;
                starts &= starts.wrapping_sub(1);
            }
            mixed |= others != 0;
            open = inside >> (BLOCK - 1);
        }
    }
}

impl<S: Sink> Tokenizer<'_, S> {
    /// The word of ASCII letters and digits from `start` to `end`.
    #[inline(always)]
    fn ascii(&mut self, start: usize, end: usize) {
        let length = end - start;
        let hash = hash_ascii(&self.bytes[start..], length);
        let kind = match (self.bytes[start..end].iter().all(u8::is_ascii_digit), length) {
            (true, 1..=3) => Kind::ShortNumber,
            (true, _) => Kind::LongNumber,
            (false, 1) => Kind::Letter,
            (false, _) => Kind::Word,
        };
        self.sink.push(Token { hash, kind, start, end });
    }

    /// The tokens between two ASCII separators, where not all is ASCII. Mostly they are one word of letters of
    /// one byte and of two that stay as long.
    #[inline(always)]
    fn mixed(&mut self, classify: impl Classify, start: usize, end: usize) {
        let length = end - start;
        let Some(block) = self.bytes[start..].first_chunk::<BLOCK>().filter(|_| length <= BLOCK) else {
            return self.stretch(start, end);
        };
        let mut others = classify.masks(block).others & (!0 >> (BLOCK - length));
        // Small letters; bytes that are not ASCII stay as they are.
        let mut folded = block.map(|byte| byte | 0x20 & !(byte >> 2));
        let pairs = Pairs::get();
        let mut simple = true;
        while others != 0 {
            let at = others.trailing_zeros() as usize;
            let pair = pairs.folded([block[at], block[(at + 1) % BLOCK]]);
            simple &= pair != 0;
            [folded[at], folded[(at + 1) % BLOCK]] = pair.to_le_bytes();
            others &= others - 1;
            others &= others.wrapping_sub(1);
        }
        if simple {
            self.sink.push(Token { hash: hash_folded(&folded, length), kind: Kind::Word, start, end });
        } else {
            self.stretch(start, end);
        }
    }

    /// The tokens between two ASCII separators, in any case: piece by piece, over the borders of
    /// which nothing composes.
    fn stretch(&mut self, start: usize, end: usize) {
        let text = self.text;
        let mut word = Word::NONE;
        // The first character of a piece, and where it stands.
        let (mut first, mut of_first) = (Folded::IGNORED, start);
        let mut from = start;
        let mut characters = text[from..end].char_indices();
        while let Some((at, c)) = characters.next() {
            let (at, folded) = (from + at, Page::of(c).folded(c));
            if folded.is_boundary {
                if first.class == Class::Alone && !matches!(folded.class, Class::Mark | Class::Expands) {
                    self.flush(&mut word);
                    let hash = hash_of_character(first.bytes);
                    let kind = first.kind_alone();
                    self.sink.push(Token { hash, kind, start: of_first, end: at });
                } else {
                    self.take_folded(&mut word, first, of_first, at);
                }
                (first, of_first) = (folded, at);
            } else {
                let mut of_piece = word;
                from =
                    self.piece(&mut of_piece, if first.class == Class::Ignored { at } else { of_first }, end);
                (word, first) = (of_piece, Folded::IGNORED);
                characters = text[from..end].char_indices();
            }
        }
        self.take_folded(&mut word, first, of_first, end);
        self.flush(&mut word);
    }

    /// The piece that begins at `start`; gives where the next one does.
    #[inline(never)]
    fn piece(&mut self, word: &mut Word, start: usize, end: usize) -> usize {
        let text = self.text;
        let characters =
            || text[start..end].char_indices().map(|(at, c)| (start + at, c, Page::of(c).folded(c)));
        let rest = characters().skip(1).find(|(.., folded)| folded.is_boundary);
        let end = rest.map_or(end, |(at, ..)| at);
        let characters = || characters().take_while(|&(at, ..)| at < end);
        let mut combining = 0;
        let in_order = characters().all(|(.., folded)| match folded.class {
            Class::Ignored => true,
            Class::Composes => false,
            _ => {
                std::mem::replace(&mut combining, folded.combining) <= folded.combining
                    || folded.combining == 0
            }
        });
        if in_order {
            for (at, c, folded) in characters() {
                self.take_folded(word, folded, at, at + c.len_utf8());
            }
            return end;
        }
        let mut piece = std::mem::take(&mut self.piece);
        piece.clear();
        let (mut from, mut to) = (None, end);
        for (at, c, folded) in characters().filter(|(.., folded)| folded.class != Class::Ignored) {
            from.get_or_insert(at);
            to = at + c.len_utf8();
            match folded.class {
                Class::Expands | Class::Composes => {
                    Page::of(c).expansion(folded).iter().for_each(|one| one.append_to(&mut piece));
                }
                _ => folded.append_to(&mut piece),
            }
        }
        for c in piece.nfc() {
            self.take(word, Folded::new(c, class(c)), from.unwrap_or(start), to);
        }
        self.piece = piece;
        end
    }

    /// The next character, which does not compose and stands for the bytes from `start` to `end`.
    #[inline(always)]
    fn take_folded(&mut self, word: &mut Word, folded: Folded, start: usize, end: usize) {
        if folded.class == Class::Expands {
            let c = self.text[start..].chars().next().expect("a character begins here");
            for &one in Page::of(c).expansion(folded) {
                self.take(word, one, start, end);
            }
        } else if folded.class != Class::Ignored {
            self.take(word, folded, start, end);
        }
    }

    /// The next folded character, which stands for the bytes from `start` to `end`.
    #[inline(always)]
    fn take(&mut self, word: &mut Word, folded: Folded, start: usize, end: usize) {
        match folded.class {
            Class::Letter | Class::Number => {
                if word.class == Class::Alone {
                    self.flush(word);
                }
                if word.class == Class::Separator {
                    *word = Word { class: folded.class, start, ..Word::NONE };
                }
                word.characters += 1;
                word.numeric &= folded.class == Class::Number;
            }
            Class::Alone => {
                self.flush(word);
                *word = Word { class: Class::Alone, alone: folded.kind_alone(), start, ..Word::NONE };
            }
            Class::Mark if word.class != Class::Separator => {}
            Class::Mark => return,
            _ => return self.flush(word),
        }
        word.end = end;
        word.bytes.append(folded.bytes, folded.length);
    }

    #[inline(always)]
    fn flush(&mut self, word: &mut Word) {
        if word.class != Class::Separator {
            let Word { start, end, .. } = *word;
            self.sink.push(Token { hash: word.bytes.hash(), kind: word.kind(), start, end });
            word.class = Class::Separator;
        }
    }
}
