"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _address_of_ray(context: typer.Context, given: str | None) -> str | None:
    """The address, unless it stands in the environment and Ray was not asked for: that is no fault."""
    source = context.get_parameter_source("ray_address")
    of_environment = source is not None and source.name == "ENVIRONMENT"
    return None if of_environment and context.params.get("engine") != "ray" else given


Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Skip files and folders with such names. Repeat for many."),
]
Texts = Annotated[
    str | None, typer.Option(metavar="PATH", help="Texts by (doc_id, chunk_id): parquet or jsonl.")
]
TrainTexts = Annotated[str | None, typer.Option(metavar="PATH", help="Texts for --train alone.")]
EvalTexts = Annotated[str | None, typer.Option(metavar="PATH", help="Texts for --eval alone.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FIELD", help="Read column NAME (doc_id, text, ...) from FIELD."),
]
TrainColumns = Annotated[
    list[str] | None, typer.Option(metavar="NAME=FIELD", help="The same for --train alone.")
]
EvalColumns = Annotated[
    list[str] | None, typer.Option(metavar="NAME=FIELD", help="The same for --eval alone.")
]
BenchmarkNames = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="Benchmarks by name, beside --eval or in its place: mmlu,gsm8k (see `lvmfast benchmarks`).",
    ),
]
BenchmarkTable = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Benchmarks of your own, TOML (docs/named-benchmarks.md)."),
]
Threshold = Annotated[float, typer.Option(help="Cosine from which two vectors match.")]
NearName = Annotated[
    str | None,
    typer.Option(
        "--near",
        metavar="same|paraphrase",
        help="Instead of --threshold: the one measured for the encoder, for the same text or a paraphrase.",
    ),
]
Normalize = Annotated[str, typer.Option(metavar="default|none|strict", help="How texts are made comparable.")]
MinChars = Annotated[
    int, typer.Option(help="Texts with fewer characters after normalisation are not checked.")
]
DecisionsFile = Annotated[
    str | None,
    typer.Option(
        "--decisions",
        metavar="FILE",
        help="Decisions of `lvmfast review`: matches that are boilerplate do not count (docs/review.md).",
    ),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="MODEL",
        help="Make vectors of texts that have none: a sentence-transformers folder, or name on the hub.",
    ),
]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Run the encoder in bfloat16.")]
BatchSize = Annotated[int, typer.Option(help="Texts that the encoder takes at once.")]
Threads = Annotated[
    int, typer.Option(envvar="LVMFAST_THREADS", help="Threads to use; 0: one per available core.")
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        envvar="LVMFAST_MEMORY_LIMIT",
        help="Memory to stay within, such as 4GiB; what does not fit goes to disk, or is refused.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        envvar="LVMFAST_RAY_ADDRESS",
        callback=_address_of_ray,
        help="Address of the Ray cluster: auto, or HOST:PORT. By default, this machine.",
    ),
]
NewFolder = Annotated[
    str, typer.Option(metavar="DIR", help="Folder, or URI of one, to write to: empty, or not there yet.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, on stdout alone.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="Print no progress and no tables, only the closing line.")
]
RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Folder of a run, or the history of any trainer (docs/gates.md)."),
]
Epoch = Annotated[int, typer.Option(min=0, help="Epoch to judge, for gates that name none.")]
Gates = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Gates of your own, TOML or JSON (docs/gates.md).")
]
