"""Memory of the core of overlap while it compares an item as long as its document."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lvmfast.levels.overlap import COMPARED_BYTES, INDEX_BYTES, TOKEN_BYTES

CLEAR = Path("/proc/self/clear_refs")
pytestmark = pytest.mark.skipif(not CLEAR.exists(), reason="resets the peak that Linux keeps of a process")

SCRIPT = """
import json, re, sys
import numpy as np
from lvmfast import _core

def resident(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10

kinds = int(sys.argv[1])
drawn = np.random.default_rng(7).integers(0, kinds, 400_000)
text = np.frombuffer(" ".join(f"w{word:05}" for word in drawn).encode(), np.uint8)
side = text, np.array([0, text.size])
index = _core.OverlapIndex()
index.add(*side, 1)
index.close(1)
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
pairs = index.scan(*side, 1)
assert len(pairs) == 1 and pairs.longest[0] == drawn.size
print(json.dumps([text.size, index.nbytes, resident("VmHWM") - before]))
"""


@pytest.mark.parametrize("kinds", [1, 3, 30, 50_000])
def test_a_long_item_is_compared_in_the_memory_that_plans_allow_for(kinds: int) -> None:
    """Of the document, as long here, are 40 bytes a token: its tokens, and where seeds stand in it."""
    command = [sys.executable, "-c", SCRIPT, str(kinds)]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    size, index, extra = json.loads(ran.stdout)
    assert index <= (TOKEN_BYTES + INDEX_BYTES) * 400_000
    assert extra <= (COMPARED_BYTES + 40 / 7) * size, f"{extra / size:.1f} bytes per byte"
