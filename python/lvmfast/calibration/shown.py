"""What `threshold` says: as JSON, as lines, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lvmfast.calibration.suggest import Suggestion
from lvmfast.calibration.threshold import Calibration
from lvmfast.leaks.results import NearestRows
from lvmfast.report.nearest import distribution
from lvmfast.report.survival import Line, Mark, survival_svg
from lvmfast.shown import percent

MEANINGS = {
    "same": "the same text, in other type or punctuation",
    "paraphrase": "a text that says the same",
}
_LONGEST = 100


def as_json(found: Calibration) -> dict[str, Any]:
    """Plain JSON values; docs/encoders.md has the fields."""
    return {
        "train_rows": found.train_rows,
        "eval_rows": found.eval_rows,
        "encoder": found.encoder,
        "weights": found.weights,
        "levels": list(found.levels),
        "unrelated": _distribution(found.unrelated),
        "duplicates": {kind: _distribution(cosines) for kind, cosines in found.duplicates.items()},
        "suggestions": {near: _suggestion(one) for near, one in found.suggestions.items()},
        "closest": [
            {"cosine": cosine, "train_text": train, "eval_text": eval}
            for cosine, train, eval in found.closest
        ],
    }


def _distribution(cosines: Any) -> dict[str, Any]:
    return distribution(NearestRows(cosines, cosines, cosines))


def _suggestion(one: Suggestion) -> dict[str, Any]:
    rate, low, high = one.per_million
    return {
        "threshold": one.threshold,
        "unrelated_rows": one.rows,
        "unrelated_rows_above": one.above,
        "false_positives_per_million": {"counted": rate, "interval_95": [low, high]},
        "found": dict(one.found),
        "separate": one.separate,
    }


def lines(found: Calibration) -> Iterator[str]:
    """For a person, a line for each thing that is to be known."""
    excluded = f" that match at no level of {', '.join(found.levels)}" if found.levels else ""
    yield (
        f"{len(found.unrelated):,} unrelated evaluation rows{excluded}, of {found.eval_rows:,}, and their "
        f"nearest among {found.train_rows:,} training rows"
    )
    for near, one in found.suggestions.items():
        rate, low, high = one.per_million
        yield f"--threshold {one.threshold:g} for {near}: {MEANINGS[near]}"
        yield (
            f"  calls {one.above:,} of {one.rows:,} unrelated rows a match: {rate:,.0f} in a million "
            f"(95%: {low:,.0f} to {high:,.0f}), if none of them is a paraphrase"
        )
        if one.found:
            yield "  finds " + ", ".join(f"{kind} {percent(share)}" for kind, share in one.found.items())
        if not one.separate:
            yield "  does not find all edited texts that it is for, which the encoder does not tell apart"
    if not found.duplicates:
        yield (
            "No duplicates are known, so it is not known how many would be found: with --encoder, edited "
            "texts show it"
        )
    yield "The nearest unrelated pairs. Texts that say the same here are leaks, and no false positives:"
    for cosine, train, eval in found.closest:
        yield f"  {cosine:.3f}  {_short(eval)}  |  {_short(train)}"


def _short(text: str | None) -> str:
    text = " ".join((text or "(no text)").split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def picture(found: Calibration) -> str:
    """An SVG: of unrelated rows and of each kind of duplicates, how many have at least which cosine."""
    drawn: Sequence[Line] = [
        Line(f"unrelated ({len(found.unrelated):,})", found.unrelated, emphasis=True),
        *(Line(f"{kind} ({len(cosines):,})", cosines) for kind, cosines in found.duplicates.items()),
    ]
    marks = [Mark(f"{near} {one.threshold:g}", one.threshold) for near, one in found.suggestions.items()]
    return survival_svg(drawn, marks)
