"""How a flood-filling network learns (Januszewski et al. 2018): from labelled images, field of view by field of view.

The network sees grey values and the logits of one object and says by how much these change. It begins at a voxel of an
object and moves as it does when it is used, so it learns from its own logits; each field of view is a step. Round k
draws its examples from a generator of the seed and k alone. Tensors are [n, channel, z, y, x].
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.kernels.flooding import logit
from igneous_ng.models.greys import Greys
from igneous_ng.training import augmentation
from igneous_ng.training.fitting import Sample

Array = npt.NDArray[Any]
_NOTHING, _SEED, _OBJECT, _MOVE = 0.05, 0.95, 0.95, 0.9  # how surely voxels are of the object
_MOST = 16.0  # logits are kept within
_WARM, _LAST = 0.05, 0.05  # the part of the rounds until the full rate; the part of that at the end
_TRIES = 64  # places that are looked at for a voxel of an object


@dataclass(frozen=True)
class Recipe:
    """What a training is: all on which its result depends, beside the data."""

    resolution: Vec3f
    field: Vec3
    deltas: Vec3
    width: int
    modules: int
    batch: int
    rounds: int
    rate: float
    seed: int
    levels: Greys


class Net(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Grey values and logits [n, 2, z, y, x] to what is added to the logits [n, 1, z, y, x]: residual modules."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.levels, wide = recipe.levels, recipe.width
        self.first = nn.ModuleList([nn.Conv3d(2, wide, 3, padding=1), nn.Conv3d(wide, wide, 3, padding=1)])
        pairs = [nn.ModuleList(nn.Conv3d(wide, wide, 3, padding=1) for _ in range(2)) for _ in range(recipe.modules)]
        self.inner, self.last = nn.ModuleList(pairs), nn.Conv3d(wide, 1, 1)

    def forward(self, seen: Any) -> Any:
        """Changes of logits."""
        grey = (seen[:, :1] - self.levels.median) / self.levels.spread
        x = self.first[1](functional.relu(self.first[0](torch.cat([grey, torch.tanh(seen[:, 1:] / 4)], dim=1))))
        for one, other in self.inner:
            x = x + other(functional.relu(one(functional.relu(x))))
        return self.last(functional.relu(x))


class Training:
    """A network that learns to flood, round by round, on a ``device`` of torch."""

    def __init__(self, recipe: Recipe, samples: list[Sample], device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.samples, self.device, self.round = recipe, samples, device, 0
        self.net = Net(recipe).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), recipe.rate)
        weights = np.array([sample.weight * sample.grey.size for sample in samples])
        self._odds = weights / weights.sum()

    @property
    def patch(self) -> Vec3:
        """Voxels of an example: the field of view, moved by deltas to each side."""
        return vec(n + 2 * d for n, d in zip(self.recipe.field, self.recipe.deltas, strict=True))

    def advance(self) -> float:
        """One round: the fields of view of a batch of examples, a step each; the mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * self._pace()
        rng = np.random.default_rng((self.recipe.seed, self.round))
        drawn = [self._draw(rng) for _ in range(self.recipe.batch)]
        grey, target = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*drawn, strict=True))
        losses = self._walk(grey, target, learn=True)
        self.round += 1
        return float(np.mean(losses))

    def score(self, held: list[Sample], count: int = 64) -> dict[str, float]:
        """Of ``count`` examples of what is held back: the logistic loss, and the parts of voxels missed and false."""
        kept, self.samples = (self.samples, self._odds), held
        self._odds = np.full(len(held), 1 / len(held))
        rng = np.random.default_rng(self.recipe.seed)
        drawn = [self._draw(rng) for _ in range(count)]
        self.samples, self._odds = kept
        grey, target = (torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*drawn, strict=True))
        canvas = self._canvas(grey)
        with torch.inference_mode():
            losses = self._walk(grey, target, learn=False, canvas=canvas)
        own, said = target > 0.5, canvas > 0
        missed = float((own & ~said).sum() / own.sum().clamp(min=1))
        false = float((said & ~own).sum() / said.sum().clamp(min=1))
        found = {"loss": float(np.mean(losses)), "missed": missed, "false": false}
        return {name: round(value, 5) for name, value in found.items()}

    def _walk(self, grey: Any, target: Any, learn: bool, canvas: Any = None) -> list[float]:
        """The losses of all fields of view: the middle first, then where the object goes on."""
        canvas, losses = self._canvas(grey) if canvas is None else canvas, []
        field, deltas, patch = self.recipe.field, self.recipe.deltas, self.patch
        for way in sorted(itertools.product((0, -1, 1), repeat=3), key=lambda w: sum(map(abs, w))):
            low = [(p - f) // 2 + s * d for p, f, s, d in zip(patch, field, way, deltas, strict=True)]
            window = (..., *[slice(a, a + n) for a, n in zip(reversed(low), reversed(field), strict=True)])
            middle = [a + n // 2 for a, n in zip(reversed(low), reversed(field), strict=True)]
            going = canvas[:, 0, middle[0], middle[1], middle[2]] >= logit(_MOVE)
            if not bool(going.any()):
                continue
            before = canvas[window][going].clone()
            after = before + self.net(torch.cat([grey[window][going], before], dim=1))
            loss = functional.binary_cross_entropy_with_logits(after, target[window][going])
            losses.append(float(loss.detach()))
            if learn:
                self._step(loss)
            shown = canvas[window]
            shown[going] = after.detach().clamp(-_MOST, _MOST)
        return losses

    def _step(self, loss: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()

    def _canvas(self, grey: Any) -> Any:
        canvas = torch.full_like(grey, logit(_NOTHING))
        z, y, x = (n // 2 for n in grey.shape[2:])
        canvas[:, :, z, y, x] = logit(_SEED)
        return canvas

    def _draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Grey values and how surely voxels are of the object in the middle, [1, z, y, x]."""
        sample = self.samples[int(rng.choice(len(self.samples), p=self._odds))]
        half = vec(n // 2 for n in self.patch)
        for _ in range(_TRIES):
            at = [int(rng.integers(h, n - h)) for h, n in zip(half, sample.grey.shape, strict=True)]
            if sample.labels[tuple(at)]:
                break
        box = tuple(slice(a - h, a + h + 1) for a, h in zip(at, half, strict=True))
        grey, labels = augmentation.turned(rng, self.recipe.resolution, sample.grey[box], sample.labels[box])
        grey = augmentation.shaded(rng, grey, self.recipe.levels.spread, self.recipe.resolution)
        name = labels[half]
        own = (labels == name) & (name > 0)
        target = np.where(own, np.float32(_OBJECT), np.float32(1 - _OBJECT))
        return np.ascontiguousarray(grey.T)[None], np.ascontiguousarray(target.T)[None]

    def _pace(self) -> float:
        """The part of the full rate in this round."""
        part = self.round / self.recipe.rounds
        return float(min(1.0, (part + 1 / self.recipe.rounds) / _WARM) * max(_LAST, 0.5 * (1 + np.cos(np.pi * part))))
