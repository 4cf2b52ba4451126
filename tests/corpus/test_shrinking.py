"""Files that are cut short by another process while they are read: an error, and no SIGBUS."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvmfast.corpus import load_split
from lvmfast.corpus.blocks import BlockMemory, read_ahead

ROWS, DIM = 20_000, 64

CUT_AFTER_THE_FIRST_BATCH = """
import os, sys
from lvmfast import DataError
from lvmfast.corpus import load_split
path = sys.argv[1]
split = load_split(path)
try:
    for place, batch in enumerate(split.batches(("vector",), 500)):
        batch.vector.sum()
        if place == 0:
            os.truncate(path, os.path.getsize(path) // 3)
except DataError as error:
    print(error)
"""


def write(path, rows):
    if path.suffix == ".npz":
        np.savez(path, targets=rows)
    elif path.suffix == ".npy":
        np.save(path, np.asfortranarray(rows) if "fortran" in path.name else rows)
    else:
        table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), DIM)})
        if path.suffix == ".parquet":
            pq.write_table(table, path, row_group_size=1_000, compression="none", use_dictionary=False)
        else:
            make = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
            with make(path, table.schema) as sink:
                for batch in table.to_batches(1_000):
                    sink.write_batch(batch)


NAMES = ["rows.npy", "fortran.npy", "rows.npz", "rows.parquet", "file.arrow", "stream.arrow"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_shrinks_is_an_error(name, tmp_path):
    path = tmp_path / name
    write(path, np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32))
    command = [sys.executable, "-c", CUT_AFTER_THE_FIRST_BATCH, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(path)), done
    assert done.stdout.count("\n") == 1


def test_a_scan_of_a_file_that_shrinks_ends_with_exit_code_2(tmp_path):
    train = tmp_path / "train.npy"
    write(train, np.ones((400_000, DIM), np.float32))
    code = """
import os, sys
import lvmfast.report.record as record
from lvmfast.__main__ import main
whole = record.Inputs.__init__
def cut(self, *args):
    whole(self, *args)
    os.truncate(sys.argv[3], 1_000_000)
record.Inputs.__init__ = cut
main()
"""
    command = [sys.executable, "-c", code, "leakscan", "--train", str(train)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr.startswith(f"lvmfast: {train}")
    assert done.stdout == ""


def test_blocks_that_are_kept_stay_as_they_were(tmp_path):
    # The memory of a block is lent again once nobody looks at it, and not before.
    rows = np.random.default_rng(1).standard_normal((1_000, 8)).astype(np.float32)
    write(tmp_path / "rows.npy", rows)
    batches = list(load_split(tmp_path / "rows.npy").batches(("vector",), 7))
    np.testing.assert_array_equal(np.concatenate([batch.vector for batch in batches]), rows)


def test_memory_is_lent_again_when_the_last_view_is_gone():
    memory = BlockMemory()
    first = memory.lend(100)
    place, view = first.ctypes.data, first[10:20].view(np.uint16)
    del first
    assert memory.lend(100).ctypes.data != place
    del view
    assert place in (memory.lend(100).ctypes.data, memory.lend(50).ctypes.data)


def test_reading_ahead_keeps_the_order_and_raises_in_turn():
    assert list(read_ahead(lambda n: n * n, range(5))) == [0, 1, 4, 9, 16]
    assert list(read_ahead(abs, [])) == []
    turns = read_ahead(lambda n: 1 // n, [1, 1, 0, 1])
    assert [next(turns), next(turns)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(turns)
