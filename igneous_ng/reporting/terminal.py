"""Where progress is shown: in a terminal in which lines can be drawn over, and nowhere else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_DUMB = ("", "dumb", "unknown")
NARROW = 80
"""Columns below which bars are left out."""


def console() -> Console | None:
    """A console on standard error; None where that is a file, a pipe, a dumb terminal, or the log of a build (``CI``).

    Rich leaves colours out where NO_COLOR asks for it.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM", "") in _DUMB or os.environ.get("CI"):
        return None
    from rich.console import Console

    return Console(stderr=True)


def narrow(shown: Console | None) -> bool:
    """Whether there is no room for bars."""
    return shown is not None and shown.width < NARROW


def say(shown: Console | None, line: str) -> None:
    """A line, above what is drawn if something is."""
    if shown is None:
        sys.stderr.write(f"{line}\n")
    else:
        shown.print(line, markup=False, highlight=False, soft_wrap=True)
