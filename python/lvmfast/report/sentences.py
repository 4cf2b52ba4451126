"""The sentences of a report: one line for a log, one sentence for a person."""

from __future__ import annotations

from collections.abc import Sequence

from lvmfast.corpus.sides import SIDES
from lvmfast.leaks.findings import DECISIONS, Findings, LevelFinding
from lvmfast.leaks.options import LevelName
from lvmfast.leaks.published import rows_by_rule
from lvmfast.leaks.rules import OWN, RULES
from lvmfast.levels import LEVELS
from lvmfast.shown import percent


def closing_line(findings: Findings) -> str:
    """`LEAK: text=728/5244 overlap=...; not checked: doc, chunk (no ids)`: matched of checked rows of a side.

    It is the judged side. Rows that a fingerprint leaves undecided stand behind a plus: `vector=0/5244+3?`.
    """
    if findings.part is not None:
        train = findings.sides["train"]
        return f"PART: {findings.part}: {train.rows:,} training rows of {len(train.names):,} files"
    ran = [f for f in findings.levels.values() if f.status != "not_checkable"]
    parts = [f"{finding.level}={_ratio(finding)}" for finding in ran]
    lacking = not_checked(findings, left_out=findings.outcome != "leak")  # a leak needs no proportion
    groups = "; ".join(f"{', '.join(names)} ({why})" for why, names in lacking.items())
    rest = f"; not checked: {groups}" if groups else ""
    if aside := [f"{f.level} {n}" for f in ran if (n := set_aside_count(f))]:
        rest += f"; set aside by review: {', '.join(aside)}"
    elif findings.strange is not None and not findings.decided:
        rest += "; no decision is of a match here"
    return f"{findings.verdict.upper()}: {' '.join(parts)}{rest}"


def set_aside_count(finding: LevelFinding) -> int:
    """Rows of the judged side that matched and do not count, because a review set them aside."""
    return 0 if finding.judged is None else len(finding.judged.set_aside)


def review_sentences(findings: Findings) -> list[str]:
    """What decisions of people changed, and what they did not."""
    if findings.strange is None:
        return []
    if not findings.decided:
        if not findings.strange:
            return ["No decision applies: the file of decisions has none, or all were withdrawn."]
        return [*_of_no_match(findings), *([] if _cut(findings) else ["Is the file that of another scan?"])]
    reviews = [f for f in findings.levels.values() if f.review is not None]
    counts = {name: sum(f.review.counts[name] for f in reviews if f.review) for name in DECISIONS}
    found = sum(len(f.matches) for f in reviews)
    said = ", ".join(f"{n:,} {name}" for name, n in counts.items() if n)
    sentences = [f"People decided on {findings.decided:,} of {found:,} matches: {said}."]
    what = "evaluation" if "eval" in findings.sides else "matched"
    if aside := [f"{n:,} {what} rows at {f.level}" for f in reviews if (n := set_aside_count(f))]:
        sentences.append(
            f"Set aside by review, and not counted: {', '.join(aside)}, whose every match is decided to be "
            "boilerplate."
        )
    sentences += [
        f"{f.level}: matches that are boilerplate set no row aside: {f.review.stays}."
        for f in reviews
        if f.review is not None and f.review.stays
    ]
    return [*sentences, *_of_no_match(findings)]


def _of_no_match(findings: Findings) -> list[str]:
    if not findings.strange:
        return []
    maybe = "Evidence was cut (--max-pairs): they may be of matches that were left out."
    return [no_match_sentence(findings.strange), *([maybe] if _cut(findings) else [])]


def _cut(findings: Findings) -> bool:
    return any(finding.cut for finding in findings.levels.values())


def no_match_sentence(decisions: int) -> str:
    """What is said of decisions that are of another scan, or of matches that are no longer found."""
    belong = "decision is" if decisions == 1 else "decisions are"
    return f"{decisions:,} {belong} of no match in the evidence of this scan."


def not_checked(findings: Findings, *, left_out: bool) -> dict[str, list[LevelName]]:
    """The levels that did not run, by why in few words; with `left_out`, also those that nobody asked for."""
    groups: dict[str, list[LevelName]] = {}
    for level in _possible(findings):
        finding = findings.levels.get(level)
        if finding is None:
            if left_out:
                groups.setdefault("left out", []).append(level)
        elif finding.status == "not_checkable":
            groups.setdefault(finding.lacks or "not checkable", []).append(level)
    return groups


def _possible(findings: Findings) -> list[LevelName]:
    """The levels that mean something between its sides."""
    return [name for name, level in LEVELS.items() if "eval" in findings.sides or level.within]


def _ratio(finding: LevelFinding) -> str:
    if finding.judged is None:
        return "-"
    undecided = f"+{n}?" if (n := undecided_count(finding)) else ""
    return f"{finding.judged.matched}/{finding.judged.checked}{undecided}"


def undecided_count(finding: LevelFinding) -> int:
    """Eval rows that a fingerprint leaves undecided."""
    return 0 if finding.undecided is None else len(finding.undecided.rows)


def unchecked_rows(finding: LevelFinding) -> str:
    """How many rows of each side could not be checked, and why; empty where all were."""
    sides = "; ".join(
        f"{side} " + ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in count.unchecked.items())
        for side, count in finding.sides.items()
        if count.unchecked
    )
    return f"{finding.level}: rows not checked: {sides}" if sides else ""


def beside_sentences(finding: LevelFinding) -> list[str]:
    """What is said of training rows that were joined, and of evaluation rows that do not decide."""
    rows = {name: beside.sides["eval"].matched for name, beside in finding.beside.items()}
    said = []
    if joined := finding.continued:
        were = "training row was" if joined == 1 else "training rows were"
        said.append(f"{joined:,} {were} joined to the one before, as chunks of one document")
    elif joined == 0:
        said.append("no training row was joined: no row continues the document of the one before it")
    if finding.rule is not None:
        rule = RULES[finding.rule]
        said.append(
            f"the rule of {rule.name} decides: an item is leaked if {rule.says}; it names no training rows. "
            f"Pairs and evidence are those of the rule {OWN}"
        )
    by_rule = {rule: len(of_rule) for rule, of_rule in rows_by_rule(finding).items()}
    matched = len(finding.sides["eval"].matched_rows) if by_rule else 0
    if "answered" in rows and matched:
        beside = "has its answer" if rows["answered"] == 1 else "have their answers"
        said.append(
            f"of {matched:,} matching evaluation rows, {rows['answered']:,} {beside} near the match in "
            "training"
        )
    no_leak = "which is no leak by itself"
    if short := rows.get("short"):
        stand = "text of under 8 words stands" if short == 1 else "texts of under 8 words stand"
        said.append(f"{short:,} evaluation {stand} whole in training texts, {no_leak} (overlaps.parquet)")
    for field, why in (("passage", no_leak + ", since it may be public"), ("answer", no_leak)):
        if alone := rows.get(f"{field}_alone"):
            stand, whose = f"{field}s of {alone:,} evaluation rows stand", "their questions"
            if alone == 1:
                stand, whose = f"{field} of 1 evaluation row stands", "its question"
            said.append(f"the {stand} in training texts without {whose}, {why} (overlaps.parquet)")
    if any(by_rule.values()):
        counted = ", ".join(f"{RULES[rule].name} {n:,}" for rule, n in by_rule.items())
        aside = set_aside_count(finding)
        less = f" (rule {OWN}: without the {aside:,} that review set aside)" if aside else ""
        said.append(f"evaluation rows by each rule: {counted}{less}")
    return [f"{finding.level}: {sentence}" for sentence in said]


def leaked_sentence(leaked: Sequence[str]) -> str:
    """What the stamp on a report says."""
    return (
        f"LEAKED: quarantined files were read in spite of that: {', '.join(leaked)}. No score on them counts."
    )


def verdict_sentence(findings: Findings) -> str:
    """What the verdict says, what it covers, what its levels cannot see, and what people decided."""
    return " ".join([said for said in (_found(findings).rstrip(), *review_sentences(findings)) if said])


def _found(findings: Findings) -> str:
    ran = [f for f in findings.levels.values() if f.status != "not_checkable"]
    if findings.part is not None:
        return f"This is part {findings.part} and no verdict yet: `lvmfast merge` makes it from all parts."
    unfinished = [f.reason for f in ran if f.status == "incomplete" and f.reason]
    if unfinished:
        return f"Not decided: {unfinished[0]}."
    what = "evaluation set" if "eval" in findings.sides else "split"
    if findings.outcome == "leak":
        leaky = [f"{_by_rule(f)} ({_percent(f)})" for f in ran if f.status == "leak"]
        seen = "was seen in training" if what == "evaluation set" else "holds duplicates"
        return f"This {what} {seen}: rows matched at {', '.join(leaky)}."
    if findings.outcome == "allowed":
        allowed = [f"{_by_rule(f)} ({_percent(f)})" for f in ran if f.status == "allowed"]
        return f"Matches within the allowed rates at {', '.join(allowed)}. {_coverage(findings, what)}"
    if findings.outcome == "incomplete":
        decides = "a scan of the training set itself decides"
        return f"Not decided: {_undecided(ran)}; {decides}. {_coverage(findings, what)}"
    return _coverage(findings, what)


def _undecided(ran: list[LevelFinding]) -> str:
    open_ = [finding for finding in ran if finding.status == "incomplete"]
    return ", ".join(f"{undecided_count(f):,} rows that may match at {level_name(f)}" for f in open_)


def level_name(finding: LevelFinding) -> str:
    """The level with its threshold, or with the published rule that decided, if it has one."""
    return _by_rule(finding) if finding.threshold is None else f"{finding.level} ≥{finding.threshold:g}"


def _by_rule(finding: LevelFinding) -> str:
    """The level with the published rule that decided, if one did."""
    return finding.level if finding.rule is None else f"{finding.level} by {finding.rule}"


def _percent(finding: LevelFinding) -> str:
    rate = finding.judged.rate if finding.judged else None
    return "-" if rate is None else percent(rate)


def _coverage(findings: Findings, what: str) -> str:
    ran = [f for f in findings.levels.values() if f.status != "not_checkable"]
    clean = [f for f in ran if f.status in ("clean", "reviewed")]
    if not clean:
        return ""
    found = "leak" if what == "evaluation set" else "duplicate"
    possible = _possible(findings)
    of = f" ({len(clean)} of {len(possible)})" if len(clean) < len(possible) else ""
    levels = "level" if len(clean) == 1 else "levels"
    names = [f"{_by_rule(f)}{' (reviewed)' if f.status == 'reviewed' else ''}" for f in clean]
    sentence = f"No {found} found at {levels} {', '.join(names)}{of}"
    unchecked = []
    for finding in ran:
        for side in SIDES:
            if side in finding.sides and (n := sum(finding.sides[side].unchecked.values())):
                unchecked.append(f"{n} {side} rows at {finding.level}")
    if unchecked:
        sentence += f"; not checked: {', '.join(unchecked)}"
    if groups := not_checked(findings, left_out=True):
        sought = (f"{', '.join(LEVELS[n].sought for n in names)} ({why})" for why, names in groups.items())
        sentence += f". Not looked for: {'; '.join(sought)}"
    blind = "; ".join(f"{f.level}: {_cannot_see(f)}" for f in clean)
    return f"{sentence}. What these levels cannot see: {blind}."


def _cannot_see(finding: LevelFinding) -> str:
    return LEVELS[finding.level].cannot_see if finding.rule is None else RULES[finding.rule].cannot_see
