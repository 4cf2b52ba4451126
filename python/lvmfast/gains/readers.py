"""The files that evaluators write, a reader for each: what of a record is the item, and what its score."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmfast.corpus.codecs import without_codec
from lvmfast.corpus.expressions import Expression
from lvmfast.corpus.failures import reading
from lvmfast.corpus.lines import line_blocks
from lvmfast.corpus.streams import decompressed
from lvmfast.errors import DataError
from lvmfast.gains.scored import Scored, Scores, chosen, leaves, number, row_of, text_of
from lvmfast.parse import decoded, parse_json, read_json

Record = Mapping[str, Any]
Records = Iterable[tuple[str, Record]]  #: of where each stands, and it

#: Bytes of the largest JSON file of an evaluator: its logs hold all that was said.
MOST_JSON = 4 << 30
#: Characters of the longest cell of a table: that of a prompt with a long context, and not 128 Ki.
MOST_CELL = 1 << 30
#: The names of files that a folder of scores is searched for.
IN_FOLDERS = (
    "samples_*.jsonl",
    "*.eval",
    "per_instance_stats.json",
    "details_*.parquet",
    "hits.parquet",
)
#: Fields of a plain table, the first that is there.
SCORES = ("score", "correct", "is_correct", "acc", "accuracy", "exact_match", "value")
IDS = ("id", "item_id", "doc_id", "question_id", "task_id", "sample_id", "instance_id")
ROWS = ("row", "eval_row", "index")
FILES = ("file", "eval_file")
TEXTS = ("text", "question", "prompt", "input", "problem")
#: What HELM's scenarios are scored by, among dozens of figures of each instance.
OF_HELM = (
    *("exact_match", "quasi_exact_match", "prefix_exact_match", "quasi_prefix_exact_match"),
    *("final_number_exact_match", "math_equiv", "math_equiv_chain_of_thought", "ifeval_strict_accuracy"),
    *("chain_of_thought_correctness", "f1_score", "rouge_l", "bleu_4"),
)


@dataclass(frozen=True)
class Asked:
    """What is looked for in a file."""

    metric: str | None  #: the name of the score
    texts: Mapping[str, Expression]  #: what the scan made texts of, by its words


@dataclass(frozen=True)
class Reader:
    """A kind of file: what its first record has, and what is made of its records."""

    knows: Callable[[Record], bool]
    read: Callable[[str, Records, Asked], Iterable[Scores]]


def read_scores(path: str, asked: Asked) -> list[Scores]:
    """The scores in a file or a folder of an evaluator's files, by file and model.

    Raises:
        DataError: it cannot be read, is of no known kind, is empty, or holds scores that are no numbers.
    """
    if os.path.isdir(path):
        files = sorted({str(file) for name in IN_FOLDERS for file in Path(path).rglob(name)})
        if not files:
            raise DataError(f"{path}: no file of scores in it; looked for {', '.join(IN_FOLDERS)}")
        return [found for file in files for found in read_scores(file, asked)]
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file or folder")
    with reading(path):
        records = _records(path)
        first = next(records, None)
        if first is None:
            raise DataError(f"{path}: expected scores of items, found none")
        reader = next(reader for reader in READERS if reader.knows(first[1]))
        found = list(reader.read(path, _behind(first, records), asked))
    if not any(scores.items for scores in found):
        raise DataError(f"{path}: expected scores of items, found none")
    return found


def _behind(first: tuple[str, Record], others: Iterator[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    yield first
    yield from others


def _records(path: str) -> Iterator[tuple[str, Record]]:
    """Where each record of a file stands, and it. A JSON object that is the whole file is one record."""
    suffix = os.path.splitext(without_codec(path).lower())[1]
    if suffix == ".eval":
        yield path, _of_archive(path)
    elif suffix in (".parquet", ".pq"):
        yield from _of_parquet(path)
    elif suffix in (".csv", ".tsv"):
        yield from _of_csv(path, "\t" if suffix == ".tsv" else ",")
    elif suffix in (".jsonl", ".ndjson", ".jl", ".json"):
        if suffix == ".json" and _is_one_object(path):
            with decompressed(path) as stream:
                content = b"".join(iter(lambda: stream.read(1 << 24), b""))
            yield path, parse_json(path, content, MOST_JSON)
        else:
            yield from _of_lines(path)
    else:
        raise DataError(
            f"{path}: expected scores as .jsonl, .json, .csv, .tsv (plain or compressed), .parquet, or .eval"
        )


def _is_one_object(path: str) -> bool:
    """Whether a JSON file is one object, and neither a list nor an object a line."""
    first = b""
    with decompressed(path) as stream:
        while b"\n" not in first and (more := stream.read(max(1 << 16, len(first)))):
            first = (first + more).lstrip(b"\xef\xbb\xbf \t\r\n")
    first, newline, _ = first.partition(b"\n")
    if not first.startswith(b"{"):
        return False
    try:
        return not newline or not isinstance(parse_json(path, first), dict)
    except DataError:
        return True


def _of_lines(path: str) -> Iterator[tuple[str, Record]]:
    with decompressed(path) as stream:
        for lines in line_blocks(path, stream):
            for line, content in lines.numbered():
                place = f"{path}: line {line}"
                record = parse_json(place, content)
                if not isinstance(record, dict):
                    raise DataError(f"{place}: expected an object, got {type(record).__name__}")
                yield place, record


def _of_csv(path: str, separator: str) -> Iterator[tuple[str, Record]]:
    with decompressed(path) as stream:
        parts = list(iter(lambda: stream.read(1 << 24), b""))
    text = decoded(path, b"".join(parts)).removeprefix("\ufeff")
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    csv.field_size_limit(MOST_CELL)  # of the process: there is no other
    try:
        _check_names(path, rows.fieldnames or ())
        for row in rows:
            place = f"{path}: line {rows.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{place}: expected {len(rows.fieldnames or ())} cells, as in the header")
            yield place, row
    except csv.Error as error:
        raise DataError(f"{path}: line {rows.line_num}: {error}") from error


def _of_parquet(path: str) -> Iterator[tuple[str, Record]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        # Neither vectors nor lists of hits are looked at.
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        names = [field.name for field in file.schema_arrow if not any(is_(field.type) for is_ in lists)]
        _check_names(path, names)
        row = 0
        for batch in file.iter_batches(1 << 14, columns=names):
            for record in batch.to_pylist():
                yield f"{path}: row {row}", record
                row += 1


def _check_names(path: str, names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path}: the column {twice!r} stands twice")


def _of_archive(path: str) -> Record:
    """A log that inspect-ai wrote as an archive: its header, and the samples one by one."""
    import sys

    if sys.version_info >= (3, 14):
        import zipfile
    else:
        from backports.zstd import zipfile  # which reads what is compressed by zstd, too
    try:
        with zipfile.ZipFile(path) as archive:
            names = dict.fromkeys(archive.namelist())
            header = "header.json" if "header.json" in names else "_journal/start.json"
            samples = [name for name in names if name.startswith("samples/") and name.endswith(".json")]
            if header not in names:
                raise DataError(f"{path}: no header.json in it: expected a log of inspect-ai")
            log, *told = (
                parse_json(f"{path}: {name}", archive.read(name), MOST_JSON) for name in [header, *samples]
            )
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: expected a log of inspect-ai: {error}") from error
    return {**log, "samples": told}


def _made(texts: Mapping[str, Expression], record: Record) -> dict[str, str]:
    """What a record has of the texts that the scan was made of."""
    found = {}
    for words, expression in texts.items():
        try:
            text = expression.of_row(record)
        except ValueError:
            continue
        if text:
            found[words] = text
    return found


def _of_harness(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """`samples_TASK_DATE.jsonl` of lm-evaluation-harness (``--log_samples``): one line an item and filter."""
    name, _, wanted = (asked.metric or "").partition(",")
    by_filter: dict[str, list[Scored]] = {}
    metric = None
    for place, record in records:
        doc = _object(record.get("doc"))
        filter_ = str(record.get("filter", "none"))
        if wanted and filter_ != wanted:
            by_filter.setdefault(filter_, [])
            continue
        stated = record.get("metrics")
        names = stated if isinstance(stated, list) else [key for key in record if key not in _OF_SAMPLES]
        metric = metric or chosen(place, name or None, {key: record.get(key) for key in names})
        if metric not in record:
            raise DataError(f"{place}: {metric}: no such score in this line")
        texts = _made(asked.texts, doc) | _made(asked.texts, record) | dict(leaves("doc.", doc))
        texts |= dict(leaves("", next(iter(_object(record.get("arguments")).values()), {})))
        item = Scored(
            place,
            number(place, metric, record[metric]),
            _first(doc, IDS),
            row_of(record.get("doc_id")),
            texts,
        )
        by_filter.setdefault(filter_, []).append(item)
    filters = {filter_: items for filter_, items in by_filter.items() if items}
    if not filters:
        raise DataError(f"{path}: no filter {wanted!r}; there is {', '.join(by_filter)}")
    used = next(iter(filters))
    notes = []
    if len(filters) > 1:
        others = ", ".join(f"{metric},{other}" for other in filters if other != used)
        notes.append(f"{path}: scored by the filter {used}; --metric takes {others} instead")
    model, stated_name = _model_of_harness(path)
    metric = f"{metric}" if used == "none" else f"{metric},{used}"
    yield Scores(path, "lm-evaluation-harness", model, metric, filters[used], notes, stated_name)


_OF_SAMPLES = frozenset(
    "doc_id doc target arguments resps filtered_resps filter metrics doc_hash prompt_hash target_hash".split()
)


def _model_of_harness(path: str) -> tuple[str, bool]:
    """The model in the results beside the samples, else the folder they lie in."""
    for file in sorted(Path(path).parent.glob("results_*.json")):
        results = read_json(file, MOST_JSON)
        if isinstance(results, dict) and isinstance(results.get("model_name"), str) and results["model_name"]:
            return results["model_name"], True
    return Path(path).stem, False


def _of_inspect(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """A log of inspect-ai, JSON or ``.eval``: one sample an item and epoch."""
    (_, log), *_ = records
    spec = _object(log.get("eval"))
    samples = log.get("samples")
    if not isinstance(samples, list):
        raise DataError(f"{path}: no samples in it; inspect-ai logs them unless it is told not to")
    dataset = _object(spec.get("dataset"))
    metric, items = None, []
    for at, sample in enumerate(samples):
        place = f"{path}: sample {at + 1}"
        if not isinstance(sample, dict):
            raise DataError(f"{place}: expected an object, got {type(sample).__name__}")
        given = sample.get("scores") or {}
        values = {name: score.get("value") for name, score in given.items() if isinstance(score, dict)}
        for name, value in list(values.items()):
            if isinstance(value, dict):
                values |= {f"{name}/{key}": inner for key, inner in value.items()}
        if metric is None and values:
            metric = chosen(place, asked.metric, values)
        score = None if metric is None else values.get(metric)
        id_ = text_of(sample.get("id"))
        # Ids that the evaluator made count from 1, after the set was shuffled, if it was.
        made = isinstance(sample.get("id"), int) and not dataset.get("shuffled")
        said = _said(sample.get("input"), sample.get("attachments") or {})
        own = _object(sample.get("metadata"))
        texts = _made(asked.texts, own) | dict(leaves("metadata.", own)) | ({"input": said} if said else {})
        items.append(
            Scored(
                place,
                number(place, metric or "score", score),
                id_,
                sample["id"] - 1 if made and sample["id"] > 0 else None,
                texts,
                repeat=str(sample.get("epoch", "")),
            )
        )
    status = log.get("status")
    notes = [] if status in (None, "success") else [f"{path}: the log says that its run is {status}"]
    model = str(spec.get("model") or "")
    yield Scores(path, "inspect-ai", model or Path(path).stem, metric or "score", items, notes, bool(model))


def _said(input_: Any, attachments: Mapping[str, Any]) -> str | None:
    """What a user asks in a sample of inspect-ai: a text, or the texts of messages."""

    def whole(text: str) -> str:
        kept = attachments.get(text.removeprefix("attachment://"))
        return str(kept) if text.startswith("attachment://") and kept is not None else text

    if isinstance(input_, str):
        return whole(input_) or None
    texts = []
    for message in input_ if isinstance(input_, list) else []:
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"text": content}]
            texts += [
                whole(part["text"])
                for part in parts
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            ]
    return "\n".join(texts) or None


def _of_helm(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """`per_instance_stats.json` of HELM; `instances.json` or `scenario_state.json` beside it has texts."""
    texts = _instances_of_helm(Path(path).parent)
    found: list[tuple[str, Record, dict[str, Any]]] = []
    for place, record in records:
        stats = record.get("stats")
        values = {
            str(stat["name"].get("name")): stat.get("mean")
            for stat in (stats if isinstance(stats, list) else [])
            if isinstance(stat, dict) and isinstance(stat.get("name"), dict)
        }
        if record.get("perturbation") is None:
            found.append((place, record, values))
    there = {name: value for _, _, values in reversed(found) for name, value in values.items()}
    metric = chosen(path, asked.metric, there, OF_HELM)
    items = []
    for place, record, values in found:
        if metric not in values:
            continue  # the metrics of a run stand in records of their own
        id_ = text_of(record.get("instance_id"))
        said = {} if id_ not in texts else {"input.text": texts[id_]}
        trial = str(record.get("train_trial_index", ""))
        items.append(Scored(place, number(place, metric, values[metric]), id_, None, said, repeat=trial))
    spec_file = Path(path).parent / "run_spec.json"
    spec = _object(read_json(spec_file) if spec_file.is_file() else {})
    model = str(_object(spec.get("adapter_spec")).get("model") or "")
    name = model or Path(path).resolve().parent.name
    yield Scores(path, "HELM", name, metric, items, stated=bool(model))


def _instances_of_helm(folder: Path) -> dict[str, str]:
    """The text of each instance by its id, as far as files beside the scores have it."""
    found: dict[str, str] = {}
    for name in ("instances.json", "scenario_state.json"):
        file = folder / name
        if found or not file.is_file():
            continue
        content = read_json(file, MOST_JSON)
        states = content if isinstance(content, list) else _object(content).get("request_states")
        for state in states if isinstance(states, list) else []:
            instance = _object(_object(state).get("instance", state))
            said = _object(instance.get("input")).get("text")
            if isinstance(said, str) and "id" in instance and instance.get("perturbation") is None:
                found[str(instance["id"])] = said
    return found


def _of_lighteval(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """`details_TASK_DATE.parquet` of lighteval: `doc` and `metric`; of old ones `example` and `metrics`."""
    metric, items = None, []
    for place, record in records:
        doc = _object(record.get("doc"))
        values = record.get("metric") or record.get("metrics") or {}
        if not isinstance(values, dict):
            raise DataError(f"{place}: metric: expected an object, got {type(values).__name__}")
        metric = metric or chosen(place, asked.metric, values)
        specific = _object(doc.get("specific"))
        texts = _made(asked.texts, specific) | dict(leaves("doc.specific.", specific))
        texts |= dict(leaves("doc.", doc)) | dict(leaves("", {"example": record.get("example")}))
        row = row_of(doc.get("id"))
        items.append(Scored(place, number(place, metric, values.get(metric)), None, row, texts))
    parts = Path(path).parts
    inner = parts[parts.index("details") + 1 : -2] if "details" in parts[:-2] else ()
    name = "/".join(inner) or Path(path).stem
    yield Scores(path, "lighteval", name, metric or "score", items, stated=bool(inner))


def _of_hits(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """`hits.parquet` of `lvmfast eval`: a row a query, model, pool and context; R@5, or what is asked."""
    metric = asked.metric or "R@5"
    depth = re.fullmatch(r"R@(\d{1,9})", metric)
    if metric != "MRR" and depth is None:
        raise DataError(f"{path}: no score {metric!r}; there is MRR, and R@k such as R@5")

    def score(record: Record) -> float:
        rank = record["rank"]
        return 1 / rank if depth is None else float(rank <= int(depth[1]))

    yield from _by_model(
        path, records, metric, lambda place, record: Scored(place, score(record), None, record["query_idx"])
    )


def _of_documents(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """`documents.parquet` of `lvmfast eval`: a score a document, which all of its rows have."""
    metric = asked.metric or "R@5"

    def scored(place: str, record: Record) -> Scored:
        if metric not in record:
            raise DataError(f"{path}: no score {metric!r} in it")
        return Scored(place, number(place, metric, record[metric]), text_of(record["doc_id"]))

    yield from _by_model(path, records, metric, scored)


def _by_model(
    path: str, records: Records, metric: str, scored: Callable[[str, Record], Scored]
) -> Iterator[Scores]:
    """What an evaluation says of each model in its first pool, with the context out where that is known."""
    found: dict[tuple[str, str], dict[str, list[Scored]]] = {}
    for place, record in records:
        of_pool = found.setdefault((record["pool"], record["context"]), {})
        of_pool.setdefault(str(record["model"]), []).append(scored(place, record))
    pool = next(iter(found))[0]
    context = "out" if (pool, "out") in found else next(iter(found))[1]
    note = f"{path}: scores in the pool {pool}, context {context}"
    for model, items in found[pool, context].items():
        yield Scores(path, "lvmfast eval", model, metric, items, [note])


def _of_table(path: str, records: Records, asked: Asked) -> Iterator[Scores]:
    """A table of item and score, whose fields have one of the names above; `model` parts it."""
    metric: str | None = None
    by_model: dict[str, list[Scored]] = {}
    for at, (place, record) in enumerate(records):
        if metric is None:
            there = {
                name: record[name] for name in (SCORES if asked.metric is None else record) if name in record
            }
            metric = next(iter(there), None) if asked.metric is None else chosen(place, asked.metric, there)
            if metric is None:
                raise DataError(
                    f"{place}: expected a score: one of {', '.join(SCORES)}, or what --metric names; "
                    f"there is {', '.join(map(str, list(record)[:20]))}"
                )
        if metric not in record:
            raise DataError(f"{place}: no {metric} there")
        fields = {name: value for name, value in record.items() if name != metric}
        texts = _made(asked.texts, fields) | dict(leaves("", {name: fields.get(name) for name in TEXTS}))
        id_, row = _first(fields, IDS), next((row_of(fields[name]) for name in ROWS if name in fields), None)
        if id_ is not None and text_of(fields.get("chunk_id")) is not None and "doc_id" in fields:
            id_ = f"{text_of(fields['doc_id'])}\n{text_of(fields['chunk_id'])}"
        named = any(name in fields for name in (*IDS, *ROWS)) or bool(texts)
        item = Scored(
            place,
            number(place, metric, record[metric]),
            id_,
            row if named else at,
            texts,
            _first(fields, FILES),
        )
        by_model.setdefault(text_of(fields.get("model")) or "", []).append(item)
    for model, items in by_model.items():
        name = model or Path(without_codec(path)).stem
        yield Scores(path, "table", name, str(metric), items, stated=bool(model))


def _object(value: Any) -> Record:
    """An object of JSON; of anything else nothing."""
    return value if isinstance(value, dict) else {}


def _first(record: Record, names: Sequence[str]) -> str | None:
    return next((found for name in names if (found := text_of(record.get(name))) is not None), None)


def _has(*names: str) -> Callable[[Record], bool]:
    return lambda record: all(name in record for name in names)


#: Every kind there is; the last one takes what no other knows.
READERS: tuple[Reader, ...] = (
    Reader(_has("doc_id", "doc", "filtered_resps"), _of_harness),
    Reader(_has("eval", "plan"), _of_inspect),
    Reader(_has("instance_id", "stats"), _of_helm),
    Reader(_has("doc", "metric"), _of_lighteval),
    Reader(_has("example", "metrics"), _of_lighteval),
    Reader(_has("model", "pool", "context", "query_idx", "rank"), _of_hits),
    Reader(_has("model", "pool", "context", "doc_id", "n_queries"), _of_documents),
    Reader(lambda record: True, _of_table),
)
