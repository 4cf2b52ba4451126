"""The examples in docstrings, run as they stand, and the public call by its two spellings."""

from __future__ import annotations

import doctest
import inspect
from dataclasses import fields

import pytest

import lvmfast
from lvmfast.leaks.options import ScanOptions
from lvmfast.options import LeakscanOptions, OptionKeywords, asked

#: What takes a trained model, an encoder, a cluster or scores, whose pages have the examples.
WITHOUT = {
    "CleanSplit",
    "Dataset",
    "Evaluation",
    "Impact",
    "NearDuplicates",
    "Nearest",
    "TrainedRun",
    "Verification",
    "embed",
    "evaluate",
    "impact",
    "named_benchmarks",
    "threshold",
    "train",
}
PUBLIC = [name for name in lvmfast.__all__ if callable(getattr(lvmfast, name)) and not name.endswith("Error")]


@pytest.mark.parametrize("name", PUBLIC)
def test_examples_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestFinder(recurse=True).find(getattr(lvmfast, name), name, globs={})
    examples = [test for test in found if test.examples]
    assert bool(examples) != (name in WITHOUT)
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    for test in examples:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_keywords_are_the_options():
    kept = {each.name: each.type for each in fields(LeakscanOptions)}
    keywords = {name: forward.__forward_arg__ for name, forward in OptionKeywords.__annotations__.items()}
    assert keywords == kept
    documented = LeakscanOptions.__doc__.partition("Attributes:")[2]
    assert [name for name in kept if f"        {name}: " not in documented] == []


def test_an_object_and_keywords_ask_the_same():
    by_object = asked(LeakscanOptions(levels=("text",), min_chars=3), {"min_chars": 4, "ignore": ["a"]})
    assert by_object == asked(None, {"levels": ("text",), "min_chars": 4, "ignore": ["a"]})
    assert asked(ScanOptions(min_chars=4), {}).min_chars == 4
    assert type(by_object.scan) is ScanOptions
    with pytest.raises(TypeError, match="treshold"):
        lvmfast.leakscan(["a text"], ["another"], treshold=0.5)
    with pytest.raises(lvmfast.DataError, match="threshold: expected a cosine"):
        lvmfast.leakscan(["a text"], ["another"], LeakscanOptions(), threshold=1.5)


def test_the_public_call_is_short():
    assert list(inspect.signature(lvmfast.leakscan).parameters) == [
        *("train", "eval", "options", "progress", "announce", "keywords")
    ]
