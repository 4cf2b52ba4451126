"""JUnit XML, the format of test results that CI servers show."""

from __future__ import annotations

from xml.etree import ElementTree

from lvmfast.report.checks import Check, Checked
from lvmfast.shown import visible

#: What an outcome that is no pass is called. What is not decided is an error, so that no server lets it pass.
ELEMENTS = {"failed": "failure", "undecided": "error", "skipped": "skipped"}


def junit(checked: Checked) -> str:
    """The XML of a test suite with a test for each check (and, at a scan, each file), in ASCII."""
    checks = checked.checks
    suite = ElementTree.Element("testsuite", name=f"lvmfast {checked.command}", tests=str(len(checks)))
    for outcome, plural in (("failed", "failures"), ("undecided", "errors"), ("skipped", "skipped")):
        suite.set(plural, str(sum(check.outcome == outcome for check in checks)))
    suite.set("time", "0")
    for check in checks:
        _test(suite, checked, check)
    ElementTree.SubElement(suite, "system-out").text = visible(checked.line)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    declared: bytes = ElementTree.tostring(suites, encoding="us-ascii", xml_declaration=True)
    return declared.decode("ascii")


def _test(suite: ElementTree.Element, checked: Checked, check: Check) -> None:
    name = check.name if check.file is None else f"{check.name}: {check.file}"
    test = ElementTree.SubElement(
        suite, "testcase", classname=f"lvmfast.{checked.command}", name=visible(name), time="0"
    )
    if check.outcome == "passed":
        return
    says = visible(check.says)
    told = ElementTree.SubElement(test, ELEMENTS[check.outcome], message=says)
    if check.outcome != "skipped":
        told.set("type", check.name)
        left = check.found - len(check.places)
        rest = [f"Rows that the report names beside these: {left:,}."] if left > 0 and check.places else []
        told.text = visible("\n".join([says, *(place.says for place in check.places), *rest]), keep="\n")
