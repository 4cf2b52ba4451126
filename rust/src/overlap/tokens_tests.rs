//! Tokens against the words of their definition; all of Unicode is held to a twin in Python
//! (`tests/core/test_overlap.py`).

use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::chars::{Class, class, fold};
use super::hash::Hasher;
use super::tokens::{Token, tokenize, tokenize_plainly};

/// What joins, parts, turns into another and is reordered, mixed with plain text.
const HOSTILE: &[&str] = &[
    "a",
    "word",
    "WORD",
    "wordwordwordword",
    "7",
    "2024",
    "e\u{301}",
    "\u{301}",
    "\u{300}\u{323}",
    "\u{323}",
    "é",
    "É",
    "ö",
    "ß",
    "ẞ",
    "ŉ",
    "ǅ",
    "ﬁ",
    "ﬃ",
    "İ",
    "ı",
    "I\u{307}",
    "ς",
    "Σ",
    "ΐ",
    "Σας",
    "юли",
    "ЙИ\u{306}",
    "עִב",
    "עֲרָ",
    "عَرَبِي",
    "ا\u{653}",
    "\u{ad}",
    "\u{200b}",
    "\u{200d}",
    "\u{34f}",
    "\u{fe0f}",
    "😀",
    "👩\u{200d}👩",
    "ＦＵＬＬ",
    "７",
    "½",
    "①",
    "™",
    "漢",
    "字",
    "か",
    "か\u{3099}",
    "ｶﾞ",
    "\u{3099}",
    "한",
    "\u{1112}\u{1161}\u{11ab}",
    "\u{1161}",
    "ไทย",
    "น้ำ",
    "\u{e38}\u{e48}",
    "\u{e48}\u{e38}",
    "हिन्दी",
    "ड\u{93c}",
    "ক\u{9be}",
    "\u{9be}",
    "\u{fdfa}",
    "=",
    "\u{338}",
    "\u{20e3}",
    "\u{212b}",
    "\u{1d15e}",
    "𝐀",
    "\u{344}",
    "\u{f71}\u{f72}",
    "²",
    "١٢٣",
    "\0",
    "\u{7f}",
    " ",
    " ",
    ", ",
    "_",
    "\n",
    "\u{a0}",
    "\u{3000}",
    "—",
    "…",
    "·",
    "\u{10ffff}",
];

fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => prop::sample::select(HOSTILE).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        // Characters of two bytes are most of what takes a short way.
        2 => prop::char::range('\u{80}', '\u{7ff}').prop_map(String::from),
        1 => "[ -~]{1,40}",
        1 => "[a-zA-Zà-ÿÀ-ß]{1,70}",
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

/// The tokens as texts, by the definition's words.
fn naively(text: &str) -> Vec<String> {
    let folded: String = text.chars().map(fold).collect();
    let mut tokens: Vec<String> = Vec::new();
    let mut open = Class::Separator;
    for c in folded.nfc() {
        let class = class(c);
        match class {
            Class::Mark if open == Class::Separator => continue,
            Class::Mark => tokens.last_mut().unwrap().push(c),
            Class::Letter | Class::Number if matches!(open, Class::Letter | Class::Number) => {
                tokens.last_mut().unwrap().push(c);
            }
            Class::Letter | Class::Number | Class::Alone => tokens.push(c.into()),
            _ => {}
        }
        if class != Class::Mark {
            open = class;
        }
    }
    tokens
}

/// The hash of a token, character by character.
fn hash(token: &str) -> u64 {
    let mut hasher = Hasher::START;
    for c in token.chars() {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len() as u8;
        hasher.append(u32::from_le_bytes(bytes), length);
    }
    hasher.hash()
}

fn tokens_of(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    tokenize(text, &mut tokens);
    tokens
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_way_gives_the_tokens_of_the_definition(text in hostile()) {
        let tokens = tokens_of(&text);
        let expected: Vec<u64> = naively(&text).iter().map(|token| hash(token)).collect();
        prop_assert_eq!(tokens.iter().map(|token| token.hash).collect::<Vec<_>>(), expected);
        let mut plain: Vec<Token> = Vec::new();
        tokenize_plainly(&text, &mut plain);
        prop_assert_eq!(&tokens, &plain);
        for pair in tokens.windows(2) {
            prop_assert!(pair[0].start <= pair[1].start && pair[0].end <= pair[1].end);
        }
        for token in &tokens {
            let own: Vec<u64> = tokens_of(&text[token.start..token.end]).iter().map(|own| own.hash).collect();
            prop_assert!(own.contains(&token.hash), "{:?}", &text[token.start..token.end]);
        }
    }
}

proptest! {
    #[test]
    fn ascii_is_cut_as_character_by_character(text in "[ -~]{0,200}", before in 0usize..70) {
        let text = " ".repeat(before) + &text;
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let tokens = tokens_of(&text);
        let spans: Vec<&str> = tokens.iter().map(|token| &text[token.start..token.end]).collect();
        prop_assert_eq!(spans, words.collect::<Vec<_>>());
        // The same words on the way of other characters: a dash that is not ASCII behind each.
        let dashed: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '—' }).collect();
        let others = tokens_of(&dashed);
        prop_assert_eq!(
            tokens.iter().map(|token| (token.hash, token.kind)).collect::<Vec<_>>(),
            others.iter().map(|token| (token.hash, token.kind)).collect::<Vec<_>>()
        );
    }
}
#[test]
fn case_is_folded_and_length_told_apart() {
    let tokens = tokens_of("Word WORD word wor words wordwordword WORDwordWORD w W 7 123 1234");
    let hashes: Vec<u64> = tokens.iter().map(|token| token.hash).collect();
    assert!(
        hashes[0] == hashes[1] && hashes[1] == hashes[2] && hashes[5] == hashes[6] && hashes[7] == hashes[8]
    );
    let mut distinct = hashes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 8);
}
