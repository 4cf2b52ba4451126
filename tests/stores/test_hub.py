"""Data sets of a Hugging Face hub by ``hf://``, from one on the loopback."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lvmfast
from lvmfast.errors import DataError
from tests.support.hub import Hub

COMMIT = "c" * 40
SEEN = "which of the seven lamps on the northern shore was the last to be lit before the great storm"


def parquet(*texts):
    out = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), out)
    return out.getvalue()


@pytest.fixture
def files(monkeypatch):
    """What the data set ``me/corpus`` has, which a test may replace."""
    constants = pytest.importorskip("huggingface_hub.constants")
    files = {
        "README.md": b"about",
        "data/train-00000-of-00002.parquet": parquet(
            "a row of no interest at all", f"Quoted: {SEEN}, it said."
        ),
        "data/train-00001-of-00002.parquet": parquet("another row"),
        "data/test-00000-of-00001.parquet": parquet(SEEN),
    }
    hub = Hub({"me/corpus": (COMMIT, files)})
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    from huggingface_hub import HfFileSystem

    HfFileSystem.clear_instance_cache()
    yield files
    HfFileSystem.clear_instance_cache()
    hub.stop()


@pytest.mark.parametrize("at", ["", f"@{COMMIT}"], ids=["main", "revision"])
@pytest.mark.parametrize(
    ("path", "rows"),
    [("data/test-00000-of-00001.parquet", 1), ("data/train-*.parquet", 3), ("data", 4), ("", 4)],
    ids=["file", "pattern", "folder", "all"],
)
def test_a_data_set_is_read_like_any_store(files, at, path, rows):
    data = lvmfast.load_split(f"hf://datasets/me/corpus{at}/{path}".rstrip("/"))
    assert sum(batch.rows for batch in data.batches(["text"])) == rows
    assert all(file.origin.info.etag for file in data.files)


def test_both_sides_stand_on_the_hub(files):
    report = lvmfast.leakscan(
        "hf://datasets/me/corpus/data/train-*.parquet",
        "hf://datasets/me/corpus/data/test-00000-of-00001.parquet",
    )
    assert report.findings.verdict == "leak"
    assert report.summary["levels"]["overlap"]["eval_rows_matched"] == 1


def test_a_file_that_is_replaced_is_seen(files):
    uri = "hf://datasets/me/corpus/data/test-00000-of-00001.parquet"
    (file,) = lvmfast.load_split(uri).files
    file.origin.check_unchanged()
    files["data/test-00000-of-00001.parquet"] = parquet(SEEN, "a second row")
    with pytest.raises(DataError, match=f"^{uri}: changed while it was read"):
        file.origin.check_unchanged()
    again = lvmfast.load_split(uri)
    assert sum(batch.rows for batch in again.batches(["text"])) == 2


def test_what_is_not_there_is_one_line(files):
    for uri in ("hf://datasets/me/corpus/data/no.parquet", "hf://datasets/me/nothing/data/test.parquet"):
        with pytest.raises(DataError, match=f"^{uri}: no such object$"):
            lvmfast.load_split(uri)
