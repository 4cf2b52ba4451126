"""Files that are whole or not there, and what is left of attempts that were cut off."""

import subprocess
import sys

from lvmfast.durable import write_text

KILLED = """
import os, sys
from pathlib import Path
from lvmfast.durable import appearing
with appearing(Path(sys.argv[1])) as staged:
    staged.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_goes_with_the_next_attempt_and_nothing_else(tmp_path):
    place, foreign = tmp_path / "a.json", tmp_path / ".a.json.download.part"
    foreign.write_text("another program's")
    place.write_text("whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False)
    assert done.returncode == -9
    assert place.read_text() == "whole"
    assert len(list(tmp_path.glob(".a.json.*.part"))) == 2
    write_text(place, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name, place.name]
    assert (place.read_text(), foreign.read_text()) == ("new", "another program's")
