"""Was my evaluation set seen in training? Exact leak scans over ids, texts and vectors."""

from lvmfast._core import __version__
from lvmfast.api import leakscan
from lvmfast.corpus import Dataset, load_split
from lvmfast.errors import DataError, LeakError, LvmfastError
from lvmfast.evals.evaluate import evaluate
from lvmfast.evals.evaluation import Evaluation
from lvmfast.leaks.arrays import hash_texts, intersect_pairs
from lvmfast.leaks.near_duplicates import NearDuplicates, near_duplicates
from lvmfast.leaks.nearest import Nearest, nearest
from lvmfast.report.leak_report import LeakReport
from lvmfast.splits.clean import clean
from lvmfast.splits.fingerprint import fingerprint, fingerprint_identity
from lvmfast.splits.quarantine import quarantine, quarantined, restore
from lvmfast.splits.quarantine import resume as resume_quarantine
from lvmfast.splits.result import CleanSplit
from lvmfast.splits.split import split
from lvmfast.splits.verify import Verification, verify
from lvmfast.training.train import TrainedRun, train

__all__ = [
    "CleanSplit",
    "DataError",
    "Dataset",
    "Evaluation",
    "LeakError",
    "LeakReport",
    "LvmfastError",
    "NearDuplicates",
    "Nearest",
    "TrainedRun",
    "Verification",
    "__version__",
    "clean",
    "evaluate",
    "fingerprint",
    "fingerprint_identity",
    "hash_texts",
    "intersect_pairs",
    "leakscan",
    "load_split",
    "near_duplicates",
    "nearest",
    "quarantine",
    "quarantined",
    "restore",
    "resume_quarantine",
    "split",
    "train",
    "verify",
]
