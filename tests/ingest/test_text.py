"""Wikitext, selections, chunks and windows."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("mwparserfromhell")
pytest.importorskip("sentencex")

from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.errors import DataError
from lvmfast.ingest.articles import write_articles
from lvmfast.ingest.chunks import ChunkOptions, chunk_article, words, write_chunks
from lvmfast.ingest.dump import Site
from lvmfast.ingest.selection import Sample, Selection, parse_ranges
from lvmfast.ingest.sequences import windows_of
from lvmfast.ingest.wikitext import is_boilerplate, is_disambiguation, prose

SITE = Site(files=frozenset({"file", "datei"}), categories=frozenset({"category", "kategorie"}))


@pytest.mark.parametrize(
    ("wikitext", "paragraphs"),
    [
        ("'''Bold''' and ''it''.", ["Bold and it."]),
        ("A [[link]] and [[page|its name]].", ["A link and its name."]),
        ("A {{convert|5|km}} road.", ["A road."]),
        ("Name ({{IPA|x}}; {{lang|y}}) is.", ["Name is."]),
        ("Fact.<ref>Book, p. 3.</ref> More.<ref name=a/>", ["Fact. More."]),
        ("[[File:a.png|thumb|A [[caption]].]]Text.", ["Text."]),
        ("[[Datei:a.png|mini|Unter[[schrift]]]]Text.", ["Text."]),
        ("Text.\n[[Category:Things]]\n[[Kategorie:Dinge|x]]", ["Text."]),
        ("See [[:Category:Things]].", ["See Category:Things."]),
        ("[[de:Ding]][[zh-yue:x]]Text.", ["Text."]),
        (
            "Out [http://x.org the site] and [http://y.org] and http://z.org now.",
            ["Out the site and and now."],
        ),
        ("{| class='wikitable'\n! a\n|-\n| b {{x}}\n|}\nText.", ["Text."]),
        ("{| class='wikitable'\n| b\n\nText.", ["Text."]),
        ("* One\n* Two\n# Three", ["One", "Two", "Three"]),
        ("a<br>b<br/>c", ["a", "b", "c"]),
        ("<math>x^2</math> is <sub>low</sub> &amp; 5&nbsp;km &#8211; far", ["is low & 5 km – far"]),
        ("<gallery>\nFile:x.png|y\n</gallery><!-- no -->Text.", ["Text."]),
        ("<blockquote>Said.</blockquote>After.", ["Said.", "After."]),
        ("One.\n\nTwo.\nThree.", ["One.", "Two.", "Three."]),
        ("&#x110000; &nosuch; ok", ["&#x110000; &nosuch; ok"]),
        ("{{#if:x|y}} '''unclosed [[link", ["unclosed [[link"]),
        ("", []),
        ("—\n***\n()", []),
    ],
)
def test_prose_is_what_a_reader_sees(wikitext, paragraphs):
    assert [p for section in prose(wikitext, SITE).sections for p in section.paragraphs] == paragraphs


def test_headings_become_sections_and_categories_are_kept():
    found = prose(
        "Lead.\n== ''First'' [[x|part]] ==\nA.\n=== Deeper ===\nB.\n== Empty ==\n== Last ==\nC."
        "\n[[Category:Small things|key]][[Category:Small_things]][[Category:Blue]]",
        SITE,
    )
    sections = [(s.heading, s.depth, s.paragraphs) for s in found.sections]
    assert sections == [
        ("", 0, ("Lead.",)),
        ("First part", 2, ("A.",)),
        ("Deeper", 3, ("B.",)),
        ("Last", 2, ("C.",)),
    ]
    assert found.categories == ("Small things", "Blue")


@pytest.mark.parametrize(
    ("title", "wikitext", "expected"),
    [
        ("Mercury (disambiguation)", "x", True),
        ("Mercury", "* a\n{{Disambig}}", True),
        ("Mercury", "{{ hndis | name=x }}", True),
        ("Mercury", "{{Пояснение}}", True),
        ("Mercury", "__DISAMBIG__", True),
        ("Mercury", "{{disambiguation needed}} {{dabble}} {{about|x}}", False),
    ],
)
def test_disambiguation_pages_are_known_by_custom(title, wikitext, expected):
    assert is_disambiguation(title, wikitext) is expected


def test_selections():
    assert parse_ranges(["3:5", "0:1"]) == ((3, 5), (0, 1))
    some = Selection(((3, 5),), frozenset({77}), frozenset({"X"}))
    assert [i for i in range(8) if some.wants(i, i, "t")] == [3, 4]
    assert some.wants(0, 77, "t")
    assert some.wants(0, 1, "X")
    assert some.last_index is None
    assert Selection(((3, 5), (0, 2))).last_index == 4
    assert Selection().wants(9, 9, "any")
    for text in ("5", "5:", "a:b", "-1:4"):
        with pytest.raises(DataError, match="START:STOP"):
            parse_ranges([text])
    for wrong in ({"ranges": ((5, 5),)}, {"ranges": ((5, 3),)}, {"random": 0}):
        with pytest.raises(DataError):
            Selection(**wrong)


@given(st.integers(1, 30), st.integers(0, 60), st.integers(0, 5), st.randoms())
def test_a_sample_is_the_lowest_priorities_in_any_order(size, n, seed, rng):
    selection = Selection(seed=seed)
    expected = sorted(sorted(range(n), key=selection.priority)[:size])
    order = list(range(n))
    rng.shuffle(order)
    sample = Sample(size)
    for index in order:
        sample.offer(selection.priority(index), index, index)
    assert list(sample.items()) == expected


def cost_of(lengths, cuts, ends, options):
    """What `chunk_article` minimises, for one way to cut: `ends` are the sentence numbers behind the cuts."""
    total, start = 0.0, 0
    for end in ends:
        size = sum(lengths[start:end])
        if size > options.maximum and end - start > 1:
            return float("inf")
        total += ((size - options.target) / options.target) ** 2 + cuts[end - 1]
        total += 1e3 * (size < options.minimum)
        start = end
    return total


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=4))
def test_chunks_are_the_cheapest_of_all_ways_to_cut(paragraphs):
    options = ChunkOptions(target=8, minimum=4, maximum=14)
    texts = [" ".join(["Aa " + "bb " * (n - 2) + "cc." if n > 1 else "Cc." for n in p]) for p in paragraphs]
    lengths = [n for p in paragraphs for n in p]
    cuts = [0.05 if i == len(p) - 1 else 0.15 for p in paragraphs for i in range(len(p))]
    cuts[-1] = 0.0
    count = len(lengths)
    ways = ((*chosen, count) for k in range(count) for chosen in itertools.combinations(range(1, count), k))
    best = min(ways, key=lambda ends: cost_of(lengths, cuts, ends, options))
    expected, start = [], 0
    for end in best:
        if sum(lengths[start:end]) >= options.minimum:
            expected.append(sum(lengths[start:end]))
        start = end
    chunks = chunk_article([texts], options)
    least = cost_of(lengths, cuts, best, options)
    assert sum(map(words, chunks)) == sum(expected)
    if sum(expected) == sum(lengths):  # nothing left out: the cost of what came out can be told
        ends = list(itertools.accumulate(map(words, chunks)))
        behind = [list(itertools.accumulate(lengths)).index(end) + 1 for end in ends]
        assert cost_of(lengths, cuts, behind, options) == pytest.approx(least)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab. \u3042"), max_size=400), max_size=5))
def test_chunks_keep_the_words_and_the_bounds(paragraphs):
    options = ChunkOptions(target=20, minimum=5, maximum=30)
    chunks = chunk_article([paragraphs], options)
    assert all(5 <= words(chunk) <= 30 for chunk in chunks)
    # What is left out is what could not be put together; nothing is changed, doubled or moved.
    rest = iter("".join(" ".join(paragraphs).split()))
    assert all(character in rest for character in "".join(" ".join(chunks).split()))
    if chunks and max(map(words, paragraphs)) < 5:
        assert sum(map(words, chunks)) == sum(map(words, paragraphs))


def test_a_long_sentence_is_cut_between_words():
    options = ChunkOptions(target=10, minimum=5, maximum=12)
    chunks = chunk_article([["word " * 100 + "end."]], options)
    assert " ".join(chunks).split() == ["word"] * 100 + ["end."]
    assert all(5 <= words(chunk) <= 12 for chunk in chunks)


@pytest.mark.parametrize("lengths", [(10, 30, 90), (90, 30, 80), (30, 30, 40), (5, 0, 9)])
def test_contradictory_lengths_are_refused(lengths):
    with pytest.raises(DataError):
        ChunkOptions(*lengths)


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 6))
def test_windows_are_runs_within_one_article(sizes, context):
    keys = np.array([(doc, chunk) for doc, n in enumerate(sizes) for chunk in range(n)], np.int64).reshape(
        -1, 2
    )
    expected = [
        list(range(i, i + context + 1))
        for i in range(len(keys) - context)
        if keys[i, 0] == keys[i + context, 0]
    ]
    assert windows_of(keys, context).tolist() == expected


def records(tmp_path, rows):
    path = tmp_path / "articles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def test_plain_records_become_articles_and_chunks(tmp_path):
    body = "\n".join(f"Paragraph {i} says something about the number {i}." for i in range(40))
    rows = [
        {"id": "12", "title": "A", "text": body + "\nReferences\nA book about numbers, 1999."},
        {"id": 13, "title": "B", "text": " "},
        {"id": "x", "title": "C", "text": body, "domain": "numbers"},
    ]
    out = tmp_path / "articles.parquet"
    read = write_articles(records(tmp_path, rows), out, Selection())
    assert (read.kept, read.passed, read.dropped) == (2, 3, {"without text": 1})
    table = pq.read_table(out).to_pylist()
    assert [(r["doc_id"], r["page_id"], r["title"], r["domain"]) for r in table] == [
        (0, 12, "A", None),
        (2, None, "C", "numbers"),
    ]
    options = ChunkOptions()
    cut = write_chunks(out, tmp_path / "chunks.parquet", options)
    chunks = pq.read_table(tmp_path / "chunks.parquet").to_pylist()
    assert cut.chunks == len(chunks)
    assert not any("1999" in c["text"] for c in chunks)
    assert [c["chunk_id"] for c in chunks if c["doc_id"] == 2] == list(
        range(sum(c["doc_id"] == 2 for c in chunks))
    )
    kept = write_chunks(out, tmp_path / "all.parquet", ChunkOptions(drop_boilerplate=False))
    assert kept.words > cut.words


def test_chunks_are_the_same_bytes_again(tmp_path):
    source = records(tmp_path, [{"id": i, "title": "t", "text": "One two three. " * 80} for i in range(9)])
    written = []
    for name in ("a", "b"):
        folder = tmp_path / name
        write_articles(source, folder / "articles.parquet", Selection())
        write_chunks(folder / "articles.parquet", folder / "chunks.parquet", ChunkOptions())
        written.append([(folder / f).read_bytes() for f in ("articles.parquet", "chunks.parquet")])
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(((3, 9),)), "begin past the end: there are 3"),
        (Selection(page_ids=frozenset({99})), "no article left of 3"),
    ],
)
def test_selections_that_find_nothing(tmp_path, selection, message):
    source = records(tmp_path, [{"id": i, "title": "t", "text": "words"} for i in range(3)])
    with pytest.raises(DataError, match=message):
        write_articles(source, tmp_path / "out.parquet", selection)
    assert not (tmp_path / "out.parquet").exists()


def test_a_range_that_ends_past_the_end_is_said(tmp_path):
    source = records(tmp_path, [{"id": i, "title": "t", "text": "words"} for i in range(3)])
    read = write_articles(source, tmp_path / "out.parquet", Selection(((1, 9),)))
    assert read.kept == 2
    assert read.notes == ["articles 1:9 end past the last one: there are 3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: expected JSON, cut off"),
        ("[]", "line 2: expected an object"),
        ('{"id": 1}', "line 2: text: expected"),
    ],
)
def test_broken_records_are_named(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 0, "text": "words"}\n' + line + "\n", "utf-8")
    with pytest.raises(DataError, match=message):
        write_articles(str(path), tmp_path / "out.parquet", Selection())


def test_boilerplate_headings():
    assert is_boilerplate("See also")
    assert is_boilerplate(" EXTERNAL LINKS: ")
    assert not is_boilerplate("History")
    assert not is_boilerplate("")
