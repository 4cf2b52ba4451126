"""What an epoch is judged by: all validation sequences, and as many of training for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvmfast.corpus.dataset import Rows
from lvmfast.evals.augmented import augmented_queries
from lvmfast.evals.bootstrap import cluster_interval
from lvmfast.evals.density import NEIGHBOURS, WEIGHT
from lvmfast.evals.scoring import plain
from lvmfast.gates import TRAINING, Verdicts, at_epoch, gate_set, judge
from lvmfast.models.baselines import predict_baseline
from lvmfast.models.config import LAG_MIX_DENSITY, MIXES
from lvmfast.training.batches import SAMPLE, generator
from lvmfast.training.compute import Compute
from lvmfast.training.config import HIGHER_IS_BETTER, TrainConfig
from lvmfast.training.data import CLEAN, Side
from lvmfast.training.identities import Identities, identify
from lvmfast.training.state import Position, told_of_baseline
from lvmfast.training.steps import StepReader
from lvmfast.training.validation import (
    Pool,
    Quality,
    augmented_pool,
    distinct_names,
    make_pool,
    quality,
    scored,
)

_BLOCK = 4096


@dataclass(frozen=True)
class Judged:
    """The model as it was after an epoch."""

    figures: dict[str, float | None]  #: for a row of history.json
    sums: list[float]  #: of `best_by`, over the sequences of each document


class Judge:
    """Scores the model as it is, the same sequences among the same candidates after every epoch."""

    def __init__(self, compute: Compute, train: StepReader, val: StepReader, mix: Any) -> None:
        """Reads targets; predicts nothing yet. `mix`: the weights of the lag-mix baseline."""
        self._compute, self._val, self._mix = compute, val, mix
        self._neighbours = compute.model.neighbours
        self._pool = compute.pool(val)
        candidates = len(self._pool.vectors)
        self._places, names = comparable(train, candidates, train.config.threads)
        self._train, self._train_pool = train, self._open(train.side, self._places, names)
        pools = (self._pool, self._train_pool)
        threads = train.config.threads
        self._augmented = [
            augmented_pool(pool, self._neighbours, threads) for pool in pools if self._neighbours
        ]
        self._of_document = np.bincount(val.document)  #: sequences

    @property
    def sample(self) -> dict[str, int]:
        """How many training sequences stand beside the validation's, of how many documents."""
        return {
            "sequences": len(self._places),
            "documents": len(np.unique(self._train.document[self._places])),
            "candidates": len(self._train_pool.vectors),
        }

    @cached_property
    def baselines(self) -> dict[str, dict[str, float]]:
        """The validation figures of each baseline."""
        judged = {name: quality(self._mixed(name), self._pool) for name in MIXES}
        mixed = self._mixed("lag-mix").cpu().numpy()
        augmented = self._compute.tensor(augmented_queries(mixed, (WEIGHT,)))
        dense = augmented_pool(self._pool, (NEIGHBOURS,), self._train.config.threads)
        judged[LAG_MIX_DENSITY] = scored(augmented, self._pool, dense)
        return {name: told_of_baseline(_named(found)) for name, found in judged.items()}

    def _mixed(self, name: str) -> Tensor:
        """(n, d) of a mix, for every validation sequence."""
        side = self._val.side
        blocks = [
            predict_baseline(name, side.sequences.contexts(side.rows[i : i + _BLOCK]), self._mix)
            for i in range(0, len(side), _BLOCK)
        ]
        return self._compute.tensor(np.concatenate(blocks))

    def figures(self) -> Judged:
        """Those of the model for a row of history.json."""
        self._compute.model.eval()
        with torch.no_grad():
            return self._figures()

    def over_start(self, sums: Sequence[float], start: Sequence[float]) -> dict[str, Any]:
        """How far the model is above the start by `best_by`, from the sums of both over each document.

        The interval is over documents (`evals/bootstrap.py`); of one document there is none.
        """
        by = self._train.config.best_by
        gain = np.asarray(sums) - np.asarray(start)
        counts = self._of_document.astype(np.float64)
        low, high = cluster_interval(gain, np.arange(len(gain)), over=counts)
        better = low > 0 if HIGHER_IS_BETTER[by] else high < 0
        return {
            "by": by,
            "difference": float(gain.sum() / counts.sum()),
            "interval": plain(low, high),
            "documents": len(gain),
            "above": bool(better),
        }

    def _figures(self) -> Judged:
        places = self._val.bank(0)
        bank = self._compute.bank(self._val, places)
        predictions = self._room(len(self._val.side))
        sums = torch.zeros(4, dtype=torch.float64)
        total = np.zeros(len(self._val.side))
        for step in self._val.steps(0, 0, places):
            candidates = self._compute.candidates(step, bank)
            for micro in step.micros:
                prediction, losses = self._compute.losses(micro, candidates)
                predictions[self._compute.tensor(step.rows[micro.place])] = prediction
                total[step.rows[micro.place]] = losses.total.double().cpu().numpy()
                sums += losses.sums().cpu()[[0, 1, 4, 5]]
        loss, infonce, met, chance = (sums / len(self._val.side)).tolist()
        contrastive = len(places) > 0
        found = self._quality(predictions, 0)
        each = {"val_loss": total, **{f"val_{name}": row.cpu().numpy() for name, row in found.each.items()}}
        figures = {
            "val_loss": loss,
            "val_infonce": infonce if contrastive else None,
            "val_candidates": met if contrastive else None,
            "val_below_chance": chance - infonce if contrastive else None,
            "train_r5": self._quality(self._sample(), 1).r5,
            **_named(found),
        }
        by = each[self._train.config.best_by]
        return Judged(figures, np.bincount(self._val.document, by).tolist())

    def row(
        self, position: Position, figures: Mapping[str, Any], rate: float, leak_status: str
    ) -> dict[str, Any]:
        """The row of history.json, without its time, of the epoch that is done."""
        sums, contrastive = position.sums, self._train.config.infonce > 0
        return {
            "epoch": position.epoch,
            "train_loss": sums.loss / sums.rows,
            "train_infonce": sums.infonce / sums.rows if contrastive else None,
            "train_candidates": sums.candidates / sums.rows if contrastive else None,
            "train_below_chance": (sums.chance - sums.infonce) / sums.rows if contrastive else None,
            "train_ar_cosine": sums.cosine / sums.rows,
            **figures,
            "lr": rate,
            "negatives_same_document": sums.same_document if contrastive else None,
            "baselines": {**self.baselines, **position.beside(self._train.config)},
            **({} if leak_status == CLEAN else {"leak_status": leak_status}),
        }

    def _sample(self) -> Tensor:
        """Predictions for the training sample, from windows as they are."""
        side, places = self._train.side, self._places
        predictions = self._room(len(places))
        for start in range(0, len(places), _BLOCK):
            rows = side.rows[places[start : start + _BLOCK]]
            predictions[start : start + len(rows)] = self._compute.predict(side.sequences.inputs(rows))
        return predictions

    def _quality(self, predictions: Tensor, place: int) -> Quality:
        """Of predictions for validation (0) or for the training sample (1)."""
        pool = (self._pool, self._train_pool)[place]
        return (
            scored(predictions, pool, self._augmented[place])
            if self._augmented
            else quality(predictions, pool)
        )

    def _room(self, rows: int) -> Tensor:
        beside = len(self._neighbours) + bool(self._neighbours)
        return torch.empty(rows, self._val.side.sequences.dim + beside, device=self._compute.place.device)

    def _open(self, side: Side, places: Rows, names: Identities) -> Pool:
        return make_pool(self._compute.tensor(side.sequences.targets(side.rows[places])), names)


def judge_gates(config: TrainConfig, position: Position) -> Verdicts | None:
    """Holds a run to its gates, after their epoch alone, and ends it where it is to stop on them."""
    if position.epoch != config.gate_epoch:
        return None
    asked = at_epoch(gate_set(config.gates) if config.gates else TRAINING, position.epoch)
    epochs = {row["epoch"]: row for row in position.history}
    verdicts = judge(asked, {"epochs": epochs, "same_document_masked": config.mask_same_document})
    failed = ", ".join(judged.gate.name for judged in verdicts.gates if judged.status == "failed")
    if failed and config.on_fail == "stop":
        position.stopped = f"gates failed at epoch {position.epoch}: {failed}"
    return verdicts


def comparable(train: StepReader, candidates: int, threads: int) -> tuple[Rows, Identities]:
    """(k,) places of training sequences that are retrieved among `candidates` distinct targets of theirs.

    They are those of whole documents, drawn by the seed, so that a sequence has as many neighbours of its own
    document among the candidates as in validation; the last document is cut, and a small training side gives
    all it has.
    """
    rank = generator(train.config.seed, SAMPLE).permutation(int(train.document.max(initial=0)) + 1)
    order = np.argsort(rank[train.document], kind="stable")[: 2 * candidates]
    places = np.sort(order)
    names = train.identities
    if names is not None:
        own = Identities(names.target[places], names.context[places])
    else:
        rows = train.side.rows[places]
        own = identify(train.side.sequences, rows, threads, lambda phase, done, total: None)
    drawn = np.searchsorted(places, order)
    fresh = np.zeros(len(order), np.int64)
    fresh[np.unique(distinct_names(own.target)[drawn], return_index=True)[1]] = 1
    enough = int(np.searchsorted(np.cumsum(fresh), candidates)) + 1
    kept = np.sort(drawn[:enough])
    return places[kept], Identities(own.target[kept], own.context[kept])


def _named(found: Quality) -> dict[str, float]:
    return {f"val_{spec.name}": getattr(found, spec.name) for spec in fields(Quality) if spec.name != "each"}
