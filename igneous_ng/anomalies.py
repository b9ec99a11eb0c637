"""From an anomaly to its cause: two boxes compared through all layers that a layer came from, by what units noted.

The layers are taken from the one that is asked about upwards, to those that nobody here made. A layer is *parted* if
a figure of it differs between the boxes (:meth:`igneous_ng.kernels.comparing.Difference.parted`); it is a *root* where
none of the layers that it came from is. A layer without figures is *silent*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng import history, qualities
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3f
from igneous_ng.io import IO
from igneous_ng.kernels import comparing
from igneous_ng.kernels.comparing import Difference, Sample
from igneous_ng.qualities import Series
from igneous_ng.store import Store

Array = npt.NDArray[Any]
_FEW = 20  # places to which a box must be able to move, so that one of them can be rare


@dataclass(frozen=True)
class Region:
    """A box in nm; ``against`` another, or all the rest where that is None."""

    box: tuple[Array, Array]
    against: tuple[Array, Array] | None


@dataclass(frozen=True)
class Compared:
    """A figure and how it differs; None where too few units say anything."""

    series: Series
    difference: Difference | None


@dataclass(frozen=True)
class Node:
    """A layer on the way: how many steps ``above`` the first, what it was made ``of``, and its figures."""

    layer: str
    above: int
    of: tuple[str, ...]
    figures: tuple[Compared, ...]


@dataclass(frozen=True)
class Findings:
    """All layers, the one asked about first, every layer after those that were made of it."""

    nodes: tuple[Node, ...]

    @property
    def compared(self) -> int:
        """How many figures were compared."""
        return sum(one.difference is not None for node in self.nodes for one in node.figures)

    def parted(self, node: Node) -> list[Compared]:
        """The figures of a layer that differ, the surest first."""
        found = [one for one in node.figures if one.difference and one.difference.parted(self.compared)]
        return sorted(found, key=lambda one: one.difference.p if one.difference else 1.0)

    def above(self, node: Node) -> list[Node]:
        """All layers that a layer came from."""
        by_name, found, due = {one.layer: one for one in self.nodes}, dict[str, Node](), list(node.of)
        while due:
            name = due.pop()
            if name in by_name and name not in found:
                found[name] = by_name[name]
                due += by_name[name].of
        return [one for one in self.nodes if one.layer in found]

    @property
    def roots(self) -> list[Node]:
        """The parted layers that came from none that is."""
        return [node for node in self.nodes if self.parted(node) and not any(map(self.parted, self.above(node)))]

    def silent(self, node: Node) -> bool:
        """Whether nothing that units noted tells of this layer."""
        return not node.figures


def find(store: Store, layer: str, box: Box, against: Box | None = None) -> Findings:
    """Compare ``box`` with ``against``, or with the rest, in ``layer`` (their voxels are its own) and above it."""
    return compared(store, layer, region(store, layer, box, against))


def compared(store: Store, layer: str, region: Region) -> Findings:
    """As :func:`find`, of boxes in nm."""
    return Findings(
        tuple(_node(store, name, above, of, region) for name, (above, of) in ancestry(store, layer).items())
    )


def ancestry(store: Store, layer: str) -> dict[str, tuple[int, tuple[str, ...]]]:
    """How many steps above ``layer`` each layer is at most, and what it was made of; the nearest first."""
    read: dict[str, tuple[str, ...]] = {}
    due = [layer]
    while due:
        name = due.pop()
        if name not in read:
            listed = name.startswith(history.LISTED)
            read[name] = tuple(qualities.layers_read(store, name)) if listed else ()
            due += read[name]
    above = dict.fromkeys(read, 0)
    for _ in read:  # as many rounds as there can be steps; layers made of each other stop there
        changed = False
        for name, of in read.items():
            for other in of:
                if other != layer and above[other] < above[name] + 1 <= len(read):
                    above[other], changed = above[name] + 1, True
        if not changed:
            break
    return {name: (above[name], read[name]) for name in sorted(read, key=lambda name: (above[name], name))}


def region(store: Store, layer: str, box: Box, against: Box | None) -> Region:
    """The boxes in nm; ``box`` and ``against`` are in voxels of ``layer``. SpecError for empty or common ones."""
    resolution = resolution_of(store, layer)
    if not box.voxels or (against is not None and not against.voxels):
        raise SpecError("trace: a box holds no voxel; write x0:x1,y0:y1,z0:z1")
    if against is not None and (box & against).voxels:
        raise SpecError(f"trace: {box} and {against} overlap; compare boxes that have no voxel in common")
    return Region(_scaled(box, resolution), None if against is None else _scaled(against, resolution))


def resolution_of(store: Store, layer: str) -> Vec3f:
    """Of the voxels in which boxes of a layer or a table are given; DataError where nothing tells."""
    if store.exists(f"{layer}/info"):
        return IO(store).info(layer).scales[0].resolution
    known = store.get_json(f"{layer}/table.json") or {}
    if "resolution" not in known:
        raise DataError(f"{layer}: is no layer and no table of synapses; name one of these, with --box in its voxels")
    x, y, z = map(float, known["resolution"])
    return x, y, z


def _scaled(box: Box, resolution: Vec3f) -> tuple[Array, Array]:
    step = np.array(resolution)
    return np.array(box.lo) * step, np.array(box.hi) * step


def _node(store: Store, layer: str, above: int, of: tuple[str, ...], region: Region) -> Node:
    found = qualities.of_layer(store, layer) if layer.startswith(history.LISTED) else []
    return Node(layer, above, of, tuple(Compared(one, comparing.compare(sample(one, region))) for one in found))


def sample(series: Series, region: Region) -> Sample:
    """The units of a series by how much of each lies in either box."""
    inside = _share(series, *region.box)
    outside = 1 - inside if region.against is None else _share(series, *region.against)
    return Sample(series.values, series.counts, inside, outside, lattice(series)[0])


def _share(series: Series, lo: Array, hi: Array) -> Array:
    """The part of each unit that lies in a box."""
    common = np.clip(np.minimum(series.hi, hi) - np.maximum(series.lo, lo), 0, None)
    found: Array = (common / (series.hi - series.lo)).prod(axis=1)
    return found


def lattice(series: Series) -> tuple[Array, Array, Array]:
    """The place, int64 [n, 3], of each unit in a grid of whole units; the first corner of that and its pitch, nm."""
    first, pitch = series.lo.min(axis=0), np.median(series.hi - series.lo, axis=0)
    return np.rint((series.lo - first) / pitch).astype(np.int64), first, pitch


def few(difference: Difference) -> bool:
    """Whether the box has so few places to be in that no difference could be told from accident."""
    return difference.places < _FEW


def to_json(findings: Findings) -> dict[str, Any]:
    """All of it in JSON's types."""
    return {
        "roots": [node.layer for node in findings.roots],
        "compared": findings.compared,
        "layers": [
            {
                "layer": node.layer,
                "above": node.above,
                "of": list(node.of),
                "silent": findings.silent(node),
                "parted": bool(findings.parted(node)),
                "figures": [_told(one, findings) for one in node.figures],
            }
            for node in findings.nodes
        ],
    }


def _told(one: Compared, findings: Findings) -> Mapping[str, Any]:
    told: dict[str, Any] = {"stage": one.series.stage, "figure": one.series.key, "said": one.series.said}
    difference = one.difference
    if difference is None:
        return told
    ratio = None if np.isinf(difference.ratio) else difference.ratio
    return {**told, **vars(difference), "ratio": ratio, "parted": difference.parted(findings.compared)}
