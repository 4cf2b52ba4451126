//! What NFKC_Casefold makes of a character, and what the result is to a token.

use std::sync::OnceLock;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::tokens::Kind;

/// What a character is to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Ends a token.
    Separator,
    /// Part of a word.
    Letter,
    /// Part of a word or number.
    Number,
    /// A token by itself: of a script that is written without spaces.
    Alone,
    /// Belongs to the token before it.
    Mark,
    /// Is not there (default ignorable).
    Ignored,
    /// Several characters, none of which changes with what stands before it.
    Expands,
    /// May change with what stands before it: combines or is reordered.
    Composes,
}

/// A character after folding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded {
    /// The bytes of UTF-8 of the one character that it becomes, the first one lowest. If they are several, or
    /// one that composes: where they stand in the page.
    pub(super) bytes: u32,
    /// How many bytes.
    pub(super) length: u8,
    pub(super) class: Class,
    /// Canonical combining class, of the last character.
    pub(super) combining: u8,
    /// Whether what stands before has no part in how this and the following characters compose.
    pub(super) is_boundary: bool,
}

impl Folded {
    /// Is not there.
    pub(super) const IGNORED: Self = Self::other(Class::Ignored, 0, 0);

    /// A character that is folded already, whether or not it composes.
    #[inline]
    pub(super) fn new(c: char, class: Class) -> Self {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len() as u8;
        let combining = canonical_combining_class(c);
        Self { bytes: u32::from_le_bytes(bytes), length, class, combining, is_boundary: combining == 0 }
    }

    const fn other(class: Class, bytes: u32, combining: u8) -> Self {
        let is_boundary = !matches!(class, Class::Ignored | Class::Composes);
        Self { bytes, length: 0, class, combining, is_boundary }
    }

    /// The kind of a token that is this one character.
    #[inline]
    pub(super) fn kind_alone(self) -> Kind {
        let [first, second, third, _] = self.bytes.to_le_bytes().map(u32::from);
        match (first & 0xf) << 12 | (second & 0x3f) << 6 | third & 0x3f {
            0x0e00..=0x109f | 0x1780..=0x17ff | 0xa9e0..=0xa9ff | 0xaa60..=0xaa7f if self.length == 3 => {
                Kind::ThirdOfWord
            }
            _ => Kind::HalfOfWord,
        }
    }

    pub(super) fn append_to(self, text: &mut String) {
        let bytes = &self.bytes.to_le_bytes()[..usize::from(self.length)];
        text.push_str(std::str::from_utf8(bytes).expect("one character"));
    }
}

/// 256 successive characters.
#[derive(Debug)]
pub(super) struct Page {
    folded: Box<[Folded; 256]>,
    expansions: Vec<Vec<Folded>>,
}

impl Page {
    /// The page on which `c` stands, made when it is first asked for.
    #[inline]
    pub(super) fn of(c: char) -> &'static Page {
        static PAGES: [OnceLock<Page>; 0x1100] = [const { OnceLock::new() }; 0x1100];
        PAGES[c as usize >> 8].get_or_init(|| Page::new(c as u32 & !0xff))
    }

    #[inline]
    pub(super) fn folded(&self, c: char) -> Folded {
        self.folded[c as usize & 0xff]
    }

    /// What a character of [`Class::Expands`] or [`Class::Composes`] becomes.
    pub(super) fn expansion(&self, folded: Folded) -> &[Folded] {
        &self.expansions[folded.bytes as usize]
    }

    #[cold]
    fn new(first: u32) -> Self {
        let mut expansions = Vec::new();
        let folded = std::array::from_fn(|i| match char::from_u32(first + i as u32) {
            Some(c) => describe(&fold(c), &mut expansions),
            None => Folded::other(Class::Separator, 0, 0), // a surrogate
        });
        Page { folded: Box::new(folded), expansions }
    }
}

fn describe(text: &str, expansions: &mut Vec<Vec<Folded>>) -> Folded {
    let mut characters = text.chars();
    let (Some(first), second) = (characters.next(), characters.next()) else {
        return Folded::IGNORED;
    };
    let stable = is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes;
    let starts = canonical_combining_class(first) == 0;
    if second.is_none() && stable && (starts || class(first) == Class::Mark) {
        return Folded::new(first, class(first));
    }
    expansions.push(text.chars().map(|c| Folded::new(c, class(c))).collect());
    let class = if stable && starts { Class::Expands } else { Class::Composes };
    let last = canonical_combining_class(text.chars().next_back().unwrap_or(first));
    Folded::other(class, expansions.len() as u32 - 1, last)
}

/// What letters of two bytes are folded to, where that are two bytes again.
#[derive(Debug)]
pub(super) struct Pairs([u16; 1 << 12]);

impl Pairs {
    /// The table, made when it is first asked for.
    #[inline]
    pub(super) fn get() -> &'static Self {
        static PAIRS: OnceLock<Pairs> = OnceLock::new();
        PAIRS.get_or_init(Self::new)
    }

    /// The folded bytes of the letter with these two; zero for all else, characters of more bytes included.
    #[inline(always)]
    pub(super) fn folded(&self, pair: [u8; 2]) -> u16 {
        self.0[usize::from(pair[0] & 0x3f) << 6 | usize::from(pair[1] & 0x3f)]
    }

    #[cold]
    fn new() -> Self {
        let mut pairs = [0; 1 << 12];
        for c in '\u{80}'..='\u{7ff}' {
            let folded = Page::of(c).folded(c);
            if folded.class == Class::Letter && folded.length == 2 {
                pairs[c as usize] = folded.bytes as u16;
            }
        }
        Self(pairs)
    }
}

/// NFKC_Casefold of one character.
pub(super) fn fold(c: char) -> String {
    let mut text = String::from(c);
    loop {
        let kept = text.nfkc().filter(|&c| !is_ignorable(c)).flat_map(fold_case);
        let next: String = kept.nfkc().filter(|&c| !is_ignorable(c)).collect();
        if next == text {
            return text;
        }
        text = next;
    }
}

/// Two characters are folded to the same ones if and only if full case folding does so: the standard
/// library has no case folding, and dotless i is the one letter on which the detour differs.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    const DOTLESS_I: char = 'ı';
    let upper = c.to_lowercase().flat_map(char::to_uppercase);
    let lower = upper.flat_map(char::to_lowercase);
    lower.map(move |folded| if c == DOTLESS_I { DOTLESS_I } else { folded })
}

/// The class of a character that is folded already.
pub(super) fn class(c: char) -> Class {
    match c.general_category_group() {
        GeneralCategoryGroup::Mark => Class::Mark,
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number if stands_alone(c) => Class::Alone,
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ => Class::Separator,
    }
}

/// Han, kana, Hangul, Thai, Lao, Tibetan, Myanmar and Khmer.
fn stands_alone(c: char) -> bool {
    matches!(c as u32,
        0x0e00..=0x0fff | 0x1000..=0x109f | 0x1100..=0x11ff | 0x1780..=0x17ff | 0x2e80..=0x2fdf
        | 0x3005..=0x3007 | 0x3021..=0x312f | 0x31a0..=0x31ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xa960..=0xa97f | 0xa9e0..=0xa9ff | 0xaa60..=0xaa7f | 0xac00..=0xd7ff | 0xf900..=0xfaff
        | 0x1aff0..=0x1b16f | 0x20000..=0x3ffff)
}

/// Default_Ignorable_Code_Point.
fn is_ignorable(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f
        | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfff8
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}
