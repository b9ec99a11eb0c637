"""A network that floods, learnt from labelled images."""

from __future__ import annotations

import importlib
import importlib.util
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import fastremap
import numpy as np

from igneous_ng.errors import ConfigurationError, SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.learning import Learning
from igneous_ng.models import folder
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.stage import opt
from igneous_ng.training import blocks

if TYPE_CHECKING:
    from igneous_ng.training.fitting import Sample
    from igneous_ng.training.flooding import Training

_CELL = (128, 128, 128)
_TORCH = 1_500_000_000  # bytes of torch and what it exports by
_VOXEL = 40  # bytes of a voxel of a field for each channel and convolution, while it learns
_LOADED = 20  # bytes of a voxel of a block: grey values, labels, and while they are read
_ANSWERING = 24  # as _VOXEL of one channel, when it is used
_SCORED = 64  # examples that it is measured by


@dataclass(frozen=True, kw_only=True)
class TrainFlood(Learning, name="segment train flood"):
    """Train a flood-filling network (Januszewski et al. 2018), and write it as ONNX; needs the extra `train`.

    It learns objects from patches around their voxels, moving its field of view as it does when it is used, with
    neighbours as far as one move. Writes `model.onnx` and `model.json`, for `segment flood auto --model`.
    """

    rounds: int = opt(20_000, "Rounds of the training: a batch, and all its fields of view.")
    minutes: float | None = opt(None, "Stop after so long, and write what was learnt.")
    field: Vec3 = opt((17, 17, 17), "Voxels of the field of view; odd.")
    deltas: Vec3 = opt((4, 4, 4), "Voxels by which it moves.")
    width: int = opt(12, "Channels.")
    modules: int = opt(4, "Residual modules of two convolutions each.")
    batch: int = opt(4, "Examples of a round.")
    rate: float = opt(0.001, "Rate of learning at its highest.")
    blocks: int = opt(32, "At most so many blocks of the image are read.")
    threads: int = opt(1, "Threads of a processor; with as many, the same bytes.")
    device: Literal["auto", "cpu", "cuda"] = opt(
        "auto", "Where to train; auto is a graphics processor if there is one."
    )

    def check(self) -> None:
        """The fields go together."""
        super().check()
        if min(self.rounds, self.width, self.modules, self.batch, self.blocks, self.threads) < 1:
            raise SpecError(f"{self.name}: counts are at least 1")
        if any(n % 2 == 0 or not 1 <= d <= n // 2 for n, d in zip(self.field, self.deltas, strict=True)):
            raise SpecError(f"{self.name}: a field of {self.field} moved by {self.deltas}; odd, and by at most half")
        if not 0 < self.rate <= 1 or (self.minutes is not None and self.minutes <= 0):
            raise SpecError(f"{self.name}: rate is a fraction above 0, and minutes are more than 0")

    def prepare(self, io: IO) -> None:
        """There are an image and labels, large enough for a patch, and torch is installed."""
        _torch()
        parts = self._parts(io)
        if not any(self._fits(part) for part in parts):
            raise SpecError(f"{self.image}: no block of {parts[0].shape} holds a patch of {self._patch}")

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All blocks, and the network as it learns and as it is measured."""
        read = sum(part.voxels for part in self._parts(io)) + (2 * self.held.voxels if self.held else 0)
        learning = self.batch * prod(self._patch) * _VOXEL * self.width * (2 + 2 * self.modules)
        answering = _SCORED * prod(self._patch) * _ANSWERING * self.width
        return _TORCH + read * _LOADED + max(learning, answering if self.held else 0)

    def execute(self, unit: int, io: IO) -> None:
        """Read blocks, learn, export and measure the network."""
        _torch()
        from igneous_ng.training import export

        training, held = self._begun(io)
        end = math.inf if self.minutes is None else time.monotonic() + 60 * self.minutes
        while training.round < self.rounds and time.monotonic() < end:
            training.advance()
        made: dict[str, Any] = {"by": self.name, "rounds": training.round, "seed": self.seed}
        if held:
            made["held"] = training.score(held, _SCORED)
        io.note(**{key: value for key, value in made.items() if key != "by"})
        shape, levels = Shape(self.field, (0, 0, 0), 1), training.recipe.levels
        costs = 0.0, _ANSWERING * self.width
        card = Card("onnx", shape, training.recipe.resolution, levels, *costs, made, self.deltas)
        folder.write(io, self.model, card, export.flooding(training.net, self.field))

    def _begun(self, io: IO) -> tuple[Training, list[Sample]]:
        """A training with all that it learns from, and what it is measured by."""
        from igneous_ng.training import flooding

        pair, _ = self.learnable(io)
        samples = self._samples(io, self._parts(io))
        levels = blocks.levels((sample.grey for sample in samples), self.image)
        recipe = flooding.Recipe(
            pair.image.resolution, self.field, self.deltas, self.width, self.modules, self.batch, self.rounds,
            self.rate, self.seed, levels,
        )  # fmt: skip
        held = self._samples(io, self.held_parts(pair, _CELL, self.blocks))
        return flooding.Training(recipe, samples, self._device()), held

    def _parts(self, io: IO) -> Sequence[Box]:
        _, bounds = self.learnable(io)
        return blocks.chosen(bounds, self.held, _CELL, self.blocks, self.seed)

    def _samples(self, io: IO, parts: Sequence[Box]) -> list[Sample]:
        """Grey values and compact labels of blocks that hold a patch."""
        from igneous_ng.training.fitting import Sample

        pair, _ = self.learnable(io)
        found = []
        for part in filter(self._fits, parts):
            labels = fastremap.renumber(pair.truth(io, part), in_place=False)[0]
            found.append(Sample(pair.grey(io, part), np.asfortranarray(labels.astype(np.uint32)), 1.0))
        return found

    @property
    def _patch(self) -> Vec3:
        return vec(n + 2 * d for n, d in zip(self.field, self.deltas, strict=True))

    def _fits(self, part: Box) -> bool:
        """Whether a block holds a patch, however that is turned."""
        return min(part.shape) >= max(self._patch)

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
