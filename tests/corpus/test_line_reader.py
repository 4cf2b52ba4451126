"""The core's reader of lines: what Python's `json` says, or nothing, and then `json` itself is asked."""

import json
import re
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast.corpus.lines
from lvmfast import _core
from lvmfast.corpus.json_rows import Reading, parsed
from lvmfast.corpus.lines import Lines
from lvmfast.errors import DataError
from tests.support.corpus_reading import read

COLUMNS = {"id": "doc_id", "text": "text", "vector": "vector", "windows": "context"}
WATCHED = frozenset({"chunk_id", "embedding"})

WORD = st.text(st.characters(codec="utf-8"), max_size=40)
NUMBER = (
    st.integers(-(10**25), 10**25) | st.floats(allow_nan=False) | st.sampled_from([0, -0.0, 1e22, 5e-324])
)
VECTOR = st.none() | st.lists(NUMBER | st.none(), max_size=3)
ANY = st.recursive(
    st.none() | st.booleans() | NUMBER | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=8,
)
ROW = st.fixed_dictionaries(
    {},
    optional={
        "id": st.none() | st.integers(-(2**70), 2**70) | WORD,
        "text": st.none() | WORD,
        "vector": VECTOR,
        "windows": st.none() | st.lists(VECTOR, max_size=3),
        "chunk_id": st.none(),
        "x": ANY,
        "y": ANY,
        "t": ANY,
    },
)
STYLES = [
    {"ensure_ascii": ascii_only, "separators": separators}
    for ascii_only in (False, True)
    for separators in (None, (",", ":"), (" ,\t", "\r : "))
]


def column_value(column, value):
    """What the column has of a value of `json`; ValueError where it cannot have it."""
    if value is None:
        return None
    if column in ("doc_id", "text"):
        if not isinstance(value, str) and not (column == "doc_id" and type(value) is int):
            raise ValueError(value)
        str(value).encode()
        return str(value)
    if not isinstance(value, list):
        raise ValueError(value)
    if column == "context":
        return [column_value("vector", item) for item in value]
    if any(item is not None and type(item) not in (int, float) for item in value):
        raise ValueError(value)
    with np.errstate(over="ignore"):
        return [np.nan if item is None else float(np.float32(float(item))) for item in value]


def pairs(items):
    names = [name for name, _ in items]
    found = dict(items)
    found[None] = {name for name in names if names.count(name) > 1}
    return found


def naively(data):
    """Columns by `json`, and the number of the first line that it or a column refuses."""
    columns = {name: [] for name in COLUMNS}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        try:
            row = json.loads(line.decode(), object_pairs_hook=pairs)
            if not isinstance(row, dict) or row[None] & (WATCHED | COLUMNS.keys()):
                raise ValueError(row)
            if any(row.get(name) is not None for name in WATCHED):
                raise ValueError(row)
            values = {name: column_value(column, row.get(name)) for name, column in COLUMNS.items()}
        except (ValueError, OverflowError, RecursionError):
            return columns, number
        for name, value in values.items():
            columns[name].append(value)
    return columns, None


def met(line, name, value):
    raise DataError(f"f: line {line}: {name}")


READING = Reading("f", COLUMNS, WATCHED, met)


def shown(column, value):
    """To be compared: a null in a vector is NaN, and NaN is itself."""
    numbers = column in ("vector", "context") and value is not None
    return repr(value).replace("None", "nan") if numbers else value


def outcome(lines):
    """What is read of lines, or else the number of the line that is refused."""
    try:
        return parsed(lines, READING), None
    except DataError as error:
        return None, int(re.match(r"f: line (\d+)[:,]", str(error))[1])


def check(*blocks):
    """Blocks of whole lines, read as one, against `json`; whether the core read them by itself."""
    lines = Lines.of(blocks, 1)
    want, broken = naively(b"".join(blocks))
    got, error = outcome(lines)
    assert error == broken, blocks
    for name, column in COLUMNS.items() if got is not None else ():
        found = got.column(name)
        found.validate(full=True)
        values = [shown(column, value) for value in found.to_pylist()]
        assert values == [shown(column, value) for value in want[name]], (blocks, name)
    return READING.core.read(lines.parts) is not None


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(ROW, max_size=6),
    style=st.sampled_from(STYLES),
    end=st.sampled_from(["\n", "\r\n", "\n \n"]),
)
def test_what_is_in_order_is_read_by_the_core_itself(rows, style, end):
    data = "".join(json.dumps(row, **style) + end for row in rows).encode()
    assert check(data)
    for cut in {0, len(data), *[m.end() for m in re.finditer(b"\n", data)]}:
        assert check(data[:cut], data[cut:])


@pytest.mark.parametrize(
    "value",
    [
        '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\ud800\\n"', '"\\x"', '"\\u12g4"', '"\\u12"',
        '"a\tb"',
        '"\x00"', "7", "true", "[]", "{}", "nul", "nulll", '"a" "b"', '"a', '"a"}', '"a"]', "",
    ],
)  # fmt: skip
def test_texts_out_of_the_ordinary_are_left_to_json(value):
    assert not check(b'{"text": "b"}\n{"text": %s}\n' % value.encode())
    assert not check(b'{"text": "%s", "text": %s}\n' % (b"long" * 20, value.encode()))


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 1.0}', '{"id": 1e3}', '{"id": -}', '{"id": 01}', '{"id": %s}' % ("9" * 5000), '{"id": NaN}',
        '{"vector": [1,]}', '{"vector": [true]}', '{"vector": ["1"]}', '{"vector": [[1]]}', '{"vector": 1}',
        '{"vector": [1 2]}', '{"vector": [%s]}' % ("9" * 400), '{"windows": [1]}', '{"windows": [[[1]]]}',
        '{"chunk_id": 0}', '{"chunk_id": ""}', '{"chunk_id": null, "chunk_id": null}', '{"id": 1, "id": 1}',
        '{"te\\u0078t": "a", "text": "a"}', "[1]", "null", "{}{}", "{} {}", "{},", "{", "}", '{"a"}',
        '{"a":}',
        '{"a": 1,}', "{,}", '{"a": [}]}', '{"a": {"b"}}', '{"a": {1: 2}}', "{'a': 1}", "\x0b", "{}\x00",
        "\ufeff{}",
        '{"x": "\\ud80"}', '{"x": tru}', '{"x": -Infinit}', '{"x": .5}', '{"x": 1.}', '{"x": 1e}',
        '{"x": --1}',
    ],
)  # fmt: skip
def test_lines_out_of_the_ordinary_are_left_to_json(line):
    assert not check(b'{"id": 1}\n', line.encode() + b"\n{}\n")


@pytest.mark.parametrize(
    "line",
    [
        '{"x": "\\ud800", "text": "a"}', '{"x": [NaN, -Infinity, 1e999]}', '{"x": 1, "x": 2}',
        '{"\\ud800": 1}',
        '{"vector": [NaN, Infinity, -Infinity, 1e400, 1e300, -0, null]}', '{"id": -0}',
        '{"id": %s}' % ("9" * 400),
        '{"te\\u0078t": "a\\ud83d\\ude00"}', '{"x": ' + "[" * 500 + "]" * 500 + "}", " \t{ } \r", "",
    ],
)  # fmt: skip
def test_rare_lines_are_read_by_the_core_too(line):
    assert check(line.encode())


def test_texts_that_are_not_utf8_are_left_to_json():
    for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"a" * 31 + b"\xc3"):
        assert not check(b'{"text": "' + text + b'"}\n')
    # Neither of two texts is one, though both together are.
    assert not check(b'{"text": "\xc3"}\n{"text": "\xa9"}\n')
    # What is passed over is not looked at.
    core = _core.LineReader([("text", "text")], [], [])
    rows, _ = core.read([np.frombuffer(b'{"x": "\xff", "text": "a"}', np.uint8)])
    assert rows == 1


def test_a_name_that_is_no_text_is_left_to_json():
    reading = Reading("f", {"text": "text"}, frozenset({"\udcff"}), met)
    assert reading.core is None
    assert parsed(Lines.of([b'{"text": "a"}'], 1), reading).to_pylist() == [{"text": "a"}]
    with pytest.raises(DataError, match="line 1"):
        parsed(Lines.of([b'{"\\udcff": 1}'], 1), reading)


TRICKY = (
    '\ufeff{"doc_id": 1, "text": "é\\u00e9𝄞\\ud834\\udd1e\\n", "vector": [0.1, null]}\r\n\n \t\r\n'
    '{"vector": null, "x": {"a": ["}\\"", {}]}, "doc_id": "ä"}\n'
    '{"text": "", "x": "\\\\", "vector": [1e300, -7]}\r\n'
    '{"doc_id": 123456789012345678901234567890, "text": "%s"}\n{}'
) % ("ü" * 40)


def test_blocks_may_begin_and_end_at_every_byte(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text(TRICKY, "utf-8", newline="")
    whole = read(path)
    assert whole["doc_id"] == ["1", "ä", None, "123456789012345678901234567890", None]
    assert whole["text"] == ["éé𝄞𝄞\n", None, "", "ü" * 40, None]
    lines = TRICKY.encode().split(b"\n")
    for block in range(4, path.stat().st_size + 2):
        monkeypatch.setattr(lvmfast.corpus.lines, "_BLOCK_BYTES", block)
        found = read(path)
        assert np.array_equal(found.pop("vector"), whole["vector"], equal_nan=True)
        assert found == {name: values for name, values in whole.items() if name != "vector"}
        with path.open("rb") as stream:
            blocks = list(lvmfast.corpus.lines.line_blocks(str(path), stream))
        numbered = [pair for lines in blocks for pair in lines.numbered()]
        assert [number for number, _ in numbered] == [1, 4, 5, 6, 7]
        assert [line for _, line in numbered] == [lines[0][3:], *lines[3:]]


PIECES = [
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "\\ud83d", "\\ude00", "\\n", "\n", "\r", "\t", " ",
    "\x00", "é", "𝄞",
    "0", "1", "-", ".", "e", "E+", "9" * 25, "null", "true", "NaN", "Infinity", "[]", "{}", '""', '"text"',
    '"id":',
    '"chunk_id": null,', '"vector": [1, 2.5]', '"x": ', "\udcff", "\udcc3", "\u2028", "[" * 40,
]  # fmt: skip


def spoiled(rng, text):
    """`text` with a few places changed."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice([0, 0, 1, 1, 2, 9]))
        piece = text[rng.randrange(len(text) + 1) :][: rng.randrange(12)] if rng.random() < 0.2 else ""
        text = text[:start] + (piece or rng.choice([*PIECES, ""])) + text[stop:]
    return text.encode("utf-8", "surrogateescape")


def a_row(rng):
    number = lambda: rng.choice([rng.randint(-9, 9), rng.random(), rng.gauss(0, 1e10), None, 10**30])  # noqa: E731
    vector = lambda: rng.choice([None, [number() for _ in range(rng.randrange(4))]])  # noqa: E731
    word = lambda: "".join(rng.choices('ab \n"\\é𝄞\x01', k=rng.randrange(40)))  # noqa: E731
    row = {
        "id": rng.choice([None, word(), rng.randint(-(10**20), 10**20)]),
        "text": rng.choice([None, word(), word()]),
        "vector": vector(),
        "windows": rng.choice([None, [vector() for _ in range(rng.randrange(3))]]),
        "x": {"a": [word(), {}, vector()], word(): number()},
        "chunk_id": None,
    }
    names = rng.sample(list(row), rng.randrange(1, len(row) + 1))
    return json.dumps({name: row[name] for name in names}, **rng.choice(STYLES))


def campaign(seed, count):
    """Reads `count` lines, each spoiled and in a block of its own or of a few; how many the core read."""
    rng, by_core = Random(seed), 0
    while count > 0:
        rows = [spoiled(rng, a_row(rng)) for _ in range(rng.choice([1, 1, 1, 2, 4]))]
        data = b"\n".join(rows)
        count -= len(rows)
        try:
            data.decode()
        except UnicodeDecodeError:
            outcome(Lines.of([data], 1))  # what is passed over need not be UTF-8 where the core reads it
            continue
        by_core += len(rows) * check(data)
    return by_core


def test_spoiled_lines_are_read_as_json_reads_them():
    assert campaign(20, 6000) > 1000


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(10))
def test_a_million_spoiled_lines_are_read_as_json_reads_them(seed):
    assert campaign(seed, 100_000) > 15_000


def test_the_arrays_hold_the_memory_that_the_core_wrote():
    core = _core.LineReader([("text", "text")], [], [])
    block = np.frombuffer(b'{"text": "abc"}\n{"text": "d"}', np.uint8)
    rows, [[valid, offsets, data]] = core.read([block])
    assert (rows, valid, offsets.tolist(), data.tobytes()) == (2, None, [0, 3, 4], b"abcd")
    batch = parsed(Lines.of([block.tobytes()], 1), Reading("f", {"text": "text"}, frozenset(), met))
    assert batch.schema == pa.schema([("text", pa.large_string())])
