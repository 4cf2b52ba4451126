"""The notebooks of `examples/` run, and print what they hold as printed.

`python -m tests.docs.test_notebooks` runs them and keeps what they print. Tests run it as a process of its
own, which takes the sockets and threads of a kernel with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import PRINTED_WITH, agree, digest_of_topics, masked
from tests.support.places import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def printed(file: Path) -> list[list[str]]:
    """The lines that each cell of code printed."""
    return [
        "".join("".join(output["text"]) for output in cell["outputs"]).splitlines()
        for cell in json.loads(file.read_text("utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_it_holds(notebook, tmp_path):
    copy = tmp_path / notebook.name
    copy.write_bytes(notebook.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.test_notebooks", str(copy)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said, now = printed(notebook), printed(copy)
    assert any(said)
    numbers = digest_of_topics() != PRINTED_WITH
    for cell, (before, after) in enumerate(zip(said, now, strict=True)):
        expected, found = (masked(tuple(lines), numbers=numbers) for lines in (before, after))
        assert agree(expected, found), "\n".join((f"cell {cell} prints", *found, "and holds", *expected))


def test_every_notebook_is_listed():
    listed = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert len(NOTEBOOKS) == 3
    assert all(f"(notebooks/{path.name})" in listed for path in NOTEBOOKS)


def executed(notebook: Any, folder: Path) -> Any:
    """The notebook after a run in `folder`, with what it printed on standard output alone."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    kernel = folder / "share" / "kernels" / "here"
    kernel.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    said = {"argv": start, "display_name": "here", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(said))
    specs = KernelSpecManager(kernel_dirs=[str(kernel.parent)])
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="here", kernel_spec_manager=specs),
        timeout=240,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, "TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython")})
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") == "stdout"]
    return notebook


def write_notebooks(files: list[Path]) -> None:
    """Runs every notebook and keeps what it prints."""
    import nbformat

    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(nbformat.read(file, as_version=4), Path(folder)), file)


if __name__ == "__main__":
    write_notebooks([Path(name) for name in sys.argv[1:]] or NOTEBOOKS)
