"""What names levels outside the package says what the registry says."""

from __future__ import annotations

import pytest

from lvmfast.errors import DataError
from lvmfast.levels import LEVELS, columns_of, parse_levels
from tests.support.places import ROOT, SCHEMA


def rows_of_table(file: str, heading: str) -> list[str]:
    """The lines of the table whose first line is `heading`, without that and the rule below it."""
    lines = (ROOT / file).read_text().splitlines()
    first = lines.index(heading)
    end = next(place for place in range(first, len(lines)) if not lines[place].startswith("|"))
    return lines[first + 2 : end]


def test_the_schema_knows_the_levels():
    assert list(SCHEMA["properties"]["levels"]["patternProperties"]) == [f"^({'|'.join(LEVELS)})$"]


def test_the_page_on_levels_has_what_matches_and_what_is_not_seen():
    rows = rows_of_table("docs/levels.md", "| level | what it cannot see |")
    assert rows == [f"| `{name}` | {level.cannot_see} |" for name, level in LEVELS.items()]
    rows = rows_of_table("docs/levels.md", "| level | what matches | needs |")
    assert rows == [
        f"| `{name}` | {level.what} | {', '.join(f'`{column}`' for column in level.needs)}"
        f"{', or a payload' if level.payload else ''} |"
        for name, level in LEVELS.items()
    ]


def test_the_page_on_fingerprints_says_what_each_level_answers():
    answers: dict[str, list[str]] = {}
    for name, level in LEVELS.items():
        answers.setdefault(level.by_fingerprint, []).append(name)
    rows = rows_of_table("docs/fingerprint.md", "| level | answer |")
    assert rows == [f"| {', '.join(names)} | {answer} |" for answer, names in answers.items()]


def test_the_page_on_output_has_the_levels_in_order():
    text = (ROOT / "docs" / "output.md").read_text()
    assert f"| `level` | {', '.join(LEVELS)} |" in text
    assert f"Sorted by level (in the order\n{', '.join(LEVELS)})" in text


def test_names_are_put_in_order_and_others_are_refused():
    assert parse_levels(["text", " doc"]) == ("doc", "text")
    assert columns_of(("chunk", "doc", "context")) == ("doc_id", "chunk_id", "vector", "context")
    with pytest.raises(DataError, match=r"expected some of doc, chunk, .*oracle; got fuzzy, nothing"):
        parse_levels(["doc", "nothing", "fuzzy"])
    with pytest.raises(DataError, match="got nothing"):
        parse_levels([])


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_is_found_by_its_name_and_compares_in_one_way(name):
    level = LEVELS[name]
    assert level.name == name
    assert [level.keys is not None, level.cosine, level.excerpts].count(True) == 1
    assert not (level.nearest or level.windows) or level.compares_vectors
