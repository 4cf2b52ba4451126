"""Was my evaluation set seen in training? Exact leak scans over ids, texts and vectors."""

from importlib import import_module

from lvmfast.errors import DataError, IncompleteError, LeakError, LvmfastError

TYPE_CHECKING = False  # of a name that type checkers know; typing itself takes its time to load
if TYPE_CHECKING:
    from lvmfast._core import __version__
    from lvmfast.api import leakscan
    from lvmfast.calibration.threshold import threshold
    from lvmfast.corpus import Dataset, load_split
    from lvmfast.corpus.benchmarks import named_benchmarks
    from lvmfast.encoding.embed import embed
    from lvmfast.evals.evaluate import evaluate
    from lvmfast.evals.evaluation import Evaluation
    from lvmfast.gains.impact import Impact, impact
    from lvmfast.leaks.arrays import hash_texts, intersect_pairs
    from lvmfast.leaks.near_duplicates import NearDuplicates, near_duplicates
    from lvmfast.leaks.nearest import Nearest, nearest
    from lvmfast.merging import merge
    from lvmfast.options import LeakscanOptions
    from lvmfast.report.leak_report import LeakReport
    from lvmfast.splits.clean import clean
    from lvmfast.splits.fingerprint import fingerprint, fingerprint_identity
    from lvmfast.splits.quarantine import quarantine, quarantined, restore
    from lvmfast.splits.quarantine import resume as resume_quarantine
    from lvmfast.splits.result import CleanSplit
    from lvmfast.splits.split import split
    from lvmfast.splits.verify import Verification, verify
    from lvmfast.training.run_folder import TrainedRun
    from lvmfast.training.train import train

__all__ = [
    "CleanSplit",
    "DataError",
    "Dataset",
    "Evaluation",
    "Impact",
    "IncompleteError",
    "LeakError",
    "LeakReport",
    "LeakscanOptions",
    "LvmfastError",
    "NearDuplicates",
    "Nearest",
    "TrainedRun",
    "Verification",
    "__version__",
    "clean",
    "embed",
    "evaluate",
    "fingerprint",
    "fingerprint_identity",
    "hash_texts",
    "impact",
    "intersect_pairs",
    "leakscan",
    "load_split",
    "merge",
    "named_benchmarks",
    "near_duplicates",
    "nearest",
    "quarantine",
    "quarantined",
    "restore",
    "resume_quarantine",
    "split",
    "threshold",
    "train",
    "verify",
]

#: Where the other names are, imported when they are first used: a scan does not wait for the trainer.
_HOMES = {
    "__version__": ("lvmfast._core", "__version__"),
    "leakscan": ("lvmfast.api", "leakscan"),
    "Dataset": ("lvmfast.corpus", "Dataset"),
    "load_split": ("lvmfast.corpus", "load_split"),
    "threshold": ("lvmfast.calibration.threshold", "threshold"),
    "embed": ("lvmfast.encoding.embed", "embed"),
    "evaluate": ("lvmfast.evals.evaluate", "evaluate"),
    "Evaluation": ("lvmfast.evals.evaluation", "Evaluation"),
    "impact": ("lvmfast.gains.impact", "impact"),
    "Impact": ("lvmfast.gains.impact", "Impact"),
    "hash_texts": ("lvmfast.leaks.arrays", "hash_texts"),
    "intersect_pairs": ("lvmfast.leaks.arrays", "intersect_pairs"),
    "NearDuplicates": ("lvmfast.leaks.near_duplicates", "NearDuplicates"),
    "near_duplicates": ("lvmfast.leaks.near_duplicates", "near_duplicates"),
    "Nearest": ("lvmfast.leaks.nearest", "Nearest"),
    "nearest": ("lvmfast.leaks.nearest", "nearest"),
    "merge": ("lvmfast.merging", "merge"),
    "named_benchmarks": ("lvmfast.corpus.benchmarks", "named_benchmarks"),
    "LeakscanOptions": ("lvmfast.options", "LeakscanOptions"),
    "LeakReport": ("lvmfast.report.leak_report", "LeakReport"),
    "clean": ("lvmfast.splits.clean", "clean"),
    "fingerprint": ("lvmfast.splits.fingerprint", "fingerprint"),
    "fingerprint_identity": ("lvmfast.splits.fingerprint", "fingerprint_identity"),
    "quarantine": ("lvmfast.splits.quarantine", "quarantine"),
    "quarantined": ("lvmfast.splits.quarantine", "quarantined"),
    "restore": ("lvmfast.splits.quarantine", "restore"),
    "resume_quarantine": ("lvmfast.splits.quarantine", "resume"),
    "CleanSplit": ("lvmfast.splits.result", "CleanSplit"),
    "split": ("lvmfast.splits.split", "split"),
    "Verification": ("lvmfast.splits.verify", "Verification"),
    "verify": ("lvmfast.splits.verify", "verify"),
    "TrainedRun": ("lvmfast.training.run_folder", "TrainedRun"),
    "train": ("lvmfast.training.train", "train"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
