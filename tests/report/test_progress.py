"""What a log shows of the progress of a long run."""

from __future__ import annotations

from lvmfast.report import progress


def test_the_rate_is_that_of_this_process(monkeypatch, capsys):
    """A run that goes on, or returns from another phase, begins in the middle of its sequences."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = progress.Lines({"train": "sequences"})
    lines("train", 5_000, 10_000)
    now[0] += 20
    lines("train", 6_000, 10_000)
    assert capsys.readouterr().err == "train: 6,000/10,000 sequences, 50 sequences/s, 80 s left\n"
    lines("fingerprint", 0, 10)
    now[0] += 1
    lines("train", 6_000, 10_000)
    now[0] += 10
    lines("train", 7_000, 10_000)
    assert capsys.readouterr().err == "train: 7,000/10,000 sequences, 100 sequences/s, 30 s left\n"


def test_parts_are_not_called_rows(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress_display(quiet=False) as told:
        for phase in ("join text", "scan train"):
            told(phase, 0, 40)
            now[0] += 20
            told(phase, 10, 40)
    said = capsys.readouterr().err
    assert (
        said == "join text: 10/40 parts, 0 parts/s, 60 s left\nscan train: 10/40 rows, 0 rows/s, 60 s left\n"
    )
