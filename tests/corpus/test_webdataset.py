"""WebDataset's tar files, written by `tarfile`: what is read, what is refused, what is written again."""

import gzip
import io
import json
import tarfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.errors import DataError

SEEN = "which of the seven lamps on the northern shore was the last to be lit before the great storm"


def npy(values):
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def packed(members, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def unpacked(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return [(member.name, archive.extractfile(member).read()) for member in archive]


def sample(key, text=None, **fields):
    members = [(f"{key}.jpg", b"\xff\xd8" * 300)]
    if text is not None:
        members.append((f"{key}.txt", text.encode()))
    if fields:
        members.append((f"{key}.json", json.dumps(fields).encode()))
    return members


def rows(source, *columns, at_once=2, **options):
    batches = load_split(source, **options).batches(columns, at_once)
    return [
        row
        for batch in batches
        for row in zip(
            *(
                getattr(batch, column).tolist() if column == "vector" else getattr(batch, column).to_pylist()
                for column in columns
            ),
            strict=True,
        )
    ]


KEYS = st.lists(
    st.text(st.sampled_from("ab0é/"), min_size=1, max_size=5).filter(
        lambda k: not k.endswith("/") and "//" not in k and not k.startswith("/")
    ),
    unique=True,
    max_size=8,
)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=KEYS, data=st.data())
def test_rows_are_the_members_of_a_key(tmp_path, ending, form, keys, data):
    texts = [data.draw(st.none() | st.text(max_size=9)) for _ in keys]
    others = [data.draw(st.none() | st.text(max_size=9)) for _ in keys]
    made = [
        sample(f"{'long' * 40}/{key}", text, caption=other)
        for key, text, other in zip(keys, texts, others, strict=True)
    ]
    content = packed(
        [member for members in [sample("first", "a", caption="b"), *made] for member in members], format=form
    )
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    expected = [
        ("first", "a"),
        *((f"{'long' * 40}/{key}", text) for key, text in zip(keys, texts, strict=True)),
    ]
    assert rows(path, "doc_id", "text") == expected
    captions = rows(path, "text", columns={"text": "caption"})
    assert captions == [("b",), *((other,) for other in others)]


def test_vectors_are_arrays_of_one_axis(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float16)
    members = [(f"{n}.npy", npy(vector)) for n, vector in enumerate(vectors)]
    (tmp_path / "a.tar").write_bytes(packed(members))
    assert rows(tmp_path / "a.tar", "vector") == [(vector.astype(np.float32).tolist(),) for vector in vectors]
    named = [(f"{n}.clip.npy", npy(vector)) for n, vector in enumerate(vectors)]
    (tmp_path / "b.tar").write_bytes(packed(named))
    assert len(rows(tmp_path / "b.tar", "vector", columns={"vector": "clip"})) == 5
    (tmp_path / "c.tar").write_bytes(packed([*members, ("9.npy", npy(np.zeros(4, np.float32)))]))
    with pytest.raises(DataError, match=r"c\.tar: vector: row 5: expected 3 values, got 4"):
        rows(tmp_path / "c.tar", "vector")
    (tmp_path / "d.tar").write_bytes(packed([("0.txt", b"a"), ("0.npy", npy(np.zeros((2, 2))))]))
    assert "vector" not in load_split(tmp_path / "d.tar", lenient=True).columns


def test_objects_are_rows_of_any_known_shape(tmp_path):
    chat = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": [{"type": "text", "text": "So."}]},
    ]
    (tmp_path / "a.tar").write_bytes(
        packed([*sample("a/0", messages=chat), *sample("a/1", messages=chat[:1])])
    )
    assert rows(tmp_path / "a.tar", "doc_id", "text") == [("a/0", "Why?\nSo."), ("a/1", "Why?")]
    assert rows(tmp_path / "a.tar", "text", "answer", items=True) == [("Why?", "So."), ("Why?", None)]
    meta = json.dumps({"by": "me"}).encode()
    (tmp_path / "b.tar").write_bytes(packed([("0.meta.json", meta)]))
    assert rows(tmp_path / "b.tar", "text", columns={"text": "meta.by"}) == [("me",)]


def test_a_field_that_begins_late_is_found(tmp_path):
    late = [member for n in range(1500) for member in [(f"{n:04}.cls", b"1")]] + sample("last", SEEN)
    (tmp_path / "a.tar").write_bytes(packed(late))
    report = lvmfast.leakscan(tmp_path / "a.tar", {"text": [SEEN]})
    assert report.levels["text"].sides["train"].matched == 1


GOOD = [*sample("0", "one"), *sample("1", "two")]


def linked(kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("0.txt")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return out.getvalue()


def of_size(size):
    member = tarfile.TarInfo("0.txt")
    member.size = size
    return member.tobuf() + bytes(1024)


def long_name():
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


HOSTILE = {
    "symlink": (linked(tarfile.SYMTYPE), "0.txt: expected a file, got a link or a device"),
    "hardlink": (linked(tarfile.LNKTYPE), "0.txt: expected a file, got a link or a device"),
    "device": (linked(tarfile.CHRTYPE), "0.txt: expected a file, got a link or a device"),
    "huge": (of_size(1 << 40), r"0.txt: expected at most 268,435,456 bytes, got 1,099,511,627,776"),
    "name": (long_name(), "the name of a member has 1,099,511,627,776 bytes"),
    "in-a-member": (packed(GOOD)[:700], "unexpected end of data"),
    "in-a-text": (packed(GOOD)[:2100], "unexpected end of data"),
    "in-a-header": (packed(GOOD)[:1600], "cut short in the header of a member"),
    "at-a-member": (packed(GOOD)[:1536], "cut short: the blocks that end an archive are missing"),
    "empty": (b"", "cut short: the blocks that end an archive are missing"),
    "a-header": (packed(GOOD)[:1536] + b"x" * 512 + bytes(1024), "broken header of a member"),
    "no-tar": (b"hello" * 300, "broken header of a member"),
    "two": (packed(GOOD) * 2, "data behind the end of the archive, perhaps of another one"),
    "twice": (packed([("0.txt", b"a"), ("0.text", b"b")]), "0.text: text: 0 has it already"),
    "no-text": (packed([("0.txt", b"\xff")]), "0.txt: not UTF-8"),
    "no-object": (packed([("0.json", b"[1]")]), "0.json: expected a JSON object, got list"),
    "no-json": (packed([("0.json", b'{"a": ')]), "0.json: expected JSON, cut off after 6 characters"),
    "no-array": (packed([("0.npy", b"abc")]), r"0.npy: expected the .npy format"),
    "less-array": (packed([("0.npy", npy(np.zeros(3))[:-1])]), "0.npy: expected 24 bytes of values, got 23"),
    "no-rows": (packed([("README", b"x")]), "no rows"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_one_line_and_write_nothing(tmp_path, name):
    content, told = HOSTILE[name]
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=f"a.tar: .*{told}"):
        lvmfast.leakscan(tmp_path / "a.tar", {"text": ["some text or other"]})
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoiled_archives_are_read_or_refused(tmp_path, data):
    content = bytearray(packed([*GOOD, ("2.npy", npy(np.arange(3.0)))]))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.tar").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(DataError):  # anything else is a fault
        rows(tmp_path / "a.tar", "doc_id", lenient=True)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_clean_writes_members_as_they_are(tmp_path, ending):
    members = [
        *sample("a/0", "an innocent row that stands nowhere else"),
        *sample("a/1", SEEN),
        *sample("a/2", caption="c"),
    ]
    content = packed(members)
    train = tmp_path / f"train{ending}"
    train.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    held_out = tmp_path / "eval.jsonl"
    held_out.write_text(json.dumps({"text": SEEN}) + "\n")
    lvmfast.leakscan(train, held_out).save(tmp_path / "report")
    result = lvmfast.clean(train, held_out, tmp_path / "report", out=tmp_path / "out", drop="train")
    assert result.passed
    written = (tmp_path / "out" / f"train{ending}").read_bytes()
    written = gzip.decompress(written) if ending.endswith("gz") else written
    assert unpacked(written) == [member for member in members if not member[0].startswith("a/1")]


def test_split_divides_shards(tmp_path):
    for shard in range(2):
        made = [
            member
            for n in range(6)
            for member in sample(f"{shard}{n}", f"text number {n} of shard {shard}, no other")
        ]
        (tmp_path / f"{shard}.tar").write_bytes(packed(made))
    result = lvmfast.split(
        [tmp_path / "0.tar", tmp_path / "1.tar"], out=tmp_path / "out", eval_docs=3, min_chunks_per_doc=1
    )
    assert result.certificate is not None
    sides = [rows(tmp_path / "out" / f"{side}.tar", "doc_id") for side in ("train", "eval")]
    assert [len(side) for side in sides] == [9, 3]
    assert len({*sides[0], *sides[1]}) == 12
