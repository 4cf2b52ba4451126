"""Files whose rows are far more than their bytes, under `--memory-limit`."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvmfast.corpus import load_split
from lvmfast.corpus.budget import reading_within
from lvmfast.errors import DataError
from tests.support.peaks import MIB, ran

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")

LIMIT = 280
LONG = ("word " * (MIB // 5 + 1))[: MIB - 100]


def dictionary(texts, rows):
    return pa.DictionaryArray.from_arrays(pa.array(np.arange(rows, dtype=np.int32) % len(texts)), texts)


def write(path, texts, rows):
    """`rows` rows that name `texts` in turn, in a file of little more than the texts."""
    if path.suffix == ".parquet":
        column = dictionary(texts, rows)
        column = column if path.stem == "dictionary" else column.cast(pa.string())
        pq.write_table(pa.table({"text": column}), path, compression="zstd")
    else:
        writer = pa.ipc.new_file if path.stem == "file" else pa.ipc.new_stream
        batch = pa.record_batch({"text": dictionary(texts, rows)})
        with writer(path, batch.schema) as out:
            out.write_batch(batch)
    return path


@pytest.fixture(scope="module")
def eval_(tmp_path_factory):
    path = tmp_path_factory.mktemp("eval") / "eval.parquet"
    pq.write_table(pa.table({"text": [LONG, "a text that stands nowhere else"]}), path)
    return path


@pytest.mark.parametrize("name", ["plain.parquet", "dictionary.parquet", "file.arrow", "stream.arrow"])
def test_one_long_text_in_every_row_stays_within_the_limit(tmp_path, eval_, name):
    rows = 300
    path = write(tmp_path / name, [LONG], rows)
    assert path.stat().st_size < 2 * MIB
    limit = ["--memory-limit", f"{LIMIT}MiB", "--levels", "text", "--max-pairs", "50", "--out", "out"]
    done = ran(tmp_path, "leakscan", "--train", path, "--eval", eval_, *limit)
    assert done.code == 1, done.err
    assert done.peak <= LIMIT * MIB
    level = json.loads((tmp_path / "out" / "summary.json").read_text())["levels"]["text"]
    assert (level["train_rows_matched"], level["eval_rows_matched"], level["pairs"]) == (rows, 1, rows)


@pytest.mark.parametrize("name", ["plain.parquet", "dictionary.parquet", "file.arrow"])
def test_a_row_without_room_is_refused_by_name(tmp_path, eval_, name):
    path = write(tmp_path / name, ["short", "x" * (20 * MIB)], 60)
    with reading_within(LIMIT * MIB), pytest.raises(DataError) as caught:
        list(load_split(path).batches(("text",)))
    message = str(caught.value)
    assert message.startswith(f"{path}: text: ")
    assert "at most 7.3 MiB" in message
    assert "got 20.0 MiB; raise the limit to 421 MiB" in message


@pytest.mark.parametrize("name", ["plain.parquet", "dictionary.parquet", "file.arrow", "stream.arrow"])
@pytest.mark.parametrize("limit", [None, 210 * MIB])
def test_rows_are_those_of_the_file_however_they_are_cut(tmp_path, name, limit):
    rng = np.random.default_rng(0)
    texts = ["x" * int(n) for n in rng.integers(0, 300_000, 40)]
    path = write(tmp_path / name, texts, 900)
    with reading_within(limit):
        batches = list(load_split(path).batches(("text",), 500))
    assert [text for batch in batches for text in batch.text.to_pylist()] == [
        texts[i % 40] for i in range(900)
    ]
    assert max(batch.text.nbytes for batch in batches) < (1.5 * MIB if limit else 70 * MIB)
    assert sum(batch.rows for batch in batches) == 900


def test_encodings_that_share_the_beginnings_of_values(tmp_path, eval_):
    texts = [f"{LONG}{row}" for row in range(200)]
    pq.write_table(
        pa.table({"text": texts}),
        tmp_path / "a.parquet",
        use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY"},
    )
    assert (tmp_path / "a.parquet").stat().st_size < 4 * MIB
    with reading_within(600 * MIB):
        batches = list(load_split(tmp_path / "a.parquet").batches(("text",)))
    assert max(batch.text.nbytes for batch in batches) < 14 * MIB
    assert sum(batch.rows for batch in batches) == 200
