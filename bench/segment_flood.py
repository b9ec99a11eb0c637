"""Flooding measured on synthetic tissue, whose truth is known: scores, and whether subvolumes leave a trace.

    python bench/segment_flood.py [MODEL ...] [side=128] [cell=64] [overlap=32] [min_size=200] [folder=DIR]

Each MODEL is `level` (the default) or the folder of a model that `segment train flood` wrote. The volume is flooded as
one subvolume and as several that the tree joins; printed are VOI (split, merge), adapted Rand error, how far the two
labellings are from each other, steps of the model and CPU seconds. VOI takes all voxels without a segment for one
segment, so it is also given with each of them counted to the nearest object.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from igneous_ng import run
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import contingency, partition_scores
from igneous_ng.stages.segment_flood import Auto
from igneous_ng.stages.segment_infer import Infer
from igneous_ng.stages.synth_volume import Synth

SEED = 2  # others are learnt from


def main(words: list[str]) -> None:
    """Print a line for each model and cutting."""
    chosen = {"side": "128", "cell": "64", "overlap": "32", "min_size": "200", "folder": ""}
    chosen |= dict(word.split("=", 1) for word in words if "=" in word)
    models = [word for word in words if "=" not in word] or ["level"]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(chosen["folder"] or made)
        side = int(chosen["side"])
        run.inline(Synth(out=f"{folder}/tissue", shape=cube(side), seed=SEED))
        run.inline(Infer(image=f"{folder}/tissue/image", layer=f"{folder}/edges", cell=cube(256)))
        truth = whole(f"{folder}/tissue/segmentation")
        for number, model in enumerate(models):
            found = {}
            for name, cell in (("one", side), ("several", int(chosen["cell"]))):
                layer = f"{folder}/{number}-{name}"
                begun = time.process_time()
                steps = flooded(folder, layer, model, cell, int(chosen["overlap"]), int(chosen["min_size"]))
                seconds = time.process_time() - begun
                found[name] = whole(layer)
                print(f"{model} {name}: {scored(truth, found[name])}; {steps} steps, {seconds:.1f} CPU s")
                print(f"{model} {name}, the rest as the nearest object: {scored(truth, grown(found[name]))}")
            both = scored(found["one"], found["several"])
            print(f"{model} several against one: {both}")


def cube(side: int) -> Vec3:
    """As long along each axis."""
    return side, side, side


def flooded(folder: Path, layer: str, model: str, cell: int, overlap: int, min_size: int) -> int:
    """Flood in cells of this side; how often the model was asked."""
    chain = Auto(
        image=f"{folder}/tissue/image", layer=layer, model=model, edges=f"{folder}/edges", cell=cube(cell),
        overlap=cube(overlap), chunk=cube(min(64, cell)), min_size=min_size,
    )  # fmt: skip
    for stage in chain.steps(IO()):
        run.inline(stage)
    return int(sum(note.get("model_steps", 0) for note in notes(layer)))


def notes(layer: str) -> list[dict[str, float]]:
    """What all units of all runs noted."""
    from igneous_ng import history, records
    from igneous_ng.stage import Layer
    from igneous_ng.store import Store

    store = Store()
    files = [file for one in history.runs(store, Layer.parse(layer)) for file in records.stored(store, one)]
    return [line["notes"] for file in files for line in records.lines_of(store, file)]


def whole(layer: str) -> np.ndarray:
    """All labels of a layer."""
    io = IO()
    volume = io.volume(f"file://{Path(layer).resolve()}", 0)
    return io.read(volume, volume.bounds)[..., 0]


def grown(found: np.ndarray) -> np.ndarray:
    """A labelling whose voxels without a segment are of the nearest one."""
    if not found.any():
        return found
    nearest = ndimage.distance_transform_edt(found == 0, return_distances=False, return_indices=True)
    return np.asfortranarray(found[tuple(nearest)])


def scored(truth: np.ndarray, found: np.ndarray) -> str:
    """VOI and adapted Rand error of a labelling."""
    zero = [np.zeros(n, np.int64) for n in truth.shape]
    pairs = contingency.located(contingency.tally(truth, found, truth == 0, zero), np.zeros(1))
    table = contingency.summed([pairs])
    sums = partition_scores.of_objects(table)[0] + partition_scores.of_segments(contingency.turned(table))[0]
    one, own = (partition_scores.scores(sums)[how] for how in ("one", "own"))
    voi = f"VOI {one['voi']:.3f} ({one['voi_split']:.3f} + {one['voi_merge']:.3f})"
    return f"{voi}, adapted Rand error {own['arand']:.3f}, {np.mean((found == 0)[truth > 0]):.0%} without a segment"


if __name__ == "__main__":
    main(sys.argv[1:])
