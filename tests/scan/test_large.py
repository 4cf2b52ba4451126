"""Splits too large for memory: partitions on disk and blocks give what the scan in memory gives."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import Dataset, load_split
from lvmfast.leaks import cost, journal, partitioned
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.partitioned import PartitionedLevel
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.tally import Tally
from lvmfast.levels import LEVELS
from lvmfast.scan import run
from lvmfast.scan.plan import plan
from lvmfast.stores import folder
from tests.support.colliding import as_arrays
from tests.support.colliding import splits as vector_splits
from tests.support.large import COLUMNS, in_blocks, same, splits


def partitioned_result(level, datasets, options, folder, budget) -> LevelResult:
    sides = tuple(datasets)
    running = PartitionedLevel(
        LEVELS[level],
        sides,
        {side: len(d.files) for side, d in datasets.items()},
        {side: d.rows or 1 for side, d in datasets.items()},
        options,
        folder,
        budget,
    )
    for side, dataset in datasets.items():
        for batch in dataset.batches(COLUMNS, 7):
            running.take(side, batch)
    again = lambda side, rows: datasets[side].batches(("doc_id", "text"), 5, rows)  # noqa: E731
    return running.result(again)


@pytest.fixture(scope="module", autouse=True)
def few_partitions():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned, "MOST_PARTITIONS", 5)
        patch.setattr(partitioned, "SPLIT_AGAIN", 3)
        patch.setattr(partitioned, "DEEPEST", 3)
        yield


@pytest.mark.parametrize("budget", [1, 2_000, 1 << 30])
@settings(max_examples=40, deadline=None)
@given(
    train=st.lists(splits(), min_size=1, max_size=3),
    eval_=splits(),
    max_df=st.sampled_from([None, 1, 2, 5]),
    max_pairs=st.sampled_from([1, 3, 1000]),
    indexed=st.sampled_from(["train", "eval"]),
)
def test_partitions_find_what_memory_finds(
    tmp_path_factory, budget, train, eval_, max_df, max_pairs, indexed
):
    options = ScanOptions(min_chars=1, max_df=max_df, max_pairs=max_pairs, memory_limit=1 << 30)
    streamed = "eval" if indexed == "train" else "train"
    opened = {
        "train": Dataset(tuple(load_split(part).files[0] for part in train)),
        "eval": load_split(eval_),
    }
    datasets = {side: opened[side] for side in (indexed, streamed)}
    files = {side: len(d.files) for side, d in datasets.items()}
    for level in ("doc", "chunk", "text"):
        running = KeyedLevel(LEVELS[level], indexed, files, options)
        for batch in datasets[indexed].batches(COLUMNS):
            running.index(batch)
        for batch in datasets[streamed].batches(COLUMNS):
            running.stream(batch)
        folder = tmp_path_factory.mktemp("partitions")
        same(partitioned_result(level, datasets, options, folder, budget), running.result())
        assert not list(folder.iterdir())
    duplicates = KeyedLevel(LEVELS["text"], "train", {"train": files["train"]}, options)
    for batch in opened["train"].batches(COLUMNS):
        duplicates.index(batch)
    folder = tmp_path_factory.mktemp("partitions")
    same(partitioned_result("text", {"train": opened["train"]}, options, folder, budget), duplicates.result())
    assert not list(folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(
    train=vector_splits(12),
    eval_=vector_splits(12),
    threshold=st.sampled_from([-1.0, 0.5, 0.97, 1.0]),
    groups_per_block=st.integers(1, 9),
    max_pairs=st.sampled_from([1, 4, 1000]),
    nearest=st.booleans(),
)
def test_blocks_find_what_memory_finds(train, eval_, threshold, groups_per_block, max_pairs, nearest):
    train, eval_ = as_arrays(train), as_arrays(eval_)
    try:
        report = lvmfast.leakscan(
            train, eval_, threshold=threshold, max_pairs=max_pairs, nearest=nearest, min_chars=1
        )
    except lvmfast.DataError:  # no row can be checked
        return
    options = ScanOptions(threshold=threshold, max_pairs=max_pairs, nearest=nearest)
    datasets = {"train": load_split(train), "eval": load_split(eval_)}
    for indexed in ("eval",) if nearest else ("eval", "train"):
        for level, found in in_blocks(datasets, indexed, options, groups_per_block).items():
            expected = report.levels[level]
            if expected.status == "not_checkable":
                continue
            assert (found.pairs, found.match_count) == (expected.pairs, expected.match_count)
            assert found.pairs_at == expected.pairs_at
            assert found.padding == expected.padding
            for name, array in vars(expected.matches).items():
                if name != "details":
                    assert getattr(found.matches, name).tolist() == array.tolist(), (level, name)
            for side, tally in found.sides.items():
                count, of = tally.count(), expected.sides[side]
                assert count.matched_rows.tolist() == of.matched_rows.tolist()
                assert count.best.tolist() == of.best.tolist()
                assert count.unchecked == of.unchecked
            if found.nearest is not None:
                for name, array in vars(found.nearest).items():
                    assert array.tolist() == getattr(expected.nearest, name).tolist(), name


class Died(Exception):
    """In place of a kill."""


def begun(folder, *, resume, dies_after=None):
    """A journal that keeps everything at once; the scan dies behind so many records."""

    def told(how_far):
        nonlocal dies_after
        if dies_after is not None:
            dies_after -= 1
            if not dies_after:
                raise Died

    journal = Journal(folder, resume=resume, told=told)
    journal.open({"levels": []})
    return journal


@settings(max_examples=30, deadline=None)
@given(
    train=vector_splits(12),
    eval_=vector_splits(12),
    threshold=st.sampled_from([-1.0, 0.5, 0.97]),
    groups=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    dies_after=st.integers(1, 5),
    max_pairs=st.sampled_from([1, 4, 1000]),
    nearest=st.booleans(),
)
def test_blocks_go_on_where_they_died(
    tmp_path_factory, train, eval_, threshold, groups, dies_after, max_pairs, nearest
):
    """Also when the blocks are of another size, because there is more or less memory now."""
    datasets = {"train": load_split(as_arrays(train)), "eval": load_split(as_arrays(eval_))}
    options = ScanOptions(threshold=threshold, max_pairs=max_pairs, nearest=nearest)
    for indexed in ("eval",) if nearest else ("eval", "train"):
        place = folder(tmp_path_factory.mktemp("journal"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "SECONDS", 0.0)
            died = begun(place, resume=False, dies_after=dies_after)
            with suppress(Died):
                in_blocks(datasets, indexed, options, groups[0], journal=died)
            found = in_blocks(datasets, indexed, options, groups[1], journal=begun(place, resume=True))
        expected = in_blocks(datasets, indexed, options, 1000)
        for level, result in expected.items():
            ours, theirs = plain(found[level]), plain(result)
            assert ours == theirs, level


def plain(value):
    """Arrays as lists and objects as what they hold, so that results can be compared."""
    if isinstance(value, Tally):
        value = value.count()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return {key: plain(inner) for key, inner in vars(value).items()} if hasattr(value, "__dict__") else value


@contextmanager
def too_large(budget: int):
    """No index fits, and partitions and blocks get `budget` bytes, or a vector or two."""

    def planned(sides, given):
        found = plan(sides, replace(given, outgrown=True))
        assert not {"streamed", "indexed"} & set(found.ways.values())
        return replace(found, budget=budget, groups=1 + budget // 600)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "plan", planned)
        yield


def both_ways(budget, train, eval_, **options):
    """The scan in memory and the large one; None where nothing can be checked."""
    reports = []
    for context in (nullcontext(), too_large(budget)):
        with context:
            try:
                reports.append(lvmfast.leakscan(train, eval_, min_chars=1, **options))
            except lvmfast.DataError as error:
                reports.append(str(error))
    return reports


def equal_reports(one, other) -> None:
    if isinstance(one, str):
        assert one == other
        return
    assert one.matches.equals(other.matches)
    assert one.matched_rows.equals(other.matched_rows)
    left, right = one.summary, other.summary
    for volatile in ("timings", "environment", "inputs"):
        del left[volatile], right[volatile]
    assert left == right


@pytest.mark.parametrize("budget", [1, 700])
@settings(max_examples=25, deadline=None)
@given(
    train=vector_splits(12),
    eval_=st.none() | vector_splits(12),
    threshold=st.sampled_from([-1.0, 0.5, 0.97]),
    max_df=st.sampled_from([None, 1, 3]),
    nearest=st.booleans(),
)
def test_reports_of_large_scans_are_those_of_small_ones(budget, train, eval_, threshold, max_df, nearest):
    train, eval_ = as_arrays(train), None if eval_ is None else as_arrays(eval_)
    equal_reports(
        *both_ways(
            budget,
            train,
            eval_,
            threshold=threshold,
            max_df=max_df,
            nearest=nearest and eval_ is not None,
        )
    )


@pytest.fixture
def shards(tmp_path):
    """Two splits of 3,000 texts, half of them shared, as paths."""
    for side, first in (("train", 0), ("eval", 1_500)):
        numbers = range(first, first + 3_000)
        rows = {"doc_id": list(numbers), "text": [f"the text of number {n // 2}" for n in numbers]}
        pq.write_table(pa.table(rows), tmp_path / f"{side}.parquet")
    return tmp_path


def command(shards, *options):
    return ["leakscan", "--train", f"{shards}/train.parquet", "--eval", f"{shards}/eval.parquet", *options]


#: Runs the command line with an index that seems not to fit; the first argument says what happens meanwhile.
FORCED = """
import resource, signal, sys
from dataclasses import replace
from lvmfast.leaks import cost, partitioned
from lvmfast.scan import plan, run
run.plan = lambda sides, given: replace(plan.plan(sides, replace(given, outgrown=True)), budget=50_000)
if sys.argv[1] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
if sys.argv[1] == "long":
    from lvmfast.cli import leakscan
    from lvmfast.leaks import cost
    cost.WORTH_A_WORD, sys.modules["lvmfast.cli.leakscan"].LONG_SECONDS = 1, 1e-9
if sys.argv[1] == "killed":
    import os
    partitioned.PartitionedLevel.result = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
from lvmfast.__main__ import main
sys.argv = ["lvmfast", *sys.argv[2:]]
main()
"""


def forced(how, *args):
    return subprocess.run(
        [sys.executable, "-c", FORCED, how, *args], capture_output=True, text=True, check=False, timeout=120
    )


def test_partitions_are_said_and_removed_also_after_a_kill(shards):
    out = shards / "out"
    killed = forced("killed", *command(shards, "--out", str(out)))
    assert killed.returncode == -9
    (left,) = out.glob("lvmfast-scratch-*")
    assert list(left.iterdir())
    done = forced("whole", *command(shards, "--out", str(out), "--levels", "text"))
    assert done.returncode == 1, done.stderr
    assert "partitions on disk" in done.stderr
    assert not list(out.glob("lvmfast-scratch-*"))
    free = shards / "free"
    paths = (f"{shards}/train.parquet", f"{shards}/eval.parquet")
    lvmfast.leakscan(*paths, levels=["text"]).save(free)
    for table in ("matches", "matched_rows"):
        assert (out / f"{table}.parquet").read_bytes() == (free / f"{table}.parquet").read_bytes()


def test_a_full_disk_is_named(shards):
    out = shards / "out"
    done = forced("full", *command(shards, "--out", str(out), "--levels", "text"))
    assert done.returncode == 2, done.stderr
    assert f"{out}: the partitions of the scan cannot be written: File too large" in done.stderr
    assert not list(out.glob("lvmfast-scratch-*"))


def test_a_long_comparison_is_asked_for_twice(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((300, 8), dtype=np.float32))
    monkeypatch.setattr(cost, "WORTH_A_WORD", 1)
    said: list[str] = []
    scan = lambda **more: lvmfast.leakscan(  # noqa: E731
        str(tmp_path / "a.npy"), str(tmp_path / "a.npy"), announce=said.append, **more
    )
    assert scan().levels["vector"].pairs == 300
    with pytest.raises(lvmfast.DataError, match=r"vectors: 9e\+04 pairs at .* confirm with --yes"):
        scan(most_seconds=1e-9)
    asked = ["leakscan", "--train", f"{tmp_path}/a.npy", "--eval", f"{tmp_path}/a.npy"]
    refused = forced("long", *asked)
    assert refused.returncode == 2
    assert refused.stderr.endswith("confirm with --yes\n")
    assert forced("long", *asked, "--yes").returncode == 1
    assert len(said) == 2
    assert all(line.startswith("vectors: 9e+04 pairs at ") for line in said)


def test_a_key_in_a_million_rows_is_one_key(tmp_path, monkeypatch):
    rows = 1_000_000
    monkeypatch.setattr(PartitionedLevel, "_split", None)  # there is nothing to split
    ids = np.full(rows, 7)
    ids[:1000] = np.arange(1000)
    datasets = {"train": load_split({"doc_id": ids}), "eval": load_split({"doc_id": ids[500:]})}
    files = {"train": 1, "eval": 1}
    running = PartitionedLevel(
        LEVELS["doc"], ("eval", "train"), files, {"train": 1, "eval": 1}, ScanOptions(), tmp_path, 200_000
    )
    for side, dataset in datasets.items():
        for batch in dataset.batches(("doc_id",), 65_536):
            running.take(side, batch)
    found = running.result(lambda side, rows: ())
    sevens = {side: int((ids[start:] == 7).sum()) for side, start in (("train", 0), ("eval", 500))}
    assert found.pairs == sevens["train"] * sevens["eval"] + 500
    assert found.keys == {"train": 1000, "eval": 501}
    assert found.match_count == 501
    assert len(found.sides["train"].count().matched_rows) == sevens["train"] + 500
