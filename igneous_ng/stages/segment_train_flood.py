"""A network that floods, learnt from labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.learning import LOADED, TORCH, LearningNet, need_torch
from igneous_ng.models import folder
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.stage import opt
from igneous_ng.training import blocks

if TYPE_CHECKING:
    from igneous_ng.training.fitting import Sample
    from igneous_ng.training.flooding import Training

_CELL = (128, 128, 128)
_VOXEL = 40  # bytes of a voxel of a field for each channel and convolution, while it learns
_ANSWERING = 24  # as _VOXEL of one channel, when it is used
_SCORED = 64  # examples that it is measured by


@dataclass(frozen=True, kw_only=True)
class TrainFlood(LearningNet, name="segment train flood"):
    """Train a flood-filling network (Januszewski et al. 2018), and write it as ONNX; needs the extra `train`.

    It learns objects from patches around their voxels, moving its field of view as it does when it is used, with
    neighbours as far as one move. Goes on from `checkpoint.npz` where it was stopped, with the same fields. Writes
    `model.onnx` and `model.json`, for `segment flood auto --model`.
    """

    example = "./em ./labels ./flood-model --minutes 60"

    rounds: int = opt(20_000, "Rounds of the training: a batch, and all its fields of view.")
    field: Vec3 = opt((25, 25, 25), "Voxels of the field of view; odd.")
    deltas: Vec3 = opt((6, 6, 6), "Voxels by which it moves.")
    width: int = opt(16, "Channels.")
    modules: int = opt(4, "Residual modules of two convolutions each.")
    batch: int = opt(4, "Examples of a round.")
    rate: float = opt(0.003, "Rate of learning at its highest.")
    blocks: int = opt(32, "At most so many blocks of the image are read.")

    def check(self) -> None:
        """The fields go together."""
        super().check()
        if min(self.width, self.modules, self.batch, self.blocks) < 1:
            raise SpecError(f"{self.name}: counts are at least 1")
        if any(n % 2 == 0 or not 1 <= d <= n // 2 for n, d in zip(self.field, self.deltas, strict=True)):
            raise SpecError(f"{self.name}: a field of {self.field} moved by {self.deltas}; odd, and by at most half")
        if not 0 < self.rate <= 1:
            raise SpecError(f"{self.name}.rate: {self.rate:g}; give a fraction above 0")

    def prepare(self, io: IO) -> None:
        """There are an image and labels, large enough for a patch, and torch is installed."""
        need_torch()
        parts = self._parts(io)
        if not any(self._fits(part) for part in parts):
            raise SpecError(f"{self.image}: no block of {parts[0].shape} holds a patch of {self._patch}")

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All blocks, and the network as it learns and as it is measured."""
        read = sum(part.voxels for part in self._parts(io)) + (2 * self.held.voxels if self.held else 0)
        learning = self.batch * prod(self._patch) * _VOXEL * self.width * (2 + 2 * self.modules)
        answering = _SCORED * prod(self._patch) * _ANSWERING * self.width
        return TORCH + read * LOADED + max(learning, answering if self.held else 0)

    def execute(self, unit: int, io: IO) -> None:
        """Read blocks, learn, export and measure the network."""
        need_torch()
        from igneous_ng.training import export, flood_net

        training, held = self._begun(io)
        self.learn(training, io)
        made: dict[str, Any] = {"by": self.name, "rounds": training.step, "seed": self.seed}
        if held:
            made["held"] = training.score(held, _SCORED)
        io.note(**{key: value for key, value in made.items() if key != "by"})
        shape, levels = Shape(self.field, (0, 0, 0), 1), training.recipe.levels
        costs = 0.0, _ANSWERING * self.width
        card = Card("onnx", shape, training.recipe.resolution, levels, *costs, made, self.deltas)
        folder.write(io, self.model, card, export.flooding(flood_net.Answering(training.net), self.field))

    def _begun(self, io: IO) -> tuple[Training, list[Sample]]:
        """A training with all that it learns from, and what it is measured by."""
        from igneous_ng.training import flooding

        pair, _ = self.learnable(io)
        samples = self._samples(io, self._parts(io))
        levels = blocks.levels((sample.grey for sample in samples), self.image)
        recipe = flooding.Recipe(
            pair.image.resolution, self.field, self.deltas, self.width, self.modules, self.batch, self.rounds,
            self.rate, self.seed, levels, self.precision == "mixed",
        )  # fmt: skip
        held = self._samples(io, self.held_parts(pair, _CELL, self.blocks))
        training = flooding.Training(recipe, samples, self.torch_device())
        self.go_on(training, io)
        return training, held

    def _parts(self, io: IO) -> Sequence[Box]:
        _, bounds = self.learnable(io)
        return blocks.chosen(bounds, self.held, _CELL, self.blocks, self.seed)

    def _samples(self, io: IO, parts: Sequence[Box]) -> list[Sample]:
        """Grey values and compact labels of blocks that hold a patch."""
        from igneous_ng.training.fitting import Sample

        pair, _ = self.learnable(io)
        fitting = filter(self._fits, parts)
        return [Sample(pair.grey(io, part), blocks.compact(pair.truth(io, part)), 1.0) for part in fitting]

    @property
    def _patch(self) -> Vec3:
        return vec(n + 2 * d for n, d in zip(self.field, self.deltas, strict=True))

    def _fits(self, part: Box) -> bool:
        """Whether a block holds a patch, however that is turned."""
        return min(part.shape) >= max(self._patch)
