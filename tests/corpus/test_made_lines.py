"""Texts made of fields, by the core's reader of lines: what Python's `json` and plain code make of them."""

import json
import re
from itertools import chain
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.corpus.expressions import expression
from lvmfast.corpus.json_rows import Reading, parsed
from lvmfast.corpus.lines import Lines
from lvmfast.errors import DataError

WORD = st.text(st.characters(codec="utf-8"), max_size=30)
LEAF = st.none() | WORD | st.integers(-(2**70), 2**70)
OTHER = st.recursive(
    LEAF | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=2),
    max_leaves=5,
)
MESSAGE = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "role": st.none() | st.sampled_from(["user", "assistant", "", "None"]) | st.integers(0, 2),
        "content": LEAF,
        "weight": OTHER,
    },
)
ROW = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.none() | st.lists(MESSAGE, max_size=4),
        "data": st.none() | st.fixed_dictionaries({}, optional={"q": LEAF, "deep": st.none() | OTHER}),
        "choices": st.none() | st.lists(LEAF, max_size=3),
        "q": LEAF,
        "x": OTHER,
    },
)
STYLES = [
    {"ensure_ascii": ascii_only, "separators": separators}
    for ascii_only in (False, True)
    for separators in (None, (",", ":"), (" ,\t", "\r : "))
]


def joined(values):
    texts = [str(value) for value in values if value is not None]
    return "\n".join(texts) if texts else None


def leaf(value):
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise ValueError(value)
    return value


def leaves(value):
    """Of a path of several steps: a value, or the texts of content parts."""
    if not isinstance(value, list):
        return [leaf(value)]
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in value):
        raise ValueError(value)
    return [leaf(part.get("text")) for part in value]


def field(value, name):
    if value is not None and not isinstance(value, dict):
        raise ValueError(value)
    return None if value is None else value.get(name)


def items(value):
    if value is not None and not isinstance(value, list):
        raise ValueError(value)
    return value or []


def contents(row, which):
    chosen = [message for place, message in enumerate(items(row.get("messages"))) if which(place, message)]
    return joined(text for message in chosen for text in leaves(field(message, "content")))


def template(row):
    values = [leaf(row.get("q")), joined(chain(*map(leaves, items(row.get("choices")))))]
    return None if None in values else f"Q: {values[0]}\n({values[1]})"


NAIVE = {
    "messages[*].content": lambda row: contents(row, lambda place, message: True),
    "messages[1].content": lambda row: contents(row, lambda place, message: place == 1),
    "messages[role=user].content": lambda row: contents(row, lambda p, m: str(field(m, "role")) == "user"),
    "messages[role=1].content": lambda row: contents(row, lambda p, m: str(field(m, "role")) == "1"),
    "messages[role=None].content": lambda row: contents(row, lambda p, m: str(field(m, "role")) == "None"),
    "data.q": lambda row: joined(leaves(field(row.get("data"), "q"))),
    "data.q+q+choices[*]+data.q": lambda row: joined(
        [
            *(*leaves(field(row.get("data"), "q")), leaf(row.get("q"))),
            *chain(*map(leaves, items(row.get("choices")))),
            *leaves(field(row.get("data"), "q")),
        ]
    ),
    "Q: {q}\n({choices[*]})": template,
    "choices[99999999999999999999999]": lambda row: joined(items(row.get("choices"))[10**22 :]),
}
#: Read beside them: a field that is text and also part of what is made, and one that is to be null.
PLAIN, WATCHED = "q", "embedding"


def met(line, name, value):
    raise DataError(f"f: line {line}: {name}")


def reading(text):
    columns = {PLAIN: "doc_id", text: "text"}
    return Reading("f", columns, frozenset({WATCHED}), met, {text: expression(text)})


READINGS = {text: reading(text) for text in NAIVE}


def pairs(found):
    names = [name for name, _ in found]
    row = dict(found)
    row[None] = {name for name in names if names.count(name) > 1}
    return row


def naively(data, text):
    """(ids, texts), and the number of the first line that is refused."""
    rows = []
    heads = {*expression(text).heads, PLAIN, WATCHED}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        try:
            row = json.loads(line.decode(), object_pairs_hook=pairs)
            if not isinstance(row, dict) or row[None] & heads or row.get(WATCHED) is not None:
                raise ValueError(row)
            plain = leaf(row.get(PLAIN))
            values = [plain if plain is None else str(plain), NAIVE[text](row)]
            "".join(value or "" for value in values).encode()  # of half a surrogate pair there is no text
            rows.append(tuple(values))
        except (ValueError, RecursionError):
            return rows, number
    return rows, None


def check(data, text):
    """A block of lines against plain code; whether the core read it by itself."""
    want, broken = naively(data, text)
    lines = Lines.of([data], 1)
    if broken is not None:
        with pytest.raises(DataError, match=rf"^f: line {broken}[:,]"):
            parsed(lines, READINGS[text])
        return False
    got = parsed(lines, READINGS[text])
    got.validate(full=True)
    assert list(zip(got.column(PLAIN).to_pylist(), got.column(text).to_pylist(), strict=True)) == want, data
    core = READINGS[text].core
    return core is not None and core.read(lines.parts) is not None


@settings(max_examples=400, deadline=None)
@given(
    rows=st.lists(ROW, max_size=6),
    style=st.sampled_from(STYLES),
    text=st.sampled_from(sorted(NAIVE)),
    end=st.sampled_from(["\n", "\r\n", "\n \n"]),
)
def test_what_is_in_order_is_made_by_the_core_itself(rows, style, text, end):
    data = "".join(json.dumps(row, **style) + end for row in rows).encode()
    ordinary = not re.search(r"None\]|\[9{9}", text)
    assert check(data, text) or not ordinary


@pytest.mark.parametrize(
    "value",
    [
        "1", "true", '"a"', "{}", "[[]]", "[1]", '["a"]', '[{"content": 1.5}]', '[{"content": true}]',
        '[{"content": ["a"]}]', '[{"content": {"a": 1}}]', '[{"content": "a", "content": "b"}]',
        '[{"role": "user", "role": "a", "content": "b"}]', '[{"content": "\\ud800"}]', "[null", "[{]",
        '[{"content": "a"},]', '[{"content": "a"} {"content": "b"}]', '[{"role": 1.0, "content": "a"}]',
        '[{"role": true, "content": "a"}]', "nulll", "[nulll]",
        '[{"content": nulll}]', '[{"content"}]',
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", [text for text in NAIVE if text.startswith("messages")])
def test_what_is_out_of_the_ordinary_is_read_as_json_reads_it(value, text):
    check(b'{"messages": [{"role": "user", "content": "b"}]}\n{"messages": %s}\n' % value.encode(), text)


def test_an_integer_that_python_refuses_is_refused():
    assert not check(b'{"messages": [{"content": %s}]}' % (b"9" * 5000), "messages[*].content")


PIECES = [
    *'{}[],:"\\ \n', "\\u", "\\ud83d", "é", "1", "-", ".", "e", "null", "true", "[]", "{}", '""', '"role":',
    '"content": ', '"messages": [', '"user"', '{"role": "user", "content": "a"}',
]  # fmt: skip


def spoiled(rng, line):
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        start = rng.randrange(len(line) + 1)
        line = line[:start] + rng.choice([*PIECES, ""]) + line[start + rng.choice([0, 0, 1, 2, 9]) :]
    return line


def a_row(rng):
    word = lambda: "".join(rng.choices('ab \n"\\é𝄞\x01', k=rng.randrange(40)))  # noqa: E731
    message = lambda: {  # noqa: E731
        "content": rng.choice([word(), None, rng.randint(-9, 10**20)]),
        "role": rng.choice(["user", "assistant", None, 1]),
    }
    row = {
        "messages": rng.choice([None, [message() for _ in range(rng.randrange(4))]]),
        "data": {"q": rng.choice([None, word()])},
        "choices": [word() for _ in range(rng.randrange(3))],
        "q": rng.choice([None, word(), 7]),
    }
    names = rng.sample(list(row), rng.randrange(1, len(row) + 1))
    return json.dumps({name: row[name] for name in names}, **rng.choice(STYLES))


def campaign(seed, count):
    rng, by_core = Random(seed), 0
    for _ in range(count):
        data = "\n".join(spoiled(rng, a_row(rng)) for _ in range(rng.choice([1, 1, 2]))).encode()
        by_core += check(data, rng.choice(sorted(NAIVE)))
    return by_core


def test_spoiled_lines_are_made_as_plain_code_makes_them():
    assert campaign(4, 4000) > 800


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(5))
def test_many_spoiled_lines_are_made_as_plain_code_makes_them(seed):
    assert campaign(seed, 60_000) > 12_000
