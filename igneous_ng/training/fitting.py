"""How the network learns: patches, loss, steps, and states that it goes on from.

Step k draws its patches from a generator of the seed and k alone, so a training that was stopped goes on as if it had
not been. On processors the same seed, data and number of threads give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from igneous_ng.geometry import Vec3, Vec3f
from igneous_ng.training import augmentation, states
from igneous_ng.training.network import Net, Plan
from igneous_ng.training.targets import Target

Array = npt.NDArray[Any]
_CROP = 4  # voxels at each side of a patch whose surroundings the network knows too little of
_WARM, _LAST = 0.02, 0.02  # the part of the steps until the full rate; the part of that at the end
_SETTLED = 0.7  # of all steps: from here on norms are constants
_DECAY = 1e-4


@dataclass(frozen=True)
class Recipe:
    """What a training is: all on which its result depends, beside the data and the network's plan."""

    resolution: Vec3f
    patch: Vec3
    batch: int
    steps: int
    rate: float
    target: Target
    seed: int
    mixed: bool = False
    """Whether convolutions are of 16 bits (bfloat16), and weights and sums of 32 (Micikevicius et al. 2018)."""


@dataclass(frozen=True)
class Sample:
    """A block of training data: float32 grey values and labels [x, y, z], and how often it is drawn."""

    grey: Array
    labels: Array
    weight: float


class Training:
    """A network that learns from samples, step by step, on a ``device`` of torch."""

    def __init__(self, recipe: Recipe, plan: Plan, samples: list[Sample], device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.plan, self.samples, self.device = recipe, plan, samples, device
        self.net = Net(plan).to(device, memory_format=torch.channels_last_3d)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), recipe.rate, weight_decay=_DECAY)
        self.step = 0
        weights = np.array([sample.weight * sample.grey.size for sample in samples])
        self._odds = weights / weights.sum()
        self._sought = [_sought(recipe.target, sample.labels) for sample in samples]

    def advance(self) -> float:
        """One step; the loss of its batch."""
        self.net.train()
        if self.step >= _SETTLED * self.recipe.steps:
            self.net.settle()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * self._pace()
        rng = np.random.default_rng((self.recipe.seed, self.step))
        drawn = [self._draw(rng) for _ in range(self.recipe.batch)]
        grey, wanted, known = (self._tensor(parts) for parts in zip(*drawn, strict=True))
        with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.mixed):
            logits = self.net(grey.unsqueeze(1))
        loss = _loss(logits.float(), wanted, self.recipe.target.weights(wanted, known))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def score(self, held: list[Sample]) -> dict[str, float]:
        """Of what is held back: the mean logistic loss of answers, and what the target tells."""
        self.net.eval()
        tallies = [self._tally(sample) for sample in held]
        entropy, answers = np.sum([one for one, _ in tallies], axis=0).tolist()
        told = self.recipe.target.told(np.sum([one for _, one in tallies], axis=0))
        return {name: round(value, 5) for name, value in {"loss": entropy / max(answers, 1), **told}.items()}

    def state(self) -> dict[str, Array]:
        """All that it goes on from, by name."""
        return states.of(self.net, self.optimizer, self.step)

    def resume(self, state: dict[str, Array], where: str) -> None:
        """Go on from what :meth:`state` gave; DataError, naming ``where``, where that is of another network."""
        self.step = states.resume(self.net, self.optimizer, state, where)

    def _pace(self) -> float:
        """The part of the full rate at this step."""
        part = self.step / self.recipe.steps
        return float(min(1.0, (part + 1 / self.recipe.steps) / _WARM) * max(_LAST, 0.5 * (1 + np.cos(np.pi * part))))

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Grey values, what is wanted and where that is known, of one patch, [z, y, x] last."""
        recipe = self.recipe
        number = int(rng.choice(len(self.samples), p=self._odds))
        sample = self.samples[number]
        at = self._place(rng, sample, self._sought[number])
        box = tuple(slice(a, a + p) for a, p in zip(at, recipe.patch, strict=True))
        grey, labels = augmentation.turned(rng, recipe.resolution, sample.grey[box], sample.labels[box])
        grey = augmentation.shaded(rng, grey, self.plan.levels.spread, recipe.resolution)
        wanted, known = recipe.target.wanted(labels)
        return grey.T, wanted.T, known.T

    def _place(self, rng: np.random.Generator, sample: Sample, sought: Array) -> list[int]:
        """Where a patch begins: anywhere, or so that its middle part has a voxel that is sought."""
        room = [n - p for n, p in zip(sample.grey.shape, self.recipe.patch, strict=True)]
        if not len(sought) or rng.random() >= self.recipe.target.shown:
            return [int(rng.integers(free + 1)) for free in room]
        voxel = np.unravel_index(int(rng.choice(sought)), sample.grey.shape, order="F")
        before = [int(rng.integers(_CROP, p - _CROP)) for p in self.recipe.patch]
        return [min(max(int(v) - b, 0), free) for v, b, free in zip(voxel, before, room, strict=True)]

    def _tally(self, sample: Sample) -> tuple[Array, Array]:
        """Of a block: the loss and the number of answers, and what the target counts."""
        box = tuple(slice(0, n - n % s) for n, s in zip(sample.grey.shape, self.plan.stride, strict=True))
        parts = self.recipe.target.wanted(sample.labels[box])
        wanted, known = (self._tensor([part[..., : self.plan.used].T]) for part in parts)
        with torch.inference_mode():
            logits = self.net(self._tensor([sample.grey[box].T]).unsqueeze(1))[:, : self.plan.used]
            each = functional.binary_cross_entropy_with_logits(logits, wanted, known, reduction="none")
            sums = np.array([float(each.sum()), float(known.sum())])
            return sums, self.recipe.target.tally(logits, wanted, known)

    def _tensor(self, parts: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(np.stack(parts), np.float32)).to(self.device)


def _sought(target: Target, labels: Array) -> Array:
    """The voxels around which patches are laid, as indices into ``labels`` in Fortran order; may be none."""
    if not target.shown:
        return np.zeros(0, np.int64)
    flat = labels.ravel(order="F")
    return np.flatnonzero((flat > 0) & (flat != target.unknown))


def _loss(logits: Any, wanted: Any, weight: Any) -> Any:
    """Of the middle of patches."""
    middle = (..., *[slice(_CROP, -_CROP)] * 3)
    each = functional.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="none")
    return each[middle].sum() / weight[middle].sum().clamp(min=1)
