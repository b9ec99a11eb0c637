"""Neighbours that were exchanged: each is more like the section beyond the other than like its own neighbour."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Alike = Callable[[int, int], float | None]
_CLEAR = 0.05  # of the correlation
_REACH = 2  # sections beyond both that may speak, where the nearest is empty


def swapped(count: int, alike: Alike) -> list[int]:
    """The sections n that were exchanged with n + 1, of ``count``.

    ``alike``: the correlation of two sections, the later first; 0 where they show nothing in common, None where it is
    unknown. Sections on both sides must be known, and both must say so: a section that is merely bad is less like all
    others. So the first and the last section are never among those that are found.
    """
    found: list[int] = []
    for n in range(1, count - 2):
        before = _gain((alike(n + 1, m), alike(n, m)) for m in range(n - 1, max(n - 1 - _REACH, -1), -1))
        after = _gain((alike(m, n), alike(m, n + 1)) for m in range(n + 2, min(n + 2 + _REACH, count)))
        if min(before, after) > 0 and before + after > _CLEAR and (not found or found[-1] < n - 1):
            found.append(n)
    return found


def _gain(pairs: Iterable[tuple[float | None, float | None]]) -> float:
    """By how much the two are more alike what lies beyond, if they are exchanged, from the nearest that is known."""
    for exchanged, declared in pairs:
        if exchanged is not None and declared is not None:
            return exchanged - declared
    return 0.0
