"""Where this process may read and write: everywhere, or only below the URLs that it is confined to.

Confinement is the process's, like a root directory, and not a field of some object: whatever opens files next year must
meet it, too. Only the child of a worker is confined, once, before it is given its first task.

Names come from elsewhere (an ``info``, a manifest, a record) and become parts of URLs. One that would lead out of its
folder is refused here for all of them, confined or not: an honest layer has none.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from igneous_ng.errors import DataError, SpecError

SUFFIXES = (".gz", ".br", ".zstd")
"""Under which an object may be stored beside its plain name, as :mod:`igneous_ng.formats.compression` has them."""
_FILE = "file://"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")  # other surrogates stand for bytes of file names
_SHOWN = 200  # characters of a URL in a message: a hostile one may have millions
_DECODED = 4  # times that a server may undo %25


@dataclass(frozen=True)
class Fence:
    """The URLs ``roots``, below which is allowed what is; without any, everything is."""

    roots: tuple[str, ...] = ()

    def holds(self, url: str) -> bool:
        """Whether ``url`` is one of the roots or below one, links followed where it is a file."""
        if not self.roots:
            return True
        if url.startswith(_FILE):
            return all(map(self._holds_path, _variants(url.removeprefix(_FILE))))
        return any(below(url, root) for root in self.roots)

    def _holds_path(self, path: str) -> bool:
        place = os.path.realpath(path)
        folders = (os.path.realpath(root.removeprefix(_FILE)) for root in self.roots if root.startswith(_FILE))
        return any(place == folder or place.startswith(f"{folder.rstrip('/')}/") for folder in folders)


_fence = Fence()


def confine(roots: tuple[str, ...]) -> None:
    """Let this process touch nothing but what is below ``roots``, from now on; without any nothing changes."""
    global _fence
    _fence = Fence(roots) if roots else _fence


def passed(url: str) -> str:
    """``url``, if it may be touched.

    DataError where a part of it leads out of its folder, SpecError where it is outside of what this process is confined
    to.
    """
    check_name(url)
    if not _fence.holds(url):
        raise SpecError(f"{shown(url)} is not under this worker's --root {', '.join(_fence.roots)}; run it elsewhere")
    return url


def passed_path(path: Path) -> Path:
    """As :func:`passed`, of a file."""
    passed(f"{_FILE}{path.absolute()}")
    return path


def check_name(url: str) -> None:
    """DataError where a part of ``url`` leads upwards, or cannot be a part of a name."""
    if _CONTROL.search(url):
        raise DataError(f"{shown(url)}: a name with control characters; nothing of such a name is read or written")
    if (".." in url or "%" in url) and _leads_up(url):
        raise DataError(f"{shown(url)}: a name that leads out of its folder; nothing of such a name is read or written")


def below(url: str, folder: str) -> bool:
    """Whether ``url`` is ``folder`` or in it, as they are written."""
    return url == folder or url.startswith(f"{folder.rstrip('/')}/")


def shown(url: str) -> str:
    """``url`` for a message: short, and on one line."""
    text = url if len(url) <= _SHOWN else f"{url[:_SHOWN]}[...]"
    return text.encode("unicode_escape").decode() if _CONTROL.search(text) else text


def _leads_up(url: str) -> bool:
    """Whether a part of ``url`` is ``..``; also where it is written as %2e, which web servers undo."""
    if not url.startswith(("http://", "https://")):
        return ".." in url.split("/")
    for _ in range(_DECODED):
        if ".." in re.split(r"[/\\]", url):
            return True
        url = unquote(url)
    return ".." in re.split(r"[/\\]", url)


def _variants(path: str) -> list[str]:
    """A file, and those of its name that are links and have the suffix of a compression."""
    return [path, *(path + suffix for suffix in SUFFIXES if Path(path + suffix).is_symlink())]
