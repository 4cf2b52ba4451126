"""Named benchmarks: a hub on the loopback fills the caches, and scans read them without a network."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.corpus.benchmarks import known_benchmarks, named_benchmarks
from lvmfast.corpus.expressions import heads_of
from lvmfast.errors import DataError
from tests.support.command import refused, run
from tests.support.hub import Hub

KNOWN = known_benchmarks()
SEEN = "which of the seven lamps on the northern shore was the last to be lit before the great storm"
OTHER = "how many barrels of salted herring did the second convoy carry to the town beyond the marsh"
ANSWER = "the seventh lamp on the old pier near the chapel"


def parquet(**columns):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache that the package's own command filled from a hub."""
    home = tmp_path_factory.mktemp("home")
    questions = {"question": [SEEN, OTHER], "answer": [ANSWER, "four hundred"]}
    hub = Hub(
        {
            "openai/gsm8k": (
                KNOWN["gsm8k"].revision,
                {
                    "README.md": b"about",
                    "main/test-00000-of-00001.parquet": parquet(**questions),
                    "main/train-00000-of-00001.parquet": parquet(**questions),
                },
            ),
            "EleutherAI/hendrycks_math": (
                KNOWN["math"].revision,
                {
                    f"{config}/test-00000-of-00001.parquet": parquet(
                        problem=[f"{OTHER} {config}"], solution=["1"]
                    )
                    for config in KNOWN["math"].configs
                },
            ),
        }
    )
    try:
        done = run("benchmarks", "--fetch", "gsm8k,math", env=environment(home, HF_ENDPOINT=hub.url))
        assert done.returncode == 0, done.stderr
        again = len(hub.log)
        run("benchmarks", "--fetch", "gsm8k", env=environment(home, HF_ENDPOINT=hub.url))
        assert len(hub.log) == again  # what is at hand is not asked for
        gone = run("benchmarks", "--fetch", "mmlu", env=environment(home, HF_ENDPOINT=hub.url))
        assert gone.returncode == 2
        assert "cais/mmlu: not fetched: the hub has no such data set" in gone.stderr
        assert not any("train" in asked for asked in hub.log)
    finally:
        hub.stop()
    return home


def environment(home, **more):
    return {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **more}


@pytest.fixture
def offline(home, monkeypatch):
    """The same cache in this process."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    return home


@pytest.fixture
def train(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": f"Quoted: {SEEN}. {ANSWER}."}) + "\n")
    return path


def test_every_known_benchmark_is_whole():
    documented = Path("docs/named-benchmarks.md").read_text("utf-8")
    for name, benchmark in KNOWN.items():
        assert benchmark.dataset.count("/") == 1
        assert benchmark.revision is None or len(benchmark.revision) == 40
        assert benchmark.split in ("test", "validation", "train", "test_r1", "test_r2", "test_r3")
        assert len(set(benchmark.configs)) == len(benchmark.configs)
        assert all(heads_of(field) for field in benchmark.columns.values() if " " not in field)
        assert f"| `{name}` | {benchmark.dataset} |" in documented


def test_a_benchmark_stands_in_for_an_evaluation_set(offline, train):
    report = lvmfast.leakscan(train, benchmarks=["gsm8k"])
    summary = report.summary
    (file,) = summary["inputs"]["eval"]["files"]
    assert file["path"] == "gsm8k"
    assert file["fields"] == {"text": "question", "answer": "answer"}
    assert file["blake3"] is not None
    counts = [each for each in summary["files"] if each["side"] == "eval"]
    assert [(each["file"], each["rows"], each["levels"]["overlap"]["matched"]) for each in counts] == [
        ("gsm8k", 2, 1)
    ]
    (note,) = [note for note in summary["inputs"]["eval"]["notes"] if "openai/gsm8k" in note]
    assert f"revision {KNOWN['gsm8k'].revision} in the hub's cache" in note


def test_benchmarks_stand_beside_files_that_are_read_as_ever(offline, train, tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"prompt": f"{OTHER} of mine"}) + "\n")
    report = lvmfast.leakscan(
        train, own, benchmarks=["math/algebra", "gsm8k"], columns={"eval": {"question": "prompt"}}
    )
    files = report.summary["inputs"]["eval"]["files"]
    assert [(file["path"], file["fields"]["text"]) for file in files] == [
        (str(own), "prompt"),
        ("math/algebra", "problem"),
        ("gsm8k", "question"),
    ]


def test_parts_have_names_of_their_own(offline):
    side = named_benchmarks(["math"])
    assert [side.named[file].name for file in side.files] == [
        f"math/{part}" for part in KNOWN["math"].configs
    ]


def test_what_is_not_at_hand_names_the_command_that_fetches_it(offline, train, tmp_path):
    with pytest.raises(
        DataError, match=r"^mmlu: neither cache has cais/mmlu.*`lvmfast benchmarks --fetch mmlu`"
    ):
        lvmfast.leakscan(train, benchmarks=["mmlu"])
    home = tmp_path / "home"
    shutil.copytree(offline, home, symlinks=True)
    (snapshot,) = (home / "hub").glob("datasets--EleutherAI--hendrycks_math/snapshots/*")
    shutil.rmtree(snapshot / "geometry")
    done = run(
        "leakscan", "--train", str(train), "--benchmark", "math", env=environment(home, HF_HUB_OFFLINE="1")
    )
    refused(done, "math: neither cache has 1 of 7 parts (geometry) of EleutherAI/hendrycks_math")
    listed = run("benchmarks", "--json", env=environment(home, HF_HUB_OFFLINE="1"))
    told = {each["name"]: each for each in json.loads(listed.stdout)}
    assert told["math"]["missing"] == ["geometry"]
    assert len(told["math"]["files"]) == 6
    assert told["gsm8k"]["missing"] == []
    assert told["gsm8k"]["columns"] == {"question": "question", "answer": "answer"}


def test_shards_that_lack_one_of_them_are_not_a_benchmark(offline, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    home = tmp_path / "hub"
    snapshot = home / "datasets--openai--gsm8k" / "snapshots" / ("0" * 40) / "main"
    snapshot.mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    (snapshot / "test-00000-of-00002.parquet").write_bytes(parquet(question=[SEEN], answer=["1"]))
    with pytest.raises(DataError, match="gsm8k: neither cache has"):
        named_benchmarks(["gsm8k"])
    (snapshot / "test-00001-of-00002.parquet").write_bytes(parquet(question=[OTHER], answer=["2"]))
    side = named_benchmarks(["gsm8k"])
    assert [side.named[file].name for file in side.files] == [
        f"gsm8k/test-0000{n}-of-00002.parquet" for n in range(2)
    ]
    assert f"(the table has {KNOWN['gsm8k'].revision})" in side.notes[0]


def test_a_link_to_a_file_that_is_gone_is_no_file_less(offline, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    snapshot = tmp_path / "hub" / "datasets--x--y" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    table = tmp_path / "own.toml"
    table.write_text('[a]\ndataset = "x/y"\nfiles = "*.jsonl"\nquestion = "q"\n')
    (snapshot / "one.jsonl").write_text(json.dumps({"q": SEEN}) + "\n")
    (snapshot / "two.jsonl").symlink_to(tmp_path / "blob")
    with pytest.raises(DataError, match="a: neither cache has x/y"):
        named_benchmarks(["a"], table=table)
    (tmp_path / "blob").write_text(json.dumps({"q": OTHER}) + "\n")
    assert len(named_benchmarks(["a"], table=table).files) == 2


def made_by_datasets(cache, source, dataset, config, split, commit):
    """What ``load_dataset`` leaves in its cache of a data set whose card names its files."""
    parquet_module = pytest.importorskip("datasets.packaged_modules.parquet.parquet")
    builder = parquet_module.Parquet(
        cache_dir=str(cache),
        dataset_name=dataset.partition("/")[2],
        config_name=config,
        config_id=config,
        hash=commit,
        data_files={split: str(source)},
    )
    builder.repo_id = dataset
    builder._cache_dir = builder._build_cache_dir()
    builder.download_and_prepare()


@pytest.mark.heavy
def test_what_datasets_made_of_a_split_is_read(offline, train, tmp_path, monkeypatch):
    source = tmp_path / "source.parquet"
    source.write_bytes(
        parquet(question=[SEEN, OTHER], answer_number=[3, 4], problem=[OTHER, SEEN], solution=["", ""])
    )
    cache = tmp_path / "made"
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    math = KNOWN["math_500"]
    made_by_datasets(cache, source, math.dataset, "default", "train", math.revision)
    with pytest.raises(DataError, match="math_500: neither cache has"):
        named_benchmarks(["math_500"])
    made_by_datasets(cache, source, math.dataset, "default", "test", "f" * 40)
    made_by_datasets(cache, source, math.dataset, "default", "test", math.revision)
    made_by_datasets(cache, source, "juletxara/mgsm", "de", "test", "e" * 40)
    report = lvmfast.leakscan(train, benchmarks=["math_500", "mgsm/de"])
    counts = [each for each in report.summary["files"] if each["side"] == "eval"]
    assert [each["file"] for each in counts] == ["math_500", "mgsm/de"]
    assert [each["levels"]["overlap"]["matched"] for each in counts] == [1, 1]
    notes = [note for note in report.summary["inputs"]["eval"]["notes"] if "in the cache of datasets" in note]
    assert [math.revision in notes[0], "e" * 40 in notes[1]] == [True, True]


def test_a_table_of_ones_own_goes_first(offline, train, tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps({"ask": SEEN, "solution": "x"}) + "\n")
    table = tmp_path / "own.toml"
    table.write_text(
        '[inhouse]\nfiles = "mine.jsonl"\nquestion = "ask"\n'
        '[gsm8k]\ndataset = "openai/gsm8k"\nconfigs = ["main"]\nfiles = "{config}/{split}-*.parquet"\n'
        'question = "question"\n'
    )
    report = lvmfast.leakscan(train, named_benchmarks(["inhouse", "gsm8k"], table=table))
    files = report.summary["inputs"]["eval"]["files"]
    assert [(file["path"], file["fields"]) for file in files] == [
        ("inhouse", {"text": "ask"}),
        ("gsm8k", {"text": "question"}),
    ]


@pytest.mark.parametrize(
    ("table", "names", "words"),
    [
        ("", "mlu", r"mlu: no benchmark of this name \(did you mean 'mmlu'\?\)"),
        ("", "mgsm/xx", "mgsm/xx: mgsm has no such part"),
        ('[a]\nquestion = "q"\n', "a", "a: expected a dataset of the hub, or files of this machine"),
        ('[a]\ndataset = "x/y"\n', "a", "a: question: expected the field or expression"),
        ('[a]\ndataset = "x/y"\nquestion = "q"\nfile = "z"\n', "a", "a: file: expected one of dataset,"),
        ('[a]\nfiles = "gone.jsonl"\nquestion = "q"\n', "a", "gone.jsonl: no such file"),
        ('[a]\nfiles = "train.jsonl"\nquestion = "ask"\n', "a", "no field 'ask'"),
        ('[a]\nfiles = "train.jsonl"\nquestion = "text"\nchoices = "c"\n', "a", "choices: no field 'c'"),
        ('[a]\ndataset = "../../x"\nquestion = "q"\n', "a", "a: dataset: expected owner/name"),
        ('[a]\ndataset = "x/y"\nfiles = "/x/*"\nquestion = "q"\n', "a", "a: files: expected a name inside"),
        ('[a]\ndataset = "x/y"\nfiles = "../*"\nquestion = "q"\n', "a", "a: files: expected a name inside"),
        ('[a]\ndataset = "x/y"\nconfigs = [".."]\nquestion = "q"\n', "a", "configs: expected a name inside"),
        ('[a]\ndataset = "x/y"\nsplit = ""\nquestion = "q"\n', "a", "a: split: expected text, got none"),
        ('[a]\nfiles = "{config}.jsonl"\nconfigs = ["b"]\nquestion = "q"\n', "a", "a: files of this machine"),
    ],
    ids=[
        *("a-typo", "no-part", "nowhere", "no-question", "no-key", "no-file", "no-field", "no-choices"),
        *("no-name", "a-root", "above", "no-config", "no-split", "no-parts-of-files"),
    ],
)
def test_refusals(offline, train, tmp_path, table, names, words):
    path = tmp_path / "own.toml"
    path.write_text(table)
    with pytest.raises(DataError, match=words):
        lvmfast.leakscan(train, named_benchmarks([names], table=path))


def test_a_table_without_a_name_and_a_set_in_memory_are_refused(offline, train):
    done = run("leakscan", "--train", str(train), "--eval", str(train), "--benchmark-table", "own.toml")
    refused(done, "own.toml: --benchmark says which of its benchmarks to read; none is given")
    for nothing in ("", "mmlu,"):  # and not a scan inside the training data
        done = run("leakscan", "--train", str(train), "--benchmark", nothing)
        refused(done, "--benchmark: expected names, with commas between them, got an empty one")
    with pytest.raises(DataError, match="benchmarks: expected the name of one, got none"):
        named_benchmarks([])
    with pytest.raises(DataError, match=r"benchmarks can be added to files only; this .* is a dict"):
        lvmfast.leakscan(train, {"text": ["x y"]}, benchmarks=["gsm8k"])


def test_training_data_are_cleaned_of_a_benchmark_and_verified(offline, train, tmp_path):
    with train.open("a") as file:
        file.write(
            json.dumps({"text": "a row of its own that no benchmark has ever asked for in any words"}) + "\n"
        )
    given = ["--train", str(train), "--benchmark", "gsm8k"]
    env = environment(offline, HF_HUB_OFFLINE="1")
    assert run("leakscan", *given, "--out", str(tmp_path / "report"), env=env).returncode == 1
    out = str(tmp_path / "clean")
    options = [*given, "--report", str(tmp_path / "report"), "--out", out]
    written = run("clean", *options, env=env)
    assert written.returncode == 2
    assert "--drop eval: gsm8k is a benchmark by name" in written.stderr.splitlines()[-1]
    done = run("clean", *options, "--drop", "train", "--quiet", env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clean" / "train.jsonl").read_text().count("\n") == 1
    verified = run("verify", out, "--benchmark", "gsm8k", env=env)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    other = run("verify", out, "--benchmark", "math/algebra", env=env)
    assert other.returncode == 1
    assert run("verify", out, env=env).returncode == 3  # gsm8k is no path


def test_a_cut_finds_the_items_of_a_benchmark(offline, train, tmp_path):
    around = " ".join(f"word{n}" for n in range(120))
    train.write_text(json.dumps({"text": f"{around} {SEEN} {around}"}) + "\n")
    side = named_benchmarks(["gsm8k"])
    report = lvmfast.leakscan(train, side)
    report.save(tmp_path / "report")
    result = lvmfast.clean(train, side, tmp_path / "report", out=tmp_path / "clean", drop="train", cut=0)
    assert result.passed
    pieces = [
        json.loads(line)["text"] for line in (tmp_path / "clean" / "train.jsonl").read_text().splitlines()
    ]
    assert len(pieces) == 2
    assert not any("lamps" in piece for piece in pieces)


def test_without_its_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"needs huggingface_hub: pip install 'lvmfast\[hf\]'"):
        named_benchmarks(["gsm8k"])
