"""How fast segmentation is, and how much memory it takes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from segment_places import DATA, Bench, fast, values, verdict

from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.segmentation import Supervoxels

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
