"""Layers of benchmarks of segmentation, made by stages of the package one after the other, in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from igneous_ng import catalog, run
from igneous_ng.formats.info import IMAGE, SEGMENTATION, new_info
from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.kernels import supervoxel_ids
from igneous_ng.segmentation import Supervoxels

DATA = Path(os.environ.get("IGNEOUS_NG_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
FIB = DATA / "fib25" / "train_z000-124.npz"
CUT = 100  # slices below it are learnt from
SLABS = (0, 50), (50, CUT), (CUT, 125)  # rules are chosen on all but the last, which is what is measured


@dataclass
class Bench:
    """Where things are made, and fields that the user chose."""

    folder: Path
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        return f"file://{self.folder}/{name}"

    def do(self, name: str, **fields: Any) -> float:
        """Run a stage, step by step, here; CPU seconds."""
        start = time.process_time()
        more = self.chosen.get(name.removeprefix("segment "), {})
        for step in catalog.load(name)(**{**fields, **more}).steps(IO()):
            run.inline(step)
        return time.process_time() - start

    def layer(self, name: str, voxels: np.ndarray, z: int = 0, nm: float = 10.0) -> str:
        """A layer of ``voxels`` [x, y, z] or [x, y, z, channel] that begins at slice ``z``, made once."""
        url, io = self.url(name), IO()
        if not io.exists(f"{url}/info"):
            array = voxels if voxels.ndim == 4 else voxels[..., np.newaxis]
            bounds = Box.sized((0, 0, z), vec(array.shape[:3]))
            kind = IMAGE if array.dtype == np.uint8 else SEGMENTATION
            info = new_info(kind=kind, dtype=array.dtype.name, channels=array.shape[3], bounds=bounds,
                            resolution=(nm, nm, nm), chunk=(64, 64, 64), encoding="raw")  # fmt: skip
            io.create_layer(url, info)
            io.write(io.volume(url, 0), bounds, np.asfortranarray(array))
        return url

    def fib(self, what: str) -> np.ndarray:
        """`em`, `labels` or `supervoxels`, [x, y, z]."""
        with np.load(FIB) as found:
            return np.asfortranarray(found[what].transpose(2, 1, 0))

    def slab(self, name: str, voxels: np.ndarray, slices: tuple[int, int]) -> str:
        """A layer of some of the slices of ``voxels``."""
        return self.layer(f"{name}.{slices[0]}", voxels[:, :, slice(*slices)], slices[0])

    def affinities(self, model: str) -> list[str]:
        """What a model says of each of :data:`SLABS`; the image is read as a whole."""
        if model == "trees":
            return [self.slab(model, values(self._by_trees(slab)), slab) for slab in SLABS]
        said = values(self._inferred(model, model))
        return [self.slab(f"{model}.slab", said, slab) for slab in SLABS]

    def _by_trees(self, slab: tuple[int, int]) -> str:
        """What trees say that learnt from the slices below the cut without those of a slab."""
        image, labels = self.layer("em", self.fib("em")), self.layer("labels", self.fib("labels"))
        url, (lo, hi) = self.url(f"trees.without.{slab[0]}"), slab
        below, held = Box((0, 0, 0), (250, 250, CUT)), Box((0, 0, lo), (250, 250, hi))
        seconds = self.do("segment train trees", image=image, labels=labels, model=url, roi=below, held=held)
        print(f"trees: trained in {seconds:.1f} CPU s", flush=True)
        return self._inferred(f"trees.without.{slab[0]}.whole", url)

    def _inferred(self, name: str, model: str) -> str:
        image, out = self.layer("em", self.fib("em")), self.url(f"{name}.affinities")
        seconds = self.do("segment infer", image=image, layer=out, model=model)
        print(f"{name}: inferred in {seconds:.1f} CPU s", flush=True)
        return out

    def supervoxels(self, affinities: str, given: np.ndarray | None = None, **fields: Any) -> str:
        """Supervoxels and their graph; those ``given`` instead of the watershed's."""
        layer = f"{affinities}.{'given' if given is not None else 'supervoxels'}"
        self.do("segment watershed", affinities=affinities, layer=layer, **fields)
        if given is not None:
            replaced(layer, given)
        self.do("segment graph", layer=layer)
        return layer


def values(url: str, mip: int = 0) -> np.ndarray:
    """A whole layer, [x, y, z, channel]."""
    io = IO()
    volume = io.volume(url, mip)
    return io.read(volume, volume.bounds)


def replaced(layer: str, given: np.ndarray) -> None:
    """Put other supervoxels in the place of the only leaf's."""
    io, known = IO(), Supervoxels(IO(), layer)
    volume, first = io.volume(layer, 0), supervoxel_ids.first((0, 0, 0), known.plan.bits)
    flat = given.ravel(order="F")
    _, starts, which, sizes = np.unique(flat, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(starts)
    ids = np.empty(len(order), np.uint64)
    ids[order] = np.arange(first + 1, first + 1 + len(order), dtype=np.uint64)
    io.write(volume, volume.bounds, ids[which].reshape((*given.shape, 1), order="F"))
    known.put("pieces", (0, 0, 0), {"id": ids[order], "size": sizes[order].astype(np.int64),
              "faces": np.zeros(len(order), np.uint8), "first": starts[order].astype(np.int64)})  # fmt: skip


def local(url: str) -> Path:
    return Path(url.removeprefix("file://"))


def verdict(what: str, reached: Iterable[float], bounds: Iterable[float], noted: str = "") -> None:
    """Say whether figures are within their bounds, which are the most they may be."""
    figures, limits = list(reached), list(bounds)
    word = "reached" if all(a <= b for a, b in zip(figures, limits, strict=True)) else "MISSED"
    said = " / ".join(f"{value:.3g}" for value in figures)
    print(f"{what}: {said} of {' / '.join(f'{value:.3g}' for value in limits)} {word}{noted}", flush=True)


def fast(what: str, reached: float, bound: float) -> None:
    """Say whether a speed is reached."""
    print(f"{what}: {reached:.3g} of {bound:.3g} {'reached' if reached >= bound else 'MISSED'}", flush=True)
