"""What is printed: one line at a time, with nothing in it that a terminal obeys or that nobody sees.

Names of files, columns and models come from outside. Whatever is printed, the text of every error and the
pages go through `visible`.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from enum import Enum

#: Characters in a line; of a longer one the middle is left out, so that file and remedy stay.
LONGEST = 2000
_HEAD, _TAIL = 1400, 500
#: Letters that nobody sees, and joiners of letters, which Persian, Indian scripts and emoji are written with.
_UNSEEN, _JOINERS = frozenset("\u115f\u1160\u2800\u3164\uffa0"), frozenset("\u200c\u200d")
_WRITTEN_OUT = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))


class Display(str, Enum):
    """How progress is shown on stderr."""

    auto = "auto"  #: bars on a terminal, lines elsewhere
    rich = "rich"  #: bars
    plain = "plain"  #: a line now and then
    none = "none"


class _Shown:
    """What was asked for, of this process."""

    progress = Display.auto


def show_progress(display: Display) -> None:
    """Shows progress so from now on, in this process."""
    _Shown.progress = display


def progress_shown() -> Display:
    """How progress is shown."""
    return _Shown.progress


def visible(text: str, keep: str = "") -> str:
    """`text` with what controls, reorders or hides text written out as ⟨U+001B⟩; `keep` stays as it is."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep else _visible(c) for c in text)


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in _WRITTEN_OUT and character not in _JOINERS
    return f"\u27e8U+{ord(character):04X}\u27e9" if hidden or character in _UNSEEN else character


def line(text: object) -> str:
    """`text` as one visible line of at most `LONGEST` characters."""
    return _shortened(visible(_shortened(str(text))))


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:_HEAD]} ... ({len(text) - _HEAD - _TAIL:,} characters) ... {text[-_TAIL:]}"


def counted(number: int, noun: str) -> str:
    """1 document, 2,000 documents."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share of 1 with one decimal, or as many as it takes to tell it from nothing and from all: 0.03%."""
    least = min(share, 1 - share)
    decimals = max(1, math.ceil(-math.log10(100 * least) - 1e-9)) if 0 < least < 0.5 else 1
    return f"{share:.{decimals}%}"


def say(*lines: object) -> None:
    """Prints lines on stdout."""
    for text in lines:
        print(line(text))


def tell(*lines: object) -> None:
    """Prints lines on stderr, at once. Where nobody listens, nothing happens: no verdict hangs on it."""
    for text in lines:
        try:
            print(line(text), file=sys.stderr, flush=True)
        except (OSError, ValueError):
            return


def say_text(text: str) -> None:
    """Prints a text of several lines on stdout, in which nothing is left to be made visible."""
    print(text)


def say_json(content: object) -> None:
    """Prints JSON on stdout, in the characters that it can take."""
    import json

    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    print(json.dumps(content, indent=2, ensure_ascii=not unicode))
