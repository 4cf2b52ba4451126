"""`impact.html`: what a leak was worth as one file for people, made of `impact.json` alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvmfast.report import impact_sentences
from lvmfast.report.template import template

IMPACT_PAGE = "impact.html"
#: By what the intervals say of the first model.
TONES = {"advantage": "leak", "none shown": "allowed", "disadvantage": "allowed", "too few": "not_checkable"}


@dataclass(frozen=True)
class Row:
    """A line of a forest plot."""

    what: str
    more: str
    kind: str  #: how it is drawn
    value: float | None
    interval: Sequence[float | None]

    @staticmethod
    def of(what: str, more: str, kind: str, found: Mapping[str, Any]) -> Row:
        """Of a mean, or of a difference."""
        return Row(what, more, kind, found.get("mean", found.get("difference")), found["interval"])


@dataclass(frozen=True)
class Forest:
    """The intervals of one model on the scale of all models whose scores are of one kind."""

    model: Mapping[str, Any]
    rows: Sequence[Row]
    scale: tuple[float, float]
    zero: bool  #: whether they are differences, whose 0 is drawn


def draw_impact(content: Mapping[str, Any]) -> str:
    """The page as HTML. It has no script and loads nothing.

    Raises:
        KeyError, TypeError, ValueError, jinja2.TemplateError: this is not the content of `impact.json`.
    """
    from lvmfast.report import impact_charts

    models = content["models"]
    title, verdict = impact_sentences.headline(models[0])
    return template("impact.html.j2").render(
        content=content,
        title=title,
        tone=TONES[verdict],
        tones=TONES,
        charts=impact_charts,
        groups=[(model, *group) for model in models for group in _groups(model)],
        scores=_forests([(model, _scores(model)) for model in models], zero=False),
        differences=_forests([(model, _differences(model)) for model in models], zero=True),
        strength=_forests([(model, _strength(model)) for model in models], zero=False),
        say=impact_sentences,
    )


def _groups(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All items of a model, and those of each level and of each file, where there are several."""
    yield "any level", model["overall"]
    if len(model["levels"]) > 1:
        yield from model["levels"].items()
    if len(model["files"]) > 1:
        yield from ((found["file"], found) for found in model["files"])


def _scores(model: Mapping[str, Any]) -> list[Row]:
    found = model["overall"]
    groups = ("all", "clean", "leaked")
    return [Row.of(f"{name} items", f"{found[name]['items']:,}", name, found[name]) for name in groups]


def _differences(model: Mapping[str, Any]) -> list[Row]:
    """Leaked less clean of whatever has enough items, and what of it is left beside the control."""
    rows = [
        Row.of(group, f"{found['leaked']['items']:,} leaked", "all", found["leaked_minus_clean"])
        for group, found in _groups(model)
        if found["verdict"] != "too few"
    ]
    against = model["against_control"]
    if against is not None and against["verdict"] != "too few":
        beside = f"{against['items']:,} items of both"
        rows.append(Row.of("beyond the control", beside, "leaked", against["leaked_minus_clean"]))
    return rows


def _strength(model: Mapping[str, Any]) -> list[Row]:
    return [
        Row.of(
            f"{found['measure'].replace('_', ' ')} {100 * found['low']:.0f}–{100 * found['high']:.0f}%",
            f"{found['items']:,} items",
            "all",
            found,
        )
        for found in model["strength"]
    ]


def _forests(of_models: Sequence[tuple[Mapping[str, Any], Sequence[Row]]], *, zero: bool) -> list[Forest]:
    """The rows of each model, on one scale with those of the same kind."""
    forests = []
    for model, rows in of_models:
        alike = [row for other, own in of_models if other["percent"] == model["percent"] for row in own]
        ends = [end for row in alike for end in (row.value, *row.interval) if end is not None]
        ends += [0.0] if zero else []
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        margin = 0.04 * (high - low) or 0.5
        forests.append(Forest(model, rows, (low - margin, high + margin), zero))
    return forests
