//! Against the grammar of JSON as one would say it.

use proptest::prelude::*;

use super::*;

/// What is left of `text` behind a value, if there is one.
fn value(text: &str) -> Option<&str> {
    let text = text.trim_start_matches([' ', '\t', '\r']);
    let words = ["true", "false", "null", "NaN", "Infinity", "-Infinity"];
    if let Some(rest) = words.iter().find_map(|word| text.strip_prefix(word)) {
        return Some(rest);
    }
    match text.chars().next()? {
        '"' => string(text),
        '[' => several(&text[1..], ']', value),
        '{' => several(&text[1..], '}', |text| value(token(string(token(text, "")?)?, ":")?)),
        _ => number(text),
    }
}

fn token<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    text.trim_start_matches([' ', '\t', '\r']).strip_prefix(token)
}

fn several(text: &str, close: char, one: impl Fn(&str) -> Option<&str>) -> Option<&str> {
    let close = close.to_string();
    if let Some(rest) = token(text, &close) {
        return Some(rest);
    }
    let mut rest = one(text)?;
    while let Some(next) = token(rest, ",") {
        rest = one(next)?;
    }
    token(rest, &close)
}

fn string(text: &str) -> Option<&str> {
    let mut rest = text.strip_prefix('"')?;
    loop {
        let first = rest.chars().next()?;
        let mut length = first.len_utf8();
        match first {
            '"' => return Some(&rest[1..]),
            '\u{0}'..='\u{1f}' => return None,
            '\\' if rest[1..].starts_with('u') => {
                length = 6;
                rest.get(2..6)?.chars().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
            }
            '\\' => {
                length = 2;
                rest[1..].starts_with(['"', '\\', '/', 'b', 'f', 'n', 'r', 't']).then_some(())?;
            }
            _ => {}
        }
        rest = &rest[length..];
    }
}

fn number(text: &str) -> Option<&str> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let text = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.starts_with('0')) {
        return None;
    }
    let mut rest = &text[whole..];
    if let Some(behind) = rest.strip_prefix('.') {
        rest = (digits(behind) > 0).then(|| &behind[digits(behind)..])?;
    }
    if let Some(behind) = rest.strip_prefix(['e', 'E']) {
        let behind = behind.strip_prefix(['+', '-']).unwrap_or(behind);
        rest = (digits(behind) > 0).then(|| &behind[digits(behind)..])?;
    }
    Some(rest)
}

const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    " ",
    "\t",
    "\r",
    "\n",
    "\"a\":",
    "\"",
    "\"\"",
    "\\",
    "\\n",
    "\\u00e9",
    "\\u12",
    "ä",
    "\u{1}",
    "1",
    "-",
    "0",
    ".",
    "e",
    "+",
    "null",
    "true",
    "false",
    "NaN",
    "-Infinity",
    "tru",
    "[1]",
    "{\"a\":1}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_skipped_keeps_to_the_grammar(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..14),
    ) {
        let text = pieces.concat();
        let mut cursor = Cursor::new(text.as_bytes());
        let read = cursor.skip();
        let rest = value(&text).map(|rest| rest.trim_start_matches([' ', '\t', '\r']).as_bytes().first().copied());
        prop_assert_eq!(read.ok().map(|()| cursor.peek()), rest, "{}", text);
    }

    #[test]
    fn floats_are_those_of_the_standard_library(text in r"-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?") {
        // Of an integer, zero has no sign.
        let want = if text == "-0" { 0.0 } else { text.parse::<f64>().unwrap() };
        prop_assert_eq!(Cursor::new(text.as_bytes()).float().unwrap().to_bits(), want.to_bits(), "{}", text);
    }

    #[test]
    fn line_ends_are_counted(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200)) {
        let ends: Vec<_> = (1..=bytes.len()).filter(|&to| bytes[to - 1] == b'\n').collect();
        let (first, last) = (ends.first().copied(), ends.last().copied());
        prop_assert_eq!(line_ends(&bytes), (ends.len(), first.unwrap_or(0), last.unwrap_or(0)));
    }
}

#[test]
fn what_is_skipped_may_be_as_deep_as_it_likes() {
    let depth = 1 << 20;
    let line = format!(r#"{{"x":{}{},"text":"a"}}"#, "[".repeat(depth), "]".repeat(depth));
    let mut reader = Reader::new(vec![("text".to_owned(), Kind::Text)], vec![], vec![]);
    let want = [Buffer::Valid(None), Buffer::Offsets(vec![0, 1]), Buffer::Bytes(b"a".to_vec())];
    assert_eq!(reader.read(&[line.as_bytes()]), Some((1, vec![want.to_vec()])));
    assert_eq!(reader.read(&[line.replace("]]", "]").as_bytes()]), None);
}
