"""`train`: one call from sequence files to the folder of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError, missing_extra
from lvmfast.gates import gate_set
from lvmfast.leaks.progress import Progress
from lvmfast.models.threads import wait_quietly
from lvmfast.report.progress import shown
from lvmfast.training.config import FORMER_NAMES, FREE, TrainConfig, typed
from lvmfast.training.logged import check_loggers
from lvmfast.training.processes import is_first_process, one_voice_a_machine
from lvmfast.training.recipes import settle
from lvmfast.training.run_folder import RunFolder, TrainedRun
from lvmfast.training.toml import read_config

#: What its phases count that do not count rows.
UNITS = {"train": "sequences", "name vectors": "sequences"}


def train(
    train: Any = None,
    *,
    out: str | PathLike[str],
    config: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | bool = False,
    started: Callable[[Mapping[str, Any]], None] = lambda run: None,
    epoch_done: Callable[[Mapping[str, Any]], None] = lambda row: None,
    **figures: Any,
) -> TrainedRun:
    """Trains a next-vector model, on data that a leak scan has passed, into the folder `out`.

    Args:
        train: path of the training sequences, or a list of them; may stand in `config` instead.
        out: the run's folder: new or empty, or that of the run to resume.
        config: a TOML file of figures, such as the `config.toml` of another run.
        resume: go on where the run in `out` stopped. Figures may be left out then, and must not differ.
        progress: True shows how far it is, in the first process; or what is called as (phase, done, total).
        started: called with what run.json says, before the first step.
        epoch_done: called with each row of history.json.
        figures: any field of `TrainConfig` by its name: over `config`, which is over the recipe's.

    Raises:
        DataError: bad input; a loss that is no number any more; a file that cannot be written. Of several
            processes one raises it, the others its subclass `FollowedError`.
        KeyboardInterrupt: Ctrl-C; where training had begun it is `Interrupted`, and the state is saved.
    """
    if train is not None:
        figures["train"] = [str(path) for path in train] if isinstance(train, (list, tuple)) else str(train)
    folder = RunFolder(Path(out))
    wait_quietly()
    with one_voice_a_machine():
        settled = _settle(folder, config, figures, resume=resume)
        if settled.gates:
            gate_set(settled.gates)  # a broken file of gates is told now, not after hours
        try:
            import safetensors  # noqa: F401
            import torch  # noqa: F401
        except ImportError as error:
            raise missing_extra("training", "train", error) from error
        check_loggers(settled.log)
    from lvmfast.training.session import run_session

    asked = progress if is_first_process() or not isinstance(progress, bool) else False
    with shown(asked, UNITS) as told:
        return run_session(settled, folder, resume, told, started, epoch_done)


def _settle(
    folder: RunFolder, config: str | PathLike[str] | None, figures: Mapping[str, Any], *, resume: bool
) -> TrainConfig:
    stated = {} if config is None else read_config(str(config))
    if not (resume and folder.config.is_file()):
        return settle("train", stated, figures)
    before = settle(str(folder.config), read_config(folder.config))
    asked = {FORMER_NAMES.get(name, name): value for name, value in {**stated, **figures}.items()}
    for name, old in asdict(before).items():
        new = typed("train", name, asked.get(name, old))
        if old != new and name not in FREE:
            raise DataError(
                f"{folder.config}: {name}: the run has {old!r}, --resume was asked for {new!r}; "
                "other settings need another run"
            )
    return settle("train", asdict(before), asked)
