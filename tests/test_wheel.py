"""The wheel, as a training host gets it: no Rust, no source tree, any CPython from 3.10."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lvmfast
from tests.support.places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NEWEST_GLIBC = (2, 28)


@pytest.fixture(scope="module")
def wheel() -> Path:
    subprocess.run(["make", "wheel"], cwd=ROOT, check=True, capture_output=True)
    (built,) = (ROOT / "dist").glob("*.whl")
    return built


def interpreters() -> list[str]:
    """Every CPython from 3.10 that this machine has, one per minor version."""
    found = {}
    folders = [*os.environ["PATH"].split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    for folder in folders:
        for candidate in sorted(Path(folder).glob("python3*")):
            if not re.fullmatch(r"python3(\.\d+)?", candidate.name):
                continue
            version = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
            asked = subprocess.run(
                [candidate, "-I", "-c", version], capture_output=True, text=True, check=False
            )
            name, *numbers = asked.stdout.split() or ["none"]
            if name == "cpython" and tuple(map(int, numbers)) >= (3, 10):
                found.setdefault(tuple(numbers), str(candidate))
    return sorted(found.values())


def test_the_tag_is_borne_out_by_the_symbols(wheel, tmp_path):
    tag = re.search(
        r"-cp310-abi3-.*manylinux_2_(\d+)_x86_64\.whl$|-cp310-abi3-.*manylinux_2_(\d+)_", wheel.name
    )
    assert tag is not None, wheel.name
    tagged = (2, int(tag[1] or tag[2]))
    assert tagged <= NEWEST_GLIBC
    shutil.unpack_archive(wheel, tmp_path, "zip")
    (library,) = tmp_path.glob("lvmfast/_core*.so")
    needed = {tuple(map(int, v.split(b"."))) for v in re.findall(rb"GLIBC_(\d+\.\d+)", library.read_bytes())}
    assert needed, "no versioned symbol was found, which cannot be"
    assert max(needed) <= tagged


@pytest.mark.parametrize("python", interpreters())
def test_the_demo_runs_from_the_wheel_alone(wheel, python, tmp_path):
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True, capture_output=True)
    venv = tmp_path / "venv" / "bin"
    # Nothing but the new environment and the base system: no cargo, no rustc, not this source tree.
    bare = {"PATH": f"{venv}:/usr/bin:/bin", "HOME": str(tmp_path)}
    assert shutil.which("cargo", path=bare["PATH"]) is None
    pip = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    installed = subprocess.run(
        [venv / "python", "-m", "pip", "install", "--quiet", str(wheel)],
        env=bare | pip | {"HOME": os.environ.get("HOME", str(tmp_path))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    done = subprocess.run(
        [venv / "lvmfast", "demo"], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "LEAK: doc=0/" in done.stdout
    where = "import lvmfast._core as core; print(core.__file__)"
    file = subprocess.run(
        [venv / "python", "-c", where], env=bare, cwd=tmp_path, capture_output=True, text=True
    )
    assert str(tmp_path / "venv") in file.stdout


def test_an_interpreter_was_found():
    assert interpreters()
    assert sys.version_info >= (3, 10)


def test_the_sdist_builds_and_tests_from_itself(tmp_path):
    maturin = [sys.executable, "-m", "maturin"]
    subprocess.run([*maturin, "sdist", "--out", tmp_path], cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, "gztar")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode == 0:  # this source may be a distribution itself
        assert [name for name in tracked.stdout.split("\n") if not (source / name).exists()] == []
    told = email.message_from_string((source / "PKG-INFO").read_text())
    assert (told["Version"], told["Author"]) == (lvmfast.__version__, "the lvmfast developers")
    # Dependencies that are compiled already are taken from here.
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(ROOT / "target"),
        "PYTHONPATH": str(source / "python"),
    }
    build = [*maturin, "build", "--release", "--out", tmp_path / "built"]
    subprocess.run(build, cwd=source, env=environment, check=True, capture_output=True)
    (built,) = (tmp_path / "built").glob("*.whl")
    with zipfile.ZipFile(built) as wheel:
        (core,) = [name for name in wheel.namelist() if re.search(r"_core\.\S*(so|pyd)$", name)]
        wheel.extract(core, source / "python")
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_api.py",
        "tests/corpus/test_csv.py",
    ]
    done = subprocess.run(tests, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    where = "import lvmfast._core as core; print(core.__file__)"
    loaded = subprocess.run(
        [sys.executable, "-c", where], cwd=source, env=environment, capture_output=True, text=True
    )
    assert loaded.stdout.startswith(str(source))
