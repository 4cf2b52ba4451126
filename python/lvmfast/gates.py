"""Gates as data, and what the evidence says of them.

Evidence is a mapping of figures by name (`val_cosine`, `R@5`), with four places that gates look into:

- `epochs`: {epoch: figures, their `baselines` among them}, of a training run;
- `baselines`: {untrained baseline: its figures}; `rivals`: {trained model: its figures};
- `differences`: {baseline or rival: {metric: {"low": ..., "high": ...}}}, intervals of paired differences;
- `model`: what is judged, if it is a baseline itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from lvmfast.errors import DataError
from lvmfast.parse import read_json, read_toml

UNTRAINED = ("copy-last", "mean", "lag-mix", "lag-mix-density")

Status = Literal["passed", "failed", "not_checkable", "proves_nothing"]
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Gate:
    """One threshold for one figure. Exactly one of `at_least`, `above`, `at_most` and `equals` is given."""

    name: str
    metric: str
    at_least: float | None = None
    above: float | None = None  #: strictly
    at_most: float | None = None
    equals: str | None = None
    over: str | None = None  #: judge the figure minus that of this baseline or rival
    interval: bool = False  #: judge the low end of the interval of that difference
    epoch: int | None = None  #: of a training run
    when: str | None = None  #: applies where the evidence calls this true
    condition: bool = (
        False  #: must hold, but shows no skill: no baseline is asked, and it alone passes nothing
    )
    required: bool = False  #: where it cannot be checked, the verdict is incomplete
    origin: str = ""  #: where the threshold comes from

    def __post_init__(self) -> None:
        """Holds the gate to one threshold."""
        given = [key for key in ("at_least", "above", "at_most", "equals") if getattr(self, key) is not None]
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise DataError(
                f"gate {self.name!r}: expected one of at_least, above, at_most, equals, got {found}"
            )
        if self.interval and self.over is None:
            raise DataError(f"gate {self.name!r}: interval: needs `over`, which names what to compare with")
        if self.equals is not None and self.over is not None:
            raise DataError(f"gate {self.name!r}: equals: a difference is a number")

    @property
    def asks(self) -> str:
        """What it asks, in words: ``val_mrr >= 0.01 above copy-last``."""
        sign, value = next(
            (sign, getattr(self, key))
            for key, sign in (("at_least", ">="), ("above", ">"), ("at_most", "<="), ("equals", "="))
            if getattr(self, key) is not None
        )
        shown = value if isinstance(value, str) else f"{value:g}"
        if self.over is None:
            return f"{self.metric} {sign} {shown}"
        low = ", low end of the interval" if self.interval else ""
        return f"{self.metric} minus that of {self.over} {sign} {shown}{low}"

    def met(self, value: Any) -> bool:
        """Whether `value` is on the right side of the threshold. NaN never is."""
        if self.equals is not None:
            return bool(value == self.equals)
        if self.at_most is not None:
            return bool(value <= self.at_most)
        return bool(value > self.above if self.above is not None else value >= self.at_least)


@dataclass(frozen=True)
class Judged:
    """A gate and what came of it."""

    gate: Gate
    status: Status
    value: float | str | None  #: what was held against the threshold
    reason: str  #: why it could not be checked, or which baselines meet it; else empty
    awaited: bool = False  #: its epoch is not there


@dataclass(frozen=True)
class Verdicts:
    """All gates of one judgement."""

    gates: tuple[Judged, ...]

    @property
    def verdict(self) -> Literal["passed", "failed", "incomplete"]:
        """`passed` takes one gate that proves something; `incomplete` is never a pass."""
        if any(judged.status == "failed" for judged in self.gates):
            return "failed"
        if self.awaited or any(j.status == "not_checkable" and j.gate.required for j in self.gates):
            return "incomplete"
        shown = any(judged.status == "passed" and not judged.gate.condition for judged in self.gates)
        return "passed" if shown else "incomplete"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 incomplete."""
        return {"passed": 0, "failed": 1, "incomplete": 3}[self.verdict]

    @property
    def awaited(self) -> bool:
        """Whether an epoch that a gate asks about is not there."""
        return any(judged.awaited for judged in self.gates)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON has it. NaN and infinity become text."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "gates": [
                {
                    **{
                        key: value
                        for key, value in asdict(judged.gate).items()
                        if value not in (None, "", False)
                    },
                    "asks": judged.gate.asks,
                    "status": judged.status,
                    "value": _plain(judged.value),
                    "reason": judged.reason,
                }
                for judged in self.gates
            ],
        }


def judge(gates: Iterable[Gate], evidence: Figures) -> Verdicts:
    """Holds each gate against the evidence (see the module).

    A gate that is met proves nothing where a baseline meets it too: one with a plain threshold, where the
    baseline's own figure meets it; one that compares, where another baseline meets it and what is judged is
    not as far above that one.
    """
    return Verdicts(tuple(_judge(gate, evidence) for gate in gates))


def _judge(gate: Gate, evidence: Figures) -> Judged:
    epochs = evidence.get("epochs")
    figures = evidence
    if gate.epoch is not None:
        if epochs is None:
            return Judged(gate, "not_checkable", None, "there is no history of the training")
        if gate.epoch not in epochs:
            return Judged(gate, "not_checkable", None, f"epoch {gate.epoch} is not there", awaited=True)
        figures = epochs[gate.epoch]
    if gate.when is not None and evidence.get(gate.when) is not True:
        known = "false" if evidence.get(gate.when) is False else "not known"
        why = f"applies only where {gate.when} is true; here it is {known}"
        return Judged(gate, "not_checkable", None, why)
    value = _value(gate, figures, gate.over)
    itself = gate.over is not None and gate.over == evidence.get("model")
    if value is None and not itself:
        return Judged(gate, "not_checkable", None, _lacking(gate, figures))
    value = 0.0 if value is None else value
    if not gate.met(value):
        return Judged(gate, "failed", value, f"{gate.over} is not above itself" if itself else "")
    if not gate.condition and (model := evidence.get("model")) in UNTRAINED:
        return Judged(gate, "proves_nothing", value, f"{model} is a baseline itself")
    also = () if gate.condition else _also_met_by(gate, figures)
    if also:
        return Judged(
            gate,
            "proves_nothing",
            value,
            f"{', '.join(also)} {'meet' if also[1:] else 'meets'} it, too",
        )
    return Judged(gate, "passed", value, "")


def _value(gate: Gate, figures: Figures, over: str | None) -> Any:
    if gate.equals is not None:
        return figures.get(gate.metric)
    if over is None:
        return _number(figures.get(gate.metric))
    if gate.interval:
        interval = _inside(figures, "differences", over, gate.metric)
        return _number(interval.get("low")) if isinstance(interval, Mapping) else None
    return _difference(_number(figures.get(gate.metric)), _of(figures, over, gate.metric))


def _also_met_by(gate: Gate, figures: Figures) -> tuple[str, ...]:
    """The untrained baselines that meet the gate as well."""
    others = [name for name in UNTRAINED if name != gate.over]
    own = {name: _of(figures, name, gate.metric) for name in others}
    if gate.over is None:
        return tuple(name for name in others if own[name] is not None and gate.met(own[name]))
    measure = _of(figures, gate.over, gate.metric)
    ahead = {name: _difference(own[name], measure) for name in others}
    met = [name for name in others if ahead[name] is not None and gate.met(ahead[name])]
    beaten = {
        name: value for name in met if (value := _value(gate, figures, name)) is not None and gate.met(value)
    }
    return tuple(name for name in met if name not in beaten)


def _of(figures: Figures, name: str, metric: str) -> float | None:
    """A baseline's or rival's figure."""
    for group in ("baselines", "rivals"):
        if (value := _number(_inside(figures, group, name, metric))) is not None:
            return value
    return None


def _inside(figures: Any, *keys: str) -> Any:
    for key in keys:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _lacking(gate: Gate, figures: Figures) -> str:
    if gate.over is None or figures.get(gate.metric) is None:
        return f"there is no {gate.metric}"
    return f"there is no {gate.metric} of {gate.over}" + (" with an interval" if gate.interval else "")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


_PUBLIC = "the public run's gate"
_FINDINGS = "docs/gates.md"

#: The gates of a training run, for any epoch: `at_epoch` says which.
TRAINING = (
    Gate("customary", "val_cosine", at_least=0.50, required=True, origin=_PUBLIC),
    Gate("above copy-last", "val_mrr", at_least=0.01, over="copy-last", origin=_FINDINGS),
    Gate("above mean", "val_mrr", at_least=0.01, over="mean", origin=_FINDINGS),
    Gate("margin", "val_margin", at_least=0.10, origin=_PUBLIC),
    Gate("spread", "val_std", at_least=0.25, condition=True, origin=_FINDINGS),
    Gate("no collapse", "val_pairwise_cosine", at_most=0.90, condition=True, origin=_FINDINGS),
    Gate(
        "negatives of other documents",
        "negatives_same_document",
        at_most=0,
        when="same_document_masked",
        condition=True,
        origin=_PUBLIC,
    ),
)

_CLEAN = Gate("clean", "split_status", equals="clean", condition=True, required=True, origin="a leak scan")

#: Sets of gates by name. An evaluation judges those it was asked for beside the honest ones.
SETS: Mapping[str, tuple[Gate, ...]] = {
    "training": TRAINING,
    "minimum": (
        Gate("epoch 2", "val_cosine", at_least=0.50, epoch=2, required=True, origin=_PUBLIC),
        Gate("R@5", "R@5", above=10.0, required=True, origin="the public plan, phase 1"),
        Gate("above AR only", "R@5", above=0.0, over="ar", required=True, origin="the public plan, phase 1"),
    ),
    "target": (
        _CLEAN,
        Gate("R@5", "R@5", at_least=30.0, required=True, origin="the public plan, phase 2"),
        Gate("Contain@50", "Contain@50", at_least=50.0, required=True, origin="the public plan, phase 2"),
    ),
    "production": (
        _CLEAN,
        Gate("Contain@50", "Contain@50", at_least=60.0, required=True, origin="the public plan, production"),
        Gate("R@5", "R@5", at_least=40.0, required=True, origin="the public plan, production"),
        Gate("Eff@5", "Eff@5", at_least=0.68, required=True, origin="the public plan, production"),
    ),
    "stretch": (
        _CLEAN,
        Gate(
            "R@5, gated by domain", "domain_gated_R@5", at_least=40.0, required=True, origin="the public plan"
        ),
        Gate("no worse than AMN", "R@5", at_least=0.0, over="amn", required=True, origin="the public plan"),
    ),
    "honest": (
        _CLEAN,
        *(
            Gate(
                f"{metric} above {baseline}",
                metric,
                above=0.0,
                over=baseline,
                interval=True,
                required=True,
                origin=_FINDINGS,
            )
            for baseline in ("copy-last", "lag-mix-density")
            for metric in ("R@5", "MRR")
        ),
    ),
}


def latency_gate(milliseconds: float) -> Gate:
    """At most so much for 95% of queries. No set asks for it, because it depends on the machine."""
    return Gate(
        "P95", "P95", at_most=milliseconds, condition=True, required=True, origin="asked for, milliseconds"
    )


def at_epoch(gates: Iterable[Gate], epoch: int) -> tuple[Gate, ...]:
    """The gates, asked at `epoch` where they name none."""
    return tuple(gate if gate.epoch is not None else replace(gate, epoch=epoch) for gate in gates)


def gate_set(name_or_path: str | Path) -> tuple[Gate, ...]:
    """A set by its name, or the gates of a file.

    Raises:
        DataError: there is neither.
    """
    if str(name_or_path) in SETS:
        return SETS[str(name_or_path)]
    path = Path(name_or_path)
    if not path.exists():
        raise DataError(f"{path}: expected a file of gates, or one of {', '.join(SETS)}")
    return read_gates(path)


def read_gates(path: str | Path) -> tuple[Gate, ...]:
    """The gates of a file: TOML with a ``[[gate]]`` table each, or JSON ``{"gate": [{...}]}``.

    Raises:
        DataError: it cannot be read, has no gate or an unknown key, or a value is of another type.
    """
    where = Path(path)
    content = read_json(where) if where.suffix.lower() == ".json" else read_toml(where)
    if not isinstance(content, dict) or set(content) != {"gate"}:
        found = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{where}: expected `gate` and nothing else at the top, got {found or 'nothing'}")
    tables = content["gate"]
    if not isinstance(tables, list) or not tables:
        raise DataError(f"{where}: gate: expected a list of gates, got {tables!r}")
    gates = tuple(_gate(f"{where}: gate {place}", table) for place, table in enumerate(tables, 1))
    _refuse_doubles(where, [gate.name for gate in gates])
    return gates


_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "metric", "equals", "over", "when", "origin"), (str,)),
    **dict.fromkeys(("at_least", "above", "at_most"), (int, float)),
    **dict.fromkeys(("interval", "condition", "required"), (bool,)),
    "epoch": (int,),
}


def _gate(where: str, table: Any) -> Gate:
    if not isinstance(table, dict):
        raise DataError(f"{where}: expected a table, got {table!r}")
    for key, value in table.items():
        if key not in _KINDS:
            known = ", ".join(spec.name for spec in fields(Gate))
            raise DataError(f"{where}: {key}: unknown key; expected {known}")
        kinds = _KINDS[key]
        finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or not finite:
            expected = {str: "text", bool: "true or false", int: "a number"}[kinds[0]]
            raise DataError(f"{where}: {key}: expected {expected}, got {value!r}")
    for key in ("name", "metric"):
        if not table.get(key):
            raise DataError(f"{where}: {key}: expected a {key}, found none")
    if table.get("epoch", 1) < 1:
        raise DataError(f"{where}: epoch: expected 1 or more, got {table['epoch']}")
    try:
        # Who writes a gate down asks for it: with a slip in its metric it must not be passed over.
        return Gate(**{"required": "when" not in table, **table})
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _refuse_doubles(where: Path, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where}: gate {name!r}: occurs {names.count(name)} times")
