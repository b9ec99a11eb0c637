"""A network that finds affinities, learnt from labelled images."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import fastremap
import numpy as np

from igneous_ng.errors import ConfigurationError, SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import boosted_trees
from igneous_ng.learning import Learning
from igneous_ng.models import folder
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Layer, opt, to_dict
from igneous_ng.store import digest
from igneous_ng.training import blocks
from igneous_ng.training.blocks import Pair

if TYPE_CHECKING:
    from igneous_ng.training.fitting import Sample, Training

_CELL = (128, 128, 128)
_HELD = (96, 96, 96)
_AROUND = 16  # voxels around held blocks that the network sees
_TORCH = 1_500_000_000  # bytes of torch and what it exports by
_VOXEL = 150  # bytes of a voxel of a patch for each channel of the width, while it learns
_LOADED = 20  # bytes of a voxel of a block: grey values, labels, and while they are read
_ANSWERING = 40  # as _VOXEL, when it is used
_ALIKE = 1.34  # resolutions of both images may differ by so much
_FREE = ("model", "minutes", "checkpoint", "memory", "device", "threads", "held")
"""Fields that a training may go on with otherwise."""
_SEEN, _SIDE = 3, 96  # images, and voxels along their sides, that say how wide the margin is


@dataclass(frozen=True, kw_only=True)
class TrainNet(Learning, name="segment train net"):
    """Train a small network that finds affinities, and write it as ONNX; needs the extra `train`.

    Reads its blocks once, and learns from patches of them. Goes on from `checkpoint.npz` where it was stopped, with the
    same fields. Writes `model.onnx` and `model.json`, to be used by `segment infer --model`.
    """

    second_image: Layer | None = opt(None, "Another image to learn from, of about the same resolution.")
    second_labels: Layer | None = opt(None, "Its labels.")
    share: float = opt(0.25, "The part of the patches that is of the second image.")
    rounds: int = opt(30_000, "Steps of the training.")
    minutes: float | None = opt(None, "Stop after so long, and write what was learnt; run again to go on.")
    checkpoint: int = opt(500, "Steps between states that are stored.")
    width: int = opt(12, "Channels at full resolution.")
    patch: Vec3 = opt((40, 40, 40), "Voxels of a patch to learn from.")
    batch: int = opt(1, "Patches of a step.")
    rate: float = opt(0.003, "Rate of learning at its highest.")
    distances: tuple[int, ...] = opt((1, 4, 9), "Affinities over so many voxels are learnt, those over 1 used.")
    blocks: int = opt(32, "At most so many blocks of each image are read.")
    threads: int = opt(1, "Threads of a processor; with as many, the same bytes.")
    precision: Literal["full", "mixed"] = opt(
        "full", "mixed: convolutions of 16 bits while it learns, some times faster on processors that have them."
    )
    device: Literal["auto", "cpu", "cuda"] = opt(
        "auto", "Where to train; auto is a graphics processor if there is one."
    )

    def check(self) -> None:
        """The fields go together."""
        super().check()
        counts = (self.rounds, self.checkpoint, self.width, self.batch, self.blocks, self.threads, *self.distances)
        if min(counts) < 1 or not self.distances or self.distances[0] != 1:
            raise SpecError(f"{self.name}: counts are at least 1, and the first of distances is 1")
        if min(self.patch) < 16 or any(n % 4 for n in self.patch):
            raise SpecError(f"{self.name}.patch: {self.patch}; sides are multiples of 4, at least 16")
        if not (0 < self.share < 1 and 0 < self.rate <= 1 and (self.minutes is None or self.minutes > 0)):
            raise SpecError(f"{self.name}: share and rate are fractions above 0, and minutes are more than 0")
        if (self.second_image is None) != (self.second_labels is None):
            raise SpecError(f"{self.name}: a second image and its labels are given together")

    def prepare(self, io: IO) -> None:
        """There are images and labels, large enough for a patch, and torch is installed."""
        _torch()
        for pair, parts in self._sources(io):
            if not any(_fits(part, self.patch) for part in parts):
                raise SpecError(f"{pair.image.path}: no block of {parts[0].shape} holds a patch of {self.patch}")

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All blocks, the network as it learns, and one block as it is measured."""
        read = sum(part.voxels for _, parts in self._sources(io) for part in parts)
        held = self.held.voxels if self.held else 0
        learning = prod(self.patch) * self.batch * self.width * _VOXEL
        answering = prod(n + 2 * _AROUND for n in _HELD) * self.width * _ANSWERING
        return _TORCH + (read + 2 * held) * _LOADED + max(learning, answering)

    def execute(self, unit: int, io: IO) -> None:
        """Read blocks, learn, store states now and then, export and measure the network."""
        _torch()
        from igneous_ng.training import export, network

        training, held = self._begun(io)
        self._learn(training, io)
        answering = network.Answering(training.net)
        seen = sorted(training.samples, key=lambda sample: -sample.grey.size)[:_SEEN]
        wide = export.margin(answering, [sample.grey[:_SIDE, :_SIDE, :_SIDE] for sample in seen])
        made = {"by": self.name, "steps": training.step, "seed": self.seed, "radius": list(training.plan.radius)}
        if held:
            made["held"] = training.score(held)
        io.note(**{key: value for key, value in made.items() if key != "by"})
        shape = Shape(export.patch(training.plan, wide), wide, 3)
        card = Card("onnx", shape, training.recipe.resolution, training.plan.levels, 0.0, _ANSWERING * self.width, made)
        folder.write(io, self.model, card, export.to_onnx(answering))

    def _begun(self, io: IO) -> tuple[Training, list[Sample]]:
        """A training with all that it learns from, and what it is measured by."""
        from igneous_ng.training import fitting, network

        pair = Pair.open(io, self.image, self.labels, self.mip)
        samples, levels = self._samples(io)
        resolution = pair.image.resolution
        plan = network.Plan(self.width, network.pools(resolution), 3 * len(self.distances), levels)
        mixed = self.precision == "mixed"
        recipe = fitting.Recipe(
            resolution, self.patch, self.batch, self.rounds, self.rate, self.distances, self.seed, mixed
        )
        training = fitting.Training(recipe, plan, samples, self._device())
        state = self._state(io)
        if state is not None:
            training.resume(state, self._state_url)
        return training, self._held(io, pair)

    def _learn(self, training: Training, io: IO) -> None:
        """Steps until all are done or the time is over; the state is stored now and then, and at the end."""
        end = math.inf if self.minutes is None else time.monotonic() + 60 * self.minutes
        before = training.step
        while training.step < self.rounds and time.monotonic() < end:
            training.advance()
            if training.step % self.checkpoint == 0:
                self._store(training, io)
        if training.step != before and training.step % self.checkpoint:
            self._store(training, io)

    def _store(self, training: Training, io: IO) -> None:
        asked = np.array(self._asked)
        io.put(self._state_url, boosted_trees.to_bytes({"asked": asked, **training.state()}))

    def _state(self, io: IO) -> dict[str, Any] | None:
        """The state that was stored; SpecError where that is of a training that was asked otherwise."""
        data = io.peek(self._state_url)
        if data is None:
            return None
        state = boosted_trees.from_bytes(data, self._state_url)
        if str(state.pop("asked", "")) != self._asked:
            raise SpecError(f"{self._state_url}: of a training with other fields; ask for the same, or remove it")
        return state

    @property
    def _state_url(self) -> str:
        return f"{self.model}/checkpoint.npz"

    @property
    def _asked(self) -> str:
        """What the result depends on."""
        fields = {key: value for key, value in to_dict(self).items() if key not in _FREE}
        return digest(json.dumps(fields, sort_keys=True).encode())

    def _sources(self, io: IO) -> Iterator[tuple[Pair, list[Box]]]:
        """Images, and their blocks to learn from."""
        pair, bounds = self.learnable(io)
        yield pair, blocks.chosen(bounds, self.held, _CELL, self.blocks, self.seed)
        if self.second_image and self.second_labels:
            second = Pair.open(io, self.second_image, self.second_labels, self.mip)
            sides = zip(pair.image.resolution, second.image.resolution, strict=True)
            if any(max(a, b) > _ALIKE * min(a, b) for a, b in sides):
                raise SpecError(
                    f"{self.second_image}: voxels of {second.image.resolution} nm, not {pair.image.resolution}"
                )
            yield second, blocks.chosen(second.bounds, None, _CELL, self.blocks, self.seed)

    def _samples(self, io: IO) -> tuple[list[Sample], Greys]:
        """Blocks of all images, made as bright as the first, whose levels these are."""
        from igneous_ng.training.fitting import Sample

        samples: list[Sample] = []
        first: Greys | None = None
        sources = list(self._sources(io))
        shares = [1 - self.share, self.share] if len(sources) > 1 else [1.0]
        for (pair, parts), share in zip(sources, shares, strict=True):
            read = [(pair.grey(io, part), _compact(pair.truth(io, part))) for part in parts if _fits(part, self.patch)]
            levels = blocks.levels((shades for shades, _ in read), pair.image.path)
            first = first or levels
            weight = share / sum(shades.size for shades, _ in read)
            samples += [Sample(levels.moved(shades, first), labels, weight) for shades, labels in read]
        assert first is not None
        return samples, first

    def _held(self, io: IO, pair: Pair) -> list[Sample]:
        """Blocks that nothing is learnt from, with what lies around them, of which the labels are not shown."""
        from igneous_ng.training.fitting import Sample

        around, found = (_AROUND, _AROUND, _AROUND), []
        for part in self.held_parts(pair, _HELD, self.blocks):
            labels = np.pad(_compact(pair.truth(io, part)), _AROUND)
            found.append(Sample(pair.grey(io, part, around), labels, 1.0))
        return found

    def _device(self) -> str:
        torch = _torch()
        torch.set_num_threads(self.threads)
        there = bool(torch.cuda.is_available())
        if self.device == "cuda" and not there:
            raise ConfigurationError("torch sees no graphics processor here; give --device cpu")
        return "cuda" if there and self.device != "cpu" else "cpu"


def _torch() -> Any:
    for name in ("onnx", "onnxruntime", "onnxscript", "torch"):
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(f"training networks needs {name}; pip install igneous-ng[train]")
    return importlib.import_module("torch")


def _fits(part: Box, patch: Vec3) -> bool:
    """Whether a block holds a patch, however that is turned."""
    return min(part.shape) >= max(patch) or all(n >= p for n, p in zip(part.shape, patch, strict=True))


def _compact(labels: Any) -> Any:
    """The same labels by small numbers, 0 being 0."""
    return np.asfortranarray(fastremap.renumber(labels, in_place=False)[0].astype(np.uint32))
