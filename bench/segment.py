"""Segmentation measured: what is found of the truth with thresholds chosen elsewhere, and how fast.

    python bench/segment.py accuracy [sheet trees net given piriform] [STAGE.FIELD=VALUE ...]
    python bench/segment.py known [NOISE ...]
    python bench/segment.py speed [STAGE.FIELD=VALUE ...]

`accuracy` learns and chooses rules on slices 0 to 99 of `fib25/train_z000-124.npz` of the test data
(IGNEOUS_NG_TEST_DATA, or ../shared/data) and measures on slices 100 to 124, which are segmented alone. Rules are those
of the least mean VOI of slices 0 to 49 and 50 to 99; trees that are asked about one half learnt from the other. `given`
are the supervoxels that come with these data, joined by the mean affinity of `sheet`, and by the truth itself, which is
the best that can be made of them. `piriform` are real affinities against the segmentation that others made of them.
`known` are affinities of the truth with noise, whose errors are known to be next to none. `speed` tells CPU seconds a
voxel and an edge, 250 x 250 x 250 voxels from the image to segments by two processes, memory for 512 x 512 x 512, and
growth.

Fields such as `watershed.low=0.05` or `train trees.samples=160000` go to the stage `segment watershed`, `segment train
trees` ...; `folder=DIR` (kept, else temporary) to the benchmark itself.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from scipy import ndimage
from segment_places import CUT, DATA, SLABS, Bench, local, verdict
from segment_speed import speed
from segment_tried import THRESHOLDS, Tried, by_truth, chosen, measured, together

from igneous_ng.errors import SpecError
from igneous_ng.kernels import contingency

GOALS = {"trees": (1.9, 0.13), "net": (1.5, 0.08)}  # VOI and adapted Rand error, on other slices of the specimen


def tested(bench: Bench, name: str, affinities: list[str], given: bool) -> None:
    """Choose on all slabs but the last, measure on that; and say what would be the best there."""
    truths, stored = bench.fib("labels"), bench.fib("supervoxels")
    layers = [
        bench.supervoxels(url, stored[:, :, slice(*slab)] if given else None)
        for url, slab in zip(affinities, SLABS, strict=True)
    ]
    *tried, other = (Tried(bench, url, truths[:, :, slice(*slab)]) for url, slab in zip(layers, SLABS, strict=True))
    rules = chosen(tried)
    on = together(tried, rules)
    print(f"{name}: {rules}; where they were chosen VOI {on[0]:.3f}, ARAND {on[1]:.4f}", flush=True)
    bench.do("segment agglomerate", layer=layers[-1], agglomeration="chosen", **rules)
    out = f"{layers[-1]}.segments"
    bench.do("segment relabel", supervoxels=layers[-1], layer=out, agglomeration="chosen")
    truth = bench.slab("truth", truths, SLABS[-1])
    bench.do("eval segmentation", segmentation=out, truth=truth, layer=f"{out}.errors")
    found = json.loads(local(f"{out}.errors/scores.json").read_text())
    one, figures = found["one"], (found["one"]["voi"], found["own"]["arand"])
    print(f"{name}, slices {CUT} to 124: VOI {one['voi']:.3f} (split {one['voi_split']:.3f}, "
          f"merge {one['voi_merge']:.3f}), ARAND {figures[1]:.4f}; "
          f"{found['unassigned'] / found['voxels']:.2%} in no segment")  # fmt: skip
    oracle = min(other.scores({"thresholds": (t,)}) for t in THRESHOLDS)
    print(f"{name}, with the best plain threshold of slices {CUT} to 124: VOI {oracle[0]:.3f}, ARAND {oracle[1]:.4f}")
    mapped = measured(other.pairs, *by_truth(other.pairs))
    print(f"{name}, joined by the truth: VOI {mapped[0]:.3f}, ARAND {mapped[1]:.4f}", flush=True)
    if name in GOALS:
        verdict(f"{name}, VOI and ARAND", figures, GOALS[name], " (the goal is for slices 125 to 249)")


def accuracy(bench: Bench, names: list[str]) -> None:
    """VOI and adapted Rand error of each way."""
    for name in names or ("sheet", "given", "trees", "net", "piriform"):
        try:
            if name == "piriform":
                piriform(bench)
            else:
                tested(bench, name, bench.affinities("sheet" if name == "given" else name), name == "given")
        except SpecError as error:
            print(f"{name}: cannot be measured here: {error}", flush=True)


def piriform(bench: Bench) -> None:
    """Real affinities against the reference: whichever order of channels and threshold agrees most."""
    with h5py.File(DATA / "piriform/piriform.aff.h5") as file, h5py.File(DATA / "piriform/piriform.seg.h5") as other:
        fractions = file["main"][()].transpose(3, 2, 1, 0)
        truth = np.asfortranarray(other["seg"][()].transpose(2, 1, 0))
    affinities = bench.layer("piriform", np.rint(fractions * 255).astype(np.uint8))
    for axes in ((0, 1, 2), (2, 1, 0)):
        layer = f"{affinities}.{axes[0]}"
        bench.do("segment watershed", affinities=affinities, layer=layer, axes=axes)
        bench.do("segment graph", layer=layer)
        tried = Tried(bench, layer, truth)
        scores = {t: tried.scores({"thresholds": (t,)}) for t in THRESHOLDS}
        best = min(scores, key=lambda t: scores[t][0])
        print(
            f"piriform, axes {axes}: threshold {best}: VOI {scores[best][0]:.3f}, ARAND {scores[best][1]:.4f}",
            flush=True,
        )


def known(bench: Bench, amounts: list[str]) -> None:
    """Affinities of the truth: errors are those that disconnected objects and noise make, and no others."""
    truth = bench.fib("labels")[:, :, :CUT]
    joined = [np.zeros(truth.shape, bool) for _ in range(3)]
    for axis, there in enumerate(joined):
        own, before = (np.moveaxis(one, axis, 0) for one in (there, truth))
        own[1:] = (before[1:] == before[:-1]) & (before[1:] > 0)
    parts = connected(truth)
    zero = [np.zeros(n, np.int64) for n in truth.shape]
    pairs = contingency.located(contingency.tally(truth, parts, truth == 0, zero), np.zeros(1))
    floor = measured(pairs, np.arange(parts.max() + 1), np.arange(parts.max() + 1))
    print(f"known: objects in {parts.max()} connected parts: VOI {floor[0]:.4f}, ARAND {floor[1]:.5f}", flush=True)
    rng = np.random.default_rng(0)
    for amount in map(float, amounts or ("0", "0.2", "0.4", "0.6")):
        noise = rng.uniform(0, amount, (*truth.shape, 3))
        sure = np.where(np.stack(joined, axis=-1), 1 - noise, noise)
        layer = bench.supervoxels(bench.layer(f"known{amount}", np.rint(255 * sure).astype(np.uint8)))
        found = Tried(bench, layer, truth).scores({"thresholds": (0.5,)})
        print(f"known, noise {amount}: VOI {found[0]:.4f}, ARAND {found[1]:.5f}", flush=True)


def connected(truth: np.ndarray) -> np.ndarray:
    """Connected parts of objects, numbered from 1."""
    parts, last = np.zeros(truth.shape, np.uint64), 0
    for label, box in enumerate(ndimage.find_objects(np.unique(truth, return_inverse=True)[1].reshape(truth.shape))):
        if box is None:
            continue
        name = np.unique(truth)[label + 1]
        found, count = ndimage.label(truth[box] == name)
        parts[box][found > 0] = (found[found > 0] + last).astype(np.uint64)
        last += count
    return parts


def main() -> None:
    """Measure what is asked for."""
    what, *rest = sys.argv[1:]
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    keep = given.pop("folder", "")
    folder = Path(keep or tempfile.mkdtemp(prefix="segment-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder)
    for key, value in given.items():
        stage, _, name = key.partition(".")
        bench.chosen.setdefault(stage, {})[name] = json.loads(value)
    ways = {"accuracy": accuracy, "known": known, "speed": speed}
    try:
        ways[what](bench, [word for word in rest if "=" not in word])
    finally:
        if not keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
