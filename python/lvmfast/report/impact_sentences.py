"""The sentences and figures of `lvmfast impact`, from what `impact.json` says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def sentence(model: Mapping[str, Any], least: int) -> str:
    """What follows for one model, and what does not; with fewer items than `least` on a side, nothing."""
    found = model["overall"]
    clean, leaked = found["clean"], found["leaked"]
    start = f"{model['name']}: {model['metric']}"
    if found["verdict"] == "too few":
        return (
            f"{start}: {leaked['items']:,} leaked and {clean['items']:,} clean items have a score: fewer "
            f"than {least} on a side are too few for a statement, and nothing is claimed."
        )
    gain = figure(model, found["gain"]["difference"], signed=True)
    interval = interval_text(model, found["gain"]["interval"])
    difference = figure(model, found["leaked_minus_clean"]["difference"], signed=True)
    between = interval_text(model, found["leaked_minus_clean"]["interval"])
    scores = (
        f"{start} {figure(model, found['all']['mean'])} on all {found['all']['items']:,} items, "
        f"{figure(model, clean['mean'])} on the {clean['items']:,} clean ones and "
        f"{figure(model, leaked['mean'])} on the {leaked['items']:,} that leaked, a difference of "
        f"{difference} {between}."
    )
    if found["verdict"] == "none shown":
        return f"{scores} The interval holds 0: no advantage from the leak is shown."
    if found["verdict"] == "disadvantage":
        return f"{scores} Leaked items score lower: no advantage from the leak is shown."
    against = model["against_control"]
    if model["control"]:
        behind = "It did not see them: leaked items are easier."
        return f"{scores} {behind}"
    if against is None:
        behind = (
            "That is evidence of an advantage and no proof of memorising: leaked items may be easier, which "
            "a model that did not see them would show (--control)."
        )
    elif against["verdict"] == "advantage":
        more = figure(model, against["leaked_minus_clean"]["difference"], signed=True)
        ends = interval_text(model, against["leaked_minus_clean"]["interval"])
        behind = (
            f"Beside {against['control']}, which did not see them, the difference is {more} {ends}: easier "
            "items alone do not explain the advantage."
        )
    else:
        return (
            f"{scores} Beside {against['control']}, which did not see them, no difference is shown: leaked "
            "items may just be easier."
        )
    return f"{scores} The leak is worth {gain} {interval} of the score. {behind}"


def headline(model: Mapping[str, Any]) -> tuple[str, str]:
    """The title of the page, what is found for a model, and the verdict that it tells."""
    found, against = model["overall"], model["against_control"]
    if found["verdict"] == "too few":
        return f"Too few items for a statement on {model['name']}", "too few"
    if found["verdict"] != "advantage":
        return f"No advantage from the leak is shown for {model['name']}", found["verdict"]
    if against is not None and against["verdict"] != "advantage":
        return f"No advantage is shown for {model['name']} beside {against['control']}", "none shown"
    unit = " points" if model["percent"] else ""
    gain = figure(model, found["gain"]["difference"], signed=True)
    return f"{gain}{unit} from the leak: {model['name']}", "advantage"


def figure(model: Mapping[str, Any], value: float | None, *, signed: bool = False) -> str:
    """A score, or a difference of scores, for people: in percent and points where scores are shares."""
    if value is None or math.isnan(value):
        return "–"
    sign = "+" if signed else ""
    if model["percent"]:
        return f"{100 * value:{sign}.1f}{'' if signed else '%'}"
    return f"{value:{sign}.4g}"


def interval_text(model: Mapping[str, Any], ends: Sequence[float | None], *, signed: bool = True) -> str:
    """An interval for people; empty where there is none."""
    low, high = ends
    if low is None or high is None or math.isnan(low):
        return ""
    return f"[{figure(model, low, signed=signed)}, {figure(model, high, signed=signed)}]".replace("%", "")
