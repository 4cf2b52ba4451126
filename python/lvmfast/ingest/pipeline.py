"""`ingest`: all stages in one resumable call."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lvmfast.corpus.paths import expand
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.ray import device_here, embedder_of
from lvmfast.errors import naming
from lvmfast.ingest.articles import Domains, write_articles
from lvmfast.ingest.chunks import ChunkOptions, write_chunks
from lvmfast.ingest.embeddings import write_embeddings
from lvmfast.ingest.proof import Training, check_encoder, prove
from lvmfast.ingest.run import (
    ARTICLES,
    CHUNKS,
    EMBEDDINGS,
    FRESH,
    REPORT,
    SEQUENCES,
    UNPROVEN,
    begin,
)
from lvmfast.ingest.selection import Selection
from lvmfast.ingest.sequences import Layout, check_windows, write_sequences
from lvmfast.leaks.progress import Progress, silent
from lvmfast.stores import holds


@dataclass
class Ingested:
    """What a run of `ingest` made, stage by stage."""

    out: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@holds("out")
def ingest(
    source: str,
    out: str | os.PathLike[str],
    *,
    encoder: str,
    selection: Selection | None = None,
    chunk_options: ChunkOptions | None = None,
    context: int = 5,
    layout: Layout = "chunks",
    language: str = "en",
    domains: Domains | None = None,
    device: str | None = None,
    bf16: bool = False,
    batch_size: int = 64,
    against: Training | None = None,
    engine: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Ingested:
    """Makes sequences of a dump's articles: articles, chunks, embeddings, windows, and proves them fresh.

    Args:
        source: a MediaWiki XML dump, plain or bz2; or jsonl (also compressed) or parquet of id, title, text.
        out: the folder for everything that is made; empty or not there, or an unfinished run's.
        encoder: a sentence-transformers folder, or a name on the model hub.
        selection: which articles; all by default.
        chunk_options: how long chunks are.
        context: chunks before the target of a sequence.
        layout: ``chunks`` stores each vector once, ``seed`` copies contexts as older scripts read them.
        language: for the ends of sentences, an ISO 639 code.
        domains: patterns of category names by domain.
        device: where the encoder runs; a GPU where there is one.
        bf16: run the encoder in bfloat16.
        batch_size: texts that the encoder takes at once.
        against: training data to prove the sequences fresh against; those that training saw are dropped.
        engine: where chunks are embedded: in this process, or on the workers of a Ray cluster, who must have
            the encoder under the same name. All other stages run here.
        ray_address: of the cluster, as ``ray.init`` takes it (``auto``, ``host:port``); None for one of this
            machine that ends with the stage.
        resume: go on with an unfinished run. The result is the same, byte for byte.
        progress: called as (phase, done, in all or None).

    Raises:
        DataError: bad input, in any stage; or `out` holds another run, or one that was cut off without
            `resume`. After an error the next call goes on from the stages that it leaves as they are.
    """
    folder = Path(out)
    check_windows(context, layout)
    selection = selection or Selection()
    chunk_options = chunk_options or ChunkOptions()
    asked = {
        "source": _identity(source),
        "selection": {
            **asdict(selection),
            "page_ids": sorted(selection.page_ids),
            "titles": sorted(selection.titles),
        },
        "chunks": asdict(chunk_options),
        "language": language,
        "domains": {name: list(patterns) for name, patterns in (domains or {}).items()},
        "encoder": {"name": encoder, "bf16": bf16},
        "context": context,
        "layout": layout,
        "proof": against is not None,
        "against": [_identity(path) for path in _training_files(against)],
    }
    embedder = embedder_of(engine, ray_address, device)
    run = begin(folder, json.loads(json.dumps(asked)), resume)
    articles, chunks = folder / ARTICLES, folder / CHUNKS
    embeddings = folder / EMBEDDINGS

    @cache
    def model() -> Encoder:
        return Encoder(encoder, device=device_here(engine, device), bf16=bf16, batch_size=batch_size)

    def cut() -> dict[str, Any]:
        counted = model() if chunk_options.unit == "tokens" else None
        done = write_chunks(
            articles, chunks, chunk_options, encoder=counted, language=language, progress=progress
        )
        return asdict(done)

    def embed() -> dict[str, Any]:
        made = write_embeddings(
            chunks, embeddings, model(), embed=embedder, resume=run.goes_on, progress=progress
        )
        return asdict(made)

    # With a proof to come, the sequences are only on their way.
    sequences = folder / (UNPROVEN if against else SEQUENCES)

    def window() -> dict[str, Any]:
        made = "chunks" if against else layout
        return {"sequences": write_sequences(embeddings, sequences, context, made)}

    def prove_fresh() -> dict[str, Any]:
        assert against is not None
        fresh, report = folder / FRESH, folder / REPORT
        done = prove(sequences, chunks, fresh, against, report=report, layout=layout, progress=progress)
        return asdict(done)

    if "embeddings" not in run.stages:  # an encoder that is not there is told now, not after hours
        encoder_here = model()
        if against:
            check_encoder(against, encoder_here)
    run.start()
    done = Ingested(folder)
    done.stages["articles"] = run.stage(
        "articles",
        lambda: asdict(write_articles(source, articles, selection, domains=domains, progress=progress)),
    )
    done.stages["chunks"] = run.stage("chunks", cut)
    done.stages["embeddings"] = run.stage("embeddings", embed)
    done.stages["sequences"] = run.stage("sequences", window)
    embeddings.unlink(missing_ok=True)  # its vectors stand in the sequences
    if against:
        done.stages["proof"] = run.stage("proof", prove_fresh)
        sequences.unlink(missing_ok=True)
    return done


def _training_files(against: Training | None) -> list[str]:
    if against is None:
        return []
    return expand([*against.paths, *([against.payload] if against.payload else [])]).files


def _identity(source: str) -> dict[str, Any]:
    with naming(source, "cannot be read"):
        stat = os.stat(source)
    return {"path": os.path.abspath(source), "size": stat.st_size, "modified": stat.st_mtime_ns}
