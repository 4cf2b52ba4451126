"""What is stated of the package, in one place each."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lvmfast
from tests.support.places import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_version_is_that_of_cargo():
    told = subprocess.run(
        ["make", "--silent", "version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{CARGO['version']}\n"
    assert lvmfast.__version__ == CARGO["version"]
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited.get("version", CARGO["version"]) == CARGO["version"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_make(path):
    """No workflow has commands of its own for what `make` does here, or calls a target that there is not."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    text = path.read_text().replace("${{ matrix.target }}", "lint")
    called = re.findall(r"\bmake ((?:--\S+ (?:unpacked )?)*)([a-z-]+)", text)
    assert called
    assert {target for _, target in called} <= targets
    for job in workflow["jobs"].values():
        assert set(job.get("strategy", {}).get("matrix", {}).get("target", [])) <= targets


def test_workflows_are_in_order():
    if (actionlint := shutil.which("actionlint", path=str(Path(sys.executable).parent))) is None:
        pytest.skip("`make lint` installs actionlint, and runs it")
    found = subprocess.run([actionlint, *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
