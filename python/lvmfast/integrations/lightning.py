"""For the `Trainer` of Lightning (`lightning` or `pytorch_lightning`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lvmfast.integrations.checked import OnLeak, check, check_choice

if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    try:
        Callback = import_module("lightning.pytorch").Callback
    except ImportError:
        try:
            Callback = import_module("pytorch_lightning").Callback
        except ImportError as error:
            raise ImportError("this callback needs lightning: pip install lightning") from error


class LeakCheck(Callback):
    """Checks before the first step that the validation split was not seen in training.

    .. code-block:: python

        Trainer(callbacks=[LeakCheck(train_texts, validation_texts)])
        Trainer(callbacks=[LeakCheck(lambda t: t.datamodule.train, lambda t: t.datamodule.validation)])

    The leak status goes to all loggers of the trainer: ``leakcheck/leak`` (0 or 1) and ``leakcheck/LEVEL``
    (share of evaluation rows). Of several processes the first scans, and the others wait for its answer.
    """

    def __init__(self, train: Any, eval: Any, *, on_leak: OnLeak = "raise", **options: Any) -> None:
        """Scans nothing yet.

        Args:
            train: what is trained on, as `lvmfast.leakscan` takes it, or a function that is given the trainer
                and gives it. Tokens are no texts: give the data as it was before.
            eval: what is validated on, likewise.
            on_leak: ``raise`` a `LeakError`, or ``warn``.
            options: those of `lvmfast.leakscan`, such as ``levels``.

        Raises:
            DataError: `on_leak` is neither.
        """
        check_choice(on_leak)
        self.train, self.eval, self.on_leak, self.options = train, eval, on_leak, options

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Scans, logs and, if there is a leak, raises or warns.

        Raises:
            LeakError: there is a leak, and `on_leak` is ``raise``.
            DataError: the splits cannot be compared.
        """
        train, eval = (side(trainer) if callable(side) else side for side in (self.train, self.eval))
        checked = check(train, eval, self.options)
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(dict(checked.figures), step=0)
        checked.act(self.on_leak)
