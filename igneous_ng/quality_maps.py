"""Figures of units as layers to look at, one voxel a unit, and as the page of a walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import anomalies, anomaly_words
from igneous_ng.anomalies import Compared, Findings, Region
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import IMAGE, new_info
from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.pages import walks
from igneous_ng.qualities import Series
from igneous_ng.store import Store

Array = npt.NDArray[Any]
_CHUNK = 64
_FINEST = 16  # parts of a unit that a voxel may be, for a grid that does not begin at a multiple of its units


def write(store: Store, folder: str, findings: Findings) -> list[str]:
    """Write a layer of each figure of each layer below ``folder``; where they are."""
    return [_write(store, folder, one.series) for node in findings.nodes for one in node.figures]


def _write(store: Store, folder: str, series: Series) -> str:
    grid, first, pitch = _grid(series)
    parts = np.array([times(a, b) for a, b in zip(first, pitch, strict=True)])
    for axis, count in enumerate(parts.tolist()):
        grid = grid.repeat(count, axis)
    step = pitch / parts
    bounds = Box.sized(vec(np.rint(first / step)), vec(grid.shape))
    info = new_info(
        kind=IMAGE,
        dtype="float32",
        channels=1,
        bounds=bounds,
        resolution=(float(step[0]), float(step[1]), float(step[2])),
        chunk=(_CHUNK, _CHUNK, _CHUNK),
        encoding="raw",
    )
    layer, io = f"{folder}/{_name(series)}", IO(store)
    io.put(f"{layer}/info", infos.encode(info))
    io.write(io.volume(layer, 0, info=info), bounds, np.nan_to_num(grid, nan=-1.0).astype(np.float32)[..., None])
    store.flush()
    return layer


def _name(series: Series) -> str:
    """A folder's name: the layer's last two parts, the stage, the figure."""
    parts = (*series.layer.rpartition("://")[2].strip("/").split("/")[-2:], series.stage.replace(" ", "-"), series.key)
    return ".".join(parts)


def times(first: float, pitch: float) -> int:
    """Into how many voxels a unit is cut along an axis, so that the first one begins at a whole voxel."""
    for count in range(1, _FINEST + 1):
        if abs(first / pitch * count - round(first / pitch * count)) < 1e-6:
            return count
    return 1


def _grid(series: Series) -> tuple[Array, Array, Array]:
    """The values in the places of units [x, y, z], NaN where there is none; the first corner and the pitch in nm."""
    at, first, pitch = anomalies.lattice(series)
    grid = np.full(tuple((at.max(axis=0) + 1).tolist()), np.nan)
    grid[tuple(at.T)] = series.values
    return grid, first, pitch


def page(findings: Findings, region: Region, title: str) -> bytes:
    """The walk as a page that needs nothing else."""
    shown = []
    for node in findings.nodes:
        parted, root = findings.parted(node), node in findings.roots
        verdict = "none" if findings.silent(node) else "bad" if parted else "ok"
        said = "silent" if findings.silent(node) else "root" if root else "parts" if parted else "normal"
        figures = [_shown(one, region, findings) for one in node.figures]
        shown.append(walks.Layer(node.layer, verdict, said, figures))
    return walks.draw(title, list(anomaly_words.conclusion(findings)), shown)


def _shown(one: Compared, region: Region, findings: Findings) -> walks.Shown:
    series = one.series
    grid, first, pitch = _grid(series)
    sample = anomalies.sample(series, region)
    sides = tuple(series.values[side > 0.5] for side in (sample.inside, sample.outside))
    corners = (corner - first[:2] for corner in (region.box[0][:2], region.box[1][:2]))
    low, high = (np.clip(corner / pitch[:2], 0, grid.shape[:2]).tolist() for corner in corners)
    return walks.Shown(
        said=series.said,
        stage=series.stage,
        differs=anomaly_words.differs(one),
        parted=bool(one.difference and one.difference.parted(findings.compared)),
        sides=(sides[0], sides[1]),
        plane=_plane(grid),
        box=(*low, *high),
    )


def _plane(grid: Array) -> Array:
    """The mean over z of what is known."""
    known = np.isfinite(grid)
    count = known.sum(axis=2)
    total = np.where(known, grid, 0.0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
