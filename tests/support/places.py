"""Where things lie in the source tree."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The schema of `summary.json`.
SCHEMA = json.loads((ROOT / "docs" / "summary.schema.json").read_text())
