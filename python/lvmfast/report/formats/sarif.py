"""SARIF 2.1.0, the format of results of static analysis that code hosts and editors show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lvmfast._core import __version__
from lvmfast.report.checks import Check, Checked, Outcome, Place
from lvmfast.report.formats.places import relative, uri

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"
#: Under which a result has what its match is known by, so that a reader knows it again in a later scan.
FINGERPRINT = "lvmfast/match/v1"

#: What is a result: code hosts show each as a finding, whatever its `kind`, so what passed is none.
KINDS: Mapping[Outcome, tuple[str, str]] = {"failed": ("fail", "error"), "undecided": ("open", "none")}


def sarif(checked: Checked) -> dict[str, Any]:
    """The log as JSON values: a rule for each name of a check, a result for each row that does not pass.

    What is not decided makes the run unsuccessful, so that no reader takes it for a pass; what was not
    checked is a notification.
    """
    about = {check.name: check.about for check in checked.checks}
    names = list(about)
    results = [
        {"ruleId": f"{checked.command}/{check.name}", "ruleIndex": names.index(check.name), **result}
        for check in checked.checks
        if check.outcome in KINDS
        for result in _results(check)
    ]
    told = [("error", checked.line)] if checked.outcome == "undecided" else []
    told += [
        ("note", f"{check.name}: {check.says}") for check in checked.checks if check.outcome == "skipped"
    ]
    run = {
        "tool": {
            "driver": {
                "name": "lvmfast",
                "version": __version__,
                "rules": [
                    {
                        "id": f"{checked.command}/{name}",
                        "name": name,
                        "shortDescription": {"text": about[name]},
                    }
                    for name in names
                ],
            }
        },
        "invocations": [
            {
                "executionSuccessful": checked.outcome != "undecided",
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": text}} for level, text in told
                ],
            }
        ],
        "results": results,
        "properties": {"verdict": checked.line},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(check: Check) -> Iterator[dict[str, Any]]:
    kind, level = KINDS[check.outcome]
    outcome = {"kind": kind, "level": level}
    for place in check.places:
        known = {} if place.match is None else {"partialFingerprints": {FINGERPRINT: place.match}}
        yield {**outcome, "message": {"text": place.says}, "locations": [_location(place)], **known}
    if len(check.places) < check.found or not check.places:
        says = check.says
        if check.places:
            says += f" {len(check.places):,} results name rows; the report has them all."
        where = [{"physicalLocation": _file(check.file)}] if check.file else []
        yield {**outcome, "message": {"text": says}, "locations": where}


def _location(place: Place) -> dict[str, Any]:
    physical = _file(place.file)
    if place.line is not None:
        physical["region"] = {"startLine": place.line}
    name = f"row {place.row}"
    return {"physicalLocation": physical, "logicalLocations": [{"name": name, "kind": "element"}]}


def _file(file: str) -> dict[str, Any]:
    base = {} if relative(file) is None else {"uriBaseId": ROOT}
    return {"artifactLocation": {"uri": uri(file), **base}}
