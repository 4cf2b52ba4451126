"""Claims as Markdown, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.shown import visible

HEADINGS = {
    "valid": "What can be said",
    "invalid": "What cannot be said",
    "pending": "What cannot be said yet",
}


def claims_text(stated: Mapping[str, Any]) -> str:
    """The claims by standing, each with its reason and files, and the two sentences."""
    lines = ["# Claims", ""]
    for standing, heading in HEADINGS.items():
        lines += [f"## {heading}", ""]
        for claim in stated[standing]:
            lines.append(f"- {claim['claim']}. Because: {claim['why'].rstrip('.')}.")
            lines += [f"  ({', '.join(claim['files'])})"] if claim["files"] else []
        lines += ([] if stated[standing] else ["- nothing"]) + [""]
    lines += ["## For colleagues", "", stated["for_colleagues"], ""]
    lines += ["## For the public", "", stated["for_outside"], ""]
    return visible("\n".join(lines), keep="\n")
