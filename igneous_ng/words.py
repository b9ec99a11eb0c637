"""Figures in words for people: durations, bytes, counts, rates."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def duration(seconds: float) -> str:
    """In its two largest units: ``1 d 3 h``, ``2 h 5 min``, ``1 min 10 s``; below ten seconds ``0.25 s``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    left, said = round(seconds), list[str]()
    for length, name in _UNITS:
        count, left = divmod(left, int(length))
        if count or said:
            said.append(f"{count} {name}" if count else "")
        if len(said) == 2:
            break
    return " ".join(filter(None, said))


def cpu(seconds: float) -> str:
    """Processor time: in CPU-hours, or in CPU-seconds where that would be a very small number."""
    hours = seconds / 3600
    if hours < 0.1:
        return f"{seconds:.3g} CPU-seconds"
    return f"{hours:,.0f} CPU-hours" if hours >= 100 else f"{hours:.3g} CPU-hours"


def amount(size: float) -> str:
    """Bytes, such as ``1.5 GB`` or ``120 MB``."""
    for length, name in _SIZES:
        if size >= length:
            return f"{size / length:.3g} {name}" if size < 1000 * length else f"{size / length:,.0f} {name}"
    return f"{size:.0f} bytes"


def rate(per_second: float) -> str:
    """Units a second, a minute or an hour, whichever gives a number that is easily read."""
    for factor, name in ((1, "s"), (60, "min")):
        if per_second * factor >= 1:
            return f"{per_second * factor:.3g} units/{name}"
    return f"{per_second * 3600:.3g} units/h"


def count(number: int, word: str) -> str:
    """``1 unit``, ``2,000 units``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, in columns of equal width, two blanks before each; rows may lack their last cells."""
    columns = max(map(len, rows), default=0)
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[column]) for row in full) for column in range(columns)]
    cells = (zip(row, widths, strict=True) for row in full)
    return ["".join(f"  {cell:<{width}}" for cell, width in row).rstrip() for row in cells]


def listed(numbers: Sequence[object], most: int = 12) -> str:
    """The first of ``numbers``, and how many more there are: ``3, 5 and 7 more``."""
    first = ", ".join(map(str, numbers[:most]))
    return f"{first} and {len(numbers) - most:,} more" if len(numbers) > most else first
