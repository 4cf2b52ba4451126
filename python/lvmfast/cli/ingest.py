"""`lvmfast ingest`: from a dump to sequences that are proven fresh, and each stage by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.help import App
from lvmfast.cli.options import BatchSize, Bf16, Ignore, RayAddress
from lvmfast.cli.values import behind
from lvmfast.corpus.paths import Expansion
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.ray import device_here, embedder_of
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.ingest.articles import Domains, write_articles
from lvmfast.ingest.chunks import ChunkOptions, LengthUnit, write_chunks
from lvmfast.ingest.embeddings import write_embeddings
from lvmfast.ingest.pipeline import Ingested, ingest
from lvmfast.ingest.proof import Proven, Training, prove
from lvmfast.ingest.selection import Selection, parse_ranges
from lvmfast.ingest.sequences import Layout, write_sequences
from lvmfast.parse import read_json
from lvmfast.report.progress import progress_display
from lvmfast.report.terminal import show_table
from lvmfast.shown import say
from lvmfast.stores import holds

UNITS = {"articles": "articles", "chunks": "articles", "embeddings": "chunks"}

commands = App(
    help="Make fresh evaluation data from a Wikipedia dump: articles, chunks, embeddings and sequences.",
    no_args_is_help=True,
)
app.add_typer(commands, name="ingest")

Source = Annotated[
    str, typer.Argument(help="A MediaWiki dump (.xml, .xml.bz2), or jsonl or parquet of id, title, text.")
]
Out = Annotated[Path, typer.Option(metavar="PATH", help="What to write.")]
Articles = Annotated[
    list[str] | None,
    typer.Option(metavar="START:STOP", help="Half-open range of article indexes. Repeat for many."),
]
PageIds = Annotated[str | None, typer.Option(metavar="IDS", help="Page ids, separated by commas.")]
Titles = Annotated[list[str] | None, typer.Option(metavar="TITLE", help="A title. Repeat for many.")]
Random = Annotated[int | None, typer.Option(metavar="N", help="Take this many of these at random.")]
Seed = Annotated[int, typer.Option(help="Seed of the random draw.")]
DomainFile = Annotated[
    Path | None,
    typer.Option(
        metavar="JSON", help='Domain by parts of category names: {"science": ["physics", "biolog"]}.'
    ),
]
Target = Annotated[int, typer.Option(help="Desired length of a chunk.")]
Minimum = Annotated[int, typer.Option(help="Smallest length of a chunk.")]
Maximum = Annotated[int, typer.Option(help="Largest length of a chunk.")]
Unit = Annotated[LengthUnit, typer.Option(help="Unit of lengths: words, or tokens of the encoder.")]
Boilerplate = Annotated[
    bool, typer.Option("--drop-boilerplate/--keep-boilerplate", help="Leave out references and links.")
]
Language = Annotated[str, typer.Option(help="Language of the text, to find the ends of sentences.")]
EncoderName = Annotated[
    str,
    typer.Option("--encoder", metavar="MODEL", help="A sentence-transformers folder, or name on the hub."),
]
Device = Annotated[
    str | None, typer.Option(help="Where the encoder runs: cpu, cuda, ... Default: a GPU if there is one.")
]
Context = Annotated[int, typer.Option(help="Chunks before the target.")]
LayoutName = Annotated[
    Layout, typer.Option(help="chunks: every vector once; seed: copied contexts, as older scripts read them.")
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TRAIN", help="Training data that must not have seen the sequences. Repeat for many."
    ),
]
AgainstPayload = Annotated[str | None, typer.Option(metavar="PATH", help="Texts of the training data.")]
MinSequences = Annotated[
    int, typer.Option(help="If fewer sequences are left, say how many more articles are needed.")
]
Engine = Annotated[str, typer.Option(help="Where chunks are embedded: local, or ray for a cluster.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an unfinished run.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


@commands.command("wikipedia")
@exit_codes
@holds("out")
def wikipedia(
    dump: Source,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for everything that is made.")],
    encoder: EncoderName,
    articles: Articles = None,
    page_ids: PageIds = None,
    title: Titles = None,
    random: Random = None,
    seed: Seed = 0,
    domains: DomainFile = None,
    target: Target = 90,
    minimum: Minimum = 30,
    maximum: Maximum = 180,
    unit: Unit = "words",
    drop_boilerplate: Boilerplate = True,
    language: Language = "en",
    device: Device = None,
    bf16: Bf16 = False,
    batch_size: BatchSize = 64,
    context: Context = 5,
    layout: LayoutName = "chunks",
    against: Against = None,
    against_payload: AgainstPayload = None,
    ignore: Ignore = None,
    min_sequences: MinSequences = 0,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> Answer:
    """Make sequences of a dump's articles, and prove them fresh. Exit 0: done, 2: bad input.

    With --against, sequences that the training set matches at any level are dropped, and
    fresh/clean.json certifies the rest.
    """
    with progress_display(quiet, UNITS) as progress:
        done = ingest(
            dump,
            out,
            encoder=encoder,
            selection=_selection(articles, page_ids, title, random, seed),
            chunk_options=ChunkOptions(target, minimum, maximum, unit, drop_boilerplate),
            context=context,
            layout=layout,
            language=language,
            domains=_domains(domains),
            device=device,
            bf16=bf16,
            batch_size=batch_size,
            against=_training(against, against_payload, ignore) if against else None,
            engine=engine,  # type: ignore[arg-type]
            ray_address=ray_address,
            resume=resume,
            progress=progress,
        )
    _show(done, min_sequences)
    return Answer.YES


@commands.command("articles")
@exit_codes
@holds("out")
def articles_command(
    dump: Source,
    out: Out,
    articles: Articles = None,
    page_ids: PageIds = None,
    title: Titles = None,
    random: Random = None,
    seed: Seed = 0,
    domains: DomainFile = None,
    quiet: Quiet = False,
) -> Answer:
    """Stage 1: the wanted articles of a dump, as prose, to parquet."""
    selection = _selection(articles, page_ids, title, random, seed)
    with progress_display(quiet, UNITS) as progress:
        read = write_articles(dump, out, selection, domains=_domains(domains), progress=progress)
    for note in read.notes:
        say(note)
    dropped = "".join(f", {n:,} dropped: {reason}" for reason, n in read.dropped.items())
    say(f"{out}: {read.kept:,} articles of {read.passed:,} met{dropped}")
    return Answer.YES


@commands.command("chunks")
@exit_codes
@holds("out")
def chunks_command(
    articles: Annotated[Path, typer.Argument(help="The parquet file of stage 1.")],
    out: Out,
    target: Target = 90,
    minimum: Minimum = 30,
    maximum: Maximum = 180,
    unit: Unit = "words",
    encoder: Annotated[str | None, typer.Option(metavar="MODEL", help="Whose tokens to count.")] = None,
    drop_boilerplate: Boilerplate = True,
    language: Language = "en",
    quiet: Quiet = False,
) -> Answer:
    """Stage 2: articles cut into chunks at the ends of sentences, to parquet."""
    options = ChunkOptions(target, minimum, maximum, unit, drop_boilerplate)
    model = Encoder(encoder) if encoder and options.unit == "tokens" else None
    with progress_display(quiet, UNITS) as progress:
        cut = write_chunks(articles, out, options, encoder=model, language=language, progress=progress)
    say(
        f"{out}: {cut.chunks:,} chunks of {cut.words / cut.chunks:.0f} words on average "
        f"from {cut.articles:,} articles, {cut.too_short:,} of them too short"
    )
    return Answer.YES


@commands.command("embed")
@exit_codes
@holds("out")
def embed_command(
    chunks: Annotated[Path, typer.Argument(help="The parquet file of stage 2.")],
    out: Out,
    encoder: EncoderName,
    device: Device = None,
    bf16: Bf16 = False,
    batch_size: BatchSize = 64,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> Answer:
    """Stage 3: a vector for every chunk, to npz."""
    embed = embedder_of(engine, ray_address, device)
    model = Encoder(encoder, device=device_here(engine, device), bf16=bf16, batch_size=batch_size)
    with progress_display(quiet, UNITS) as progress:
        done = write_embeddings(chunks, out, model, embed=embed, resume=resume, progress=progress)
    where = f" on {done.device}" if done.device else ""
    cut = f", {done.truncated:,} longer than the {model.window} tokens it reads" if done.truncated else ""
    say(f"{out}: {done.chunks:,} vectors of {model.dim}{where}{cut}")
    return Answer.YES


@commands.command("sequences")
@exit_codes
@holds("out")
def sequences_command(
    embeddings: Annotated[Path, typer.Argument(help="The npz file of stage 3.")],
    out: Out,
    context: Context = 5,
    layout: LayoutName = "chunks",
) -> Answer:
    """Stage 4: windows of consecutive chunks and the chunk that follows, to npz."""
    count = write_sequences(embeddings, out, context, layout)
    say(f"{out}: {count:,} sequences of {context} + 1 chunks")
    return Answer.YES


@commands.command("prove")
@exit_codes
@holds("out", "report")
def prove_command(
    sequences: Annotated[Path, typer.Argument(help="The npz file of stage 4, in the layout chunks.")],
    chunks: Annotated[Path, typer.Option(metavar="PATH", help="The parquet file of stage 2: their texts.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for sequences.npz and clean.json.")],
    against: Against,
    against_payload: AgainstPayload = None,
    ignore: Ignore = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the report of the scan that decided what was dropped."),
    ] = None,
    layout: LayoutName = "chunks",
    min_sequences: MinSequences = 0,
    quiet: Quiet = False,
) -> Answer:
    """Stage 5: keep the sequences that training has not seen, and certify them."""
    training = _training(against, against_payload, ignore)
    with progress_display(quiet, UNITS) as progress:
        done = prove(sequences, chunks, out, training, report=report, layout=layout, progress=progress)
    for line in _proof_lines(asdict(done), out, min_sequences):
        say(line)
    return Answer.YES


def _training(against: Against, payload: str | None, ignore: list[str] | None) -> Training:
    files = behind(against, ignore)
    paths = files.files if isinstance(files, Expansion) else files or ()
    return Training(tuple(paths), payload)


def _proof_lines(proof: Mapping[str, Any], fresh: Path, wanted: int) -> Iterator[str]:
    levels = ", ".join(f"{level} {n:,}" for level, n in proof["levels"].items())
    yield f"Seen in training and dropped: {proof['dropped']:,} of {proof['scanned']:,} ({levels or 'none'})"
    for reason in proof["unseen"]:
        yield f"Not checked: {reason}"
    yield f"Proven clean: {proof['sequences']:,} sequences; `lvmfast verify {fresh}` checks it again"
    missing = Proven(**proof).articles_missing(wanted)
    if missing:
        per_article = proof["sequences"] / proof["articles"]
        yield (
            f"Fewer than the {wanted:,} wanted: about {missing:,} more articles are needed, "
            f"at {per_article:.1f} sequences an article"
        )


def _show(done: Ingested, min_sequences: int) -> None:
    stages = done.stages
    articles, chunks, vectors = stages["articles"], stages["chunks"], stages["embeddings"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("articles met", f"{articles['passed']:,}")
    table.add_row("articles kept", f"{articles['kept']:,}")
    for reason, count in articles["dropped"].items():
        table.add_row(f"dropped: {reason}", f"{count:,}")
    table.add_row("too short for a chunk", f"{chunks['too_short']:,}")
    table.add_row("chunks", f"{chunks['chunks']:,}")
    table.add_row("words per chunk", f"{chunks['words'] / chunks['chunks']:.0f}")
    if vectors["truncated"]:
        table.add_row("chunks longer than the encoder reads", f"{vectors['truncated']:,}")
    table.add_row("sequences", f"{stages['sequences']['sequences']:,}")
    show_table(table)
    for note in articles["notes"]:
        say(note)
    made = "sequences.npz"
    if "proof" in stages:
        made = "fresh/sequences.npz, fresh/clean.json, report/"
        for line in _proof_lines(stages["proof"], done.out / "fresh", min_sequences):
            say(line)
    say(f"{done.out}: articles.parquet, chunks.parquet, {made}")


def _selection(
    articles: list[str] | None, page_ids: str | None, titles: list[str] | None, random: int | None, seed: int
) -> Selection:
    ids = [text.strip() for text in page_ids.split(",")] if page_ids else []
    wrong = next((text for text in ids if not text.isdecimal()), None)
    if wrong is not None:
        raise DataError(f"--page-ids: expected numbers separated by commas, got {wrong!r}")
    return Selection(
        parse_ranges(articles or ()), frozenset(map(int, ids)), frozenset(titles or ()), random, seed
    )


def _domains(path: Path | None) -> Domains | None:
    if path is None:
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a JSON object: {error}") from error
    if not isinstance(content, dict) or not all(
        isinstance(patterns, list) and all(isinstance(p, str) for p in patterns)
        for patterns in content.values()
    ):
        raise DataError(f'{path}: expected lists of strings by domain, such as {{"science": ["physics"]}}')
    return {name: tuple(patterns) for name, patterns in content.items()}
