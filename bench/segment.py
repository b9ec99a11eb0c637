"""Segmentation measured: what is found of the truth with thresholds chosen elsewhere, and how fast.

    python bench/segment.py accuracy [sheet trees net given piriform] [STAGE.FIELD=VALUE ...]
    python bench/segment.py known [NOISE ...]
    python bench/segment.py speed [STAGE.FIELD=VALUE ...]

`accuracy` learns and chooses thresholds on slices 0 to 99 of `fib25/train_z000-124.npz` of the test data
(IGNEOUS_NG_TEST_DATA, or ../shared/data) and measures on slices 100 to 124, which are segmented alone. `given` are the
supervoxels that come with these data, joined by the mean affinity of `sheet`, and by the truth itself, which is the
best that can be made of them. `piriform` are real affinities against the segmentation that others made of them. `known`
are affinities of the truth with noise, whose errors are known to be next to none. `speed` tells CPU seconds a voxel and
an edge, 250 x 250 x 250 voxels from the image to segments by two processes, memory for 512 x 512 x 512, and growth.

Fields such as `watershed.low=0.05` or `train trees.samples=160000` go to the stage `segment watershed`, `segment train
trees` ...; `folder=DIR` (kept, else temporary) to the benchmark itself.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import ndimage

from igneous_ng import catalog, run
from igneous_ng.errors import SpecError
from igneous_ng.formats.info import IMAGE, SEGMENTATION, new_info
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import contingency, partition_scores, supervoxel_ids
from igneous_ng.segmentation import Supervoxels

DATA = Path(os.environ.get("IGNEOUS_NG_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
FIB = DATA / "fib25" / "train_z000-124.npz"
CUT = 100  # slices below it are learnt from
GOALS = {"trees": (1.9, 0.13), "net": (1.5, 0.08)}  # VOI and adapted Rand error, on other slices of the specimen
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
GUARDS = tuple(itertools.product((1_000, 5_000, 20_000), (0.1, 0.2)))  # size, above the threshold
SMALL = tuple(itertools.product((50, 200, 800), (0.1, 0.2, 0.3)))  # size, below the threshold
WATERSHED, AGGLOMERATION = 15.0, 0.5  # millions of voxels, of edges, a second and core
WHOLE = {"sheet": 60.0, "net": 90.0}  # seconds for 250 x 250 x 250 voxels on two cores
MEMORY = 6e9  # bytes for 512 x 512 x 512 voxels

ALONE = """
import json, sys
from pathlib import Path
from igneous_ng import catalog
from igneous_ng.io import IO
io, stage = IO(), catalog.load(sys.argv[1])(**json.loads(sys.argv[2]))
stage.prepare(io)
for unit in stage.units(io):
    stage.execute(unit, io)
stage.finish(io)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
"""  # a stage in a process of its own, and the most memory that it took

Rules = dict[str, Any]


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


@dataclass
class Tried:
    """Agglomerations of one layer of supervoxels, each measured by the overlaps of supervoxels and truth."""

    bench: Bench
    layer: str
    truth: np.ndarray
    seconds: float = 0.0
    number: int = 0

    def __post_init__(self) -> None:
        voxels = values(self.layer)[..., 0]
        zero = [np.zeros(n, np.int64) for n in voxels.shape]
        self.pairs = contingency.located(contingency.tally(self.truth, voxels, self.truth == 0, zero), np.zeros(1))

    def scores(self, rules: Rules) -> tuple[float, float]:
        """VOI and adapted Rand error; voxels in no supervoxel are one segment, and each its own."""
        self.number += 1
        name = f"try{self.number}"
        self.seconds += self.bench.do("segment agglomerate", layer=self.layer, agglomeration=name, **rules)
        known = Supervoxels(IO(), self.layer)
        tables = [known.read(f"agglomerations/{name}/segments", known.plan.at(leaf)) for leaf in known.plan.grid]
        ids, segments = (np.concatenate([table[column] for table in tables]) for column in ("id", "segment"))
        shutil.rmtree(local(known.agglomeration_url(name)))
        return measured(self.pairs, ids, segments)

    def chosen(self) -> Rules:
        """The rules of the least VOI: a threshold, then a guard with each threshold near it, then the small ones."""
        best = self.best([{"thresholds": (t,)} for t in THRESHOLDS])
        at = THRESHOLDS.index(best["thresholds"][0])
        near = THRESHOLDS[max(at - 2, 0) : at + 1]
        guarded = [{"thresholds": (t,), "guard_size": size, "guard_threshold": round(min(t + more, 1.0), 3)}
                   for t in near for size, more in GUARDS]  # fmt: skip
        best = self.best([best, *guarded])
        smaller = [{**best, "small_size": size, "small_threshold": round(best["thresholds"][0] - less, 3)}
                   for size, less in SMALL if best["thresholds"][0] > less]  # fmt: skip
        return self.best([best, *smaller])

    def best(self, asked: list[Rules]) -> Rules:
        """Those of the least VOI."""
        return min(asked, key=lambda rules: self.scores(rules)[0])


def measured(pairs: contingency.Table, ids: np.ndarray, segments: np.ndarray) -> tuple[float, float]:
    """VOI and adapted Rand error once each of ``ids``, ascending, became its segment."""
    other = pairs["other"].copy()
    some = other > 0
    other[some] = segments[np.searchsorted(ids, other[some])]
    table = contingency.summed([{**pairs, "other": other}])
    sums = partition_scores.of_objects(table)[0] + partition_scores.of_segments(contingency.turned(table))[0]
    found = partition_scores.scores(sums)
    return found["one"]["voi"], found["own"]["arand"]


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


def tested(bench: Bench, name: str, affinities: tuple[str, str], given: bool) -> None:
    """Choose on the first part, measure on the second; and say what would be the best there."""
    truths, stored = bench.fib("labels"), bench.fib("supervoxels")
    boxes = slice(0, CUT), slice(CUT, None)
    layers = [
        bench.supervoxels(url, stored[:, :, box] if given else None) for url, box in zip(affinities, boxes, strict=True)
    ]
    tried = Tried(bench, layers[0], truths[:, :, :CUT])
    rules = tried.chosen()
    on = tried.scores(rules)
    print(f"{name}: {rules}; on slices 0 to {CUT - 1} VOI {on[0]:.3f}, ARAND {on[1]:.4f}", flush=True)
    other = Tried(bench, layers[1], truths[:, :, CUT:])
    bench.do("segment agglomerate", layer=layers[1], agglomeration="chosen", **rules)
    out = f"{layers[1]}.segments"
    bench.do("segment relabel", supervoxels=layers[1], layer=out, agglomeration="chosen")
    truth = bench.parts("truth", truths)[1]
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


def by_truth(pairs: contingency.Table) -> tuple[np.ndarray, np.ndarray]:
    """Supervoxels, ascending, and the true object that each overlaps most."""
    order = np.lexsort((pairs["one"], -pairs["count"], pairs["other"]))
    ids, first = np.unique(pairs["other"][order], return_index=True)
    return ids[ids > 0], pairs["one"][order][first][ids > 0]


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


def speed(bench: Bench, _: list[str]) -> None:
    """CPU seconds of each step, growth, two processes, memory."""
    with np.load(DATA / "fib25/em_only_250.npz") as found:
        voxels = np.asfortranarray(found["em"].transpose(2, 1, 0))
    rates = []
    for depth in (32, 125, 250):
        taken, edges = steps(bench, voxels[:, :, :depth], f"depth{depth}")
        size = 250 * 250 * depth / 1e6
        rates.append((taken["watershed"] + taken["graph"]) / size)
        told = ", ".join(f"{step} {seconds:.2f}" for step, seconds in taken.items())
        print(
            f"250 x 250 x {depth}: CPU s {told}; {edges:,} edges, {edges / 1e6 / taken['agglomerate']:.2f} M/s",
            flush=True,
        )
    fast("watershed and graph, millions of voxels a second and core", 1 / rates[-1], WATERSHED)
    fast("agglomeration, millions of edges a second and core", edges / 1e6 / taken["agglomerate"], AGGLOMERATION)
    verdict("growth, CPU seconds a voxel of 250 slices against 32", (rates[-1] / rates[0],), (1.2,))
    for model, limit in WHOLE.items():
        whole(bench, model, limit)
    memory(bench, values(bench.url("depth250.affinities")))


def steps(bench: Bench, voxels: np.ndarray, name: str) -> tuple[dict[str, float], int]:
    """CPU seconds of each step from an image to segments, and the edges of the graph."""
    image, affinities, layer = (
        bench.layer(name, voxels),
        bench.url(f"{name}.affinities"),
        bench.url(f"{name}.supervoxels"),
    )
    taken = {"infer": bench.do("segment infer", image=image, layer=affinities)}
    taken["watershed"] = bench.do("segment watershed", affinities=affinities, layer=layer)
    taken["graph"] = bench.do("segment graph", layer=layer)
    taken["agglomerate"] = bench.do("segment agglomerate", layer=layer)
    taken["relabel"] = bench.do("segment relabel", supervoxels=layer, layer=f"{layer}.segments")
    graph = Supervoxels(IO(), layer)
    return taken, sum(len(graph.read("graph", graph.plan.at(leaf), ("u",))["u"]) for leaf in graph.plan.grid)


def whole(bench: Bench, model: str, limit: float) -> None:
    """All steps by two processes, in two leaves."""
    image, name, half = bench.url("depth250"), bench.url(f"whole.{model}"), "256,256,128"
    commands = [
        ["infer", image, f"{name}.affinities", "--model", model, "--cell", half],
        ["watershed", f"{name}.affinities", f"{name}.supervoxels", "--leaf", half],
        ["graph", f"{name}.supervoxels"],
        ["agglomerate", f"{name}.supervoxels"],
        ["relabel", f"{name}.supervoxels", f"{name}.segments", "--cell", half],
    ]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for words in commands:
        done = subprocess.run([sys.executable, "-m", "igneous_ng.cli", "segment", *words, "-p", "2"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # fmt: skip
        if done.returncode:
            print(f"{model}: cannot be measured here: {done.stdout.strip().splitlines()[-1]}", flush=True)
            return
    taken, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    verdict(
        f"{model}, image to segments of 250 x 250 x 250, s", (taken,), (limit,), f" ({cpu:.0f} CPU s of two processes)"
    )


def memory(bench: Bench, affinities: np.ndarray) -> None:
    """The most memory of a process that makes supervoxels and their graph of one leaf of 512 x 512 x 512."""
    side: Vec3 = (512, 512, 512)
    wide = np.pad(affinities, [*((0, side[0] - n) for n in affinities.shape[:3]), (0, 0)], mode="symmetric")
    image, layer = bench.layer("wide", wide), bench.url("wide.supervoxels")
    del wide
    fields: dict[str, dict[str, Any]] = {
        "watershed": {"affinities": image, "layer": layer, "leaf": side},
        "graph": {"layer": layer},
    }
    for step, given in fields.items():
        words = [sys.executable, "-c", ALONE, f"segment {step}", json.dumps(given)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        verdict(f"{step} of 512 x 512 x 512, GB", (int(done.stdout.split()[-1]) / 1e9,), (MEMORY / 1e9,))


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
