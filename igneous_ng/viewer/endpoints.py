"""What `view` answers in JSON, of the layers, graphs and tables of labels that it was told to serve.

    /api/layers                                              what there is
    /api/segment?layer=seg&at=10,20,30                       the label of a voxel; units=nm, mip=, fill_missing=1
    /api/supervoxel?layer=sv&at=10,20,30&remap=roots.csv     the same, and what it became by a table of labels
    /api/partners?graph=graph&segment=17&direction=both      who a segment sends to, and hears from; limit=
    /api/cutout?layer=em&box=0:64,0:64,0:64&format=npy       voxels, as npy [x, y, z] or [x, y, z, c], or pages of tiff

Layers, graphs and tables go by the names that /api/layers lists, layers also by their number. Labels are text, for
JSON's numbers lose those above 2^53. Voxels are those of the level ``mip``.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from threading import Semaphore
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, IgneousError, SpecError, TransientError
from igneous_ng.formats import remaps
from igneous_ng.geometry import Box
from igneous_ng.graphs import Graph
from igneous_ng.io import IO
from igneous_ng.renaming import Renaming
from igneous_ng.store import Store
from igneous_ng.viewer import questions
from igneous_ng.viewer.doors import RefusedError
from igneous_ng.viewer.questions import Query
from igneous_ng.viewer.server import Content
from igneous_ng.volume import Volume

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
_CUTOUT = 256 << 20  # bytes of voxels in one answer
_AT_ONCE = 4  # answers that are made, so that many askers do not fill the memory
_PARTNERS = 1000
_KINDS = {"npy": "application/octet-stream", "tiff": "image/tiff"}


@dataclass(frozen=True)
class Answers:
    """Answers questions about ``layers``, ``graphs`` and ``remaps``, URLs by name. Threads may share one.

    ``most`` are the bytes of voxels that one answer may hold. A table of labels in a file is read once.
    """

    layers: Mapping[str, str]
    graphs: Mapping[str, str] = field(default_factory=dict)
    remaps: Mapping[str, str] = field(default_factory=dict)
    most: int = _CUTOUT
    _store: Store = field(default_factory=Store, init=False, repr=False)
    _tables: Callable[[Store, str], tuple[Array, Array]] = field(
        default_factory=lambda: lru_cache(4)(_table), init=False, repr=False
    )
    _slots: Semaphore = field(default_factory=lambda: Semaphore(_AT_ONCE), init=False, repr=False)

    def answer(self, name: str, query: str) -> Content:
        """The answer to the question ``name``; RefusedError with the status of HTTP where there is none."""
        known: dict[str, Callable[[Query], Content]] = {
            "layers": self._layers, "segment": self._segment, "supervoxel": self._supervoxel,
            "partners": self._partners, "cutout": self._cutout,
        }  # fmt: skip
        if name not in known:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"/api/{name} is no question; there are: {', '.join(known)}")
        try:
            with self._slots:
                return known[name](Query.parse(query))
        except IgneousError as error:
            raise RefusedError(_status(error), str(error)) from error
        except RefusedError:
            raise
        except Exception as error:
            log.exception("/api/%s?%s", name, query)
            raise RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, f"a defect of this program: {error!r}") from error

    def _layers(self, query: Query) -> Content:
        query.done()
        told = [{"name": name, **self._about(url)} for name, url in self.layers.items()]
        return _told({"layers": told, "graphs": list(self.graphs), "remaps": list(self.remaps)})

    def _about(self, url: str) -> dict[str, Any]:
        info = IO(self._store).info(url)
        mips = [{"bounds": str(scale.bounds), "resolution": list(scale.resolution)} for scale in info.scales]
        return {"type": info.kind, "data_type": info.dtype.name, "channels": info.channels, "mips": mips}

    def _segment(self, query: Query) -> Content:
        found = self._at(query)
        query.done()
        return _told(found)

    def _supervoxel(self, query: Query) -> Content:
        found = self._at(query)
        name = query.take("remap", questions.words, next(iter(self.remaps)) if len(self.remaps) == 1 else None)
        query.done()
        url = _named(self.remaps, name, "table of labels", "--remap")
        label = np.array([found.pop("segment")], np.uint64)
        old, new = self._renamed(url, label)
        segment = str(new[0] if len(old) else label[0])
        return _told(
            {**found, "remap": name, "supervoxel": str(label[0]), "segment": segment, "listed": bool(len(old))}
        )

    def _renamed(self, url: str, labels: Array) -> tuple[Array, Array]:
        """Those of ``labels`` that a table names, and what they become."""
        if not url.endswith(remaps.SUFFIXES):
            return Renaming(IO(self._store), url).of(labels)
        old, new = self._tables(self._store, url)
        here = np.isin(labels, old)
        return labels[here], new[np.searchsorted(old, labels[here])]

    def _partners(self, query: Query) -> Content:
        name = query.take("graph", questions.words, next(iter(self.graphs)) if len(self.graphs) == 1 else None)
        segment = query.take("segment", questions.label)
        way = query.take("direction", questions.one_of("out", "in", "both"), "both")
        limit = query.take("limit", questions.whole, _PARTNERS)
        query.done()
        url = _named(self.graphs, name, "graph", "--graph")
        graph = Graph(url)
        found: dict[str, Any] = {"graph": name, "version": graph.version, "segment": str(segment)}
        for side in ("out", "in") if way == "both" else (way,):
            try:
                partners = graph.partners(segment, direction=side)
            except SpecError as error:
                raise RefusedError(HTTPStatus.NOT_FOUND, str(error)) from error
            columns = (one[:limit].tolist() for one in (partners.segments, partners.counts, partners.voxels))
            rows = zip(*columns, strict=True)
            found[side] = [{"segment": str(other), "count": count, "voxels": voxels} for other, count, voxels in rows]
            found[f"{side}_total"] = len(partners.segments)
        return _told(found)

    def _cutout(self, query: Query) -> Content:
        name, volume = self._volume(query)
        box = query.take("box", Box.parse)
        form = query.take("format", questions.one_of(*_KINDS), "npy")
        query.done()
        size = box.voxels * volume.voxel_bytes
        if not size or min(box.shape) < 1:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"box {box} holds no voxel")
        if box not in volume.bounds:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"{box} is not inside {name}, mip {volume.mip}: {volume.bounds}")
        if size > self.most:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{box} has {size:,} bytes, and an answer at most {self.most:,}; ask for less, or for a coarser mip",
            )
        array = IO(self._store).read(volume, box)
        return _content(_npy(array) if form == "npy" else _tiff(array), _KINDS[form])

    def _volume(self, query: Query) -> tuple[str, Volume]:
        """The name and the level that a question asks for."""
        asked = query.take("layer", questions.words, next(iter(self.layers)) if len(self.layers) == 1 else None)
        mip, fill = query.take("mip", questions.whole, 0), query.take("fill_missing", questions.one_of("0", "1"), "0")
        numbered = {str(number): name for number, name in enumerate(self.layers)}
        name = asked if asked in self.layers else numbered.get(asked, asked)
        url = _named(self.layers, name, "layer", "the command")
        volume = IO(self._store).volume(url, 0, fill == "1")
        if not mip < len(volume.info.scales):
            raise RefusedError(
                HTTPStatus.NOT_FOUND, f"{name} has mips 0 to {len(volume.info.scales) - 1}, and no {mip}"
            )
        _check_inside(url, volume.info.scales[mip].key)
        return name, Volume(url, mip, volume.info, self._store, fill == "1")

    def _at(self, query: Query) -> dict[str, Any]:
        """The label at a place, and where that is."""
        name, volume = self._volume(query)
        units = query.take("units", questions.one_of("voxel", "nm"), "voxel")
        place = query.take("at", questions.voxel if units == "voxel" else questions.nm(volume.resolution))
        if volume.dtype.kind not in "ui" or volume.channels != 1 or volume.info.kind != "segmentation":
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{name} is an image; name a segmentation")
        box = Box.sized(place, (1, 1, 1))
        if box not in volume.bounds:
            raise RefusedError(HTTPStatus.NOT_FOUND, f"voxel {list(place)} is not inside {name}, mip {volume.mip}: "
                               f"{volume.bounds}")  # fmt: skip
        label = IO(self._store).read(volume, box).ravel()[0]
        nm = [(at + 0.5) * side for at, side in zip(place, volume.resolution, strict=True)]
        return {"layer": name, "mip": volume.mip, "voxel": list(place), "nm": nm, "segment": str(label)}


def _named(known: Mapping[str, str], name: str, what: str, option: str) -> str:
    """The URL of what goes by a name, of those that are served."""
    if name not in known:
        there = ", ".join(known) or "none"
        raise RefusedError(
            HTTPStatus.NOT_FOUND, f"no {what} is called {name!r}; there are: {there} (named to {option})"
        )
    return known[name]


def _check_inside(layer: str, key: str) -> None:
    """Refuse a level that lies, by its name or a link, outside of the folder of its layer."""
    if not layer.startswith("file://"):
        return
    root = os.path.realpath(layer.removeprefix("file://"))
    folder = os.path.realpath(f"{root}/{key}")
    if folder != root and not folder.startswith(f"{root}/"):
        raise RefusedError(HTTPStatus.FORBIDDEN, f"the level {key} lies outside of its layer")


def _table(store: Store, url: str) -> tuple[Array, Array]:
    """The table of labels in a file."""
    data = store.get(url)
    if data is None:
        raise DataError(f"{url}: this table of labels is missing")
    return remaps.parse(data, url)


def _npy(array: Array) -> bytes:
    """The file of an array ``[x, y, z, c]``, of one channel without c."""
    file = BytesIO()
    np.save(file, array[..., 0] if array.shape[3] == 1 else array)
    return file.getvalue()


def _tiff(array: Array) -> bytes:
    """Pages of z with rows of y and columns of x, of an array ``[x, y, z, c]``."""
    import tifffile

    file = BytesIO()
    planes = None if array.shape[3] == 1 else "contig"
    with tifffile.TiffWriter(file) as writer:
        for page in array.transpose(2, 1, 0, 3):
            plain = page[..., 0] if array.shape[3] == 1 else page
            writer.write(np.ascontiguousarray(plain), photometric="minisblack", planarconfig=planes, metadata=None)
    return file.getvalue()


def _told(value: Any) -> Content:
    return _content((json.dumps(value) + "\n").encode(), "application/json")


def _content(body: bytes, kind: str) -> Content:
    return Content(BytesIO(body), len(body), f'"{zlib.crc32(body):x}-{len(body):x}"', kind)


def _status(error: IgneousError) -> HTTPStatus:
    if isinstance(error, SpecError):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, DataError):
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, TransientError) else HTTPStatus.NOT_IMPLEMENTED
