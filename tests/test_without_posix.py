"""What lvmfast does where `fcntl` and the calls of `os` that Windows lacks are not there."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

#: Run before lvmfast is imported. Libraries are loaded first: they are built for the system that there is.
BLOCKED = """
import ctypes, mmap, multiprocessing, os, shutil, subprocess, sys, tempfile
import filelock, fsspec, numpy, pyarrow, pyarrow.compute, pyarrow.dataset, pyarrow.parquet, rich, typer

sys.modules["fcntl"] = None
for name in (
    "preadv", "pread", "pwrite", "pwritev", "sched_getaffinity", "sysconf",
    "pidfd_open", "fork", "getuid", "geteuid", "getpgid", "setsid", "killpg", "posix_fadvise", "mkfifo",
    "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW",
):
    if hasattr(os, name):
        delattr(os, name)
for name in ("MAP_ANONYMOUS", "MAP_PRIVATE", "MAP_NORESERVE", "MAP_SHARED"):
    if hasattr(mmap, name):
        delattr(mmap, name)
shutil._use_fd_functions = False
cdll, rename, open_, fsync = ctypes.CDLL, os.rename, os.open, os.fsync
read_only = set()

def no_libc(name, *args, **options):
    if name is None:
        raise TypeError("bad argument type for built-in operation")
    return cdll(name, *args, **options)

def rename_onto_nothing(source, target, *args, **options):
    if os.path.lexists(target):
        raise FileExistsError(17, "Cannot create a file when that file already exists", source, None, target)
    return rename(source, target, *args, **options)

def open_no_folder(path, flags, *args, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    handle = open_(path, flags, *args, **options)
    (read_only.discard if flags & (os.O_WRONLY | os.O_RDWR) else read_only.add)(handle)
    return handle

def fsync_what_is_written(handle):
    if handle in read_only:
        raise OSError(9, "Bad file descriptor")
    return fsync(handle)

ctypes.CDLL, os.rename = no_libc, rename_onto_nothing
os.open, os.fsync = open_no_folder, fsync_what_is_written
"""


def blocked(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKED + script, *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_package_is_imported_and_scans_what_is_in_memory():
    done = blocked("""
import lvmfast, lvmfast.locking
assert not lvmfast.locking.FLOCK
texts = [f"a text with a number in it: {n}" for n in range(100)]
vectors = numpy.random.default_rng(0).standard_normal((100, 8)).astype("float32")
report = lvmfast.leakscan(
    {"doc_id": list(range(100)), "text": texts, "vector": vectors},
    {"doc_id": list(range(1000, 1010)), "text": texts[:3] + [f"unseen {n} of them" for n in range(7)],
     "vector": vectors[40:50]},
)
for name, found in report.summary["levels"].items():
    if found["status"] == "leak":
        print(name, found["eval_rows_matched"])
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "text 3\nvector 10\n"


@pytest.fixture
def files(tmp_path):
    """Training and evaluation files in several formats, which share rows 10 to 19."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 8)).astype(np.float32)
    texts = [f"a text with number {row} and {rng.integers(1 << 40)}" for row in range(200)]
    (tmp_path / "train").mkdir()
    np.savez(tmp_path / "train" / "a.npz", doc_id=np.arange(100), vector=vectors[:100])
    pq.write_table(pa.table({"doc_id": range(100), "text": texts[:100]}), tmp_path / "train.parquet")
    np.savez(
        tmp_path / "eval.npz",
        doc_id=np.arange(10, 60) + 500,
        vector=np.vstack([vectors[10:20], vectors[160:]]),
    )
    lines = [{"doc_id": 1000 + row, "text": texts[row]} for row in (*range(10, 20), *range(150, 190))]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


COMMANDS = """
from lvmfast.__main__ import main
sys.argv[0] = "lvmfast"
main()
"""


def test_commands_read_write_and_move_files(files):
    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        return blocked(COMMANDS, *arguments)

    for train, evaluation, out in (("train", "eval.npz", "v"), ("train.parquet", "eval.jsonl", "t")):
        sides = ["--train", files / train, "--eval", files / evaluation]
        found = command("leakscan", *sides, "--out", files / out)
        assert found.returncode == 1, found.stderr
        (files / f"clean-{out}").mkdir()  # an empty folder that is there is taken
        cleaned = command("clean", *sides, "--report", files / out, "--out", files / f"clean-{out}")
        assert cleaned.returncode == 0, cleaned.stderr
        verified = command("verify", files / f"clean-{out}")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        moved = command("quarantine", files / evaluation, "--report", files / out)
        assert moved.returncode == 0, moved.stderr
    assert not (files / "eval.npz").exists()
    assert command("leakscan", "--train", files / "train", "--eval", files / "eval.npz").returncode == 2
    split = command("split", files / "train.parquet", "--eval-docs", "10", "--out", files / "split")
    assert split.returncode in (0, 2), split.stderr
    left = [path.name for path in files.rglob(".*")]
    assert left == []


def test_one_command_at_a_time_writes_to_a_place(files):
    done = blocked(
        """
from lvmfast import DataError
from lvmfast.stores import holding
import subprocess
place = sys.argv[1]
with holding(place):
    command = [sys.executable, "-W", "ignore", "-c", sys.argv[2], place]
    other = subprocess.run(command, capture_output=True, text=True)
print(other.stdout.strip(), other.stderr[-300:])
with holding(place):
    pass
""",
        files / "out",
        BLOCKED
        + """
from lvmfast import DataError
from lvmfast.stores import holding
try:
    with holding(sys.argv[1]):
        print("both")
except DataError as error:
    print(error)
""",
    )
    assert done.returncode == 0, done.stderr
    assert "out: in use by another process; let it end, or give another place" in done.stdout


def test_without_the_library_for_locks_it_is_named():
    done = blocked("""
sys.modules["filelock"] = None
import lvmfast
from lvmfast.stores import holding
try:
    with holding(tempfile.gettempdir() + "/nowhere-to-be-held"):
        pass
except lvmfast.DataError as error:
    print(error)
""")
    assert done.stdout == "a lock on a system without flock needs filelock: pip install filelock\n", (
        done.stderr
    )
