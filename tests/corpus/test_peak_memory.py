"""Files of a few hundred MB in a few dozen: peaks of anonymous memory, taken in a process of their own.

Pages of mapped files do not count: the system takes them back when it needs them.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc/self/status")

MIB = 1 << 20
ROWS, DIM, LENGTH = 40_000, 384, 4

SCRIPT = """
import re, sys
import numpy, pyarrow, pyarrow.parquet
from lvmfast.corpus import load_split

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

before = peak = anonymous()
columns = sys.argv[1].split(",")
split = load_split(sys.argv[2], payload=sys.argv[3] if len(sys.argv) > 3 else None)
rows = 0
for batch in split.batches(columns, 2048):
    assert all(getattr(batch, column) is not None for column in columns)
    rows += batch.rows
    peak = max(peak, anonymous())
print(rows, peak - before)
"""


def peak_of(*args):
    """(rows, bytes of anonymous memory above what the imports took) of one pass over a split."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", SCRIPT, *map(str, args)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    rows, peak = map(int, out.split())
    return rows, peak


@pytest.fixture(scope="module")
def arrays():
    # Compresses well, and is no two rows alike.
    vectors = np.zeros((ROWS, DIM), np.float32)
    vectors[:, 0] = np.arange(ROWS)
    windows = np.broadcast_to(vectors[:, None], (ROWS, LENGTH, DIM))
    return {"truth_keys": np.arange(2 * ROWS).reshape(ROWS, 2), "targets": vectors, "contexts": windows}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_an_npz_is_never_loaded_whole(tmp_path, arrays, save):
    save(tmp_path / "a.npz", **arrays)
    assert sum(array.nbytes for array in arrays.values()) > 290 * MIB
    rows, peak = peak_of("doc_id,vector,context", tmp_path / "a.npz")
    assert rows == ROWS
    block = 2048 * (LENGTH + 1) * DIM * 4  # 15 MiB
    assert peak < 5 * block + 16 * MIB  # one of them is read ahead


def test_a_payload_is_not_held_in_anonymous_memory(tmp_path):
    count, filler = 400_000, "many words " * 100  # many rows: a batch of them is small beside the whole
    texts = [f"{row} {filler}" for row in range(count)]
    table = pa.table({"doc_id": np.arange(count), "chunk_id": np.zeros(count, int), "text": texts})
    assert table.nbytes > 400 * MIB
    pq.write_table(table, tmp_path / "p.parquet")
    np.savez(tmp_path / "a.npz", truth_keys=np.column_stack((np.arange(count), np.zeros(count, int))))
    rows, peak = peak_of("text", tmp_path / "a.npz", tmp_path / "p.parquet")
    assert rows == count
    assert peak < 220 * MIB  # 80 to 150 in 16 runs; the keys take 24
