//! Where the common runs of a document and an item stand in the texts as they are.

use std::ops::Range;

use super::answers::place;
use super::grams::Places;
use super::items::{self, RUN};
use super::lines;
use super::runs::Runs;
use super::tokens::{Kind, Token, tokenize};

/// For each item and its window of `document`, in tokens: the common runs of both, of as many tokens as cover the item
/// or more. For each place of either text the longest that begins there, where the other text has it first, without
/// the ends of longer ones found so. Each as the start and end in the document, then in the item, in characters, and
/// the same four in bytes; ascending.
pub fn spans<'a>(
    document: &str,
    items: impl IntoIterator<Item = (&'a str, Range<usize>)>,
) -> Vec<Vec<[usize; 8]>> {
    let mut tokens = Vec::new();
    tokenize(document, &mut tokens);
    let characters = Characters::new(document, &tokens);
    let unnumbered = lines::unnumbered(document, &tokens).unwrap_or_default();
    let of = |(item, window)| spans_of(&tokens, &unnumbered, &characters, item, window);
    items.into_iter().map(of).collect()
}

fn spans_of(
    document: &[Token],
    unnumbered: &[usize],
    places: &Characters,
    item: &str,
    window: Range<usize>,
) -> Vec<[usize; 8]> {
    let mut item_tokens = Vec::<Token>::new();
    tokenize(item, &mut item_tokens);
    let thirds = item_tokens.iter().filter(|token| token.kind == Kind::ThirdOfWord).count();
    let least = items::run(item_tokens.len(), thirds);
    let start = window.start.min(document.len());
    let end = window.end.clamp(start, document.len());
    let others = hashes(&item_tokens);
    let mut runs = common(&hashes(&document[start..end]), &others, least);
    let within = unnumbered.partition_point(|&at| at < start)..unnumbered.partition_point(|&at| at < end);
    let within = &unnumbered[within];
    if !within.is_empty() && within.len() < end - start {
        let hashes: Vec<_> = within.iter().map(|&at| document[at].hash).collect();
        let without = common(&hashes, &others, least);
        if covered(&without) > covered(&runs) {
            // A span has no number of a line in it.
            let pieces = |&[place, in_item, tokens]: &[usize; 3]| {
                let lines = within[place..place + tokens].chunk_by(|a, b| a + 1 == *b);
                lines
                    .scan(in_item, |in_item, line| {
                        let piece = [line[0] - start, *in_item, line.len()];
                        *in_item += line.len();
                        Some(piece)
                    })
                    .collect::<Vec<_>>()
            };
            runs = without.iter().flat_map(pieces).collect();
            runs.sort_unstable();
            runs.dedup();
        }
    }
    let of_item = Characters::new(item, &item_tokens);
    let mut spans: Vec<_> = runs
        .into_iter()
        .map(|[place, in_item, tokens]| {
            let (in_document, in_item) = (start + place..start + place + tokens, in_item..in_item + tokens);
            let [characters, others] = [places.of(&in_document), of_item.of(&in_item)];
            let [bytes, bytes_of_item] = [&document[in_document], &item_tokens[in_item]].map(bytes);
            let ends = [characters, others, bytes, bytes_of_item];
            std::array::from_fn(|end| if end % 2 == 0 { ends[end / 2].start } else { ends[end / 2].end })
        })
        .collect();
    spans.sort_unstable();
    spans
}

/// Place in the document, place in the item, and tokens of each run that both have.
fn common(document: &[u64], item: &[u64], least: usize) -> Vec<[usize; 3]> {
    let of_item = longest(item, document, least).into_iter();
    let mut runs: Vec<[usize; 3]> = of_item.map(|[own, other, n]| [other, own, n]).collect();
    runs.extend(longest(document, item, least));
    runs.sort_unstable();
    runs.dedup();
    runs
}

/// Tokens of the item in its runs.
fn covered(runs: &[[usize; 3]]) -> usize {
    let mut in_item: Vec<_> = runs.iter().map(|&[_, start, tokens]| (start, start + tokens)).collect();
    in_item.sort_unstable();
    let (mut tokens, mut reach) = (0, 0);
    for (start, end) in in_item {
        tokens += end.saturating_sub(start.max(reach));
        reach = reach.max(end);
    }
    tokens
}

/// Where the tokens of each of `windows` of `document` start and end, in characters. A window that holds no
/// token of it is empty.
pub fn stretches(document: &str, windows: &[Range<usize>]) -> Vec<[usize; 2]> {
    let mut tokens = Vec::new();
    tokenize(document, &mut tokens);
    let characters = Characters::new(document, &tokens);
    let of = |window: &Range<usize>| {
        let end = window.end.min(tokens.len());
        if window.start >= end {
            return [0, 0];
        }
        let stretch = characters.of(&(window.start..end));
        [stretch.start, stretch.end]
    };
    windows.iter().map(of).collect()
}

/// For each item, a question and its answers, and its window of `document`: where an answer stands near the question,
/// in characters. Empty where none does.
pub fn answer_spans<'a>(
    document: &str,
    items: impl IntoIterator<Item = (&'a str, &'a str, Range<usize>)>,
) -> Vec<[usize; 2]> {
    let mut tokens = Vec::new();
    tokenize(document, &mut tokens);
    let (characters, hashes) = (Characters::new(document, &tokens), hashes(&tokens));
    let of = |(question, answers, window): (&str, &str, Range<usize>)| {
        let found = place(&hashes, &window, question, answers);
        if found.is_empty() {
            return [0, 0];
        }
        let span = characters.of(&found);
        [span.start, span.end]
    };
    items.into_iter().map(of).collect()
}

fn hashes(tokens: &[Token]) -> Vec<u64> {
    tokens.iter().map(|token| token.hash).collect()
}

/// Place in `own`, first place in `other` and tokens of the longest run that begins at each place of `own`, but
/// for the ends of longer ones and those of fewer than `least` tokens.
fn longest(own: &[u64], other: &[u64], least: usize) -> Vec<[usize; 3]> {
    let mut grams = Places::<RUN>::default();
    grams.fill(own);
    let read: Vec<u32> = grams.read(own, other).collect();
    let mut runs = Runs::default();
    let runs = runs.find(&grams, &read);
    let before = [0].into_iter().chain(runs.iter().map(|run| run.length));
    let whole = runs
        .iter()
        .zip(before)
        .enumerate()
        .filter(|(_, (run, before))| run.length as usize >= least && *before <= run.length);
    whole.map(|(place, (run, _))| [place, run.other as usize, run.length as usize]).collect()
}

/// Where the tokens of a text start and end, in characters.
struct Characters {
    starts: Vec<usize>,
    ends: Vec<usize>,
}

impl Characters {
    fn new(text: &str, tokens: &[Token]) -> Self {
        let starts = tokens.iter().map(|token| token.start);
        Self {
            starts: characters(text, starts),
            ends: characters(text, tokens.iter().map(|token| token.end)),
        }
    }

    fn of(&self, tokens: &Range<usize>) -> Range<usize> {
        self.starts[tokens.start]..self.ends[tokens.end - 1]
    }
}

/// Where consecutive tokens of a text start and end, in bytes.
fn bytes(tokens: &[Token]) -> Range<usize> {
    tokens[0].start..tokens[tokens.len() - 1].end
}

/// Ascending positions of bytes in `text` as positions of characters.
fn characters(text: &str, positions: impl Iterator<Item = usize>) -> Vec<usize> {
    let (mut at, mut count) = (0, 0);
    positions
        .map(|position| {
            count += text[at..position].chars().count();
            at = position;
            count
        })
        .collect()
}
