"""The notebooks of `examples/` run, and print what they hold as printed.

`python -m tests.docs.test_notebooks` runs them and keeps what they print.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import PRINTED_WITH, agree, digest_of_topics, masked
from tests.support.places import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def printed(notebook: Any) -> list[list[str]]:
    """The lines that each cell of code printed."""
    return [
        "".join(output["text"] for output in cell.outputs if output.get("name") == "stdout").splitlines()
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def executed(notebook: Any, folder: Path) -> Any:
    """The notebook after a run in `folder`, with what it printed on standard output alone."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    kernel = folder / "share" / "kernels" / "here"
    kernel.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": start, "display_name": "x", "language": "python"})
    )
    manager = AsyncKernelManager(
        kernel_name="here", kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(kernel.parent)])
    )
    client = NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython")})
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") == "stdout"]
    return notebook


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_holds(path, tmp_path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    said = printed(notebook)
    assert any(said)
    numbers = digest_of_topics() != PRINTED_WITH
    for expected, found in zip(said, printed(executed(notebook, tmp_path)), strict=True):
        expected, found = masked(expected, numbers=numbers), masked(found, numbers=numbers)
        assert agree(expected, found), "\n".join(("prints", *found, "and holds", *expected))


def test_every_notebook_is_listed():
    listed = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert len(NOTEBOOKS) == 3
    assert all(f"(notebooks/{path.name})" in listed for path in NOTEBOOKS)


def write_notebooks() -> None:
    """Runs every notebook and keeps what it prints."""
    import tempfile

    import nbformat

    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(nbformat.read(path, as_version=4), Path(folder)), path)


if __name__ == "__main__":
    write_notebooks()
