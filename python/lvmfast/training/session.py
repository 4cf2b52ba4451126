"""A run from its data to its last epoch: prepare, prove, train."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from lvmfast import _core
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.failures import reading
from lvmfast.durable import appearing, write_text
from lvmfast.errors import DataError
from lvmfast.leaks.cgroup import cores
from lvmfast.leaks.progress import Progress, silent
from lvmfast.models.baselines import CANDIDATES, evenly_spaced, fit_lag_mix
from lvmfast.models.build import build
from lvmfast.models.checkpoint import CheckpointInfo
from lvmfast.models.config import ModelConfig
from lvmfast.models.registry import MODELS
from lvmfast.models.threads import worthwhile
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.sentences import unchecked_rows
from lvmfast.splits.fingerprint import fingerprint, fingerprint_identity
from lvmfast.training.conclusion import concluded
from lvmfast.training.config import TrainConfig
from lvmfast.training.data import (
    LEAKED,
    Side,
    Sides,
    check_vectors,
    content_hash,
    file_stamps,
    input_files,
    leak_status,
    open_sides,
    scan_sides,
)
from lvmfast.training.device import Place, find_place, likely_device, repeatable
from lvmfast.training.identities import identify
from lvmfast.training.interrupts import stop_flag
from lvmfast.training.judging import Judge
from lvmfast.training.keeper import Keeper
from lvmfast.training.learner import Learner
from lvmfast.training.logged import Logs, logging
from lvmfast.training.optimiser import warmup_steps
from lvmfast.training.ranks import Ranks, joined_ranks
from lvmfast.training.run_folder import RunFolder, TrainedRun
from lvmfast.training.steps import StepReader
from lvmfast.training.toml import config_text
from lvmfast.training.trainer import EpochDone, Trainer


def run_session(
    config: TrainConfig,
    folder: RunFolder,
    resume: bool,
    progress: Progress,
    started: Callable[[Mapping[str, Any]], None],
    epoch_done: EpochDone,
) -> TrainedRun:
    """As `train`, with all figures settled."""
    with joined_ranks(likely_device(config)) as ranks:
        place = find_place(config)
        with repeatable(place):
            if not ranks.first:
                return _run(config, folder, place, ranks, silent, lambda run: None, lambda row: None)
            with folder.begun(resume=resume):
                return _run(config, folder, place, ranks, progress, started, epoch_done)


def _run(
    config: TrainConfig,
    folder: RunFolder,
    place: Place,
    ranks: Ranks,
    progress: Progress,
    started: Callable[[Mapping[str, Any]], None],
    epoch_done: EpochDone,
) -> TrainedRun:
    sides, report, leak = _proven_sides(config, folder, ranks, progress)
    if leak is not None:
        return TrainedRun(folder.path, [], None, LEAKED, leak, None, {})
    stamps = file_stamps(sides)
    _check_size(config, sides)
    train, val = _readers(config, sides, ranks, progress)
    torch.manual_seed(config.seed)
    mix = _lag_mix(sides.train)
    settled = _model_config(config, sides.train)
    unseen = settled.length - len(mix)  # chunks of a document that the baseline does not mix
    model = build(settled, device=place.device, mix=np.pad(mix, (unseen, 0)))

    def state() -> dict[str, Any]:
        before = folder.read_run()
        stated = _surroundings(place, ranks) | _statement(config, folder, sides, report, model, train)
        if before and before["files"] != stated["files"]:
            raise DataError(f"{folder.run}: files: the run began with other data: its hashes differ")
        rows = min(config.batch, round(stated["rows_per_step"]))
        return stated | {"threads": _threads(config, place, model, rows, len(sides.train), before or {})}

    run = ranks.told(state)
    torch.set_num_threads(run["threads"])
    info = CheckpointInfo(
        model.config,
        0,
        sides.train.sequences.provenance,
        run["leak_status"],
        run["train_hash"],
        run["fingerprint"],
    )

    def complete() -> CheckpointInfo:
        """With the fingerprint, which takes as long as many steps and is made when a checkpoint is due."""
        if not ranks.first:
            return info
        if file_stamps(sides) != stamps:
            raise DataError(
                f"{config.train[0]}: this or another file changed since the run began: no checkpoint could "
                "say what it was trained on"
            )
        if not folder.fingerprint.exists():
            fingerprint(sides.train_split, folder.fingerprint, threads=config.threads, progress=progress)
        run["fingerprint"] = fingerprint_identity(folder.fingerprint)
        folder.write_json(folder.run, run)
        return replace(info, fingerprint=run["fingerprint"])

    learner = Learner(model, train, place)
    judge = Judge(learner.compute, train, val, mix)
    keeper = Keeper(folder, learner, complete)
    if ranks.first:
        run |= {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "lag_mix": mix.tolist(),
            "train_sample": judge.sample,
        }
        folder.write_json(folder.run, run)
    position, trainer = keeper.resumed(), Trainer(learner, judge, keeper)
    logs = Logs(replace(config, log=config.log if ranks.first else ()), folder, run)

    def done(row: Mapping[str, Any]) -> None:
        logs.epochs(keeper.timed(position))
        epoch_done(row)

    with stop_flag() as stop, logging(logs, lambda: keeper.timed(position)):
        started(run)
        trainer.fit(position, stop, progress, done)
    return TrainedRun(
        folder.path,
        keeper.timed(position),
        position.best_epoch,
        info.leak_status,
        None,
        position.stopped,
        run,
        trainer.verdicts,
        concluded(position, config.residual),
    )


def _proven_sides(
    config: TrainConfig, folder: RunFolder, ranks: Ranks, progress: Progress
) -> tuple[Sides, LeakReport | None, str | None]:
    """The sides, the scan between them, and the leak that forbids to train, in a sentence.

    The first process decides and scans, and alone has the scan; the others then read what it decided.
    """
    report: LeakReport | None = None
    sides: Sides | None = None

    def prove() -> str | None:
        nonlocal report, sides
        if not folder.config.is_file():  # a run that goes on is still the run of those figures
            with folder.writing():
                write_text(folder.config, config_text(config))
        documents = None
        if folder.documents.is_file():
            with reading(str(folder.documents)):
                documents = pq.read_table(folder.documents)
        sides = open_sides(config, documents, progress)
        report = scan_sides(config, sides, progress)
        report.save(folder.leakscan)
        if sides.documents is not None and documents is None:
            with folder.writing(), appearing(folder.documents) as staged:
                pq.write_table(sides.documents, staged)
        if not (report.passed or config.allow_leaked):
            return str(report)
        check_vectors(sides, report)
        return None

    leak: str | None = ranks.told(prove)
    if sides is None:
        documents = None if config.val else pq.read_table(folder.documents)
        sides = open_sides(config, documents, progress)
    return sides, report, leak


def _check_size(config: TrainConfig, sides: Sides) -> None:
    if len(sides.train) < config.batch:
        name = sides.train.sequences.dataset.files[0].name
        raise DataError(
            f"{name}: {len(sides.train)} sequences to train on, fewer than a batch of {config.batch}: "
            "choose a smaller batch"
        )


def _readers(
    config: TrainConfig, sides: Sides, ranks: Ranks, progress: Progress
) -> tuple[StepReader, StepReader]:
    alone = Ranks(0, 1)
    names, side = None, _learned_from(config, sides.train)
    if config.infonce:
        names = identify(side.sequences, side.rows, config.threads, progress)
    train = StepReader(config, side, _documents(side), names, ranks, trains=True)
    val_names = identify(sides.val.sequences, sides.val.rows, config.threads, progress)
    val = StepReader(config, sides.val, _documents(sides.val), val_names, alone, trains=False)
    return train, val


def _learned_from(config: TrainConfig, side: Side) -> Side:
    """All of the training side, or what a few weights are learned from."""
    if not MODELS[config.model].neighbours:
        return side
    from lvmfast.training.lists import drawn_sequences

    return replace(side, rows=side.rows[drawn_sequences(_documents(side), config.seed)])


def _documents(side: Side) -> Rows:
    """(n,) the document of each row of a side, numbered from 0."""
    _, document = np.unique(side.sequences.doc_ids[side.rows], return_inverse=True)
    return document.reshape(-1)


def _lag_mix(side: Side) -> Any:
    rows = side.rows[evenly_spaced(len(side), CANDIDATES)]
    return fit_lag_mix(side.sequences.contexts(rows), side.sequences.targets(rows))


def _model_config(config: TrainConfig, side: Side) -> ModelConfig:
    named = {spec.name for spec in fields(ModelConfig)}
    shared = {name: value for name, value in vars(config).items() if name in named}
    shared["residual"] = None if config.residual == "none" else config.residual
    length = config.context or side.sequences.length
    return ModelConfig(dim=side.sequences.dim, length=length, **shared)


def _threads(
    config: TrainConfig,
    place: Place,
    model: torch.nn.Module,
    rows: int,
    targets: int,
    before: Mapping[str, Any],
) -> int:
    """Threads of torch's: those asked for; those that the run had, for another number rounds otherwise; else
    as many as a microbatch of so many rows is worth.
    """
    if config.threads or place.device.type != "cpu":
        return config.threads or torch.get_num_threads()
    if isinstance(had := before.get("threads"), int) and before.get("device") == place.name:
        return max(1, min(had, cores()))
    settled: ModelConfig = model.config
    passed = 1 if config.layout == "documents" else settled.length  # vectors for a prediction
    through = sum(parameter.numel() for parameter in model.parameters()) * passed
    candidates = (config.step_rows + min(config.bank, targets)) * (config.infonce > 0)
    return worthwhile(6 * rows * (through + candidates * settled.dim))


def _surroundings(place: Place, ranks: Ranks) -> dict[str, Any]:
    """What run.json says of where it runs."""
    return {
        "version": _core.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": place.name,
        "processes": ranks.count,
        "precision": place.precision,
        "compiled": place.compiled,
    }


def _statement(
    config: TrainConfig,
    folder: RunFolder,
    sides: Sides,
    report: LeakReport | None,
    model: Any,
    reader: StepReader,
) -> dict[str, Any]:
    """What run.json says, but for where it runs and what only the trainer knows."""
    assert report is not None
    files = input_files(report)
    steps = reader.steps_per_epoch
    unchecked = [said for finding in report.levels.values() if (said := unchecked_rows(finding))]
    notes = [*sides.notes, *_read_notes(sides), *unchecked, *_batch_notes(config, sides, reader, steps)]
    return {
        "recipe": config.recipe,
        "seed": config.seed,
        "model": model.config.to_dict(),
        "form": model.form,
        "leak_status": leak_status(report),
        "scan": {
            "verdict": report.summary["verdict"],
            "levels": {name: level["status"] for name, level in report.summary["levels"].items()},
        },
        "files": files,
        "train_hash": content_hash(files["train"]),
        "fingerprint": fingerprint_identity(folder.fingerprint) if folder.fingerprint.exists() else "",
        "provenance": dict(sides.train.sequences.provenance),
        "n_train": len(sides.train),
        "n_val": len(sides.val),
        "train_documents": int(_documents(sides.train).max()) + 1,
        "val_documents": int(_documents(sides.val).max()) + 1,
        "steps_per_epoch": steps,
        "rows_per_step": len(reader.side) / steps,
        "notes": notes,
    }


def _read_notes(sides: Sides) -> list[str]:
    """What the files of both sides, and of their payloads, gave cause to say."""
    splits = (sides.train_split, sides.val_split, sides.train.sequences.dataset, sides.val.sequences.dataset)
    return list(dict.fromkeys(note for split in splits for note in split.notes))


def _batch_notes(config: TrainConfig, sides: Sides, reader: StepReader, steps: int) -> list[str]:
    found = []
    if len(reader.side) < len(sides.train):
        found.append(
            f"the weights are learned from {len(reader.side):,} of {len(sides.train):,} sequences, in "
            f"{int(reader.document.max()) + 1:,} documents drawn by the seed: more would hardly change so "
            "few weights"
        )
    plain = -(-len(reader.side) // config.step_rows)
    limit = reader.limit
    if limit > config.max_per_document:
        found.append(
            f"up to {limit:,} sequences of a document per step, not {config.max_per_document}: one document "
            f"is so large a part of the {len(reader.side):,} that steps would be of a few sequences"
        )
    if steps > plain and config.max_per_document:
        found.append(
            f"at most {limit:,} sequences of a document per step: {steps:,} steps of about "
            f"{len(reader.side) / steps:.0f} sequences an epoch, not {plain:,} of {config.step_rows:,}"
        )
    total = steps * config.epochs
    if warmup_steps(config, total) >= total:
        found.append(
            f"the warmup of {warmup_steps(config, total):,} steps is as long as the run of {total:,}: "
            "the learning rate never reaches its peak (--warmup 0.05 takes a share of the run)"
        )
    return found
