"""How neighbouring sections lie to each other, node by node of a lattice, from their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.alignment import CHUNK, Alignment, Round
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.info import Info
from igneous_ng.formats.sections import name
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.kernels import block_matching as matching
from igneous_ng.kernels import flow_cleaning as cleaning
from igneous_ng.kernels.block_matching import Manner, Picture, Status, Vectors
from igneous_ng.stage import LayerUrl, Stage, arg, opt, sampled
from igneous_ng.windows import Windows
from igneous_ng.words import count

Array = npt.NDArray[Any]
DISTANCES = 4
CHANNELS = 6
_SPARSE = 4  # every so many nodes along x and y are also seen two sections away
_FINEST, _COARSEST, _PART = 8.0, 16.0, 3  # nm, nm, of the thickness of a section: pixels at which is matched
_FIRST, _LATER = 40, 12  # pixels searched in the first round and in those after it
_STEP, _FIGURE = 64, 256  # what lengths, and other figures, are rounded to: parts of 1
_BASE = 60_000_000
_PIXEL, _MASKED = 40, 90  # bytes for each pixel of a window, without and with a layer of masks
_UNPOOLED = 30  # more bytes where pixels are compared as they are
_SURFACE = 12  # bytes for each shift of each node
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Flow(Stage, name="align flow"):
    """Measure where each node of a lattice over a section is seen in the sections before it, and how sure that is.

    Sections are compared as they lie after the round before. What lies 1 section away is measured everywhere; 2 where
    that shows nothing good, and at every fourth node; 3 and 4 where nothing nearer is good. A task measures 64 x 64
    nodes of a section. Vectors do not depend on the tasks. A graphics processor finds the same to 0.01 pixels, not to
    the last bit.
    """

    example = "./alignment --round 1 --stride 40 -p 4"

    alignment: LayerUrl = arg("Folder of the alignment, with rough maps and the rounds before.")
    round: int = opt(1, "Number of the round; 1 measures through the rough maps alone.")
    mip: int | None = opt(
        None,
        "Level that is matched; by default the coarsest whose pixel is at most a third of a section's thickness, that "
        "third taken as 8 to 16 nm.",
    )
    stride: int = opt(40, "Pixels of the level between nodes; a multiple of 4.")
    patch: int = opt(120, "Pixels of the level along a patch that is compared; a multiple of the stride.")
    search: int | None = opt(
        None, "How far is looked, in pixels of the level, an even number; by default 40 in round 1 and then 12."
    )
    distances: int = opt(4, "How many sections back is looked where nearer ones show nothing good, 1 to 4.")
    channel: int = opt(0, "The channel that is compared.")
    backend: Literal["auto", "cpu", "torch"] = opt(
        "cpu", "What correlates: cpu, the same bytes everywhere; torch on a GPU; auto: torch where there is a GPU."
    )

    def check(self) -> None:
        """Numbers fit each other."""
        if self.round < 1:
            raise SpecError(f"align flow.round: {self.round}; rounds are counted from 1")
        if self.stride < 4 or self.stride % 4:
            raise SpecError(f"align flow.stride: {self.stride}; give a multiple of 4 pixels")
        if self.patch < self.stride or self.patch % self.stride:
            raise SpecError(f"align flow.patch: {self.patch}; give a multiple of the stride, {self.stride} pixels")
        if self._reach < 8 or self._reach % 2:
            raise SpecError(f"align flow.search: {self._reach}; give an even number of pixels, at least 8")
        if not 1 <= self.distances <= DISTANCES:
            raise SpecError(f"align flow.distances: {self.distances}; give 1 to {DISTANCES}")
        if self.channel < 0:
            raise SpecError(f"align flow.channel: {self.channel}; channels are counted from 0")

    def home(self) -> str:
        """The alignment keeps what is found."""
        return self.alignment

    def places(self, io: IO) -> tuple[str, ...]:
        """The layers of flow of the round."""
        return (f"{self._folder}/flow",)

    def inputs(self, io: IO) -> tuple[str, ...]:
        """The alignment, the sections, and their mask."""
        stack = Alignment.open(io, self.alignment)
        return tuple(url for url in (self.alignment, stack.layer, stack.mask) if url)

    def prepare(self, io: IO) -> None:
        """Begin the round: its lattice, and its layers of flow."""
        stack = Alignment.open(io, self.alignment)
        channels = io.info(stack.layer).channels
        if self.channel >= channels:
            raise SpecError(f"align flow.channel: {self.channel}, and {stack.layer} has {count(channels, 'channel')}")
        before = f"{self.alignment}/rounds/{self.round - 1}/inverse/info"
        if self.round > 1 and not io.exists(before):
            raise DataError(f"{before}: the round before has no maps; run `align relax --round {self.round - 1}` first")
        lattice, made = self._new_lattice(io, stack), self._lattice(io, stack)
        if made != lattice:
            raise SpecError(
                f"{self._folder}: this round has nodes {made.step} pixels apart in {made.box}, of mip {made.mip}; now "
                f"{lattice.step} in {lattice.box} of mip {lattice.mip} are asked for. Ask for the same, or remove it"
            )
        io.put_json(f"{self._folder}/round.json", lattice.to_json())
        for distance in range(1, DISTANCES + 1):
            io.create_layer(self._url(distance), stack.field(lattice, CHANNELS))

    def units(self, io: IO) -> Sequence[Box]:
        """Chunks of the lattice, section by section."""
        return Grid(self._lattice(io, Alignment.open(io, self.alignment)).box, (CHUNK, CHUNK, 1))

    def peak_bytes(self, unit: Box, io: IO) -> int:
        """A window of pixels, and the surfaces of all nodes."""
        manner = self._manner
        nodes = [n + 2 for n in unit.shape[:2]]
        width, height = ((n - 1) * self.stride + self.patch + 2 * (self._reach + manner.halo) for n in nodes)
        pixel = _MASKED if Alignment.open(io, self.alignment).mask else _PIXEL
        pixel += _UNPOOLED if manner.pool == 1 else 0
        return _BASE + width * height * pixel + nodes[0] * nodes[1] * self._shifts * _SURFACE

    def device_bytes(self, unit: Box, io: IO) -> int:
        """What torch takes, where it is asked for by name."""
        if self.backend != "torch":
            return 0
        from igneous_ng.kernels import torch_blocks

        shape = [((n + 1) * self.stride + self.patch) // self._manner.pool for n in unit.shape[:2]]
        return torch_blocks.device_bytes((shape[0], shape[1]), self._manner.reach)

    def execute(self, unit: Box, io: IO) -> None:
        """Measure the nodes of one chunk."""
        stack = Alignment.open(io, self.alignment)
        lattice = stack.round(io, self.round)
        windows = Windows(io, stack, lattice.mip, self.round - 1, self.channel)
        backend, correlate = self._correlate
        chunk = _Chunk(windows, self._manner, lattice, unit, correlate)
        found = chunk.found(min(self.distances, unit.lo[2] - stack.zs[0]))
        info = stack.field(lattice, CHANNELS)
        for distance in range(1, DISTANCES + 1):
            one = found.get(distance) or Vectors.none((unit.shape[0], unit.shape[1]))
            volume = io.volume(self._url(distance), 0, info=info)
            io.write(volume, unit, _stored(one, lattice.step // self.stride))
            io.note(**_figures(one, distance, lattice.step // self.stride))
        io.note(backend=backend)

    def said(self, io: IO) -> str:
        """How much is good at each distance, and which sections have least; of some chunks where these are many."""
        units, quiet = self.units(io), IO(io.store)
        shares: dict[int, list[tuple[int, int]]] = {k: [] for k in range(1, DISTANCES + 1)}
        sections: dict[int, list[int]] = {}
        some = sampled(units)
        for unit in some:
            for distance, found in shares.items():
                volume = quiet.volume(self._url(distance), 0, fill_missing=True)
                values = quiet.read(volume, unit)[..., 0, :]
                good = int(((values[..., 5] == Status.GOOD) & np.isfinite(values[..., 0])).sum())
                found.append((good, int((values[..., 5] != Status.NOTHING).sum())))
                if distance == 1:
                    own = sections.setdefault(unit.lo[2], [0, 0])
                    own[0] += good
                    own[1] += values[..., 5].size
        lines = [f"{count(len(some), 'chunk')} of {len(units):,} looked at"]
        for distance, found in shares.items():
            good, seen = (sum(one[k] for one in found) for k in (0, 1))
            if seen:
                lines.append(f"{count(distance, 'section')} away: {good / seen:.1%} of {seen:,} nodes good")
        least = sorted(sections, key=lambda z: (sections[z][0] / sections[z][1], z))[:_NAMED]
        told = ", ".join(f"{name(z)} {sections[z][0] / sections[z][1]:.0%}" for z in least)
        return "\n".join([*lines, f"fewest good nodes: {told}"])

    @property
    def _reach(self) -> int:
        return self.search if self.search is not None else _FIRST if self.round == 1 else _LATER

    @property
    def _manner(self) -> Manner:
        return Manner(self.stride, self.patch, self._reach)

    @property
    def _shifts(self) -> int:
        return int((2 * self._manner.reach + 1) ** 2)

    @property
    def _folder(self) -> str:
        return f"{self.alignment}/rounds/{self.round}"

    @property
    def _correlate(self) -> tuple[str, matching.Correlate]:
        """What it is called, and the function."""
        if self.backend != "cpu":
            from igneous_ng.kernels import torch_blocks

            if self.backend == "torch" or torch_blocks.gpu():
                return f"torch {torch_blocks.device()}", torch_blocks.correlated
        return "cpu", matching.correlated

    def _url(self, distance: int) -> str:
        return f"{self._folder}/flow/{distance}"

    def _lattice(self, io: IO, stack: Alignment) -> Round:
        """The lattice of the round, as it is there or is to be made."""
        begun = io.exists(f"{self._folder}/round.json")
        return stack.round(io, self.round) if begun else self._new_lattice(io, stack)

    def _new_lattice(self, io: IO, stack: Alignment) -> Round:
        mip = _level(io.info(stack.layer)) if self.mip is None else self.mip
        return stack.new_round(io, self.round, mip, self.stride)


def _level(info: Info) -> int:
    """The coarsest level whose pixel is at most a third of a section, or 8 nm, and at most 16 nm."""
    most = min(max(info.scales[0].resolution[2] / _PART, _FINEST), _COARSEST)
    fits = [mip for mip, scale in enumerate(info.scales) if scale.resolution[0] <= most]
    return max(fits, default=0)


@dataclass
class _Chunk:
    """The nodes of a task, and a ring around them that their cleaning looks at."""

    windows: Windows
    manner: Manner
    lattice: Round
    box: Box
    correlate: matching.Correlate
    own: Picture = field(init=False)

    def __post_init__(self) -> None:
        self.own = self._picture(0, self._low, self._high, 0)

    def found(self, distances: int) -> dict[int, Vectors]:
        """The vectors of the box's nodes at each distance up to ``distances`` sections.

        Which neighbours a vector is judged by depends on nothing that had to be judged itself, so that a ring of one
        node is enough for all distances.
        """
        able = self._inside & (matching.tissue(self.own, self.manner) >= matching.LEAST)
        free, lacking = able.copy(), able[1:-1, 1:-1].copy()
        found: dict[int, Vectors] = {}
        for distance in range(1, distances + 1):
            counted = free | (able & self._sparse) if distance == 2 else free.copy()
            wanted = counted.copy()
            wanted[1:-1, 1:-1] |= lacking
            vectors = self._measured(distance, wanted)
            good = vectors.status == Status.GOOD
            seen = vectors.status != Status.NOTHING
            unlike = cleaning.unlike(vectors.shift, counted & good, counted & seen)
            found[distance] = _inner(vectors, unlike)
            free &= ~good
            lacking &= found[distance].status != Status.GOOD
        return found

    @property
    def _low(self) -> tuple[int, int]:
        return self.box.lo[0] - 1, self.box.lo[1] - 1

    @property
    def _high(self) -> tuple[int, int]:
        return self.box.hi[0] + 1, self.box.hi[1] + 1

    @cached_property
    def _nodes(self) -> tuple[Array, Array]:
        """The numbers of the nodes along x and y, ``[x, 1]`` and ``[1, y]``."""
        xs, ys = (np.arange(a, b) for a, b in zip(self._low, self._high, strict=True))
        return xs[:, np.newaxis], ys[np.newaxis]

    @property
    def _inside(self) -> Array:
        """Which nodes belong to the lattice."""
        (x, y), (lo, hi) = self._nodes, (self.lattice.box.lo, self.lattice.box.hi)
        return np.asarray((x >= lo[0]) & (x < hi[0]) & (y >= lo[1]) & (y < hi[1]))

    @property
    def _sparse(self) -> Array:
        """Which nodes are seen two sections away in any case."""
        x, y = self._nodes
        return np.asarray((x % _SPARSE == 0) & (y % _SPARSE == 0))

    def _measured(self, distance: int, wanted: Array) -> Vectors:
        """The vectors of nodes that are wanted; only what lies around these is read."""
        found = Vectors.none(wanted.shape)
        if not wanted.any():
            return found
        (i, k), (j, m) = (_ends(np.asarray(wanted.any(axis=axis))) for axis in (1, 0))
        low, high = (self._low[0] + i, self._low[1] + j), (self._low[0] + k, self._low[1] + m)
        step = self.manner.stride // self.manner.pool
        more = (self.manner.patch - self.manner.stride) // self.manner.pool
        own = self.own.cut(i * step, j * step, (k - i) * step + more, (m - j) * step + more)
        other = self._picture(distance, low, high, self.manner.search)
        part = matching.matched(own, other, wanted[i:k, j:m], self.manner, self.correlate)
        for key, values in vars(part).items():
            getattr(found, key)[i:k, j:m] = values
        return found

    def _picture(self, distance: int, low: tuple[int, int], high: tuple[int, int], reach: int) -> Picture:
        seen = self.windows.show(self.box.lo[2] - distance, self.manner.window(low, high, reach + self.manner.halo))
        return Picture.of(seen.values, seen.tissue, self.manner)


def _ends(any_: Array) -> tuple[int, int]:
    """The first that is true, and the last and one."""
    at = np.flatnonzero(any_)
    return int(at[0]), int(at[-1]) + 1


def _inner(vectors: Vectors, unlike: Array) -> Vectors:
    """Without the ring, and with what is unlike its neighbours told."""
    core = slice(1, -1), slice(1, -1)
    status = vectors.status[core].copy()
    status[unlike & (status == Status.GOOD)] = Status.UNLIKE
    return Vectors(vectors.shift[core], vectors.peak[core], vectors.ratio[core], vectors.sigma[core], status)


def _stored(vectors: Vectors, factor: int) -> Array:
    """As a chunk holds it, ``[x, y, 1, channel]``, lengths in pixels of mip 0."""
    lengths = [_rounded(values * factor, _STEP) for values in (*np.moveaxis(vectors.shift, -1, 0), vectors.sigma)]
    peak, ratio = _rounded(vectors.peak, _FIGURE), _rounded(vectors.ratio, _FIGURE)
    channels = [lengths[0], lengths[1], peak, ratio, lengths[2], vectors.status]
    return np.stack(channels, axis=-1).astype(np.float32)[:, :, np.newaxis]


def _rounded(values: Array, parts: int) -> Array:
    return np.asarray(np.round(values * parts) / parts + 0.0)  # no -0


def _figures(vectors: Vectors, distance: int, factor: int) -> dict[str, Any]:
    """How many nodes came to what, and what is usual of the good ones."""
    counts = np.bincount(vectors.status.ravel(), minlength=len(Status)).tolist()
    told: dict[str, Any] = {f"{kind.name.lower()}_{distance}": counts[kind] for kind in Status}
    good = vectors.status == Status.GOOD
    if good.any():
        far = np.hypot(*np.moveaxis(vectors.shift[good], -1, 0)) * factor
        usual = {"peak": vectors.peak[good], "ratio": vectors.ratio[good], "far": far}
        told |= {f"{key}_{distance}": round(float(np.median(values)), 3) for key, values in usual.items()}
    return told
