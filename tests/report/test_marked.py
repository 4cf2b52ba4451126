"""What the page marks in the two texts of an overlap, against a mark a character."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

import lvmfast
from lvmfast.report.carried_texts import texts_of
from lvmfast.report.marked import MOST_CHARS, marked
from lvmfast.report.redraw import redraw_page

SIZE = 400
SPAN = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted)


def told(text, runs, answer, item, start=7):
    """A row of `overlaps.parquet`, whose training text starts at a character of its document."""
    keys = ("train_start", "train_end", "eval_start", "eval_end")
    low, high = min(run[0] for run in runs), max(run[1] for run in runs)
    wide = (min(low, answer[0]), max(high, answer[1])) if answer else None
    return {
        "runs": [dict(zip(keys, (start + a, start + b, c, d), strict=True)) for a, b, c, d in runs],
        "train_start": start + low,
        "train_text": text[low:high],
        "answer_start": start + answer[0] if answer else None,
        "answer_end": start + answer[1] if answer else None,
        "train_text_with_answer": text[slice(*wide)] if wide else None,
        "eval_text": item,
        "fields": ["question"],
        "train_rows": 1,
        "numbers_differ": False,
    }, (wide or (low, high))


@given(
    st.lists(st.tuples(SPAN, SPAN), min_size=1, max_size=6), st.one_of(st.none(), SPAN), st.integers(1, 40)
)
def test_each_character_has_its_mark_or_is_counted(spans, answer, wide):
    runs = [(wide * a, wide * b, wide * c, wide * d) for (a, b), (c, d) in spans]
    answer = [wide * place for place in answer] if answer and answer[0] < answer[1] else None
    text, item = ("".join(chr(start + place % 500) for place in range(wide * SIZE)) for start in (200, 900))
    row, (low, high) = told(text, runs, answer, item)
    found = marked(row)
    train = ["alone"] * len(text)
    of_item = ["alone"] * len(item)
    for a, b, c, d in runs:
        train[a:b], of_item[c:d] = ["common"] * (b - a), ["common"] * (d - c)
    if answer:
        train[answer[0] : answer[1]] = ["answer"] * (answer[1] - answer[0])
    sides = ((found.train, text, train, low, high), (found.eval, item, of_item, 0, len(item)))
    for pieces, whole, marks, start, end in sides:
        done = start
        for piece in pieces:
            if piece.left_out:
                assert not piece.text
                done += piece.left_out
                continue
            assert whole[done : done + len(piece.text)] == piece.text
            assert set(marks[done : done + len(piece.text)]) == {piece.mark}
            done += len(piece.text)
        assert done == end
        shown = sum(len(piece.text) for piece in pieces)
        assert shown <= MOST_CHARS + 2400


def _surrounded(report):
    """The texts of its matches as the page carries them."""
    matches, overlaps = (pq.read_table(report / f"{name}.parquet") for name in ("matches", "overlaps"))
    return list(texts_of(matches, overlaps, np.flatnonzero(np.array(matches["level"]) == "overlap")))


def test_the_page_marks_runs_answer_and_says_what_stands_there(tmp_path):
    question = "Which <b>river</b> crosses the old town of Ñandú before it reaches the salted harbour at last"
    passage = " ".join(f"passage{n} word" for n in range(30))
    lamps = "How many lamps did nine keepers clean in the years before the great storm came"
    ferry = "Why is the ferry older than both of the towns that it connects today, sir"
    items = [
        {"question": question, "passage": passage, "answer": "the Vltava"},
        {"question": lamps, "answer": "81"},
        {"question": ferry, "answer": "no"},
    ]
    train = [
        f"{passage}\n{question.upper()}? It is The  VLTAVA, they say. " + "x " * 400,
        ferry.upper().replace(" ", " - "),
        "unrelated " * 40 + lamps.replace("nine", "ten"),
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in train))
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    report = lvmfast.leakscan(tmp_path / "train.jsonl", tmp_path / "eval.jsonl")
    report.save(tmp_path / "report")
    first, other, second = pq.read_table(tmp_path / "report" / "overlaps.parquet").to_pylist()
    assert first["fields"] == ["question", "passage", "answer"]
    assert train[0][first["answer_start"] : first["answer_end"]] == "The  VLTAVA"
    assert train[0][first["train_start"] : first["answer_end"]] == first["train_text_with_answer"]
    assert second["answer_start"] is second["answer_end"] is second["train_text_with_answer"] is None
    for row, alike in zip((first, other, second), _surrounded(tmp_path / "report"), strict=True):
        text, wide = train[row["train_row"]], row["answer_start"] is not None
        begin = min(row["train_start"], row["answer_start"]) if wide else row["train_start"]
        end = max(row["train_end"], row["answer_end"]) if wide else row["train_end"]
        assert (row["train_before"], row["train_after"]) == (
            text[max(begin - 200, 0) : begin],
            text[end : end + 200],
        )
        assert alike.train == text[max(begin - 200, 0) : end + 200]
        moved = max(begin - 200, 0)
        places = [(run["train_start"] - moved, run["train_end"] - moved) for run in row["runs"]]
        assert [tuple(run[:2]) for run in alike.runs] == places
        assert alike.answer == ((row["answer_start"] - moved, row["answer_end"] - moved) if wide else None)
    html = (tmp_path / "report" / "report.html").read_text("utf-8")
    cards = re.findall(r'<article class="pair" data-pair="worst">.*?</article>', html, re.S)
    assert len(cards) == 3
    assert '<mark class="answer">The  VLTAVA</mark>' in cards[0]
    upper = question.upper().replace("<", "&lt;").replace(">", "&gt;")
    assert f'<mark class="common">{upper}</mark>? It is ' in cards[0]
    assert "with its answer" in cards[0]
    assert "passage in the same text" in cards[0]
    assert "answer" not in re.sub("<[^>]*>", "", cards[1] + cards[2])
    assert "Nothing else differs" not in cards[0] + cards[2]
    assert "Nothing else differs" in cards[1]
    assert '<mark class="common">How many lamps did</mark> ten <mark class="common">keepers' in cards[2]
    redraw_page(tmp_path / "report")
    assert (tmp_path / "report" / "report.html").read_text("utf-8") == html
