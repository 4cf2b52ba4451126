"""The Rust core: arrays in, arrays out. `rust/src/python.rs` is its other half; stubtest compares them.

Texts are UTF-8 bytes with int64 offsets (row i is data[offsets[i]:offsets[i + 1]]). Arrays are aligned and
C-contiguous, or a ValueError says so. `threads` 0 means one per available core. Every call releases the GIL
and raises KeyboardInterrupt within a fraction of a second of Ctrl-C.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import final

import numpy as np
import numpy.typing as npt

__all__ = [
    "CsvReader",
    "FileHashes",
    "GramFilter",
    "GzipDecoder",
    "KeyTable",
    "KnownFields",
    "LineReader",
    "NearIndex",
    "OverlapAnswers",
    "OverlapIndex",
    "OverlapPairs",
    "SketchIndex",
    "Sketcher",
    "TextIndex",
    "TopSearch",
    "__version__",
    "blake3_bytes",
    "blake3_file",
    "describe_rows",
    "hash_texts_64",
    "hash_texts_128",
    "intersect",
    "kernel_name",
    "line_ends",
    "misspelt_number",
    "normalize_text",
    "numbered_window_cosines",
    "overlap_answers",
    "overlap_grams",
    "overlap_spans",
    "overlap_stretches",
    "overlap_unicode",
    "scan_within",
    "string_keys",
    "text_keys",
    "thread_count",
    "unicode_version",
    "window_cosines",
]

__version__: str

def unicode_version() -> str: ...
def normalize_text(text: str, mode: str) -> str: ...
def hash_texts_128(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], mode: str, threads: int
) -> npt.NDArray[np.uint64]:
    """(n, 2): the high and low words of xxh3-128 over each normalised text."""

def hash_texts_64(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], mode: str, threads: int
) -> npt.NDArray[np.uint64]:
    """(n,): xxh64, seed 0, over each normalised text."""

def text_keys(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], mode: str, min_chars: int, threads: int
) -> npt.NDArray[np.uint64]:
    """(n, 2) keys of texts: xxh3-128 over each normalised text, its high word at least 1; (0, 2) for an empty
    text and (0, 3) for one under min_chars."""

def string_keys(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], threads: int
) -> npt.NDArray[np.uint64]:
    """(n, 2) keys of string ids; the decimal text of an int64 i has the key (0, i)."""

def misspelt_number(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> int | None:
    """The first string id that stands for a number but is not spelt as integers are (``7.0``, ``1e3``)."""

def intersect(
    train: npt.NDArray[np.uint64], eval: npt.NDArray[np.uint64], threads: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every (train row, eval row) of equal (n, width) keys, sorted by both."""

def describe_rows(
    rows: npt.NDArray[np.float32], threads: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """The usability (n,) and the key (n, 2) of each of (n, d) rows, as `NearIndex.scan` gives them."""

def scan_within(
    rows: npt.NDArray[np.float32], threshold: float, threads: int
) -> tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.int64],
    npt.NDArray[np.uint8],
]:
    """Each pair of distinct (n, d) rows once: arrays left, right, cosine of the first rows of two groups of
    equal rows, left < right, sorted by both; then (n,) first_row, the first equal row of every row (-1 for an
    unusable one), and the usability code of every row. The rows are borrowed: a memory map is not copied.
    """

def window_cosines(
    targets: npt.NDArray[np.float32], windows: npt.NDArray[np.float32], threads: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Cosines (n, length) of (n, d) targets with their (n, length, d) windows, NaN where either is unusable,
    then the usability codes of the targets (n,) and of the windows (n, length)."""

def numbered_window_cosines(
    vectors: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    windows: npt.NDArray[np.int64],
    threads: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """As `window_cosines`, of (k, d) vectors that targets (n,) and windows (n, length) name by number."""

def blake3_bytes(data: bytes, threads: int) -> str: ...
def blake3_file(path: str | PathLike[str], threads: int) -> str: ...
def kernel_name() -> str:
    """The kernel of the cosine scans: `LVMFAST_KERNEL` if it is set, else the fastest this processor runs."""

def line_ends(block: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """How many there are (LF), and the bytes to the end of the first line and of the last; 0 without one."""

def thread_count(threads: int) -> int: ...
def overlap_grams(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], threads: int
) -> npt.NDArray[np.uint64]:
    """(n,): the hashes of all runs of 5 tokens of the texts, each at least once."""

def overlap_answers(
    document: str, items: list[tuple[str, str]], windows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """(n, 2): where an answer of each item (its question, and answers with U+001E between) stands near the
    window of the question (start and end in tokens of the document), in characters: the first place behind
    it, or the last before it, or the last within; (0, 0) where none does."""

def overlap_spans(
    document: str, items: list[str], windows: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """For each item and its window (start and end in tokens of the document), (n, 8): the common runs of at
    least 3 tokens of both: for each place of either the longest that ends with it, without those that go on.
    Start and end in the document, then in the item, in characters of the texts as they are, and the same four
    in bytes of their UTF-8; ascending.
    A character that stands for several tokens (½) is in a span as a whole."""

def overlap_stretches(document: str, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n, 2): where the tokens of each of n windows (start and end in tokens of the document) start and end,
    in characters; (0, 0) for a window without a token."""

def overlap_unicode() -> str:
    """The version of the Unicode tables by which tokens are made."""

@final
class CsvReader:
    """Columns `fields` of csv with a header, from blocks that may be cut anywhere; records have at most
    `longest` bytes."""

    def __new__(cls, delimiter: str, longest: int, fields: Sequence[str]) -> CsvReader: ...
    def feed(self, block: bytes) -> tuple[int, list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]]:
        """Takes the next block, of which an empty one is the end: the number of rows that it ended, and the
        texts of each field. Raises ValueError, naming the line."""

    def spans(self) -> npt.NDArray[np.uint64]:
        """(k, 2): where each record that the last block ended begins and ends in the stream, its line end
        included. The header counts as one."""

    @property
    def header(self) -> list[str] | None: ...

@final
class FileHashes:
    """BLAKE3 of files in hexadecimal, made while the caller does other work. It stops with the object."""

    def __new__(cls, paths: Sequence[str | PathLike[str]], threads: int) -> FileHashes: ...
    def wait(self) -> list[str]:
        """The hashes in the order of the paths, once. Raises OSError, naming a file that cannot be read."""

@final
class GzipDecoder:
    """A member of a gzip file."""

    def __new__(cls) -> GzipDecoder: ...
    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Some of what it holds, at most `max_length` bytes. Raises ValueError where it is broken."""

    @property
    def eof(self) -> bool:
        """Whether its end was met."""

    @property
    def needs_input(self) -> bool:
        """Whether it gives nothing more without other compressed bytes."""

    @property
    def unused_data(self) -> bytes:
        """What was given and not used: behind the end, what stands there."""

@final
class KeyTable:
    """A set of (n, width) keys with slots 0, 1, 2, ... in order of first insertion."""

    def __new__(cls, width: int, threads: int) -> KeyTable: ...
    def insert(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]: ...
    def find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The slot of each key, -1 where it was never inserted."""

    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

@final
class KnownFields:
    """The fields of JSON objects that were met, each with whether it had a value that is not null."""

    def __new__(cls) -> KnownFields: ...
    def add(self, name: str, valued: bool) -> None: ...
    def lead(self, lines: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
        """Of whole lines those before the first one that has a new field, the first value of one, or anything
        out of the ordinary: their bytes, number and objects; and the bytes to the end of that line."""

@final
class LineReader:
    """Columns (field, kind) of lines of JSON objects; kinds are text, id, vector and vectors. The fields
    `nulls` are to be null wherever they stand. Behind these columns come texts `made` of fields.

    Each is made of paths (field, steps (kind, name, value)), where a kind is field, items, item (its place is
    the name) or those (items whose field `name` says `value`); of a template, or None where all that is found
    is joined; and of what joins it."""

    def __new__(
        cls,
        columns: Sequence[tuple[str, str]],
        nulls: Sequence[str],
        made: Sequence[
            tuple[Sequence[tuple[str, Sequence[tuple[str, str, str]]]], Sequence[str] | None, str]
        ],
    ) -> LineReader: ...
    def read(
        self, parts: Sequence[npt.NDArray[np.uint8]]
    ) -> tuple[int, list[list[npt.NDArray[np.generic] | None]]] | None:
        """Of parts of whole lines the number of rows, and the buffers of each column as an Arrow array: of
        large_string for texts and ids, of lists (of lists) of float for vectors. None where anything is out
        of the ordinary."""

@final
class TextIndex:
    """Distinct normalised texts with slots; -2 stands for an empty text, -3 for one under min_chars."""

    def __new__(cls, mode: str, min_chars: int, threads: int) -> TextIndex: ...
    def add(self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...
    def find(self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The slot of each text, compared with the stored text itself; -1 where it is none of them."""

    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

@final
class NearIndex:
    """Distinct usable rows ("groups") of one side, scanned for cosines at or above a threshold.

    Usability codes: 0 usable, 1 zero, 2 NaN, 3 infinite, 4 norm below the smallest normal float32.
    """

    def __new__(cls, dim: int, threshold: float, threads: int) -> NearIndex: ...
    def add(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Adds (n, d) rows; the usability code of each."""

    def scan(
        self, rows: npt.NDArray[np.float32], every_key: bool = True
    ) -> tuple[
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        npt.NDArray[np.float64],
        npt.NDArray[np.uint8],
        npt.NDArray[np.uint64],
    ]:
        """Scans an (n, d) block: arrays row, group, cosine of every hit, sorted by row and group, then the
        usability (n,) and the key (n, 2) of every row; equal rows, and no others, share a key. Without
        `every_key`, which takes time, the key of a row without a hit is zeros."""

    def pairs(
        self, most: int, progress: Callable[[int], object]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64], int] | None:
        """Each pair of groups once: arrays left, right, cosine, left < right, sorted by both, and the number
        of cells that the join went by (0: none). None where more than `most` hits were found on the way.
        `progress` is called with the groups that are done."""

    def score(
        self, rows: npt.NDArray[np.float32], row: npt.NDArray[np.int64], group: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """The cosine (k,) of each pair of a usable row and a group: the same bits as in `scan`."""

    def vectors(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """A copy of the vectors of groups `start` to `stop`, (stop - start, d)."""

    def seek(self, rows: npt.NDArray[np.float32], first_row: int) -> npt.NDArray[np.uint8]:
        """Takes an (n, d) block, numbered from `first_row`, into the search for the nearest row of every
        group, whatever the threshold; the usability code of each row. Groups are added before the first."""

    def nearest(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Of the blocks that `seek` took: arrays (groups,) of the highest cosine, NaN without a usable row,
        and of the first row that has it, else -1."""

    @property
    def group_of_row(self) -> npt.NDArray[np.int64]:
        """The group of every added row, -1 for an unusable one."""

    @property
    def group_count(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

@final
class Sketcher:
    """Turns rows into integers along (width, d) directions, `steps` (width,) being their units."""

    def __new__(
        cls, directions: npt.NDArray[np.float32], steps: npt.NDArray[np.float64], threads: int
    ) -> Sketcher: ...
    def sketch(
        self, rows: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint16], npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
        """Of (n, d) rows: codes (n, width); bounds (n, 2), in units of 2^-15, of the norms of what a code
        leaves of its row, in the whole space and along the directions; usability (n,); keys (n, 2)."""

@final
class SketchIndex:
    """Sketches of one side. The proof of `bounds` is in docs/fingerprint.md."""

    def __new__(
        cls,
        directions: npt.NDArray[np.float32],
        steps: npt.NDArray[np.float64],
        codes: npt.NDArray[np.int8],
        rests: npt.NDArray[np.uint16],
        threads: int,
    ) -> SketchIndex: ...
    def bounds(
        self, rows: npt.NDArray[np.float32], threshold: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
        """Of (n, d) rows: a bound (n,) that no cosine with a sketched row exceeds, -inf where all are proven
        to be below the threshold; usability (n,); keys (n, 2)."""

@final
class TopSearch:
    """A search for the `count` rows with the highest cosines to each of (q, d) queries.

    The rows `excluded[offsets[i]:offsets[i + 1]]`, ascending, are not there for query i.
    """

    def __new__(
        cls,
        queries: npt.NDArray[np.float32],
        count: int,
        offsets: npt.NDArray[np.int64],
        excluded: npt.NDArray[np.int64],
        threads: int,
    ) -> TopSearch: ...
    def seek(self, rows: npt.NDArray[np.float32], first_row: int) -> npt.NDArray[np.uint8]:
        """Takes an (n, d) block, numbered from `first_row`; the usability code of each row."""

    def best(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Of the blocks that `seek` took: (q, count) cosines, descending, of equal ones the smaller row
        first; and (q, count) rows. NaN and -1 where a query has no more of them, or no direction."""

    @property
    def nbytes(self) -> int: ...

@final
class OverlapAnswers:
    """Answers of evaluation items by row: whether one stands near its question in a document. Texts come as
    (data, offsets); a row may have several answers, with U+001E between."""

    def __new__(cls) -> OverlapAnswers: ...
    def add(
        self,
        questions: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
        answers: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
        threads: int,
    ) -> npt.NDArray[np.bool_]:
        """Adds the next rows; whether each has an answer that can be looked for."""

    def nearby(
        self,
        documents: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
        places: npt.NDArray[np.int64],
        threads: int,
    ) -> npt.NDArray[np.bool_]:
        """(n,): at each of (n, 4) places (document, start and end of the question there in tokens, row),
        which ascend by document, whether an answer stands within 64 tokens of the question."""

    @property
    def nbytes(self) -> int: ...

@final
class OverlapIndex:
    """The evaluation side of overlap: whether an item stands inside a document, cut, re-wrapped or edited.
    The definition is in rust/src/overlap/mod.rs."""

    def __new__(cls) -> OverlapIndex: ...
    def add(self, data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], threads: int) -> None:
        """Adds the next items; a null row comes as an empty text."""

    def close(self, threads: int) -> None:
        """Ends adding, before which nothing can be scanned, and turns to all items."""

    def end(self, threads: int) -> None:
        """Ends adding; `scan` comes after `turn`."""

    def blocks(self, room: int) -> int | None:
        """Into how many blocks the items have to be parted, for the index of one to need `room` bytes at most
        while it is made; None where there are none so small. Nothing is added any more."""

    def turn(self, block: int, of: int, threads: int) -> None:
        """From now on `scan` looks for the items of the block of that number, from 0 on, of so many even
        ones in the order of items. What decides of a pair are all items, whatever the block."""

    def watch_grams(self) -> None:
        """From now on `scan` looks for the n-grams of the items of a block as well."""

    def take_seen(self) -> list[npt.NDArray[np.uint32]]:
        """Of n-grams of 8, 11 and 13 tokens: those that documents had since they were last taken, ascending,
        by the first place of each in the block, among the tokens of all distinct items, one after another."""

    def repeated_grams(self, which: int, threads: int) -> list[npt.NDArray[np.uint32]]:
        """(n,) and (n,): the places, ascending, of n-grams (8, 11 or 13 tokens for `which` 0, 1 or 2) that
        stand at an earlier one as well, in any block, and the first place of each."""

    def tokens(self) -> npt.NDArray[np.int32]:
        """(items,): tokens of each item. With fewer than 5 it matches nothing."""

    def words(self) -> npt.NDArray[np.int32]:
        """(items,): length of each item in words; twelve characters of Han, kana or Hangul are eight."""

    def same_as(self) -> npt.NDArray[np.int64]:
        """(items,): the first item with the same tokens, which stands for all of them in pairs."""

    def scan(
        self,
        data: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.int64],
        threads: int,
        starts: npt.NDArray[np.int64] | None = None,
        among: npt.NDArray[np.int64] | None = None,
    ) -> OverlapPairs:
        """The pairs of documents: each row, or, given (documents + 1,) `starts`, the rows from one to the
        next, as if a line break stood between them. Given items, be they of the block or not, they alone are
        looked for."""

    def possible(self, filter: GramFilter) -> npt.NDArray[np.float64]:
        """(items,): the share of the weight of an item's seeds that one of the documents whose grams are in
        the filter may hold, at most; 0 is proof that none of them matches, or an item of another block."""

    @property
    def items(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

@final
class GramFilter:
    """A set of runs of 5 tokens that never lacks one that was inserted: a split block Bloom filter, as Apache
    Parquet defines it, of (n, 8) words of 32 bits."""

    def __new__(cls, blocks: int) -> GramFilter: ...
    @staticmethod
    def of(blocks: npt.NDArray[np.uint32]) -> GramFilter: ...
    def insert(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Adds what `overlap_grams` gave."""

    @property
    def blocks(self) -> npt.NDArray[np.uint32]: ...
    @property
    def false_positive_rate(self) -> float:
        """How likely it holds a run that was never inserted."""

@final
class OverlapPairs:
    """Pairs of a document and a distinct item that stands in it, sorted by both: arrays, a value a pair."""

    def __len__(self) -> int: ...
    @property
    def document(self) -> npt.NDArray[np.int64]:
        """Its place among those of the batch."""

    @property
    def row_start(self) -> npt.NDArray[np.int64]:
        """Of the document's rows, from 0 on, the one in which the window starts."""

    @property
    def row_end(self) -> npt.NDArray[np.int64]:
        """The row behind that in which the window ends."""

    @property
    def row_token(self) -> npt.NDArray[np.int64]:
        """Tokens of the document before its row `row_start`."""

    @property
    def near_start(self) -> npt.NDArray[np.int64]:
        """The row in which what is near the window starts, as far as an answer may be from it."""

    @property
    def near_end(self) -> npt.NDArray[np.int64]:
        """The row behind that in which this ends."""

    @property
    def near_token(self) -> npt.NDArray[np.int64]:
        """Tokens of the document before its row `near_start`."""

    @property
    def touched(self) -> npt.NDArray[np.int64]:
        """(n, 3), sorted: ranges of rows that have to go for the item to stand in no run of the others: the
        number of the pair, the first row, the one behind the last, counted in the document."""

    @property
    def item(self) -> npt.NDArray[np.int64]:
        """The first item of its kind."""

    @property
    def covered(self) -> npt.NDArray[np.int32]:
        """The weight that the best window covers."""

    @property
    def weight(self) -> npt.NDArray[np.int32]:
        """The item's weight."""

    @property
    def tokens_covered(self) -> npt.NDArray[np.int32]:
        """Tokens of the item that the best window covers."""

    @property
    def words_covered(self) -> npt.NDArray[np.int32]:
        """Words of the item that the best window covers, those of templates left out."""

    @property
    def longest(self) -> npt.NDArray[np.int32]:
        """Tokens of the longest common run in the windows that were looked at."""

    @property
    def in_8(self) -> npt.NDArray[np.int32]:
        """Tokens of the item in common runs of at least 8 tokens in these windows."""

    @property
    def in_13(self) -> npt.NDArray[np.int32]:
        """Tokens of the item in common runs of at least 13 tokens in these windows."""

    @property
    def window_start(self) -> npt.NDArray[np.int64]:
        """The document's first token that the best window has in common with the item."""

    @property
    def window_end(self) -> npt.NDArray[np.int64]:
        """One more than the last such token."""

    @property
    def in_document(self) -> npt.NDArray[np.int32]:
        """The weight of the item that seeds in the whole document carry."""

    @property
    def strength(self) -> npt.NDArray[np.uint8]:
        """2 for a match, 1 for a whole item of too few words (short)."""

    @property
    def numbers_differ(self) -> npt.NDArray[np.bool_]:
        """Whether something is not covered, and all of it is numbers."""
