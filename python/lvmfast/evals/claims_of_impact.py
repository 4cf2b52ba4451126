"""What may be said of a score once it is known what leaked: from `impact.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lvmfast.evals.claim import IMPACT_FILE, Claim
from lvmfast.parse import Fields, as_documented, read_json
from lvmfast.report.impact_sentences import figure, interval_text


def of_impact(folder: Path) -> list[Claim]:
    """The claims about the scores of each model, but for that of the control.

    Raises:
        DataError: the file is broken.
    """
    file = folder / IMPACT_FILE
    models = Fields(str(file), read_json(file, nan=False)).list("models")
    with as_documented(file):
        return [claim for model in models if not model["control"] for claim in _of_model(model, str(file))]


def _of_model(model: Mapping[str, Any], file: str) -> Iterator[Claim]:
    found, against = model["overall"], model["against_control"]
    name, leaked = f"{model['name']}: {model['metric']}", found["leaked"]["items"]

    def score(group: str) -> str:
        interval = interval_text(model, found[group]["interval"], signed=False)
        return f"{figure(model, found[group]['mean'])} {interval}".rstrip()

    of_all = f"{name} {score('all')}, on all {found['all']['items']:,} items, as a figure of unseen data"
    if leaked:
        why = f"{leaked:,} of these items were seen in training"
        yield Claim("invalid", of_all, why, (file,))
    if found["clean"]["items"]:
        items = f"{found['clean']['items']:,} items that the scan found nothing of"
        said = f"{name} {score('clean')}, on the {items}"
        yield Claim("valid", said, "no level of the scan matched them", (file,), outside=True)
    gain = f"{figure(model, found['gain']['difference'], signed=True)} "
    gain += interval_text(model, found["gain"]["interval"])
    better = f"{model['name']} does better on what leaked"
    by_memory = f"{model['name']} does better on what leaked because it saw it"
    if found["verdict"] == "too few":
        yield Claim("pending", better, "too few items leaked, or are clean, for a statement", (file,))
    elif found["verdict"] != "advantage":
        yield Claim("pending", better, f"no advantage is shown: a gain of {gain}", (file,))
    else:
        yield Claim("valid", f"{better}: a gain of {gain}", "the interval is above 0", (file,))
        if against is None:
            why = "leaked items may be easier; only a control that did not see them can show that"
            yield Claim("pending", by_memory, why, (file,))
        elif against["verdict"] == "advantage":
            more = figure(model, against["leaked_minus_clean"]["difference"], signed=True)
            more += f" {interval_text(model, against['leaked_minus_clean']['interval'])}"
            why = f"leaked items are {more} further above clean ones than with {against['control']}"
            yield Claim("valid", f"easier items alone do not explain that {better}", why, (file,))
        else:
            why = f"beside {against['control']}, which did not see them, no difference is shown"
            yield Claim("pending", by_memory, why, (file,))
