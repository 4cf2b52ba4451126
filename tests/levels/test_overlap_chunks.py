"""Training rows that are chunks of documents, looked at together: against documents joined by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast import DataError
from lvmfast.corpus.dataset import Batch
from lvmfast.leaks import chunks, memory
from lvmfast.leaks.chunks import ChunkJoin
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.options import ScanOptions
from tests.support.command import run

#: Ids of which many follow each other, as numbers and as texts, and some do not.
IDS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([1, 1, 1, 1, 0, 2, -3, None])), max_size=12
)


def rows_of(steps: Sequence[tuple[str | None, int | None]], as_text: bool) -> list[dict[str, Any]]:
    """Rows whose chunk_id is that of the row before and a step more."""
    rows: list[dict[str, Any]] = []
    chunk = 0
    for number, (doc, step) in enumerate(steps):
        chunk += step or 0
        told = None if step is None else f"{chunk}" if as_text else chunk
        rows.append({"doc_id": doc, "chunk_id": told, "text": f"t{number}"})
    return rows


def documents_of(rows: Sequence[dict[str, Any]]) -> list[list[int]]:
    """The numbers of the rows of each document, by the words of the documentation."""
    documents: list[list[int]] = []
    for number, row in enumerate(rows):
        doc, chunk = row["doc_id"], row["chunk_id"]
        last, place = (rows[number - 1][name] if number else None for name in ("doc_id", "chunk_id"))
        if None not in (doc, chunk, place) and doc == last and int(chunk) == int(place) + 1:
            documents[-1].append(number)
        else:
            documents.append([number])
    return documents


def batch_of(rows: Sequence[dict[str, Any]], first: int, end: int) -> Batch:
    table = pa.Table.from_pylist(list(rows[first:end]), schema_of(rows))
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    return Batch(0, first, first, end - first, **columns)


def schema_of(rows: Sequence[dict[str, Any]]) -> pa.Schema:
    as_text = any(isinstance(row["chunk_id"], str) for row in rows)
    kinds = (pa.large_string(), pa.large_string() if as_text else pa.int64(), pa.large_string())
    return pa.schema(list(zip(("doc_id", "chunk_id", "text"), kinds, strict=True)))


@settings(max_examples=150, deadline=None)
@given(steps=IDS, as_text=st.booleans(), data=st.data())
def test_every_document_comes_once_however_rows_are_cut(steps, as_text, data) -> None:
    rows = rows_of(steps, as_text)
    cuts = [0, *sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=4))), len(rows)]
    found: list[list[str]] = []
    joined = 0
    for low, high in pairwise(cuts):
        join = ChunkJoin(ScanOptions())
        join.begin(batch_of(rows, low - 1, low) if low else None)
        batches = [low, *sorted(data.draw(st.sets(st.integers(low, high), max_size=4))), high]
        parts = []
        for first, end in pairwise(batches):
            batch = batch_of(rows, first, end)
            parts += list(join.add(batch, batch.text))
        for first in range(high, len(rows), 2):
            batch = batch_of(rows, first, min(first + 2, len(rows)))
            if not join.follow(batch, batch.text):
                break
        parts += list(join.end())
        joined += join.continued
        for part in parts:
            bounds = pairwise(part.starts)
            texts = part.texts.to_pylist()
            found += [[f"t{part.start + row}" for row in range(a, b)] for a, b in bounds]
            assert texts == [f"t{part.start + row}" for row in range(len(texts))]
            numbers = np.arange(len(part.starts) - 1)
            assert part.joined(numbers).to_pylist() == ["\n".join(d) for d in found[-len(numbers) :]]
    expected = documents_of(rows)
    assert found == [[f"t{row}" for row in document] for document in expected]
    assert joined == len(rows) - len(expected)


def test_a_document_that_memory_does_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ScanOptions(memory_limit=1 << 30)
    rows = [{"doc_id": "a", "chunk_id": n, "text": "x" * 1000} for n in range(4000)]
    monkeypatch.setattr(chunks, "COMPARED_BYTES", 1000)
    monkeypatch.setattr(ScanOptions, "block_bytes", 1 << 20)
    join = ChunkJoin(options)
    batches = (batch_of(rows, first, first + 100) for first in range(0, 4000, 100))
    with pytest.raises(DataError, match=r"join_chunks: a document of 0.00 GiB so far would take"):
        assert not [list(join.add(batch, batch.text)) for batch in batches]


WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "rstvz"]


def planted(seed: int, documents: int, items: int) -> tuple[list[list[str]], list[str]]:
    """Documents in chunks, and items of which most stand in one, some with the same backwards behind them."""
    lots = random.Random(seed)
    text = lambda n: " ".join(lots.choices(WORDS, k=n))  # noqa: E731
    asked = [text(lots.randint(12, 30)) for _ in range(items)]
    made = []
    for number in range(documents):
        words = text(lots.randint(20, 160)).split()
        for item in lots.sample(asked, lots.choice([0, 0, 1, 2])):
            at = lots.randint(0, len(words))
            words[at:at] = [*item.split(), *lots.choice([[], [item[::-1]]])]
        size = lots.choice([9, 17, 40, 400])
        made.append([" ".join(words[at : at + size]) for at in range(0, len(words), size)])
        if number % 7 == 0:
            made[-1].insert(1, "")
    return made, asked


def table_of(documents: Sequence[Sequence[str]]) -> pa.Table:
    rows = [
        {"doc_id": number, "chunk_id": place + 5, "text": text}
        for number, document in enumerate(documents)
        for place, text in enumerate(document)
    ]
    return pa.Table.from_pylist(rows)


def by_hand(documents: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {"text": ["\n".join(document) for document in documents]}


@pytest.mark.parametrize("rows_at_a_time", [1, 3, 50, 16_384])
def test_chunks_match_what_documents_joined_by_hand_match(rows_at_a_time, monkeypatch) -> None:
    monkeypatch.setattr(memory, "block_rows", lambda *given: rows_at_a_time)
    documents, items = planted(3, 60, 40)
    evaluation = {"question": items, "answer": [item[::-1] for item in items]}
    found = lvmfast.leakscan(table_of(documents), evaluation, levels=["overlap"], join_chunks=True)
    whole = lvmfast.leakscan(by_hand(documents), evaluation, levels=["overlap"])
    apart = lvmfast.leakscan(table_of(documents), evaluation, levels=["overlap"])
    ours, theirs = (report.levels["overlap"] for report in (found, whole))
    assert ours.pairs == theirs.pairs > 20
    assert ours.pairs > apart.levels["overlap"].pairs
    assert ours.sides["eval"].matched_rows.tolist() == theirs.sides["eval"].matched_rows.tolist()
    near = [level.beside["answered"].sides["eval"].matched_rows.tolist() for level in (ours, theirs)]
    assert near[0] == near[1] != []
    assert ours.continued == sum(map(len, documents)) - len(documents)
    starts = np.cumsum([0, *map(len, documents)])
    rows = [text for document in documents for text in document]
    same = [
        "strength", "coverage", "eval_row", "train_rows", "tokens_covered", "words_covered", "longest",
        "in_8", "in_13", "numbers_differ", "fields", "train_text", "eval_text",
    ]  # fmt: skip
    key = lambda told: (told["document"], told["eval_row"])  # noqa: E731
    ours, theirs = (report.overlaps.to_pylist() for report in (found, whole))
    for told in ours:
        told["document"] = int(np.searchsorted(starts, told["train_row"], "right")) - 1
    for told in theirs:
        told["document"] = told["train_row"]
    crossing = 0
    for told, other in zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True):
        assert {name: told[name] for name in same} == {name: other[name] for name in same}
        first = starts[told["document"]]
        runs = zip(told["runs"], other["runs"], strict=True)
        spans = [(told, other, ""), *((run, by_hand, "_start") for run, by_hand in runs)]
        for span, expected, row in spans:
            low, high = span[f"train{row}_row"], span["train_end_row"]
            crossing += low < high
            before = "\n".join([*rows[first:low], ""])
            assert len(before) + span["train_start"] == expected["train_start"]
            before_end = "\n".join([*rows[first:high], ""])
            assert len(before_end) + span["train_end"] == expected["train_end"]
            if row:
                assert len(before.encode()) + span["train_start_byte"] == expected["train_start_byte"]
                assert len(before_end.encode()) + span["train_end_byte"] == expected["train_end_byte"]
                assert span["eval_start"] == expected["eval_start"]
    assert crossing > 20


def test_a_passage_alone_is_found_across_chunks() -> None:
    documents, items = planted(4, 60, 40)
    evaluation = {"question": [f"who asked for number {n} of them" for n in range(40)], "passage": items}
    joined = lvmfast.leakscan(table_of(documents), evaluation, levels=["overlap"], join_chunks=True)
    whole = lvmfast.leakscan(by_hand(documents), evaluation, levels=["overlap"])
    ours, theirs = (report.levels["overlap"].beside["passage_alone"] for report in (joined, whole))
    assert ours.match_count == theirs.match_count > 20
    assert ours.sides["eval"].matched_rows.tolist() == theirs.sides["eval"].matched_rows.tolist()
    assert ours.sides["train"].matched > theirs.sides["train"].matched
    texts = [report.overlaps["train_text"].to_pylist() for report in (joined, whole)]
    assert sorted(texts[0]) == sorted(texts[1])


def test_code_whose_lines_are_numbered_on_from_chunk_to_chunk_is_found_and_dropped() -> None:
    lines = [f"{WORDS[at]} = {WORDS[at + 1]} + {WORDS[at + 2]}" for at in range(0, 36, 3)]
    listing = [f"{number}  {line}" for number, line in enumerate(lines, 98)]
    above, below = (" ".join(WORDS[at : at + 40]) for at in (60, 110))
    chunked = [above, "\n".join(listing[:5]), "\n".join(listing[5:]), below]
    evaluation = {"question": ["\n".join(lines)], "answer": [WORDS[110]]}
    joined = lvmfast.leakscan(table_of([chunked]), evaluation, levels=["overlap"], join_chunks=True)
    whole = lvmfast.leakscan(by_hand([chunked]), evaluation, levels=["overlap"])
    assert joined.levels["overlap"].sides["train"].matched_rows.tolist() == [1, 2]
    (told,), (other,) = joined.overlaps.to_pylist(), whole.overlaps.to_pylist()
    assert (told["train_row"], told["train_end_row"], told["answer_start_row"]) == (1, 2, 3)
    assert (told["answer_start"], told["answer_end"]) == (0, len(WORDS[110]))
    for name in ("coverage", "train_text", "train_text_with_answer", "longest"):
        assert told[name] == other[name]
    texts = [[chunked[run["train_start_row"]], chunked[run["train_end_row"]]] for run in told["runs"]]
    assert all(first == last for first, last in texts)
    found = [
        text[run["train_start"] : run["train_end"]]
        for (text, _), run in zip(texts, told["runs"], strict=True)
    ]
    assert found == lines


@pytest.mark.parametrize("shared", [5, 13, 20])
def test_chunks_that_share_words_hide_no_text(shared: int) -> None:
    """Wherever it stands, if they share at most half: whole in a chunk, or with all its parts in a window."""
    words = WORDS[:150]
    for size in (12, 30, 45, 90):
        chunked = [words[at : at + 40] for at in range(0, len(words), 40 - shared)]
        items = [" ".join(words[at : at + size]) for at in range(len(words) - size)]
        table = table_of([[" ".join(chunk) for chunk in chunked]])
        report = lvmfast.leakscan(table, {"text": items}, levels=["overlap"], join_chunks=True)
        assert report.overlaps["coverage"].to_pylist() == [1.0] * len(items)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Files of several formats, whose chunks are cut by row groups, and one document over two files."""
    folder = tmp_path_factory.mktemp("chunks")
    documents, items = planted(11, 150, 80)
    (folder / "train").mkdir()
    table = table_of(documents)
    cuts = [0, len(table) // 3, len(table) // 2, len(table)]
    first, second, third = (table.slice(a, b - a) for a, b in pairwise(cuts))
    pq.write_table(first, folder / "train" / "0.parquet", row_group_size=3)
    lines = "".join(json.dumps(row) + "\n" for row in second.to_pylist())
    (folder / "train" / "1.jsonl").write_text(lines)
    pq.write_table(third, folder / "train" / "2.parquet", row_group_size=10)
    pq.write_table(pa.table({"text": items}), folder / "eval.parquet")
    return folder


def scan(corpus: Path, out: Path, *more: str) -> tuple[str, ...]:
    sides = ("--train", str(corpus / "train"), "--eval", str(corpus / "eval.parquet"))
    return ("leakscan", *sides, "--levels", "text,overlap", "--join-chunks", "--out", str(out), *more)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "report"
    answer = run(*scan(corpus, out))
    assert answer.returncode == 1, answer.stderr
    assert "training rows were joined to the one before, as chunks of one document" in answer.stdout
    return out


TABLES = ("matches.parquet", "matched_rows.parquet", "overlaps.parquet")


def test_shards_and_their_merge_are_the_bytes_of_one_scan(corpus, whole, tmp_path) -> None:
    parts = [tmp_path / str(share) for share in (1, 2, 3)]
    for share, part in enumerate(parts, 1):
        assert run(*scan(corpus, part, "--shard", f"{share}/3")).returncode == 0
    assert run("merge", *map(str, parts), "--out", str(tmp_path / "merged")).returncode == 1
    for name in TABLES:
        assert (tmp_path / "merged" / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (json.loads((out / "summary.json").read_text()) for out in (tmp_path / "merged", whole))
    assert ours["levels"] == theirs["levels"]
    assert ours["levels"]["overlap"]["joined_rows"] > 100


def test_a_scan_that_keeps_no_records_has_the_same_bytes(corpus, whole, tmp_path) -> None:
    report = lvmfast.leakscan(
        corpus / "train", corpus / "eval.parquet", levels=["text", "overlap"], join_chunks=True
    )
    report.save(tmp_path)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_scan_that_was_stopped_goes_on_to_the_same_bytes(corpus, whole, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("lvmfast.leaks.journal.SECONDS", 0.0)
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "span_bytes", 400)
    asked = {"levels": ["text", "overlap"], "join_chunks": True, "out": tmp_path}

    def stopped(phase: str, done: int, total: int | None) -> None:
        if len(list((tmp_path / ".partial").glob("*.cut"))) > limit:
            raise KeyboardInterrupt

    for limit in (2, 9):
        asked["resume"] = limit > 2
        with pytest.raises(KeyboardInterrupt, match="--resume continues"):
            lvmfast.leakscan(corpus / "train", corpus / "eval.parquet", **asked, progress=stopped)
    asked["resume"] = True
    lvmfast.leakscan(corpus / "train", corpus / "eval.parquet", **asked).save(tmp_path)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


def test_clean_drops_the_rows_that_a_match_touches_and_finds_nothing_more(corpus, whole, tmp_path) -> None:
    sides = ("--train", str(corpus / "train"), "--eval", str(corpus / "eval.parquet"), "--report", str(whole))
    refused = run("clean", *sides, "--drop", "train", "--cut", "50", "--out", str(tmp_path / "cut"))
    assert refused.returncode == 2
    assert "is a scan with --join-chunks, whose matches lie across rows" in refused.stderr
    answer = run("clean", *sides, "--drop", "train", "--out", str(tmp_path / "clean"))
    assert answer.returncode == 0, answer.stderr
    certificate = json.loads((tmp_path / "clean" / "clean.json").read_text())
    assert certificate["options"]["join_chunks"] is True
    rows = json.loads((whole / "summary.json").read_text())["levels"]["overlap"]["train_rows_matched"]
    assert certificate["dropped"]["rows"] == rows
    assert 0 < rows < certificate["sides"]["train"]["rows"]
    assert run("verify", str(tmp_path / "clean")).returncode == 0


def test_a_text_that_stands_again_and_again_is_dropped_wherever_it_stands(tmp_path) -> None:
    """Evidence has one stretch of a document; the rows that are dropped are all."""
    item = " ".join(WORDS[:14])
    filler = [" ".join(WORDS[place : place + 30]) for place in range(20, 160, 10)]
    texts = []
    for text in filler:
        texts += [f"{text} {' '.join(item.split()[:7])}", f"{' '.join(item.split()[7:])} {text}", text[::-1]]
    table_of([texts])
    pq.write_table(table_of([texts]), tmp_path / "train.parquet")
    pq.write_table(pa.table({"text": [item]}), tmp_path / "eval.parquet")
    sides = ("--train", str(tmp_path / "train.parquet"), "--eval", str(tmp_path / "eval.parquet"))
    report = ("--out", str(tmp_path / "report"))
    assert run("leakscan", *sides, *report).returncode == 0
    assert run("leakscan", *sides, *report, "--join-chunks").returncode == 1
    out = ("--report", str(tmp_path / "report"), "--drop", "train", "--out", str(tmp_path / "clean"))
    answer = run("clean", *sides, *out)
    assert answer.returncode == 0, answer.stderr
    left = pq.read_table(tmp_path / "clean" / "train.parquet")["text"].to_pylist()
    assert left == [text[::-1] for text in filler]


def test_what_cannot_be_joined_is_refused_by_name(tmp_path) -> None:
    rows = {"doc_id": ["a", "a"], "chunk_id": [1, 2], "text": ["one two three four five", "six seven"]}
    evaluation = {"text": ["one two three four five six"]}

    def scanned(train: Any, against: Any = evaluation, **more: Any) -> Any:
        return lvmfast.leakscan(train, against, join_chunks=True, **more)

    with pytest.raises(DataError, match=r"join_chunks: .*: no chunk_id$"):
        scanned({name: rows[name] for name in ("doc_id", "text")})
    with pytest.raises(DataError, match=r"join_chunks: .*: no doc_id and no chunk_id$"):
        scanned({"text": rows["text"]})
    with pytest.raises(DataError, match="join_chunks: inside one set no text is looked for in another"):
        scanned(rows, None)
    with pytest.raises(DataError, match="join_chunks: rows are joined at overlap alone, which is not"):
        scanned(rows, levels=["text"])
    lvmfast.fingerprint(rows, tmp_path / "t.lvfp", overlap=True)
    with pytest.raises(DataError, match="a fingerprint holds no texts that could be joined"):
        scanned(tmp_path / "t.lvfp")
    apart = scanned({**rows, "chunk_id": [1, 3]})
    assert apart.levels["overlap"].continued == 0
