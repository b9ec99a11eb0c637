"""Stages that follow one another: a chain has the fields of a stage, and yields the stages to run, in order.

A stage of a chain is planned when the one before it is finished, for it may depend on what that left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from igneous_ng import catalog
from igneous_ng.errors import SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.stage import LayerUrl, Stage, arg, opt

if TYPE_CHECKING:
    from igneous_ng.records import Run
    from igneous_ng.worker.crew import Crew
    from igneous_ng.worker.events import Sink

_LOOK_S = 1.0  # between two looks at a queue


@dataclass(frozen=True, kw_only=True)
class Chain(Stage):
    """Several stages in a row. Only the fields of a stage are used of it: it has no units of its own."""

    def steps(self) -> Iterator[Stage]:
        """The stages in order; each is asked for when the ones before are finished."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ComponentsChain(Chain, name="ccl auto"):
    """Connected components of a whole layer: all phases, one after the other.

    Voxels of one value other than 0 are connected, or, with a threshold, all voxels within it. Components are
    numbered 1, 2, 3 ... by their first voxels, x fastest: the labels do not depend on the cells.
    """

    source: LayerUrl = arg("Layer of labels, or of an image to be thresholded.")
    layer: LayerUrl = arg("Layer to create.")
    mip: int = opt(0, "Mip level of the source.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task, rounded up to whole chunks of the source.")
    connectivity: int = opt(6, "6, 18 or 26: neighbours of a voxel: by faces, also edges, also corners.")
    threshold_min: float | None = opt(None, "Lowest value of the foreground.")
    threshold_max: float | None = opt(None, "Highest value of the foreground.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")
    dust: int = opt(0, "Drop components of at most so many voxels, counted over the whole volume.")
    chunk: Vec3 | None = opt(None, "Shape of a chunk in voxels, by default the source's; cells must be whole chunks.")
    encoding: str = opt("compressed_segmentation", "Encoding of the layer; compresso is smaller and takes longer.")

    def check(self) -> None:
        """Cells are whole chunks: the last stage would find otherwise, when all others are done."""
        if self.chunk is not None and any(k < 1 or c % k for c, k in zip(self.cell, self.chunk, strict=True)):
            raise SpecError(f"ccl auto.chunk: cells of {self.cell} are not whole chunks of {self.chunk}; give others")

    def steps(self) -> Iterator[Stage]:
        """Label, join upwards, spread downwards, rank, relabel."""
        from igneous_ng.components import Desk
        from igneous_ng.io import IO

        given = {key: value for key, value in vars(self).items() if key not in ("dust", "chunk", "encoding")}
        later = {"layer": self.layer, "memory": self.memory}
        yield _stage("ccl label", **given)
        top = Desk(IO(), self.layer).tree.top
        for level in range(1, top + 1):
            yield _stage("ccl join", level=level, **later)
        for level in range(top - 1, 0, -1):
            yield _stage("ccl spread", level=level, **later)
        for level in (1, 2):
            yield _stage("ccl rank", level=level, dust=self.dust, **later)
        yield _stage("ccl relabel", dust=self.dust, chunk=self.chunk, encoding=self.encoding, **later)


@dataclass(frozen=True, kw_only=True)
class CensusChain(Chain, name="image census"):
    """Count the voxels of every label, exactly, into a table beside the layer: all levels of `image count`."""

    layer: LayerUrl = arg("Layer of labels.")
    mip: int = opt(0, "Mip level to count.")
    cell: Vec3 = opt((256, 256, 256), "Voxels of one task.")
    fill_missing: bool = opt(False, "Read missing chunks as background.")

    def steps(self) -> Iterator[Stage]:
        """Cells, then each level of the shuffle."""
        from igneous_ng.census import Shuffle
        from igneous_ng.geometry import Grid
        from igneous_ng.io import IO

        io = IO()
        cells = len(Grid(io.volume(self.layer, self.mip).bounds, self.cell))
        for level in range(Shuffle(cells).top + 1):
            yield _stage("image count", level=level, **vars(self))


CHAINS: dict[str, type[Chain]] = {chain.name: chain for chain in (ComponentsChain, CensusChain)}
"""Every chain by its name."""


def here(chain: Chain, processes: int, sink: Sink, crew: Crew | None = None) -> Iterator[Run]:
    """Execute each stage on this machine, with ``processes`` children where it has several units; yield its run."""
    from igneous_ng import run
    from igneous_ng.io import IO

    for stage in chain.steps():
        yield run.inline(stage) if len(stage.units(IO())) == 1 else run.here(stage, processes, sink, crew=crew)


def queued(chain: Chain, queue: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[Run]:
    """Put each stage on ``queue`` when the one before it is finished, for others to execute; yield its run.

    DeadLetters where units of a stage were given up: what follows would be wrong.
    """
    from igneous_ng import records, run
    from igneous_ng.store import Store

    store = Store()
    for stage in chain.steps():
        ready = run.enqueue(stage, queue)
        yield ready
        while not records.finished(store, ready):
            if records.dead(store, ready):
                raise run.DeadLetters(f"{ready.folder}: units were given up; `igneous-ng status` says why")
            sleep(_LOOK_S)


def _stage(name: str, **fields: Any) -> Stage:
    return catalog.load(name)(**fields)
