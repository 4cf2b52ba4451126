"""`report.html` once more, from the files of a saved scan."""

from __future__ import annotations

from os import PathLike

from lvmfast.errors import DataError
from lvmfast.report.page import PAGE, draw_page
from lvmfast.report.saved import SavedScan
from lvmfast.report.write import SUMMARY
from lvmfast.stores import joined


def redraw_page(directory: str | PathLike[str]) -> str:
    """Draws the page of the scan in `directory` and puts it there. Returns its path or URI.

    Raises:
        DataError: there is no finished scan, it has another schema version, a file of it is broken, or the
            page cannot be written.
    """
    from jinja2 import TemplateError

    saved = SavedScan.open(directory)
    matches, overlaps, decided = saved.matches, saved.overlaps, saved.decided
    try:
        html = draw_page(saved.summary, matches, overlaps, decided)
    except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The tables are known to be whole: what the page does not find is missing in the summary.
        raise DataError(f"{joined(saved.name, SUMMARY)}: not held to its schema: {error}") from error
    saved.folder.write(PAGE, html.encode())
    return joined(saved.name, PAGE)
