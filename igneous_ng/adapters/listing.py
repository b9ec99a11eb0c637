"""All files below a folder, or below the prefix of a bucket, with the paths from there on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from igneous_ng import folders
from igneous_ng.adapters.texts import natural
from igneous_ng.errors import DataError
from igneous_ng.io import IO
from igneous_ng.oserrors import told


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its path from the source on, and its bytes, where listing told them."""

    path: str
    size: int | None


def below(io: IO, source: str) -> list[Found]:
    """Every file below ``source`` in natural order, at any depth; DataError where there is none.

    Links to folders are not followed. The folders that were listed enter the ledger, so that a file that comes or goes
    is noticed.
    """
    found = _local(io, source) if source.startswith("file://") else _remote(io, source)
    if not found:
        raise DataError(f"{source}: there are no files below this folder; check the path")
    return sorted(found, key=lambda one: natural(one.path))


def left_out(source: str, taken: set[str]) -> list[str]:
    """What lies below ``source`` and is not among the URLs ``taken``, in natural order: paths of files and of links."""
    if not source.startswith("file://"):
        urls = (url for url in folders.urls(source) if url not in taken)
        return sorted((url.removeprefix(f"{source}/") for url in urls), key=natural)
    root = source.removeprefix("file://")
    found = (path for _, files, links in _walk(root) for path in (*map(folders.plain, files), *links))
    return sorted((path for path in found if f"{source}/{path}" not in taken), key=natural)


def _walk(root: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder below ``root``, with the paths from there on of its files, and of links to folders.

    None where there is no such folder; one that cannot be listed is an error.
    """

    def failed(error: OSError) -> None:
        if not (isinstance(error, FileNotFoundError) and error.filename == root):
            raise error

    with told(root, "listed"):
        for folder, subfolders, names in os.walk(root, onerror=failed):
            here = f"{folder}/".removeprefix(f"{root}/")
            files = [f"{here}{name}" for name in names if not name.startswith(folders.TEMPORARY)]
            yield folder, files, [f"{here}{name}" for name in subfolders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114


def _local(io: IO, source: str) -> list[Found]:
    root, found = source.removeprefix("file://"), []
    for folder, files, _ in _walk(root):
        io.list(f"file://{folder}")
        found += [Found(folders.plain(path), os.lstat(f"{root}/{path}").st_size) for path in files]
    return found


def _remote(io: IO, source: str) -> list[Found]:
    urls = list(folders.urls(source))
    for folder in sorted({url.rpartition("/")[0] for url in urls}):
        io.list(folder)
    return [Found(url.removeprefix(f"{source}/"), None) for url in urls]
