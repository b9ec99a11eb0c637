"""What the units of a layer's runs noted of quality, and where in space: of each stage the newest word on each place.

Which notes are figures of quality is what the stage says (``Stage.quality``). A unit lies where its record says: in the
box that it noted (``io.note_place``), else in what it wrote (``covers``), else in itself, if it is a box of its layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import catalog, history, records
from igneous_ng.errors import DataError, SpecError
from igneous_ng.figures import Figure
from igneous_ng.geometry import Box, Vec3f
from igneous_ng.io import IO
from igneous_ng.records import Line, Run
from igneous_ng.stage import Stage
from igneous_ng.store import Store

Array = npt.NDArray[Any]
_COLUMNS = ("unit", "what", "notes", "covers")
_PER_UM3 = 1e9  # nm3


@dataclass(frozen=True)
class Series:
    """A figure of the units of one stage at ``layer``: ``values`` [n], NaN where there is none.

    ``lo`` and ``hi`` [n, 3] are their boxes in nm. ``counts`` [n] is how much each counts: its nm³, or the things of
    which it is a mean. Numbers of things are things per µm³.
    """

    layer: str
    stage: str
    key: str
    figure: Figure
    values: Array
    counts: Array
    lo: Array
    hi: Array

    @property
    def said(self) -> str:
        """The figure in words."""
        return f"{self.figure.said} per µm³" if self.figure.counted else self.figure.said


def of_layer(store: Store, layer: str) -> list[Series]:
    """All figures that are known of a layer, in the order in which stages came; none of runs that were rolled back."""
    runs: dict[str, list[Run]] = {}
    for run in history.runs(store, layer):
        if records.finished(store, run) and not records.marked(store, run, "rolledback"):
            runs.setdefault(run.name, []).append(run)
    found = []
    for name, those in sorted(runs.items(), key=lambda item: item[1][-1].id):
        stage = _stage(name)
        if stage is not None and stage.quality:
            found += _from_layer(store, those[0], stage) if stage.quality_layer else _from_notes(store, those, stage)
    return found


def _stage(name: str) -> type[Stage] | None:
    """The stage; None where it is of a package that is not here."""
    with contextlib.suppress(SpecError):
        return catalog.load(name)
    return None


def _from_notes(store: Store, runs: list[Run], stage: type[Stage]) -> list[Series]:
    newest: dict[tuple[float, ...], Mapping[str, Any]] = {}
    for run in runs:  # the newest first
        where = _Where(store, run)
        for line in records.all_lines(store, run, only=_COLUMNS):
            if line.get("notes") and (place := where.corners(line)):
                newest.setdefault(place, line["notes"])
        if not run.subset:
            break
    if not newest:
        return []
    corners = np.array(list(newest), np.float64)
    notes, lo, hi = list(newest.values()), corners[:, :3], corners[:, 3:]
    made = (_series(runs[0], key, figure, notes, (lo, hi)) for key, figure in stage.quality.items())
    return [series for series in made if np.isfinite(series.values).any()]


def _series(run: Run, key: str, figure: Figure, notes: list[Mapping[str, Any]], boxes: tuple[Array, Array]) -> Series:
    lo, hi = boxes
    values, counts = _column(notes, key), (hi - lo).prod(axis=1)
    if figure.counted:
        values = values / counts * _PER_UM3
    if figure.of:
        counts = np.nan_to_num(_column(notes, figure.of))
        values = np.where(counts > 0, values, np.nan)
    return Series(run.home, run.name, key, figure, values, counts, lo, hi)


def _column(notes: list[Mapping[str, Any]], key: str) -> Array:
    """The figure of each unit, NaN where it is none."""
    found = (note.get(key) for note in notes)
    return np.array([value if isinstance(value, (int, float)) else np.nan for value in found], np.float64)


class _Where:
    """Where in space the units of a run lie, told from their records."""

    def __init__(self, store: Store, run: Run) -> None:
        self._io, self._home = IO(store), run.home
        self._known: dict[tuple[str, int], Vec3f | None] = {}

    def corners(self, line: Line) -> tuple[float, ...]:
        """x, y, z of both corners of a unit in nm; empty where nothing tells."""
        place = line["notes"].get("place")
        if place is not None:
            return _scaled(Box.parse(place["box"]), place["resolution"])
        covers = [one for one in line.get("covers", ()) if one["layer"] == self._home]
        if covers:
            finest = min(int(one["mip"]) for one in covers)
            boxes = [Box.parse(one["box"]) for one in covers if int(one["mip"]) == finest]
            whole = boxes[0]
            for box in boxes[1:]:
                whole |= box
            return _scaled(whole, self._resolution(finest))
        with contextlib.suppress(SpecError):
            if isinstance(line.get("what"), str):
                return _scaled(Box.parse(line["what"]), self._resolution(0))
        return ()

    def _resolution(self, mip: int) -> Vec3f | None:
        key = self._home, mip
        if key not in self._known:
            self._known[key] = None
            with contextlib.suppress(DataError, IndexError):
                self._known[key] = self._io.info(self._home).scales[mip].resolution
        return self._known[key]


def _scaled(box: Box, resolution: Vec3f | None) -> tuple[float, ...]:
    if resolution is None:
        return ()
    return tuple(n * step for corner in (box.lo, box.hi) for n, step in zip(corner, resolution, strict=True))


def _from_layer(store: Store, run: Run, stage: type[Stage]) -> list[Series]:
    """Figures that a stage keeps in a layer, whose voxels are the places."""
    io, url = IO(store), f"{run.home}/{stage.quality_layer}"
    if not store.exists(f"{url}/info"):
        return []
    volume = io.volume(url, 0, fill_missing=True)
    array, bounds = io.read(volume, volume.bounds), volume.bounds
    places = np.stack(np.meshgrid(*map(np.arange, bounds.shape), indexing="ij"), -1).reshape(-1, 3) + np.array(
        bounds.lo
    )
    step = np.array(volume.resolution)
    lo, hi = places * step, (places + 1) * step
    counts = np.full(len(lo), float(step.prod()))
    found = []
    for channel, (key, figure) in enumerate(stage.quality.items()):
        values = array[..., channel].reshape(-1).astype(np.float64)
        found.append(Series(run.home, run.name, key, figure, np.where(values < 0, np.nan, values), counts, lo, hi))
    return found


def layers_read(store: Store, layer: str) -> Iterator[str]:
    """The layers, and other places, that the runs of a layer say they were made from."""
    seen = {layer}
    for run in history.runs(store, layer):
        if records.finished(store, run) and not records.marked(store, run, "rolledback"):
            for one in records.about(store, run).get("inputs", ()):
                if one["url"] not in seen:
                    seen.add(one["url"])
                    yield one["url"]
