"""The pictures of README (`make pictures`): the demo's report in a browser, and the demo in a terminal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parents[1] / "pictures"
COLUMNS = 100
WIDTH, HEIGHT = 1080, 760
#: No picture asks another server for a font: the reader's own monospaced one will do.
WITHOUT_FONTS = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.S)


def terminal(printed: str) -> str:
    """What was printed, with its colours, as SVG."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(Text("$ lvmfast demo", style="bold"))
    console.print(Text.from_ansi(printed))
    return console.export_svg(title="lvmfast demo", code_format=WITHOUT_FONTS, unique_id="demo")


def screenshot(page: Path, out: Path) -> None:
    """The top of a page, as wide as README shows it."""
    browser_path = (
        shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )
    if browser_path is None:
        raise SystemExit("pictures: no chromium is installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        view = browser.new_page(color_scheme="light", viewport={"width": WIDTH, "height": HEIGHT})
        view.goto(page.as_uri())
        view.screenshot(path=out)
        browser.close()


def main() -> None:
    """Runs the demo in a folder of its own and writes both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
        demo = subprocess.run(
            [sys.executable, "-m", "lvmfast", "demo"],
            cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if demo.returncode != 1:
            raise SystemExit(f"pictures: the demo ended with exit code {demo.returncode}, and not 1")
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "demo.svg").write_text(terminal(demo.stdout), "utf-8")
        screenshot(Path(folder) / "lvmfast-demo" / "report" / "report.html", PICTURES / "report.png")


if __name__ == "__main__":
    main()
