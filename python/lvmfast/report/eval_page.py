"""`eval.html`: an evaluation as one file for people, made of `metrics.json` and `evaluation.json`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvmfast.report import eval_sentences
from lvmfast.report.template import template
from lvmfast.shown import percent

EVAL_PAGE = "eval.html"
SHOWN = ("R@1", "R@5", "R@10", "R@20", "Contain@20", "Contain@50", "MRR", "Eff@5", "nDCG@10", "mean_cosine")
#: Title and name in the history of what is drawn of each run's training.
CURVES = {"val_cosine": "val_cosine", "R@5 (%)": "val_r5", "MRR": "val_mrr", "loss": "val_loss"}
COMPARED = ("R@1", "R@5", "Contain@50", "MRR")


def draw_evaluation(records: Sequence[Mapping[str, Any]], details: Mapping[str, Any]) -> str:
    """The page as HTML. It has no script and loads nothing.

    Raises:
        KeyError, TypeError, ValueError, jinja2.TemplateError: these are not the contents of the two files.
    """
    from markupsafe import Markup

    from lvmfast.report import eval_charts

    def number(place: int, metric: str) -> Markup:
        """A metric of the table, with its place for programs."""
        value = records[place][metric]
        return Markup('<data value="{}" data-number="{}.{}">{}</data>').format(
            "" if value is None else repr(value), place, metric, eval_sentences.figure(metric, value)
        )

    title, tone = eval_sentences.headline(details)
    places = _places(records)
    return template("eval.html.j2", percent=percent).render(
        records=records,
        details=details,
        places=places,
        differences=_differences(details["differences"], places),
        title=title,
        tone=tone,
        number=number,
        shown=SHOWN,
        compared=COMPARED,
        charts=eval_charts,
        curves=_curves(details),
        say=eval_sentences,
    )


def _curves(details: Mapping[str, Any]) -> Any:
    """The histories of the runs, drawn as `lvmfast plot` draws them."""
    from markupsafe import Markup

    from lvmfast.report.curves import Panel, curves_svg

    histories = details["histories"]
    panels = [
        Panel(
            title,
            {run: _points(rows, metric) for run, rows in histories.items()},
            baselines={run: _last_baselines(rows, metric) for run, rows in histories.items()},
        )
        for title, metric in CURVES.items()
    ]
    heading = f"{details['stamp']}: the evaluation set was seen in training" if details["stamp"] else ""
    return Markup(curves_svg(panels, list(histories), heading)) if histories else ""


def _points(rows: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[int, float]]:
    return [(row["epoch"], float(row[metric])) for row in rows if _is_number(row.get(metric))]


def _last_baselines(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    stated = [row["baselines"] for row in rows if isinstance(row.get("baselines"), Mapping)]
    last = stated[-1] if stated else {}
    return {name: figures[metric] for name, figures in last.items() if _is_number(figures.get(metric))}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _places(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tables of the page: a pool, whether the context is in it, and the records with their numbers."""
    found: dict[tuple[str, str], list[int]] = {}
    for place, record in enumerate(records):
        found.setdefault((record["pool"], record["context"]), []).append(place)
    return [
        {"pool": pool, "context": context, "rows": rows, "records": [records[row] for row in rows]}
        for (pool, context), rows in sorted(found.items(), key=_most_honest_first(records))
    ]


def _most_honest_first(records: Sequence[Mapping[str, Any]]) -> Callable[[tuple[tuple[str, str], Any]], Any]:
    """The order of pools as they come, each without the query's own context first."""
    pools = list(dict.fromkeys(record["pool"] for record in records))
    return lambda found: (pools.index(found[0][0]), found[0][1] != "out")


def _differences(
    found: Sequence[Mapping[str, Any]], places: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Each pair of models once in a place, as it came first: the other direction has the other sign."""
    once: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for difference in found:
        models = frozenset((difference["model"], difference["against"]))
        once.setdefault((difference["pool"], difference["context"], models), difference)
    order = [(place["pool"], place["context"]) for place in places]
    return sorted(once.values(), key=lambda one: order.index((one["pool"], one["context"])))
