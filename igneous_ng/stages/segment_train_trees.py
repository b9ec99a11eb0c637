"""Trees that find boundaries, learnt from labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.io import IO
from igneous_ng.kernels import boosted_trees, boundaries
from igneous_ng.kernels.boosted_trees import Growth
from igneous_ng.kernels.voxel_features import Bank
from igneous_ng.learning import Learning
from igneous_ng.models import folder
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from igneous_ng.models.trees import Trees, shape_of
from igneous_ng.stage import opt
from igneous_ng.training import blocks
from igneous_ng.training.blocks import Pair

Array = npt.NDArray[Any]
_CELL = (64, 64, 64)
_CLASSES = (boundaries.BOUNDARY, boundaries.INSIDE)
_SCALE_LIMIT, _SCALE_MOST = 8, 10_000  # so many scales, of so many nm
_DRAWN, _BESIDE = 48, 100  # bytes of a sample for each feature, drawn fourfold and then put together; and beside them
_SMALL = 100_000_000


@dataclass(frozen=True, kw_only=True)
class TrainTrees(Learning, name="segment train trees"):
    """Train boosted trees that find boundaries by what the surroundings of voxels look like: a minute's work.

    Learns from as many voxels of boundaries as of insides, drawn from many blocks. Writes `trees.npz` and `model.json`,
    to be used by `segment infer --model`.
    """

    example = "./em ./labels ./model --roi 0:256,0:256,0:128"

    painted: bool = opt(False, "The labels are painted: 1 is boundary, 2 inside, 0 unknown.")
    samples: int = opt(80_000, "Voxels to learn from, half of them boundary.")
    blocks: int = opt(64, "At most so many blocks are looked at.")
    trees: int = opt(120, "How many trees.")
    leaves: int = opt(31, "Leaves of a tree at most.")
    rate: float = opt(0.12, "How much each tree counts.")
    scales: tuple[float, ...] = opt((7.0, 16.0, 35.0, 50.0), "Scales of features in nm.")
    textures: tuple[float, ...] = opt((7.0, 16.0), "Scales of structure tensors in nm.")
    blur: float = opt(7.0, "What is said of voxels is smoothed by a Gaussian of so many nm; 0: not at all.")

    def check(self) -> None:
        """Trees of some leaves, of some samples and features."""
        super().check()
        if not (self.samples >= 2 and self.blocks >= 1 and 1 <= self.trees <= 10_000 and 2 <= self.leaves <= 256):
            raise SpecError(f"{self.name}: give samples, blocks, trees and 2 to 256 leaves")
        if not 0 < self.rate <= 1:
            raise SpecError(f"{self.name}.rate: {self.rate:g}; give a fraction above 0, at most 1")
        if not 0 <= self.blur <= _SCALE_MOST:
            raise SpecError(f"{self.name}.blur: {self.blur:g}; give 0 to {_SCALE_MOST} nm")
        scales = (*self.scales, *self.textures)
        if not self.scales or len(scales) > 2 * _SCALE_LIMIT or not all(0 < scale <= _SCALE_MOST for scale in scales):
            raise SpecError(f"{self.name}: scales {scales}; give some, each above 0 and at most {_SCALE_MOST} nm")

    def prepare(self, io: IO) -> None:
        """There are an image and labels."""
        self.learnable(io)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A block with its margin, and all samples."""
        bank = self._bank(Pair.open(io, self.image, self.labels, self.mip))
        patch = vec(n + 2 * m for n, m in zip(_CELL, bank.margin, strict=True))
        block = bank.peak_bytes(patch) + prod(patch) * 16 + prod(_CELL) * 40
        return _SMALL + block + self.samples * (bank.count * _DRAWN + _BESIDE)

    def execute(self, unit: int, io: IO) -> None:
        """Draw samples, grow trees, measure them, and write the model."""
        pair, bounds = self.learnable(io)
        bank = self._bank(pair)
        parts = blocks.chosen(bounds, self.held, _CELL, self.blocks, self.seed)
        levels = _levels(io, pair, parts, self.image)
        features, truth = self._drawn(io, pair, parts, bank)
        growth = Growth(trees=self.trees, leaves=self.leaves, rate=self.rate)
        model = Trees(bank, boosted_trees.fit(features, truth, growth), self.blur, shape_of(bank, self.blur))
        made: dict[str, Any] = {"by": self.name, "samples": len(truth), "seed": self.seed}
        if self.held:
            features, truth = self._drawn(io, pair, self.held_parts(pair, _CELL, self.blocks), bank)
            said = model.forest.predict(features)
            right = float(((said > 0.5) == truth).mean())
            made["held"] = {"loss": round(boosted_trees.loss(said, truth), 5), "right": round(right, 5)}
        io.note(**{key: value for key, value in made.items() if key != "by"})
        card = Card(
            "trees", model.shape, pair.image.resolution, levels, 0.0, self._answering(bank, model.shape.patch), made
        )
        folder.write(io, self.model, card, model.to_bytes())

    def _bank(self, pair: Pair) -> Bank:
        return Bank(pair.image.resolution, self.scales, self.textures)

    @staticmethod
    def _answering(bank: Bank, patch: Vec3) -> int:
        """Bytes that a voxel of a patch takes when the model is used."""
        return bank.peak_bytes(patch) // prod(patch) + 16

    def _drawn(self, io: IO, pair: Pair, parts: list[Box], bank: Bank) -> tuple[Array, Array]:
        """Features [n, f] of voxels of both classes, as many of each, and which are boundary."""
        quota, drawn = -(-self.samples // (2 * len(parts))), []
        for number, part in enumerate(parts):
            what = self._classes(io, pair, part)
            rng = np.random.default_rng((self.seed, number))
            at = np.concatenate([_some(rng, what, one, 4 * quota) for one in _CLASSES])
            if len(at):
                rows = bank.of(pair.grey(io, part, bank.margin)).reshape(-1, bank.count, order="F")
                drawn.append((rows[at], what[at] == boundaries.BOUNDARY))
        return _balanced(np.random.default_rng((self.seed, len(parts))), drawn, self.samples // 2, self.labels)

    def _classes(self, io: IO, pair: Pair, part: Box) -> Array:
        """What the voxels of a block are, in one row, x fastest."""
        if self.painted:
            found = pair.truth(io, part)
            if found.max() > boundaries.INSIDE:
                raise DataError(f"{self.labels}: {part} is painted with {found.max()}; there are only 0, 1 and 2")
            return found.ravel(order="F").astype(np.uint8)
        wide = part.grow((1, 1, 1), (1, 1, 1)) & pair.labels.bounds
        found = boundaries.classes(pair.truth(io, wide), pair.image.resolution)
        return found[part.slices(wide.lo)].ravel(order="F")


def _some(rng: np.random.Generator, what: Array, one: int, count: int) -> Array:
    """At most ``count`` voxels of a class, in order."""
    there = np.flatnonzero(what == one)
    return np.sort(rng.permutation(there)[:count]) if len(there) > count else there


def _balanced(
    rng: np.random.Generator, drawn: list[tuple[Array, Array]], count: int, where: str
) -> tuple[Array, Array]:
    """At most ``count`` samples of each class, as many of each."""
    features = np.concatenate([rows for rows, _ in drawn]) if drawn else np.zeros((0, 1), np.float32)
    truth = np.concatenate([flags for _, flags in drawn]) if drawn else np.zeros(0, bool)
    found = [np.flatnonzero(truth == flag) for flag in (True, False)]
    least = min(count, *map(len, found))
    if not least:
        raise DataError(
            f"{where}: {len(found[0])} voxels of boundaries and {len(found[1])} of insides were found; both are "
            "needed: label more, or look at more blocks"
        )
    kept = np.sort(np.concatenate([rng.permutation(one)[:least] for one in found]))
    return np.asfortranarray(features[kept]), truth[kept]


def _levels(io: IO, pair: Pair, parts: list[Box], where: str) -> Greys:
    """How bright the blocks are that are learnt from."""
    return blocks.levels((pair.grey(io, part) for part in parts), where)
