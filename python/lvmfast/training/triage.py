"""What to try when a run misses its gates: the customary order, then the one that measurements suggest."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lvmfast.training.history import CONFIG, Run
from lvmfast.training.recipes import ON_LISTS


@dataclass(frozen=True)
class Step:
    """One thing to try."""

    name: str
    order: Literal["customary", "measured"]
    evidence: str  #: what the run's own figures say about it
    command: str  #: for a person to run
    done: bool  #: the run was made so already


@dataclass(frozen=True)
class Triage:
    """What a run shows, and the steps in the order in which to take them."""

    symptoms: tuple[str, ...]
    steps: tuple[Step, ...]


def triage(run: Run) -> Triage:
    """The steps for a run, each with its evidence and the next command.

    The customary order is the public project's; docs/triage.md has the reasons of the measured one. Without a
    config.toml the commands begin with the recipe of that project, and TRAIN stands for the training files. A
    run that is trained on lists of candidates has no steps: they change objectives that it has not.
    """
    if run.config.get("recipe", run.config.get("preset")) in ON_LISTS:
        return Triage(tuple(_symptoms(run)), ())
    control = {"infonce": 0.0, "cosine": 1.0, "head": False, "bank": 0}
    customary = [
        _step(run, "tau 0.05", "customary", {"tau": 0.05}, _margin(run)),
        _step(run, "tau 0.10", "customary", {"tau": 0.10}, _margin(run)),
        _step(run, "lambda 0.85/0.15", "customary", {"infonce": 0.85, "cosine": 0.15}, _losses(run)),
        _step(run, "batch 512", "customary", {"batch": 512}, _negatives(run)),
        _step(run, "head check", "customary", control, _control(run)),
    ]
    if run.config.get("layout") != "documents":  # whose steps are of whole documents
        limit = {"max_per_document": 2}
        customary.append(_step(run, "2 per document", "customary", limit, _same_document(run)))
    bank = {"infonce": 1.0, "cosine": 0.0, "head": False, "bank": 65_536, "mask_context": True}
    measured = [
        _step(run, "drop the head", "measured", {"head": False}, _head(run)),
        _step(run, "use the bank", "measured", bank, _negatives(run)),
        _step(run, "residual over lag-mix", "measured", {**bank, "residual": "lag-mix"}, _baselines(run)),
    ]
    return Triage(tuple(_symptoms(run)), (*customary, *measured))


def _step(
    run: Run,
    name: str,
    order: Literal["customary", "measured"],
    figures: Mapping[str, Any],
    evidence: str,
) -> Step:
    done = bool(run.config) and all(run.config.get(key) == value for key, value in figures.items())
    return Step(name, order, evidence, _command(run, name, figures), done)


def _command(run: Run, name: str, figures: Mapping[str, Any]) -> str:
    own = [*("--config", str(run.folder / CONFIG))] if run.folder and run.config else []
    own = own or ["--train", "TRAIN", "--recipe", "seed"]
    options = [word for key, value in figures.items() for word in _option(key, value)]
    base = run.folder.resolve().name if run.folder else run.path.stem
    folder = run.folder.parent if run.folder else run.path.parent
    suffix = "".join(c if c.isalnum() else "-" for c in name.replace(".", ""))
    out = folder / f"{base}-{suffix}"
    return shlex.join(["lvmfast", "train", *own, *options, "--out", str(out)])


def _option(key: str, value: Any) -> list[str]:
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]


def _symptoms(run: Run) -> list[str]:
    found = []
    if run.leak_status == "LEAKED":
        found.append("LEAKED: validation was seen in training; repair the split before anything below")
    for epoch, row in run.history.epochs.items():
        if any(
            isinstance(row.get(k), float) and not math.isfinite(row[k]) for k in ("train_loss", "val_loss")
        ):
            found.append(f"the loss is not finite at epoch {epoch}: lower --lr, keep --clip at 1")
            break
    if (same := _last(run, "val_pairwise_cosine")) is not None and same > 0.90:
        found.append(f"collapse: predictions have a mean cosine of {same:.2f} with each other")
    if (spread := _last(run, "val_std")) is not None and spread < 0.25:
        found.append(f"collapse: predictions spread by {spread:.2f}, of at most about 1")
    copied = run.history.baselines("val_mrr").get("copy-last")
    if (own := _last(run, "val_mrr")) is not None and copied is not None and own < copied:
        found.append(f"val_mrr is {own:.3f}; copying the last vector reaches {copied:.3f}")
    losses = run.history.curve("val_loss")
    if len(losses) > 2:
        best = min(losses, key=lambda point: point[1])
        if losses[-1][0] - best[0] >= 2 and losses[-1][1] > best[1]:
            found.append(
                f"val_loss was lowest at epoch {best[0]} ({best[1]:.3f}) and is {losses[-1][1]:.3f} now: "
                "it memorises its training set"
            )
    seen, unseen = _last(run, "train_r5"), _last(run, "val_r5")
    if seen is not None and unseen is not None and seen > 2 * max(unseen, 1.0):
        found.append(
            f"R@5 is {seen:.1f}% on documents it was trained on and {unseen:.1f}% on others, among as many "
            "candidates: it memorises its training set"
        )
    cosines = run.history.curve("val_cosine")
    if len(cosines) > 2 and abs(cosines[-1][1] - cosines[-2][1]) < 0.005:
        found.append(f"val_cosine has levelled off at {cosines[-1][1]:.3f}: more epochs will not help")
    return found


def _last(run: Run, metric: str) -> float | None:
    curve = run.history.curve(metric)
    return curve[-1][1] if curve else None


def _margin(run: Run) -> str:
    now = f"tau is {run.config['tau']:g}; " if "tau" in run.config else ""
    margin = _last(run, "val_margin")
    if margin is None:
        return f"{now}the history has no val_margin"
    return f"{now}positives are {margin:.3f} closer than negatives (the gate asks 0.10)"


def _losses(run: Run) -> str:
    known = [key for key in ("train_infonce", "train_ar_cosine", "val_cosine") if run.history.curve(key)]
    if not known:
        return "the history has neither loss"
    parts = []
    for key in known:
        curve = run.history.curve(key)
        parts.append(f"{key} {curve[0][1]:.3f} -> {curve[-1][1]:.3f}")
    return ", ".join(parts)


def _negatives(run: Run) -> str:
    """What the run counted; of an older run of ours at most what its step and its bank held."""
    met = _last(run, "train_candidates")
    if met is None:
        most = _most_negatives(run)
        if most is None:
            return "how many negatives it had is not known; accumulated batches add none in most trainers"
        return f"at most {most:,} negatives, those that are masked among them; they were not counted"
    parts = [f"{met - 1:,.0f} negatives a sequence in the last epoch, after masks"]
    if (rows := _number(run.record.get("rows_per_step"))) is not None:
        parts.append(f"{rows:,.0f} sequences a step")
    loss, below = _last(run, "train_infonce"), _last(run, "train_below_chance")
    if loss is not None and below is not None:
        parts.append(f"train_infonce is {loss:.2f}, {below:.2f} below the {loss + below:.2f} of chance")
    return "; ".join(parts)


def _most_negatives(run: Run) -> int | None:
    """The other targets of a step, and the bank as far as there were targets for it."""
    rows, targets = (_number(run.record.get(name)) for name in ("rows_per_step", "n_train"))
    bank = _number(run.config.get("bank")) or 0
    if rows is None or targets is None or not run.history.curve("train_infonce"):
        return None
    return int(min(math.ceil(rows) + bank, targets)) - 1


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _head(run: Run) -> str:
    if "head" in run.config and not run.config["head"]:
        return "it has no projection head"
    head = "InfoNCE acts in a projection head's space" if run.config else "whether it has a head is not known"
    loss, cosine = run.history.curve("train_infonce"), run.history.curve("val_cosine")
    if not loss or not cosine:
        return f"{head}; without train_infonce and val_cosine nothing more can be said"
    return (
        f"{head}: train_infonce went {loss[0][1]:.2f} -> {loss[-1][1]:.2f} while val_cosine, in the output "
        f"space, went {cosine[0][1]:.3f} -> {cosine[-1][1]:.3f}"
    )


def _control(run: Run) -> str:
    return f"a control without InfoNCE: if its val_cosine is higher, the head is to blame; {_head(run)}"


def _same_document(run: Run) -> str:
    met = _last(run, "negatives_same_document")
    if met is None:
        return "same-document negatives were not counted"
    return f"{met:,.0f} negatives of the sequence's own document in the last epoch"


def _baselines(run: Run) -> str:
    own = _last(run, "val_mrr")
    baselines = run.history.baselines("val_mrr")
    if own is None or not baselines:
        return "the history has no val_mrr of its own and of the baselines"
    beside = ", ".join(f"{name} {value:.3f}" for name, value in baselines.items())
    return f"val_mrr {own:.3f}, beside {beside}"
