"""Image stages beside Igneous: the same volume and machine, runs in turn; CPU and wall seconds, and memory.

Memory is the peak of the sum over all processes of a command, above what the same program holds when it only shows its
help. Igneous is a program of another environment: `python -m venv ig && ig/bin/pip install igneous-pipeline`.

usage: python bench/image.py IGNEOUS LABELS.npy IMAGE.npy [STEP ...]

LABELS.npy is (x, y, z), in Fortran order, for segmentations; IMAGE.npy an 8 bit image.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

REPEATS = 3
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # as after an installation
OURS = [sys.executable, "-m", "igneous_ng.cli"]


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    cpu: float
    wall: float
    peak: float


def measured(command: Sequence[str]) -> Cost:
    """Run a command; its CPU seconds and those of its children, wall seconds, and peak bytes of all together."""
    before, begin = os.times(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_ENVIRONMENT)
    peak = [0]
    watch = threading.Thread(target=_watch, args=(process, peak))
    watch.start()
    _, errors = process.communicate()
    wall = time.perf_counter() - begin
    watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.decode()[-2000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu, wall, peak[0])


def _watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    """Sum what each process holds alone (USS), so that pages shared after a fork count once."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [root, *root.children(recursive=True)]:
                total += one.memory_full_info().uss
        except psutil.Error:
            continue
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


@dataclass(frozen=True)
class Step:
    """One thing that both can do: their commands for so many processes, from layers made before."""

    name: str
    ours: Callable[[str, int], list[str]]
    theirs: Callable[[str, int], list[str]]
    source: str = ""
    in_place: bool = False


@dataclass(frozen=True)
class Bench:
    """A folder, the two programs, and the arrays."""

    folder: Path
    igneous: str
    labels: str
    image: str

    def base(self) -> tuple[float, float]:
        """Peak bytes of each program when it only shows its help."""
        shown = (
            statistics.median(measured([*program, "--help"]).peak for _ in range(3))
            for program in (OURS, [self.igneous])
        )
        ours, theirs = shown
        return ours, theirs

    def _target(self, step: Step) -> str:
        """Where to write: a new place, or a fresh copy of the source."""
        target = self.folder / "out"
        shutil.rmtree(target, ignore_errors=True)
        if step.in_place:
            shutil.copytree(self.folder / step.source, target)
        return f"file://{target}"

    def run(self, step: Step, processes: int, base: tuple[float, float]) -> None:
        """Both in turn; a row of the table."""
        sides = ((step.ours, OURS), (step.theirs, [self.igneous, "-p", str(processes)]))
        costs: list[list[Cost]] = [[], []]
        for _ in range(REPEATS):
            for cost, (make, program) in zip(costs, sides, strict=True):
                cost.append(measured([*program, *make(self._target(step), processes)]))
        ours, theirs = map(_median, costs)
        memory = [(cost.peak - low) / 1e6 for cost, low in zip((ours, theirs), base, strict=True)]
        print(
            f"| {step.name} | {processes} | {ours.cpu:.1f} / {theirs.cpu:.1f} = {theirs.cpu / ours.cpu:.1f}x "
            f"| {ours.wall:.1f} / {theirs.wall:.1f} = {theirs.wall / ours.wall:.1f}x "
            f"| {memory[0]:.0f} / {memory[1]:.0f} = {memory[1] / max(memory[0], 1):.1f}x |",
            flush=True,
        )


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, key) for cost in costs) for key in ("cpu", "wall", "peak")))


SIZE = ["--resolution", "16,16,40"]
CELL = ["--cell", "256,256,256"]


def creation(name: str, source: str, kind: str, encoding: tuple[str, str]) -> Step:
    """A layer from an array."""
    made, theirs = encoding
    seg = ["--seg"] if kind == "segmentation" else []

    def ours(out: str, processes: int) -> list[str]:
        shape = ["--axes", "xyz", *SIZE, "--chunk", "64,64,64", *CELL, "-p", str(processes)]
        return ["image", "create", source, out, "--kind", kind, "--encoding", made, *shape]

    def igneous(out: str, _: int) -> list[str]:
        shape = [*SIZE, "--chunk-size", "64,64,64", "--compress", "gzip"]
        return ["image", "create", source, out, *seg, "--encoding", theirs, *shape]

    return Step(f"create, {name}", ours, igneous)


def pyramid(source: str, factor: str) -> Step:
    """Three coarser levels of a layer."""
    volumetric = ["--volumetric"] if factor == "2,2,2" else []

    def ours(out: str, processes: int) -> list[str]:
        return ["image", "downsample", out, "--num-mips", "3", "--factor", factor, "-p", str(processes)]

    def igneous(out: str, _: int) -> list[str]:
        return ["image", "downsample", out, "--num-mips", "3", "--compress", "gzip", *volumetric]

    return Step(f"downsample {factor}, {source}", ours, igneous, source, in_place=True)


def copied(bench: Bench, name: str, source: str, ours: list[str], theirs: list[str]) -> Step:
    """Another layer from a layer."""
    url = f"file://{bench.folder}/{source}"
    kept = ["--skip-downsample", "--no-src-update"]
    return Step(
        f"transfer, {name}",
        lambda out, processes: ["image", "transfer", url, out, *ours, "-p", str(processes)],
        lambda out, _: ["image", "xfer", url, out, *theirs, *([] if "--sharded" in theirs else kept)],
    )


def components(source: str, encoding: str) -> Step:
    """Connected components; Igneous always writes compresso, since its labels of 16 bits fit no other."""
    return Step(
        f"connected components, {encoding}",
        lambda out, processes: ["ccl", "auto", source, out, *CELL, "--encoding", encoding, "-p", str(processes)],
        lambda out, _: ["image", "ccl", "auto", source, out, "--shape", "256,256,256"],
    )


def steps(bench: Bench) -> list[Step]:
    """What is compared."""
    cseg = f"file://{bench.folder}/cseg"
    return [
        creation("raw", bench.labels, "segmentation", ("raw", "raw")),
        creation("cseg", bench.labels, "segmentation", ("compressed_segmentation", "cseg")),
        creation("image", bench.image, "image", ("raw", "raw")),
        *(pyramid(source, factor) for source in ("raw", "cseg", "image") for factor in ("2,2,1", "2,2,2")),
        copied(bench, "copy", "cseg", [], []),
        copied(bench, "other chunks", "cseg", ["--chunk", "128,128,32"], ["--chunk-size", "128,128,32"]),
        copied(bench, "other encoding", "raw", ["--encoding", "compressed_segmentation"], ["--encoding", "cseg"]),
        copied(bench, "shards", "cseg", ["--sharded"], ["--sharded"]),
        *(components(cseg, encoding) for encoding in ("compresso", "compressed_segmentation")),
        Step(
            "voxels of each label",
            lambda _, processes: ["image", "census", cseg, "-p", str(processes)],
            lambda _, __: ["image", "voxels", "count", cseg],
        ),
    ]


def main(igneous: str, labels: str, image: str, *wanted: str) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), igneous, labels, image)
        made = {step.name: step for step in steps(bench)}
        for name in ("raw", "cseg", "image"):
            measured([*OURS, *made[f"create, {name}"].ours(f"file://{folder}/{name}", 2)])
        base = bench.base()
        shapes = [np.load(path, mmap_mode="r").shape for path in (labels, image)]
        print(f"labels {shapes[0]}, image {shapes[1]}; ours / Igneous")
        print("| step | processes | CPU s | wall s | MB |\n| --- | --- | --- | --- | --- |")
        for name, step in made.items():
            for processes in (1, 2):
                if not wanted or any(word in name for word in wanted):
                    bench.run(step, processes, base)


if __name__ == "__main__":
    main(*sys.argv[1:])
