"""What provenance costs: runs with digests, kept objects, ledgers and their records, beside the same without any.

    python bench/provenance.py LABELS.npy [ROUNDS]

In each round each stage runs both ways, now one first and now the other; medians of CPU seconds and wall time, and
their ratios.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from igneous_ng import environments, io, provenance, records, run, store, volume
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.worker import task

NONE = "0" * 32


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """No digests, nothing kept, nothing told; only which units are done."""
    empty: dict[str, Any] = {"reads": [], "writes": [], "covers": [], "notes": {}}
    without: list[tuple[Any, str, Any]] = [
        *((module, "digest", NONE) for module in (store, volume, io)),
        (environments, "keep", None),
        (environments, "own", {"code": {}}),
        (environments, "revision", {}),
        (provenance, "publish", None),
        (records, "save_prepared", None),
        (task, "ledger", empty),
    ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(task, "store_of", scratch_only))
        for module, name, value in without:
            stack.enter_context(mock.patch.object(module, name, answering(value)))
        yield


def answering(value: Any) -> Callable[..., Any]:
    """A function that says ``value``, and keeps nothing of what it is asked, as a mock would."""

    def answer(*_: Any, **__: Any) -> Any:
        return value

    return answer


def scratch_only(one: Run) -> store.Store:
    return store.Store(scratch=f"{one.folder}/scratch")


def stages(folder: Path, labels: str) -> list[Stage]:
    layer: Any = str(folder / "seg")
    return [
        Create(source=labels, layer=layer, axes="xyz", kind="segmentation", resolution=(16, 16, 40)),
        Downsample(layer=layer, num_mips=3),
        MeshForge(layer=layer, cell=(128, 128, 128)),
        MeshMerge(layer=layer, dust=10**7),
    ]


def main() -> None:
    labels, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    figures: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for number in range(rounds):
        for full in (True, False) if number % 2 else (False, True):
            folder = Path(tempfile.mkdtemp())
            with contextlib.nullcontext() if full else bare():
                for stage in stages(folder, labels):
                    wall, cpu = time.perf_counter(), time.process_time()
                    run.inline(stage)
                    took = time.process_time() - cpu, time.perf_counter() - wall
                    figures.setdefault((stage.name, full), []).append(took)
            shutil.rmtree(folder)
            os.sync()
    for name in dict.fromkeys(name for name, _ in figures):
        (cpu, wall), (cpu_bare, wall_bare) = medians(figures[name, True]), medians(figures[name, False])
        print(f"{name:18} CPU {cpu:.3f} / {cpu_bare:.3f} s = {cpu / cpu_bare:.3f}, ", end="")
        print(f"wall {wall:.3f} / {wall_bare:.3f} s = {wall / wall_bare:.3f}")
    for name, which in (("CPU", 0), ("wall", 1)):
        total, bare_total = (
            sum(medians(f)[which] for (_, way), f in figures.items() if way is full) for full in (True, False)
        )
        print(f"all: {name} {total:.3f} / {bare_total:.3f} s = {total / bare_total:.3f}")


def medians(taken: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(cpu for cpu, _ in taken), statistics.median(wall for _, wall in taken)


if __name__ == "__main__":
    main()
