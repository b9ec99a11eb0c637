"""What adapters of text files share: lines with their places, numbers, and the pictures that lines name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO

_DIGITS = re.compile(r"(\d+)")
_FOREIGN = re.compile(r"[A-Za-z]:[/\\]|\\\\")


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """A key that sorts names as people do: ``t2`` before ``t10``."""
    return tuple(int(part) if n % 2 else part for n, part in enumerate(_DIGITS.split(name))), name


def files(io: IO, source: str, name: str) -> list[str]:
    """``source``, where it is a file; else the files in it whose names match ``name``, a regular expression.

    In natural order; none where there is no such folder.
    """
    if io.exists(source):
        return [source]
    return [f"{source}/{found}" for found in sorted(io.list(source), key=natural) if re.fullmatch(name, found)]


def text(io: IO, url: str) -> str:
    """The content of a file; DataError where there is none, or no text in UTF-8."""
    data = io.get(url)
    if data is None:
        raise DataError(f"{url}: there is no such file; check the path")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{url}, line {line}: is no text in UTF-8; is it a file of another format?") from None


def lines(io: IO, url: str) -> Iterator[tuple[str, str]]:
    """``(where, line)`` of each line that is not empty; ``where`` names the file and the line."""
    for n, line in enumerate(text(io, url).split("\n"), 1):
        if line.strip():
            yield f"{url}, line {n}", line.rstrip("\r")


def fields(line: str, counts: Sequence[int], what: str, where: str) -> list[str]:
    """The parts between tabs, or between blanks where there is no tab; DataError where they are not as many."""
    found = line.split("\t") if "\t" in line else line.split()
    if len(found) not in counts:
        raise DataError(f"{where}: expected {what}, found {len(found)} fields: {line[:120]!r}")
    return [part.strip() for part in found]


def number(word: str, what: str, where: str) -> float:
    """The number that ``word`` is; DataError, saying ``what`` it should be, otherwise."""
    try:
        return float(word)
    except ValueError:
        raise DataError(f"{where}: {what} is {word!r}; expected a number") from None


def whole(word: str, what: str, where: str) -> int:
    """The same of a number without a fraction, such as ``12`` or ``12.0``."""
    found = number(word, what, where)
    if not found.is_integer():
        raise DataError(f"{where}: {what} is {word!r}; expected a whole number")
    return int(found)


def picture(path: str, folder: str, where: str) -> str:
    """The URL of the file that a text calls ``path``: a URL, an absolute path, or one from ``folder`` on.

    Backslashes part folders, as on Windows; DataError for a path that only another machine understands.
    """
    if not path or _FOREIGN.match(path):
        raise DataError(
            f"{where}: {path!r} is no path on this machine; write where the picture lies here, or a path from {folder}"
        )
    if path.startswith("file:"):  # Java writes one slash, others three or a host
        local = unquote(path.removeprefix("file:"))
        if local.startswith("//"):
            local = f"/{local[2:].partition('/')[2]}"
        return f"file://{local}"
    if "://" in path:
        return path
    path = path.replace("\\", "/")
    return f"file://{path}" if path.startswith("/") else f"{folder}/{path.removeprefix('./')}"


def stem(path: str) -> str:
    """A path without its suffix, with slashes: a name for a tile."""
    folder, slash, name = path.replace("\\", "/").rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def pixel(choices: Choices, said: float | None, what: str) -> float:
    """The size of a pixel in nm: the user's, or what files say; SpecError where neither is known or it is none."""
    found = said if choices.pixel is None else choices.pixel
    if found is None:
        raise SpecError(f"{what} does not say how large a pixel is; give --pixel, in nm")
    if not found > 0:
        raise SpecError(f"{what}: a pixel of {found} nm is none; give --pixel, in nm")
    return found
