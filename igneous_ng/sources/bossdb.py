"""Channels of BossDB, through its REST service; read only.

Source of the protocol: the Boss API v1 (jhuapl-boss/boss: ``collection``, ``coord``, ``downsample`` and ``cutout``).
A cut-out comes as an npy of z, y, x, deflated by zlib. What nobody has uploaded is zero there, so nothing is missing.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import ConfigurationError, DataError, TransientError
from igneous_ng.formats.codecs import DTYPES
from igneous_ng.formats.info import IMAGE, SEGMENTATION, Info, Scale, check_resolution, scale_key
from igneous_ng.geometry import Box, Grid, vec

_SCHEME = "bossdb://"
_SERVICE = "https://api.bossdb.io"
_TOKEN = "BOSSDB_TOKEN"  # noqa: S105 - the name of the variable that holds it
_PUBLIC = "public"  # the token that everybody has
_BLOCK = (512, 512, 64)  # voxels of one request: four of its own cuboids
_CHUNK = (512, 512, 16)
_TIMEOUT_S = 120.0
_NM = {"nanometers": 1.0, "micrometers": 1e3, "millimeters": 1e6, "centimeters": 1e7}
_PASSING = (408, 429)  # and all from 500 on


@dataclass(frozen=True)
class Boss:
    """A channel: ``service`` is the URL of the API, ``path`` is COLLECTION/EXPERIMENT/CHANNEL."""

    service: str
    path: str
    info: Info

    def read(self, mip: int, box: Box) -> NDArray[Any]:
        """The voxels of ``box``, [x, y, z, c], asked for in blocks."""
        bounds = self.info.scales[mip].bounds
        if box not in bounds:
            raise DataError(f"{self.path} mip {mip}: {box} is not inside the level's {bounds}")
        out = np.empty((*box.shape, 1), self.info.dtype, order="F")
        for block in Grid(box, _BLOCK):
            out[block.slices(box.lo)] = self._cutout(mip, block)[..., None]
        return out

    def _cutout(self, mip: int, box: Box) -> NDArray[Any]:
        sides = "/".join(f"{a}:{b}" for a, b in zip(box.lo, box.hi, strict=True))
        url = f"{self.service}/v1/cutout/{self.path}/{mip}/{sides}/"
        data = _get(url, "application/npygz")
        try:
            found = np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False)
        except (zlib.error, ValueError, EOFError) as error:
            raise DataError(f"{url}: {len(data)} bytes are no cut-out ({error}); is this a Boss service?") from error
        if found.shape != box.shape[::-1] or found.dtype != self.info.dtype:
            raise DataError(f"{url}: came as {found.shape} {found.dtype}, not as {box.shape[::-1]} {self.info.dtype}")
        voxels: NDArray[Any] = found.T
        return voxels


def open_boss(url: str) -> Boss:
    """The channel at ``bossdb://COLLECTION/EXPERIMENT/CHANNEL``, or at a service of one's own, ``https://HOST/C/E/C``.

    The token is read from BOSSDB_TOKEN; without one, public data are read.
    """
    service, path = _placed(url)
    collection, experiment, channel = path.split("/")
    about = _json(f"{service}/v1/collection/{collection}/experiment/{experiment}/channel/{channel}/")
    frame = _json(f"{service}/v1/collection/{collection}/experiment/{experiment}/")
    levels = _json(f"{service}/v1/downsample/{path}/")
    try:
        place = _json(f"{service}/v1/coord/{frame['coord_frame']}/")
        dtype = str(about["datatype"])
        kind = SEGMENTATION if about["type"] == "annotation" else IMAGE
        scales = tuple(_scale(place, levels, level) for level in range(_count(levels)))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{url}: the service does not describe the channel ({type(error).__name__}: {error})"
        ) from error
    if dtype not in DTYPES:
        raise DataError(f"{url}: it holds {dtype}; Precomputed volumes hold {', '.join(DTYPES)}")
    return Boss(service, path, Info(kind, np.dtype(dtype), 1, scales))


def _placed(url: str) -> tuple[str, str]:
    parts = url.removeprefix(_SCHEME).split("/") if url.startswith(_SCHEME) else url.split("/")[3:]
    if len(parts) != 3 or not all(parts):
        raise DataError(f"{url}: a channel of BossDB is named by COLLECTION/EXPERIMENT/CHANNEL; name all three")
    service = _SERVICE if url.startswith(_SCHEME) else "/".join(url.split("/")[:3])
    return service, "/".join(parts)


def _count(levels: dict[str, Any]) -> int:
    """How many levels hold anything: the coarser ones only once they are made."""
    return int(levels["num_hierarchy_levels"]) if levels["status"] == "DOWNSAMPLED" else 1


def _scale(place: dict[str, Any], levels: dict[str, Any], level: int) -> Scale:
    sizes, finest = levels["voxel_size"][str(level)], levels["voxel_size"]["0"]
    start = [int(place[f"{axis}_start"]) for axis in "xyz"]
    lo = vec(int(a * f // s) for a, f, s in zip(start, finest, sizes, strict=True))
    x, y, z = (float(size) * _NM[place["voxel_unit"]] for size in sizes)
    check_resolution((x, y, z))
    bounds = Box.sized(lo, vec(map(int, levels["extent"][str(level)])))
    return Scale(scale_key((x, y, z)), bounds, (x, y, z), _CHUNK, "raw")


def _json(url: str) -> Any:
    data = _get(url, "application/json")
    try:
        return json.loads(data)
    except ValueError as error:
        raise DataError(f"{url}: not JSON ({error}); is this a Boss service?") from error


def _get(url: str, kind: str) -> bytes:
    """What a URL answers; each refusal as the error that says what can be done."""
    headers = {"Authorization": f"Token {os.environ.get(_TOKEN, _PUBLIC)}", "Accept": kind}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as answer:  # noqa: S310 - of http alone: see the caller
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        said = f"{url}: {error.code} {error.reason}"
        if error.code in (401, 403):
            raise ConfigurationError(f"{said}; set {_TOKEN} to a token that may read it") from error
        if error.code in _PASSING or error.code >= 500:
            raise TransientError(f"{said}; will be tried again") from error
        raise DataError(f"{said}; check the names of collection, experiment and channel") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise TransientError(f"{url}: was not read ({error}); will be tried again") from error
