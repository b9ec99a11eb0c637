"""What the stages share that train models: what is learnt from, and what is held back."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError, SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import boosted_trees
from igneous_ng.models import folder
from igneous_ng.stage import LayerUrl, Stage, arg, opt, to_dict
from igneous_ng.store import digest
from igneous_ng.training import blocks
from igneous_ng.training.blocks import Pair

TORCH = 1_500_000_000
"""Bytes of torch and what it exports by."""
LOADED = 20
"""Bytes of a voxel of a block: grey values, labels, and while they are read."""
_FREE = ("model", "minutes", "checkpoint", "memory", "device", "threads", "held")
"""Fields that a training may go on with otherwise."""


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


class Training(Protocol):
    """A network that learns step by step."""

    step: int
    """Steps that are done."""

    def advance(self) -> float:
        """One step; its loss."""
        ...

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that it goes on from, by name."""
        ...

    def resume(self, state: dict[str, npt.NDArray[Any]], where: str) -> None:
        """Go on from what :meth:`state` gave; DataError, naming ``where``, where that is of another network."""
        ...


@dataclass(frozen=True, kw_only=True)
class LearningNet(Learning):
    """A stage that trains a network by torch, and goes on from `checkpoint.npz` where it was stopped."""

    rounds: int = opt(20_000, "Steps of the training.")
    minutes: float | None = opt(None, "Stop after so long, and write what was learnt; run again to go on.")
    checkpoint: int = opt(500, "Steps between states that are stored.")
    threads: int = opt(1, "Threads of a processor; with as many, the same bytes.")
    precision: Literal["full", "mixed"] = opt(
        "full", "mixed: convolutions of 16 bits while it learns, some times faster on processors that have them."
    )
    device: Literal["auto", "cpu", "cuda"] = opt(
        "auto", "Where to train; auto is a graphics processor if there is one."
    )

    def check(self) -> None:
        """Counts are counts, and some time is given."""
        super().check()
        if min(self.rounds, self.checkpoint, self.threads) < 1:
            raise SpecError(f"{self.name}: rounds, checkpoint and threads are at least 1")
        if self.minutes is not None and self.minutes <= 0:
            raise SpecError(f"{self.name}.minutes: {self.minutes:g}; give more than 0")

    def learn(self, training: Training, io: IO) -> None:
        """Steps until all are done or the time is over; the state is stored now and then, and at the end."""
        end = math.inf if self.minutes is None else time.monotonic() + 60 * self.minutes
        before = training.step
        while training.step < self.rounds and time.monotonic() < end:
            training.advance()
            if training.step % self.checkpoint == 0:
                self._store(training, io)
        if training.step != before and training.step % self.checkpoint:
            self._store(training, io)

    def go_on(self, training: Training, io: IO) -> None:
        """Take the state that was stored, if any; SpecError where that is of a training that was asked otherwise."""
        data = io.peek(self._state_url)
        if data is None:
            return
        state = boosted_trees.from_bytes(data, self._state_url)
        if str(state.pop("asked", "")) != self._asked:
            raise SpecError(f"{self._state_url}: of a training with other fields; ask for the same, or remove it")
        training.resume(state, self._state_url)

    def torch_device(self) -> str:
        """Where torch trains, with as many threads as asked for; ConfigurationError where there is no such."""
        torch = need_torch()
        torch.set_num_threads(self.threads)
        there = bool(torch.cuda.is_available())
        if self.device == "cuda" and not there:
            raise ConfigurationError("torch sees no graphics processor here; give --device cpu")
        return "cuda" if there and self.device != "cpu" else "cpu"

    def _store(self, training: Training, io: IO) -> None:
        asked = np.array(self._asked)
        io.put(self._state_url, boosted_trees.to_bytes({"asked": asked, **training.state()}))

    @property
    def _state_url(self) -> str:
        return f"{self.model}/checkpoint.npz"

    @property
    def _asked(self) -> str:
        """What the result depends on."""
        fields = {key: value for key, value in to_dict(self).items() if key not in _FREE}
        return digest(json.dumps(fields, sort_keys=True).encode())


def need_torch() -> Any:
    """The module torch; ConfigurationError where that, or what exports its networks, is not installed."""
    for name in ("onnx", "onnxruntime", "onnxscript", "torch"):
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(f"training networks needs {name}; pip install igneous-ng[train]")
    return importlib.import_module("torch")
