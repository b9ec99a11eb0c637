"""What the stages share that train models: what is learnt from, and what is held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.models import folder
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.training import blocks
from igneous_ng.training.blocks import Pair


@dataclass(frozen=True, kw_only=True)
class Learning(Stage):
    """A stage that writes one model, from an image and its labels."""

    image: LayerUrl = arg("Image to learn from.")
    labels: LayerUrl = arg("What its voxels are: a segmentation, 0 being unknown.")
    model: LayerUrl = arg("Folder of the model to write.")
    mip: int = opt(0, "Level of the layers to read.")
    roi: Box | None = opt(None, "Only this box, in voxels of the level; by default all.")
    held: Box | None = opt(None, "Box that nothing is learnt from: the model is measured there.")
    seed: int = opt(0, "What chance draws; the same seed gives the same model.")

    def check(self) -> None:
        """Levels and seeds are counted from 0."""
        if self.mip < 0 or self.seed < 0:
            raise SpecError(f"{self.name}: mip {self.mip} and seed {self.seed}; both count from 0 up")

    def home(self) -> str:
        """Records lie with the model."""
        return self.model

    def units(self, io: IO) -> Sequence[int]:
        """One: a model is one thing."""
        return range(1)

    def said(self, io: IO) -> str:
        """How good it is where nothing was learnt."""
        made = folder.read(io, self.model).made
        words = ", ".join(f"{name} {value}" for name, value in made.get("held", {}).items())
        return f"{self.model}: {words}" if words else f"{self.model}: nothing was held back to measure it by"

    def learnable(self, io: IO) -> tuple[Pair, Box]:
        """What is learnt from, and where; SpecError where that is nothing."""
        pair = Pair.open(io, self.image, self.labels, self.mip)
        bounds = pair.bounds & self.roi if self.roi else pair.bounds
        if self.held and not (self.held & pair.bounds).voxels:
            raise SpecError(f"{self.name}: {self.held} is held back, and there is only {pair.bounds}")
        if not any(part.voxels for part in blocks.less(bounds, self.held)):
            raise SpecError(
                f"{self.name}: nothing of {bounds} is left to learn from; hold less back, or give another roi"
            )
        return pair, bounds

    def held_parts(self, pair: Pair, cell: Vec3, count: int) -> list[Box]:
        """The blocks that the model is measured by."""
        return blocks.chosen(self.held & pair.bounds, None, cell, count, self.seed) if self.held else []
