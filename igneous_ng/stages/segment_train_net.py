"""A network that finds affinities or classes, learnt from labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3, Vec3f
from igneous_ng.io import IO
from igneous_ng.learning import LOADED, TORCH, LearningNet, need_torch
from igneous_ng.models import folder
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Layer, LayerUrl, arg, opt
from igneous_ng.training import blocks
from igneous_ng.training.blocks import Pair

if TYPE_CHECKING:
    from igneous_ng.training.fitting import Sample, Training
    from igneous_ng.training.targets import Target

Array = npt.NDArray[Any]
_CELL = (128, 128, 128)
_HELD = (96, 96, 96)
_AROUND = 16  # voxels around held blocks that the network sees
_VOXEL = 150  # bytes of a voxel of a patch for each channel of the width, while it learns
_ANSWERING = 40  # as _VOXEL, when it is used
_ALIKE = 1.34  # resolutions of both images may differ by so much
_SEEN, _SIDE = 3, 96  # images, and voxels along their sides, that say how wide the margin is


@dataclass(frozen=True, kw_only=True)
class TrainNet(LearningNet, name="segment train net"):
    """Train a small network that finds affinities, or classes of voxels; write it as ONNX; needs the extra `train`.

    Reads its blocks once, and learns from patches of them; classes may be rare, so most patches hold one. Goes on from
    `checkpoint.npz` where it was stopped, with the same fields. Writes `model.onnx` and `model.json`, to be used by
    `segment infer --model`.
    """

    example = "./em ./labels ./model --minutes 30"

    labels: LayerUrl = arg(
        "What its voxels are: a segmentation, 0 being unknown; or numbers of classes, 0 being none, 255 unknown."
    )
    target: Literal["affinities", "classes"] = opt("affinities", "What is learnt from the labels.")
    classes: tuple[str, ...] = opt((), "Names of the classes 1, 2, and so on, where these are the target.")
    second_image: Layer | None = opt(None, "Another image to learn from, of about the same resolution.")
    second_labels: Layer | None = opt(None, "Its labels.")
    share: float = opt(0.25, "The part of the patches that is of the second image.")
    rounds: int = opt(30_000, "Steps of the training.")
    width: int = opt(12, "Channels at full resolution.")
    patch: Vec3 = opt((40, 40, 40), "Voxels of a patch to learn from.")
    batch: int = opt(
        1, "Patches of a step; of two or more torch computes each several times faster on processors without bfloat16."
    )
    rate: float = opt(0.003, "Rate of learning at its highest.")
    distances: tuple[int, ...] = opt((1, 4, 9), "Affinities over so many voxels are learnt, those over 1 used.")
    blocks: int = opt(32, "At most so many blocks of each image are read.")

    def check(self) -> None:
        """The fields go together."""
        super().check()
        counts = (self.width, self.batch, self.blocks, *self.distances)
        if min(counts) < 1 or not self.distances or self.distances[0] != 1:
            raise SpecError(f"{self.name}: counts are at least 1, and the first of distances is 1")
        if min(self.patch) < 16 or any(n % 4 for n in self.patch):
            raise SpecError(f"{self.name}.patch: {self.patch}; sides are multiples of 4, at least 16")
        if not (0 < self.share < 1 and 0 < self.rate <= 1):
            raise SpecError(f"{self.name}: share and rate are fractions above 0")
        if (self.target == "classes") != bool(self.classes):
            raise SpecError(f"{self.name}: target {self.target} and {len(self.classes)} names; name classes, no others")
        if self.classes and (wrong := folder.unnamed(self.classes)):
            raise SpecError(f"{self.name}.classes: {wrong}")
        if (self.second_image is None) != (self.second_labels is None):
            raise SpecError(f"{self.name}: a second image and its labels are given together")

    def prepare(self, io: IO) -> None:
        """There are images and labels, large enough for a patch, and torch is installed."""
        need_torch()
        for pair, parts in self._sources(io):
            if not any(_fits(part, self.patch) for part in parts):
                raise SpecError(f"{pair.image.path}: no block of {parts[0].shape} holds a patch of {self.patch}")

    def peak_bytes(self, unit: int, io: IO) -> int:
        """All blocks, the network as it learns, and one block as it is measured."""
        read = sum(part.voxels for _, parts in self._sources(io) for part in parts)
        held = self.held.voxels if self.held else 0
        learning = prod(self.patch) * self.batch * self.width * _VOXEL
        answering = prod(n + 2 * _AROUND for n in _HELD) * self.width * _ANSWERING
        return TORCH + (read + 2 * held) * LOADED + max(learning, answering)

    def execute(self, unit: int, io: IO) -> None:
        """Read blocks, learn, store states now and then, export and measure the network."""
        need_torch()
        from igneous_ng.training import export, network

        training, held = self._begun(io)
        self.learn(training, io)
        answering = network.Answering(training.net)
        seen = sorted(training.samples, key=lambda sample: -sample.grey.size)[:_SEEN]
        wide = export.margin(answering, [sample.grey[:_SIDE, :_SIDE, :_SIDE] for sample in seen])
        made = {"by": self.name, "steps": training.step, "seed": self.seed, "radius": list(training.plan.radius)}
        if held:
            made["held"] = training.score(held)
        io.note(**{key: value for key, value in made.items() if key != "by"})
        card = Card(
            kind="onnx",
            shape=Shape(export.patch(training.plan, wide), wide, training.plan.used),
            resolution=training.recipe.resolution,
            levels=training.plan.levels,
            overlap=0.0,
            bytes_per_voxel=_ANSWERING * self.width,
            made=made,
            classes=self.classes,
        )
        folder.write(io, self.model, card, export.to_onnx(answering))

    def _begun(self, io: IO) -> tuple[Training, list[Sample]]:
        """A training with all that it learns from, and what it is measured by."""
        from igneous_ng.training import fitting, network

        pair = Pair.open(io, self.image, self.labels, self.mip)
        samples, levels = self._samples(io)
        resolution = pair.image.resolution
        used = len(self.classes) or 3
        channels = len(self.classes) or 3 * len(self.distances)
        plan = network.Plan(self.width, network.pools(resolution), channels, levels, used, bool(self.classes))
        mixed, target = self.precision == "mixed", self._target(samples, resolution)
        recipe = fitting.Recipe(resolution, self.patch, self.batch, self.rounds, self.rate, target, self.seed, mixed)
        training = fitting.Training(recipe, plan, samples, self.torch_device())
        self.go_on(training, io)
        return training, self._held(io, pair)

    def _target(self, samples: list[Sample], resolution: Vec3f) -> Target:
        """What is learnt; DataError where there is nothing of a class."""
        from igneous_ng.training import targets

        if not self.classes:
            return targets.Affinities(resolution, self.distances)
        bins = len(self.classes) + 1
        counts = np.zeros(bins, np.int64)
        for one in samples:
            counts += np.bincount(one.labels.ravel(order="K"), minlength=blocks.UNKNOWN + 1)[:bins]
        if never := [name for name, count in zip(self.classes, counts[1:], strict=True) if not count]:
            raise DataError(f"{self.labels}: no voxel of {', '.join(never)} in what is learnt from; give other labels")
        return targets.Classes(self.classes, targets.rarity(counts))

    def _labels(self, io: IO, pair: Pair, part: Box) -> Array:
        """The labels of a block, as they are learnt from."""
        found = pair.truth(io, part)
        if not self.classes:
            return blocks.compact(found)
        return blocks.named(found, len(self.classes), f"{pair.labels.path} mip {pair.labels.mip}, {part}")

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
            read = [(pair.grey(io, part), self._labels(io, pair, part)) for part in parts if _fits(part, self.patch)]
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
        unknown = blocks.UNKNOWN if self.classes else 0
        for part in self.held_parts(pair, _HELD, self.blocks):
            labels = np.pad(self._labels(io, pair, part), _AROUND, constant_values=unknown)
            found.append(Sample(pair.grey(io, part, around), labels, 1.0))
        return found


def _fits(part: Box, patch: Vec3) -> bool:
    """Whether a block holds a patch, however that is turned."""
    return min(part.shape) >= max(patch) or all(n >= p for n, p in zip(part.shape, patch, strict=True))
