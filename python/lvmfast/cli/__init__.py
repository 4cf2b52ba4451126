"""The command line: parse, call, render, exit code. No arithmetic; one file per command.

A module hangs its command on the app when it is imported, so this order is the order of `lvmfast --help`.
"""

# isort: off
from lvmfast.cli import leakscan
from lvmfast.cli import report
from lvmfast.cli import quarantine
from lvmfast.cli import clean
from lvmfast.cli import split
from lvmfast.cli import verify
from lvmfast.cli import fingerprint
from lvmfast.cli import ingest
from lvmfast.cli import train
from lvmfast.cli import eval
from lvmfast.cli import claims
from lvmfast.cli import gate
from lvmfast.cli import monitor
from lvmfast.cli import triage
from lvmfast.cli import plot
from lvmfast.cli import score
from lvmfast.cli import rerank
from lvmfast.cli import demo
from lvmfast.cli import convert

# isort: on
from lvmfast.cli.app import app

__all__ = [
    "app",
    "claims",
    "clean",
    "convert",
    "demo",
    "eval",
    "fingerprint",
    "gate",
    "ingest",
    "leakscan",
    "main",
    "monitor",
    "plot",
    "quarantine",
    "report",
    "rerank",
    "score",
    "split",
    "train",
    "triage",
    "verify",
]


def main() -> None:
    """The entry point of the `lvmfast` command."""
    app()
