"""Names that nothing has: what was probably meant, and what there is."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 12  # names that are listed beside a guess
_ALIKE = 0.6  # of 1: difflib's own measure of what is "close"


def nearest(word: str, names: Iterable[str], most: int = 2) -> list[str]:
    """Up to ``most`` of ``names`` that look like ``word``, the likest first."""
    from difflib import get_close_matches  # most commands end well, and start faster without it

    lower = {name.lower(): name for name in names}
    return [lower[found] for found in get_close_matches(word.lower(), lower, most, _ALIKE)]


def choices(word: str, names: Iterable[str]) -> str:
    """``did you mean 'mesh forge'? there are: ...``: for a message about a ``word`` that is not among ``names``."""
    known = list(names)
    guesses = nearest(word, known)
    listed = f"there are: {', '.join(known) or 'none'}"
    if not guesses:
        return listed
    guess = f"did you mean {' or '.join(map(repr, guesses))}?"
    return guess if len(known) > _MOST else f"{guess} {listed}"
