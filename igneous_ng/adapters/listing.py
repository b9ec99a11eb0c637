"""All files below a folder, or below the prefix of a bucket, with the paths from there on."""

from __future__ import annotations

import os
from dataclasses import dataclass

from igneous_ng import folders
from igneous_ng.adapters.texts import natural
from igneous_ng.errors import DataError
from igneous_ng.io import IO


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its path from the source on, and its bytes, where listing told them."""

    path: str
    size: int | None


def below(io: IO, source: str) -> list[Found]:
    """Every file below ``source`` in natural order, at any depth; DataError where there is none.

    The folders that were listed enter the ledger, so that a file that comes or goes is noticed.
    """
    found = _local(io, source) if source.startswith("file://") else _remote(io, source)
    if not found:
        raise DataError(f"{source}: there are no files below this folder; check the path")
    return sorted(found, key=lambda one: natural(one.path))


def left_out(source: str, taken: set[str]) -> list[str]:
    """The paths of files below ``source`` whose URLs are not ``taken``, in natural order."""
    urls = (url for url in folders.urls(source) if url not in taken)
    return sorted((url.removeprefix(f"{source}/") for url in urls), key=natural)


def _local(io: IO, source: str) -> list[Found]:
    root, found = source.removeprefix("file://"), []
    for folder, _, names in os.walk(root):
        io.list(f"file://{folder}")
        for name in names:
            if not name.startswith(folders.TEMPORARY):
                path = f"{folder}/{name}"
                found.append(Found(folders.plain(path.removeprefix(f"{root}/")), os.lstat(path).st_size))
    return found


def _remote(io: IO, source: str) -> list[Found]:
    urls = list(folders.urls(source))
    for folder in sorted({url.rpartition("/")[0] for url in urls}):
        io.list(folder)
    return [Found(url.removeprefix(f"{source}/"), None) for url in urls]
