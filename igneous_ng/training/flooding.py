"""How a flood-filling network learns (Januszewski et al. 2018): from labelled images, field of view by field of view.

The network sees grey values and the logits of one object and says by how much these change. It begins at a voxel of an
object and moves as it does when it is used, so it learns from its own logits; each field of view is a step. Half of the
examples begin with more than a seed, for what follows can be learnt long before the network knows how to begin; and
beside logits it learns affinities, which tell it of borders all over the field.

Round k draws its examples from a generator of the seed and k alone. Tensors are [n, channel, z, y, x].
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.kernels import boundaries, components
from igneous_ng.kernels.flooding import logit
from igneous_ng.models.greys import Greys
from igneous_ng.training import augmentation, states
from igneous_ng.training.fitting import Sample
from igneous_ng.training.flood_net import Net

Array = npt.NDArray[Any]
_NOTHING, _SEED, _OBJECT, _MOVE = 0.05, 0.95, 0.95, 0.9  # how surely voxels are of the object
_MOST = 16.0  # logits are kept within
_WARM, _LAST = 0.05, 0.05  # the part of the rounds until the full rate; the part of that at the end
_MOVES = 8  # of the 26 places around the first field of view, those that a round goes to
_TRIES = 16  # voxels that are looked at for one of which as much around is of its object as was drawn
_HELPED = 0.5  # how often an example begins with a ball of its object
_JOINED = 0.6  # how much voxels of one cell count, against boundaries


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
    mixed: bool = False
    """As of :class:`igneous_ng.training.fitting.Recipe`."""


@dataclass(frozen=True)
class _Batch:
    """Examples: grey values, how surely voxels are of the object, affinities and where these are known."""

    grey: Any
    target: Any
    joined: Any
    known: Any

    def part(self, window: Any, going: Any) -> _Batch:
        """A field of view of those that go on."""
        grey, target, joined, known = (one[window][going] for one in vars(self).values())
        return _Batch(grey, target, joined, known)


class Training:
    """A network that learns to flood, round by round, on a ``device`` of torch."""

    def __init__(self, recipe: Recipe, samples: list[Sample], device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.samples, self.device, self.step = recipe, samples, device, 0
        net = Net(recipe.resolution, recipe.levels, recipe.width, recipe.modules, max(recipe.field) // 2)
        self.net = net.to(device, memory_format=torch.channels_last_3d)
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
        rng = np.random.default_rng((self.recipe.seed, self.step))
        batch = self._batch(rng, self.samples, self._odds, self.recipe.batch)
        losses = self._walk(batch, self._ways(rng), self._helped(rng, batch.target), learning=True)
        self.step += 1
        return float(np.mean(losses))

    def score(self, held: list[Sample], count: int = 64) -> dict[str, float]:
        """Of ``count`` examples of what is held back: the logistic loss, and the parts of voxels missed and false."""
        rng = np.random.default_rng(self.recipe.seed)
        batch = self._batch(rng, held, np.full(len(held), 1 / len(held)), count)
        canvas = self._canvas(batch.grey)
        with torch.inference_mode():
            losses = self._walk(batch, self._ways(rng), canvas, learning=False)
        own, said = batch.target > 0.5, canvas > 0
        missed = float((own & ~said).sum() / own.sum().clamp(min=1))
        false = float((said & ~own).sum() / said.sum().clamp(min=1))
        found = {"loss": float(np.mean(losses)), "missed": missed, "false": false}
        return {name: round(value, 5) for name, value in found.items()}

    def state(self) -> dict[str, Array]:
        """All that it goes on from, by name."""
        return states.of(self.net, self.optimizer, self.step)

    def resume(self, state: dict[str, Array], where: str) -> None:
        """Go on from what :meth:`state` gave; DataError, naming ``where``, where that is of another network."""
        self.step = states.resume(self.net, self.optimizer, state, where)

    def _walk(self, batch: _Batch, ways: list[Vec3], canvas: Any, learning: bool) -> list[float]:
        """The losses of fields of view: of those whose object, on the ``canvas``, goes on in their middle."""
        field, deltas, patch, losses = self.recipe.field, self.recipe.deltas, self.patch, []
        for way in ways:
            low = [(p - f) // 2 + s * d for p, f, s, d in zip(patch, field, way, deltas, strict=True)]
            window = (..., *[slice(a, a + n) for a, n in zip(reversed(low), reversed(field), strict=True)])
            z, y, x = (a + n // 2 for a, n in zip(reversed(low), reversed(field), strict=True))
            going = canvas[:, 0, z, y, x] >= logit(_MOVE)
            if not bool(going.any()):
                continue
            seen, before = batch.part(window, going), canvas[window][going]
            with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.mixed and learning):
                found = self.net(torch.cat([seen.grey, before], dim=1)).float()
            after = before + found[:, :1]
            loss = functional.binary_cross_entropy_with_logits(after, seen.target)
            losses.append(float(loss.detach()))
            if learning:
                self._learn(loss + _beside(found[:, 1:], seen))
            canvas[window][going] = after.detach().clamp(-_MOST, _MOST)
        return losses

    def _learn(self, loss: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()

    def _ways(self, rng: np.random.Generator) -> list[Vec3]:
        """Where the field of view goes, in moves along x, y and z: the middle, then some of the places around it."""
        around = [way for way in itertools.product((-1, 0, 1), repeat=3) if any(way)]
        return [(0, 0, 0), *(around[i] for i in rng.permutation(len(around))[:_MOVES])]

    def _canvas(self, like: Any) -> Any:
        """Logits before the first field of view: nothing but the seed."""
        canvas = torch.full_like(like, logit(_NOTHING))
        z, y, x = (n // 2 for n in like.shape[2:])
        canvas[:, :, z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = logit(_SEED)
        return canvas

    def _helped(self, rng: np.random.Generator, target: Any) -> Any:
        """Of some examples all that lies in a ball is known from the beginning."""
        canvas = self._canvas(target)
        z, y, x = (torch.arange(n, device=target.device) - n // 2 for n in target.shape[2:])
        far = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
        for i in range(len(target)):
            radius = float(rng.random()) * max(target.shape[2:]) / 2
            if rng.random() < _HELPED:
                canvas[i, 0][(far <= radius**2) & (target[i, 0] > 0.5)] = logit(_SEED)
        return canvas

    def _batch(self, rng: np.random.Generator, samples: list[Sample], odds: Array, count: int) -> _Batch:
        drawn = [self._draw(rng, samples[int(rng.choice(len(samples), p=odds))]) for _ in range(count)]
        return _Batch(*(torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*drawn, strict=True)))

    def _draw(self, rng: np.random.Generator, sample: Sample) -> list[Array]:
        """What a batch holds, of one example, [channel, z, y, x]; the object of its middle is what is joined in it.

        Drawn is how much of it shall be of its object, so that thin ones are seen as often as thick ones.
        """
        half = vec(n // 2 for n in self.patch)
        wanted, at, off = rng.random() ** 2, half, np.inf
        for _ in range(_TRIES):
            there = vec(int(rng.integers(h, n - h)) for h, n in zip(half, sample.grey.shape, strict=True))
            found = abs(_coverage(sample.labels, there, half) - wanted)
            if found < off:
                at, off = there, found
        box = tuple(slice(a - h, a + h + 1) for a, h in zip(at, half, strict=True))
        grey, labels = augmentation.turned(rng, self.recipe.resolution, sample.grey[box], sample.labels[box])
        grey = augmentation.shaded(rng, grey, self.recipe.levels.spread, self.recipe.resolution)
        parts = components.painted(labels, 6)
        own = (parts == parts[half]) & (labels[half] > 0)
        target = np.where(own, np.float32(_OBJECT), np.float32(1 - _OBJECT))
        joined, known = boundaries.affinities(labels, self.recipe.resolution)
        shown = grey[..., None], target[..., None], joined, known
        return [np.ascontiguousarray(one.T, np.float32) for one in shown]

    def _pace(self) -> float:
        """The part of the full rate in this round."""
        part = self.step / self.recipe.rounds
        return float(min(1.0, (part + 1 / self.recipe.rounds) / _WARM) * max(_LAST, 0.5 * (1 + np.cos(np.pi * part))))


def _beside(found: Any, seen: _Batch) -> Any:
    """The loss of affinities."""
    weight = seen.known * (_JOINED * seen.joined + 1 - seen.joined)
    each = functional.binary_cross_entropy_with_logits(found, seen.joined, weight, reduction="none")
    return each.sum() / weight.sum().clamp(min=1)


def _coverage(labels: Array, at: Vec3, half: Vec3) -> float:
    """The part of the voxels around one that are of its object; more than any if it lies at the border of that."""
    name = labels[at]
    if name == 0 or (labels[tuple(slice(a - 1, a + 2) for a in at)] != name).any():
        return 2.0
    return float(np.mean(labels[tuple(slice(a - h, a + h + 1) for a, h in zip(at, half, strict=True))] == name))
