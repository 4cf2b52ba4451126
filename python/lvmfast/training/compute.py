"""What of a run happens on its device: arrays become tensors, windows become predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.documents import Packs
from lvmfast.models.next_vector import NextVectorModel
from lvmfast.training.config import TrainConfig
from lvmfast.training.device import Place
from lvmfast.training.loss import Negatives, Objective, RowLosses
from lvmfast.training.steps import Micro, Step, StepReader
from lvmfast.training.validation import Pool, make_pool


class Compute:
    """A model and its objective on their device."""

    def __init__(
        self, config: TrainConfig, model: NextVectorModel, objective: Objective, place: Place
    ) -> None:
        """Model and objective are on the device already."""
        self.model, self.objective, self.place = model, objective, place
        self._batch = config.batch
        self._compiled: nn.Module = torch.compile(model) if place.compiled else model
        self._pool: Pool | None = None

    def start(self, reader: StepReader) -> None:
        """Puts the model where training begins, before the first step of a run."""

    def pool(self, val: StepReader) -> Pool:
        """The distinct targets of the side that does not train, made once."""
        if self._pool is None:
            assert val.identities is not None
            targets = val.targets(np.arange(len(val.side)))
            self._pool = make_pool(self.tensor(targets), val.identities)
        return self._pool

    def predict(self, contexts: Vectors | Packs) -> Tensor:
        """(k, d) float32 of (k, length, d) windows, or of the k places of documents that are asked for.

        Neither a last, smaller microbatch is worth compiling for nor documents, whose shapes change.
        """
        if isinstance(contexts, Packs):
            with self.place.autocast():
                every = self.model.every(self.tensor(contexts.vectors), self.tensor(contexts.since))
            return every.flatten(0, 1)[self.tensor(contexts.place)].float()
        forward = self._compiled if len(contexts) == self._batch else self.model
        with self.place.autocast():
            prediction = forward(self.tensor(contexts))
        found: Tensor = prediction.float()
        return found

    def tensor(self, values: npt.NDArray[Any]) -> Tensor:
        """The array on the device."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.place.device, non_blocking=True)

    def bank(self, reader: StepReader, places: Rows) -> Any:
        """(b, d) unit vectors: the targets of `places`; None of none."""
        if not len(places):
            return None
        return nn.functional.normalize(self.tensor(reader.targets(places)), dim=-1)

    def candidates(self, step: Step, bank: Any) -> Any:
        """What every sequence of a step is scored against."""
        return self.objective.candidates(self.tensor(step.targets), bank)

    def losses(self, micro: Micro, candidates: Any) -> tuple[Tensor, RowLosses]:
        """(k, d) predictions of a microbatch, and their losses; `candidates` are those of its step."""
        prediction = self.predict(micro.contexts)
        place, negatives = self.tensor(micro.place), self._negatives(micro)
        return prediction, self.objective(prediction, place, candidates, negatives)

    def _negatives(self, micro: Micro) -> Negatives | None:
        """What a microbatch excludes, on the device."""
        found = micro.exclusions
        if found is None:
            return None
        masked, same = (
            (self.tensor(rows), self.tensor(columns)) for rows, columns in (found.masked, found.same_document)
        )
        return Negatives(masked, self.tensor(found.dropped), same)
