"""`README_LEAK_WARNING.md`: what a person who finds the folder should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvmfast.shown import percent

_HEAD = """# Do not evaluate on these files

They were seen in training, wholly or in part. A model that was trained on the training set named below can
have memorised what is in them, so a score on them does not say how it does on new data.

- **Invalid:** every score, of a model that was trained on that training set or on data that holds it, that
  was measured on these files or on copies of them, under whatever name; and every choice made by such a score
  (a checkpoint, a setting, a comparison of models).
- **Use instead:** rows that the training set does not hold. `lvmfast clean` writes the split without the rows
  that matched; `lvmfast split` makes training and evaluation sets that are disjoint by document;
  `lvmfast ingest` makes new ones. Whichever it is, `lvmfast leakscan` should find it clean before it is used.
- lvmfast refuses these files by their content, also under another name, unless it is told `--allow-leaked`.
  `lvmfast quarantine restore FILE` moves one back. `manifest.json` says the same for programs.
"""


def warning(entries: Sequence[Mapping[str, Any]]) -> str:
    """The text, in Markdown, with a section for each file."""
    return "\n".join([_HEAD, *map(_section, entries)])


def _section(entry: Mapping[str, Any]) -> str:
    scan = entry["scan"]
    train = ", ".join(
        f"{_code(file['path'])} (BLAKE3 {file['blake3'][:16]}…)" if file["blake3"] else _code(file["path"])
        for file in scan["train"]
    )
    lines = [
        f"## {_plain(entry['file'])}",
        "",
        f"- Found {scan['found_at']} by lvmfast {scan['version']}, against the training set {train}.",
        f"- Quarantined {entry['quarantined_at']}; it lay at {_code(entry['original_path'])}.",
        f"- {entry['rows']:,} rows, {entry['bytes']:,} bytes, BLAKE3 {entry['blake3']}.",
    ]
    if entry["forced"]:
        lines.append(f"- Quarantined with `--force`: {entry['forced']}.")
    lines += [
        "",
        "| level | rows matched in this file | in the whole evaluation set |",
        "| --- | --- | --- |",
    ]
    for level, count in entry["levels"].items():
        name = level if count["threshold"] is None else f"{level} ≥{count['threshold']:g}"
        lines.append(f"| {name} | {_ratio(count)} | {_ratio(scan['levels'][level])} |")
    return "\n".join([*lines, ""])


def _ratio(count: Mapping[str, Any]) -> str:
    rate = "" if count["rate"] is None else f" ({percent(count['rate'])})"
    return f"{count['matched']:,} of {count['checked']:,} checked{rate}"


def _code(text: str) -> str:
    return "`" + _plain(text).replace("`", "'") + "`"


def _plain(text: str) -> str:
    """A file name on one line: names may hold anything, the page may not break."""
    return "".join(c if c.isprintable() else "?" for c in text)
