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

    def parts(self, name: str, voxels: np.ndarray) -> tuple[str, str]:
        """Layers of the slices to choose by, and of those to measure on."""
        return self.layer(f"{name}.chosen", voxels[:, :, :CUT]), self.layer(f"{name}.tested", voxels[:, :, CUT:], CUT)

    def affinities(self, model: str) -> tuple[str, str]:
        """What a model says of both parts; the image is read as a whole."""
        image = self.layer("em", self.fib("em"))
        out, fields = self.url(f"{model}.affinities"), {"model": model}
        if model == "trees":
            fields["model"] = self.url("trees.model")
            labels = self.layer("labels", self.fib("labels"))
            box = Box((0, 0, 0), (250, 250, CUT))
            seconds = self.do("segment train trees", image=image, labels=labels, model=fields["model"], roi=box)
            print(f"{model}: trained in {seconds:.1f} CPU s", flush=True)
        seconds = self.do("segment infer", image=image, layer=out, **fields)
        print(f"{model}: inferred in {seconds:.1f} CPU s", flush=True)
        return self.parts(f"{model}.parts", values(out))

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
