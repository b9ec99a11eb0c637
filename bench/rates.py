"""How fast stages go on this machine: writes igneous_ng/rates.toml, from which `--estimate` knows what a job takes.

Each stage runs in this process on real volumes, after a first time on a small corner of them; CPU seconds and what was
written come from its records, reads are counted where files are opened.

usage: python bench/rates.py [FOLDER_OF_TEST_DATA [SIDE]]     SIDE: at most so many voxels along each axis
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from igneous_ng import extents, local, records, run
from igneous_ng.io import IO
from igneous_ng.rates import CHUNK
from igneous_ng.stage import Chain, Stage
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.graph_contacts import Contacts
from igneous_ng.stages.image_count import CountAll
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.image_measure import ImageMeasure
from igneous_ng.stages.image_transfer import Transfer
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.stages.segment_agglomerate import Agglomerate
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_infer import Infer
from igneous_ng.stages.segment_relabel import Relabel
from igneous_ng.stages.segment_train_trees import TrainTrees
from igneous_ng.stages.segment_watershed import Watershed
from igneous_ng.stages.skeleton import SkeletonForge, SkeletonMerge
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.stages.synapse_detect import Detect
from igneous_ng.store import Store

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
Array = np.ndarray[Any, Any]
WARM = 64
NETWORK = 128  # a network takes long, and every patch alike


@dataclass
class Count:
    """What was read: requests, and bytes as they are stored."""

    gets: int = 0
    read: int = 0


@contextmanager
def counted() -> Iterator[Count]:
    """Count the files that are opened or looked for, but for records."""
    count, read, exists = Count(), local.read, local.exists

    def reading(path: str, *rest: Any) -> Any:
        found = read(path, *rest)
        if "/runs/" not in path:
            count.gets += 1
            count.read += 0 if found is None else len(found[0])
        return found

    def existing(path: str) -> bool:
        count.gets += "/runs/" not in path
        return exists(path)

    local.read, local.exists = reading, existing
    try:
        yield count
    finally:
        local.read, local.exists = read, exists


@dataclass(frozen=True)
class Sample:
    """What one stage took on one volume, for a voxel or for a chunk."""

    on: str
    cpu_ns: float
    read: float
    written: float
    gets: float
    puts: float


@dataclass
class Bench:
    """Where layers are made, of which volume, and what was measured there; nothing is kept of a first time."""

    folder: Path
    on: str = ""
    keep: bool = False
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    chains: dict[str, list[str]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """A layer of this volume."""
        return f"file://{self.folder}/{self.on.replace(' ', '_')}{'' if self.keep else '_warm'}/{name}"

    def measure(self, stage: Stage, when: dict[str, Any] | None = None) -> None:
        """Run a stage or a chain to its end, and note what each of its stages took."""
        voxels, chunk = 0, CHUNK
        took: dict[str, Any] = {}
        for step in stage.steps(IO()):
            if not voxels and (found := extents.extent(step, IO())):
                voxels, chunk = found.voxels, found.chunk or CHUNK
            with counted() as count:
                ready = run.inline(step)
            cpu, written, puts = taken(ready)
            before = took.get(step.name, np.zeros(5))
            took[step.name] = before + np.array([cpu * 1e9, count.read, written, count.gets * chunk, puts * chunk])
        if self.keep:
            said = {name: round(float(sums[0]) / voxels, 2) for name, sums in took.items()}
            print(f"{self.on}: {voxels:,} voxels, CPU ns a voxel: {said}", flush=True)
            if isinstance(stage, Chain):
                self.chains[stage.name] = list(took)
            for name, sums in took.items():
                self.samples[name, json.dumps(when or {})].append(Sample(self.on, *(sums / voxels).tolist()))


def taken(ready: Any) -> tuple[float, int, int]:
    """CPU seconds, bytes and objects written, of all units of a run."""
    cpu, written, puts = 0.0, 0, 0
    for line in records.all_lines(Store(), ready):
        stored = [one["bytes"] for one in line["writes"] if "bytes" in one and not one.get("kept")]
        cpu, written, puts = cpu + line["cpu_seconds"], written + sum(stored), puts + len(stored)
    return cpu, written, puts


def layer(bench: Bench, name: str, array: Array, nm: tuple[float, float, float], kind: str) -> str:
    """A layer of ``array`` [z, y, x]; its making is measured, too."""
    path = bench.folder / f"{name}.npy"
    np.save(path, array)
    bench.measure(Create(source=str(path), layer=bench.url(name), axes="zyx", resolution=nm, kind=kind), {"kind": kind})
    return bench.url(name)


def images(bench: Bench, em: str) -> None:
    """What is done to an image before anything is looked for in it."""
    bench.measure(Downsample(layer=em, num_mips=4), {"kind": "image"})
    bench.measure(Transfer(source=em, layer=bench.url("copy")), {"kind": "image"})
    bench.measure(Transfer(source=em, layer=bench.url("shards"), sharded=True), {"kind": "image", "sharded": True})
    bench.measure(
        Transfer(source=em, layer=bench.url("jpeg"), encoding=("jpeg",)), {"kind": "image", "encoding": ["jpeg"]}
    )
    bench.measure(Transfer(source=em, layer=bench.url("flat"), chunk=(128, 128, 16)), {"kind": "image", "chunk": "*"})
    bench.measure(ImageMeasure(layer=em), {"kind": "image"})


def objects(bench: Bench, seg: str) -> None:
    """What is made of a segmentation."""
    is_seg: dict[str, Any] = {"kind": "segmentation"}
    bench.measure(Downsample(layer=seg, num_mips=4), is_seg)
    bench.measure(Transfer(source=seg, layer=bench.url("seg_copy")), is_seg)
    bench.measure(Transfer(source=seg, layer=bench.url("seg_shards"), sharded=True), {**is_seg, "sharded": True})
    bench.measure(
        Transfer(source=seg, layer=bench.url("seg_small"), encoding=("compresso",)),
        {**is_seg, "encoding": ["compresso"]},
    )
    bench.measure(Transfer(source=seg, layer=bench.url("seg_flat"), chunk=(128, 128, 16)), {**is_seg, "chunk": "*"})
    bench.measure(CountAll(layer=seg))
    bench.measure(ImageMeasure(layer=seg), is_seg)
    bench.measure(Contacts(segmentation=seg, graph=bench.url("graph")))
    bench.measure(Auto(source=seg, layer=bench.url("components")))
    bench.measure(MeshForge(layer=seg))
    bench.measure(MeshMerge(layer=seg, dust=1000))
    run.inline(MeshForge(layer=seg, dir="shards"))
    bench.measure(MeshMerge(layer=seg, dust=1000, dir="shards", format="sharded"), {"format": "sharded"})
    bench.measure(SkeletonForge(layer=seg))
    bench.measure(SkeletonMerge(layer=seg, dust=1000))


def neurons(bench: Bench, em: str) -> None:
    """From an image to segments, by the filter."""
    bench.measure(Infer(image=em, layer=bench.url("affinities")), {"model": "sheet"})
    bench.measure(Watershed(affinities=bench.url("affinities"), layer=bench.url("supervoxels")))
    bench.measure(Graph(layer=bench.url("supervoxels")))
    bench.measure(Agglomerate(layer=bench.url("supervoxels"), thresholds=(0.9, 0.7, 0.5)))
    bench.measure(Relabel(supervoxels=bench.url("supervoxels"), layer=bench.url("segments")))


def networks(bench: Bench, em: str, truth: str) -> None:
    """Boosted trees, and the networks that come with the package, on a processor."""
    run.inline(TrainTrees(image=em, labels=truth, model=bench.url("trees")))
    bench.measure(Infer(image=em, layer=bench.url("by_trees"), model=bench.url("trees")), {"model": "trees"})
    for model in ("net", "cleft"):
        bench.measure(Infer(image=em, layer=bench.url(model), model=model), {"model": model})


def synapses(bench: Bench, em: str, seg: str) -> None:
    """From evidence to a table of synapses."""
    run.inline(Infer(image=em, layer=bench.url("evidence"), model="cleft"))
    bench.measure(Detect(evidence=bench.url("evidence"), layer=bench.url("clefts"), threshold=0.6, min_size=50))
    bench.measure(
        Assign(
            clefts=bench.url("clefts"),
            segmentation=seg,
            table=bench.url("table"),
            sides="channels",
            evidence=bench.url("evidence"),
            radius=80.0,
        )
    )


def everything(bench: Bench, data: Path, side: int) -> None:
    """All stages on all volumes, cut to ``side`` voxels along each axis."""

    def cut(array: Array, most: int = side) -> Array:
        return np.ascontiguousarray(array[tuple(slice(0, min(most, side)) for _ in array.shape)])

    cubes = np.load(data / "fib25" / "train_z000-124.npz")
    pinky = np.load(data / "pinky40" / "seg_mip1_16x16x40.npz")["labels"].T
    wide = np.load(data / "fib25" / "em_520x520x128.npz")["em"]
    ten = (10.0, 10.0, 10.0)
    bench.on = "FIB-25 wide"
    em = layer(bench, "em", cut(wide), ten, "image")
    images(bench, em)
    bench.on = "FIB-25"
    em, truth = (
        layer(bench, "em", cut(cubes["em"]), ten, "image"),
        layer(bench, "seg", cut(cubes["labels"]), ten, "segmentation"),
    )
    images(bench, em)
    objects(bench, truth)
    neurons(bench, em)
    bench.on = "FIB-25 corner"
    em = layer(bench, "em", cut(cubes["em"], NETWORK), ten, "image")
    seg = layer(bench, "seg", cut(cubes["labels"], NETWORK), ten, "segmentation")
    networks(bench, em, seg)
    synapses(bench, em, seg)
    bench.on = "pinky40"
    objects(bench, layer(bench, "seg", cut(pinky), (16.0, 16.0, 40.0), "segmentation"))


def text(bench: Bench, process_bytes: int) -> str:
    """The file of rates."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = next((line.split(":")[1].strip() for line in told if "model name" in line), platform.machine())
    lines = [
        "# Made by bench/rates.py; docs/sizing.md tells what it is for.",
        "# cpu_ns: CPU nanoseconds a voxel, least and most of the volumes; read, written: bytes a voxel;",
        "# gets, puts: requests a chunk of what is read.",
        "",
        "[measured]",
        f'machine = "{processor}, {os.cpu_count()} cores"',
        f'date = "{datetime.date.today().isoformat()}"',
        f"process_bytes = {process_bytes}",
        "",
        "[chains]",
        *(f"{json.dumps(name)} = {json.dumps(steps)}" for name, steps in sorted(bench.chains.items())),
    ]
    for (stage, when), samples in sorted(bench.samples.items()):
        lines += ["", "[[rate]]", f'stage = "{stage}"']
        facts = json.loads(when)
        lines += (
            [f"when = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in facts.items())} }}"]
            if facts
            else []
        )
        cpu = [sample.cpu_ns for sample in samples]
        lines += [
            f'on = "{", ".join(sample.on for sample in samples)}"',
            f"cpu_ns = {prod(cpu) ** (1 / len(cpu)):.4g}",
            f"least = {min(cpu):.4g}",
            f"most = {max(cpu):.4g}",
            *(
                f"{name} = {np.mean([getattr(one, name) for one in samples]):.4g}"
                for name in ("read", "written", "gets", "puts")
            ),
        ]
    return "\n".join(lines) + "\n"


def empty_process(seg: str) -> int:
    """The most that a worker process holds beside its task, in tasks of nearly nothing."""
    stages = (Downsample(layer=seg), MeshForge(layer=seg), SkeletonForge(layer=seg), SkeletonMerge(layer=seg))
    held = []
    for ready in map(run.here, stages):
        held += [line["peak_bytes"] - ready.peak_bytes for line in records.all_lines(Store(), ready)]
    return int(max(held))


def main() -> None:
    """Measure, and write the file."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        everything(bench, data, WARM)
        bench.samples.clear()
        bench.on, bench.keep = "tiny", False
        tiny = layer(bench, "seg", np.ones((16, 16, 16), np.uint32), (10.0, 10.0, 10.0), "segmentation")
        least = empty_process(tiny)
        bench.keep = True
        everything(bench, data, side)
    (ROOT / "igneous_ng" / "rates.toml").write_text(text(bench, round(least, -6)), encoding="utf-8")


if __name__ == "__main__":
    main()
