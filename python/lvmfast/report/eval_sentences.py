"""The sentences of an evaluation, from what `evaluation.json` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OUTCOMES = {
    "better": "{contrastive} is better than {ar}",
    "worse": "{contrastive} is worse than {ar}",
    "undecided": "no difference between {contrastive} and {ar} is shown",
}

#: What is said of a gate that decides nothing.
OPEN = {"not_checkable": "cannot be checked", "proves_nothing": "proves nothing"}


def figure(metric: str, value: float | None, *, signed: bool = False) -> str:
    """A metric for people: R and Contain in percent, the others as fractions."""
    if value is None:
        return "none"
    percent = metric[0] in "RC"
    return f"{value:{'+' if signed else ''}.{1 if percent else 3}f}{'%' if percent and not signed else ''}"


def interval_text(metric: str, ends: Any, *, signed: bool = False) -> str:
    """An interval for people, empty where there is none."""
    low, high = ends if ends is not None else (None, None)
    if low is None or high is None:
        return ""
    return f"[{figure(metric, low, signed=signed)}, {figure(metric, high, signed=signed)}]".replace("%", "")


def phase_1_sentence(compared: Mapping[str, Any]) -> str:
    """The verdict of phase 1: the difference, and that it is all that is said."""
    metric = compared["deciding_metric"]
    found = compared["differences"][metric]
    outcome = OUTCOMES[compared["outcome"]].format(**compared)
    difference = figure(metric, found["difference"], signed=True)
    interval = interval_text(metric, found["interval"], signed=True)
    points = " points" if metric[0] in "RC" else ""
    return (
        f"Phase 1: {outcome}: {metric} {difference}{points} {interval} (pool {compared['pool']}, context "
        f"{compared['context']}). This is about the difference alone; no absolute figure is claimed."
    )


def headline(details: Mapping[str, Any]) -> tuple[str, str]:
    """The headline of the page and the tone it is set in."""
    if details["stamp"]:
        return "LEAKED: scored on data that training saw", "leak"
    if details["exit_code"] == 3:
        return "Not decided", "incomplete"
    if details["gates_asked"]:
        verdict = details["gates"][details["chief"]][details["gates_asked"]]["verdict"]
        tone = {"passed": "clean", "failed": "leak"}.get(verdict, "incomplete")
        return f"Gates {details['gates_asked']}: {verdict}", tone
    if details["phase_1"]:
        outcome = OUTCOMES[details["phase_1"]["outcome"]].format(**details["phase_1"])
        return outcome[0].upper() + outcome[1:], "clean" if details["exit_code"] == 0 else "allowed"
    status = details["models"][details["chief"]]["split"]["status"]
    if status == "unscanned":
        return "Scored, on a set that was not scanned", "allowed"
    return "Scored on a clean set", "clean"


def undecided_sentence(details: Mapping[str, Any]) -> str:
    """Why nothing is decided; empty where something is."""
    if details["exit_code"] != 3:
        return ""
    reasons = []
    if asked := details["gates_asked"]:
        gates = details["gates"][details["chief"]][asked]["gates"]
        open_ = [gate for gate in gates if gate["status"] in ("not_checkable", "proves_nothing")]
        reasons += [
            f"the gate {gate['name']} ({gate['asks']}) {OPEN[gate['status']]}"
            + (f", as {gate['reason']}" if gate["reason"] else "")
            for gate in open_
        ]
    if details["phase_1"] and details["phase_1"]["outcome"] == "undecided":
        reasons.append("the interval of the difference holds zero")
    status = details["models"][details["chief"]]["split"]["status"]
    if details["phase"] == 2 and status != "clean":
        reasons.append(f"phase 2 asks for a set that is clean, and this one is {status}")
    elif status == "undecided":
        reasons.append("the scan leaves open whether the set was seen in training")
    return f"Not decided, because {'; '.join(reasons)}." if reasons else ""


def split_sentence(split: Mapping[str, Any]) -> str:
    """What is known of the set's leaks into one training set, and what a score is therefore about."""
    against = f" against {split['train']}" if split["train"] else ""
    reasons = f": {'; '.join(split['reasons'])}" if split["reasons"] else ""
    level = {
        "within-document": " It shares documents with training: at best a score is about new places in them.",
        "cross-domain": " No document and no domain is shared with training: a score is about new domains.",
        "cross-document": " No document is shared with training: a score is about new documents.",
    }.get(split["level"], "")
    return f"{split['status']}{against}{reasons}.{level}"
