"""Sides that are hard on purpose: the core of overlap takes time and memory in proportion to their size."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.places import ROOT

sys.path.append(str(ROOT / "benches"))
from hard_inputs import Sides, hard_inputs
from overlap_core import indexed, packed

CLEAR = Path("/proc/self/clear_refs")
KINDS = list(hard_inputs(1000))


def processor_seconds(sides: Sides) -> float:
    """Of an index and a scan in one thread: the least of three, so that others who work disturb little."""
    items, documents = packed(sides.items), packed(sides.documents)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        pairs = indexed(items).scan(*documents, 1)
        seconds.append(time.process_time() - start)
        assert len(pairs) == sides.pairs
    return min(seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_hard_input_takes_time_in_proportion(kind: str) -> None:
    """Ten times the size takes at most fifty times as long: caches end, and a square would be a hundred."""
    small, large = (processor_seconds(hard_inputs(size)[kind]) for size in (20_000, 200_000))
    assert large < 0.05 + 50 * small


#: Prints bytes of both sides, and the memory held at most beyond them.
SCRIPT = """
import json, re, sys
sys.path.append(sys.argv[1])
from hard_inputs import hard_inputs
from overlap_core import indexed, packed

def resident(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

sides = hard_inputs(int(sys.argv[3]))[sys.argv[2]]
items, documents = packed(sides.items), packed(sides.documents)
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
assert len(indexed(items).scan(*documents, 1)) == sides.pairs
print(json.dumps([items[0].size + documents[0].size, resident("VmHWM") - before]))
"""


@pytest.mark.skipif(not CLEAR.exists(), reason="resets the peak that Linux keeps of a process")
@pytest.mark.parametrize("kind", KINDS)
def test_hard_input_takes_memory_in_proportion(kind: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "benches"), kind, "400000"]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    size, extra = json.loads(ran.stdout)
    assert extra <= 36 * size + (8 << 20), f"{extra / size:.1f} bytes per byte"
