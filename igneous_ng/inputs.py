"""What a run depends on: which version of its inputs it found, and whether what a unit read is still the same.

Knows the kinds of entries in ledgers, and no stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from igneous_ng import fences, folders
from igneous_ng.errors import IgneousError
from igneous_ng.formats import fragments, portions
from igneous_ng.formats import info as infos
from igneous_ng.geometry import Box
from igneous_ng.store import MISSING, Store, digest, digest_of
from igneous_ng.volume import Volume

_DIGESTED = 1 << 26  # bytes of a file whose content is its version; of larger ones it is size and time
UNKNOWN = "unknown"
"""Stands for the digest of what cannot be told from storage alone."""


def version(store: Store, url: str) -> dict[str, Any] | None:
    """Which version of an input is at ``url``: of a layer, a file, or all files of a folder or glob; None: nothing is.

    What is neither of these, behind another protocol, has no version.
    """
    info = store.get(f"{url}/info")
    if info is not None:
        return {"url": url, "kind": "layer", "info": digest(info)}
    if not url.startswith("file://"):
        return {"url": url, "kind": "other"}
    return _files(store, url)


def _files(store: Store, url: str) -> dict[str, Any] | None:
    path = fences.passed_path(Path(url.removeprefix("file://")))
    if (size := folders.size(url)) is not None:
        if size <= _DIGESTED:
            return {"url": url, "kind": "file", "bytes": size, "digest": digest_of(store.get(url))}
        return {"url": url, "kind": "file", "bytes": size, "modified": path.stat().st_mtime_ns}
    parent = Path(*(part for part in path.parts if "*" not in part and "?" not in part and "[" not in part))
    found = sorted(path.glob("*") if parent == path else parent.glob(str(path.relative_to(parent))))
    if not found:
        return None
    told = [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in found]
    listing = digest("\n".join(f"{name}\0{size}\0{then}" for name, size, then in told).encode())
    total = sum(size for _, size, _ in told)
    return {"url": url, "kind": "files", "objects": len(told), "bytes": total, "listing": listing}


class Inputs:
    """Tells the present digests of what entries of ledgers name. ``before`` are the inputs in a run's ``run.json``."""

    def __init__(self, store: Store, before: tuple[Mapping[str, Any], ...] = ()) -> None:
        self._store, self._before = store, {one["url"]: one for one in before}
        self._volumes: dict[tuple[str, int], Volume | None] = {}
        self._same: dict[str, bool] = {}

    def changed(self, entry: Mapping[str, Any]) -> bool | None:
        """Whether what was read is another now; None where that cannot be told."""
        now = self.digest(entry)
        return None if now == UNKNOWN else now != entry["digest"]

    def digest(self, entry: Mapping[str, Any]) -> str:
        """The digest that the entry would have now, :data:`~igneous_ng.store.MISSING`, or :data:`UNKNOWN`."""
        if "layer" in entry:
            return self._of_box(entry["layer"], int(entry["mip"]), Box.parse(entry["box"]))
        if "list" in entry:
            return digest("\n".join(self._store.list(entry["list"])).encode())
        url = entry["url"]
        if "box" in entry:
            return self._of_window(entry)
        if "part" in entry:
            return self._of_part(url, int(entry["part"]))
        if "stored" in entry:
            found = self._store.stored(url)
            return digest_of(found and found[0])
        return digest_of(self._store.get(url, tuple(entry["span"]) if "span" in entry else None))

    def _of_box(self, layer: str, mip: int, box: Box) -> str:
        volume = self._volume(layer, mip)
        if volume is None or box not in volume.bounds:
            return MISSING
        return volume.fingerprint(box)

    def _volume(self, layer: str, mip: int) -> Volume | None:
        if (layer, mip) not in self._volumes:
            raw = self._store.get_json(f"{layer}/info")
            info = None if raw is None else infos.parse(raw, f"{layer}/info")
            there = info is not None and mip < len(info.scales)
            self._volumes[layer, mip] = Volume(layer, mip, info, self._store) if info and there else None
        return self._volumes[layer, mip]

    def _of_window(self, entry: Mapping[str, Any]) -> str:
        """Of voxels of a file that is no layer: those that it had, if the file is the same."""
        url = entry["url"]
        before = self._before.get(url)
        if before is None or before["kind"] == "other":
            return UNKNOWN
        if url not in self._same:
            self._same[url] = version(self._store, url) == before
        return str(entry["digest"]) if self._same[url] else MISSING

    def _of_part(self, url: str, part: int) -> str:
        try:
            table = self._store.get(url, fragments.table_span(part))
            if table is None:
                return MISSING
            if self._store.get(url, (0, len(portions.MAGIC))) == portions.MAGIC:
                start, stop = portions.portion_span(table, url)
                return digest_of(self._store.get(url, (start, stop)) if stop > start else b"")
            data = self._store.get(url, fragments.index_span(table, url))
            return digest(fragments.identity(data or b""))
        except IgneousError:  # damaged, so not the same
            return MISSING
