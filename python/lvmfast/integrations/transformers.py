"""For `transformers.Trainer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lvmfast.integrations.checked import OnLeak, check, check_choice

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError("this callback needs transformers: pip install transformers") from error


class LeakCheck(TrainerCallback):
    """Checks before the first step that the evaluation split was not seen in training.

    .. code-block:: python

        check = LeakCheck(train_dataset, eval_dataset)
        trainer = Trainer(..., callbacks=[check])
        check.log = trainer.log  # the leak status goes to the trainer's loggers, too

    Of several processes the first scans, and the others wait for its answer.
    """

    def __init__(
        self,
        train: Any,
        eval: Any,
        *,
        on_leak: OnLeak = "raise",
        log: Callable[[dict[str, float]], Any] | None = None,
        **options: Any,
    ) -> None:
        """Scans nothing yet.

        Args:
            train: what is trained on, as `lvmfast.leakscan` takes it: paths, a data set of Hugging Face with
                its texts, lists of texts. Tokens are no texts: give the data as it was before.
            eval: what is evaluated on.
            on_leak: ``raise`` a `LeakError`, or ``warn``.
            log: called with the leak status as figures, ``leakcheck/leak`` (0 or 1) and
                ``leakcheck/LEVEL`` (share of evaluation rows); `trainer.log` sends them to its loggers.
            options: those of `lvmfast.leakscan`, such as ``levels``.

        Raises:
            DataError: `on_leak` is neither.
        """
        check_choice(on_leak)
        self.train, self.eval, self.on_leak, self.log, self.options = train, eval, on_leak, log, options

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Scans, logs and, if there is a leak, raises or warns.

        Raises:
            LeakError: there is a leak, and `on_leak` is ``raise``.
            DataError: the splits cannot be compared.
        """
        checked = check(self.train, self.eval, self.options)
        if self.log is not None:
            self.log(dict(checked.figures))
        checked.act(self.on_leak)
