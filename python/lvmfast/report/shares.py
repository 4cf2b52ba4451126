"""The bars beside counts, as the rectangles of an SVG that the page's template draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WIDTH = 300.0
TENTHS = 28.0
LEAST_VISIBLE = 2.0  #: a single row of millions is still seen

Bar = tuple[str, float, float]  #: what it shows, where it starts, how wide it is


def side_bar(matched: int, checked: int, unchecked: int) -> Iterator[Bar]:
    """One side of one level: rows matched, checked without a match, and unchecked, as parts of all rows."""
    x = 0.0
    parts = (("matched", matched), ("passed", checked - matched), ("unchecked", unchecked))
    for (name, _), span in zip(parts, spans([rows for _, rows in parts], WIDTH), strict=True):
        if span:
            yield name, rounded(x), rounded(span)
        x += span


def share_bar(part: int, whole: int) -> Iterator[Bar]:
    """`part` of `whole`, for a cell of a table that says both."""
    yield "track", 0.0, WIDTH
    yield "matched", 0.0, rounded(max(LEAST_VISIBLE, WIDTH * part / whole) if part else 0.0)


def tenths(counts: Sequence[int]) -> Iterator[tuple[float, float, str]]:
    """A bar for the rows of each tenth of a share, from below one tenth on: its top, its height, its title.

    The bar of the largest count is as high as the drawing; that of no row has no height.
    """
    for place, count in enumerate(counts):
        height = max(LEAST_VISIBLE, TENTHS * count / max(counts)) if count else 0.0
        low, high = (f"{100 * edge // len(counts)}%" for edge in (place, place + 1))
        yield rounded(TENTHS - height), rounded(height), f"{low} to {high}: {count:,} row{'s' * (count != 1)}"


def spans(counts: list[int], width: float) -> list[float]:
    """Widths in proportion to `counts`, none of the positive ones too small to be seen."""
    total = sum(counts)
    if not total:
        return [0.0] * len(counts)
    found = [max(LEAST_VISIBLE, width * n / total) if n else 0.0 for n in counts]
    found[found.index(max(found))] -= sum(found) - width
    return found


def rounded(length: float) -> float:
    """A coordinate, as precise as a screen shows it."""
    return round(length, 2)
