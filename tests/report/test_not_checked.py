"""What a scan says of the levels that it could not check, or was not asked for."""

import numpy as np
import pytest

import lvmfast
from lvmfast.levels import LEVELS
from tests.support import data

WORDS = data.texts(np.random.default_rng(7), 8)
VECTORS = np.eye(8, dtype=np.float32)
IDS = np.arange(8)


@pytest.mark.parametrize(
    ("train", "eval", "expected"),
    [
        (
            {"text": WORDS[:4]},
            {"text": WORDS[4:]},
            {"no ids": ["doc", "chunk"], "no vectors": ["vector", "context", "oracle"]},
        ),
        (
            {"text": WORDS[:4], "doc_id": IDS[:4]},
            {"text": WORDS[4:]},
            {"no ids in eval": ["doc", "chunk"], "no vectors": ["vector", "context", "oracle"]},
        ),
        (
            {"vector": VECTORS[:4], "doc_id": IDS[:4]},
            {"vector": VECTORS[4:], "doc_id": IDS[4:]},
            {
                "no chunk ids": ["chunk"],
                "no texts": ["text", "overlap"],
                "no context windows": ["context", "oracle"],
            },
        ),
        (
            {"text": WORDS[:4]},
            {"text": WORDS[4:], "vector": VECTORS[4:]},
            {
                "no ids": ["doc", "chunk"],
                "no vectors in train": ["vector", "context"],
                "no context windows": ["oracle"],
            },
        ),
    ],
)
def test_levels_that_lack_the_same_are_told_together(train, eval, expected):
    report = lvmfast.leakscan(train, eval)
    found: dict[str, list[str]] = {}
    for level, stated in report.summary["levels"].items():
        assert ("lacks" in stated) == (stated["status"] == "not_checkable"), level
        if "lacks" in stated:
            found.setdefault(stated["lacks"], []).append(level)
            assert stated["reason"]  # which names the files
    assert found == expected
    closing, sentence = str(report).splitlines()
    groups = "; ".join(f"{', '.join(names)} ({why})" for why, names in expected.items())
    assert closing.startswith("CLEAN: ")
    assert closing.endswith(f"; not checked: {groups}")
    sought = "; ".join(
        f"{', '.join(LEVELS[name].sought for name in names)} ({why})" for why, names in expected.items()
    )
    assert f". Not looked for: {sought}. What" in sentence


def test_levels_that_were_left_out_are_told_of_a_clean_scan_alone():
    clean = str(lvmfast.leakscan({"text": WORDS[:4]}, {"text": WORDS[4:]}, levels=["text"]))
    assert "No leak found at level text (1 of 7). Not looked for: shared documents, " in clean
    assert "not checked: doc, chunk, overlap, vector, context, oracle (left out)" in clean
    leak = str(lvmfast.leakscan({"text": WORDS[:4]}, {"text": WORDS[3:]}, levels=["text"]))
    assert leak.splitlines()[0] == "LEAK: text=1/5"


def test_all_levels_need_no_proportion():
    rng = np.random.default_rng(3)
    sides = []
    for first in (0, 50):
        side = data.sequences(rng, 30, first_doc=first)
        sides.append({**side, "text": data.texts(rng, 30)})
    closing, sentence = str(lvmfast.leakscan(*sides)).splitlines()
    assert "not checked" not in closing
    assert sentence.startswith(f"No leak found at levels {', '.join(LEVELS)}. What")
