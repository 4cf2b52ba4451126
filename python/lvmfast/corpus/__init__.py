"""READ: files, folders and arrays become a `Dataset` that streams `Batch`es of rows."""

from lvmfast.corpus.dataset import COLUMNS, Batch, Column, Coverage, Dataset, SplitFile
from lvmfast.corpus.load import load_payload, load_split
from lvmfast.corpus.payload import Payload

__all__ = [
    "COLUMNS",
    "Batch",
    "Column",
    "Coverage",
    "Dataset",
    "Payload",
    "SplitFile",
    "load_payload",
    "load_split",
]
