"""A small residual U-Net (Lee et al. 2017, "Superhuman accuracy on the SNEMI3D challenge"), for affinities or classes.

Nothing in it looks at a patch as a whole: norms are of batches while it learns (Ioffe and Szegedy 2015), and constants
afterwards, folded into the convolutions. So what it says of a voxel follows from the voxels within its radius alone.
Tensors are [n, channel, z, y, x].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.models.greys import Greys

_ALIKE = 1.5  # sides of voxels that are pooled alike


@dataclass(frozen=True)
class Plan:
    """The shape of a network: channels at full resolution, poolings, channels that it gives, greys that it expects.

    The first ``used`` of the channels are those that it is trained for; others help it to learn. Of ``exclusive``
    channels at most one is true of a voxel: the more one is believed, the less are the others.
    """

    width: int
    pools: tuple[Vec3, ...]
    channels: int
    levels: Greys
    used: int = 3
    exclusive: bool = False

    @property
    def stride(self) -> Vec3:
        """By how much it may be moved and say the same: patches begin at multiples of it."""
        x, y, z = 1, 1, 1
        for pool in self.pools:
            x, y, z = x * pool[0], y * pool[1], z * pool[2]
        return x, y, z

    @property
    def radius(self) -> Vec3:
        """How far the voxels are that it looks at, at most."""
        return vec(_radius(axis, self.pools) for axis in range(3))


def pools(resolution: Vec3f, count: int = 2) -> tuple[Vec3, ...]:
    """Factors x, y, z of so many poolings that make voxels of ``resolution`` nm more and more cubic."""
    sides, found = list(resolution), []
    for _ in range(count):
        pool = vec(2 if side < _ALIKE * min(sides) else 1 for side in sides)
        sides = [side * n for side, n in zip(sides, pool, strict=True)]
        found.append(pool)
    return tuple(found)


class Block(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Two convolutions and what they add to (He et al. 2016)."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv3d(given, made, 3, padding=1), nn.BatchNorm3d(made)
        self.second, self.second_norm = nn.Conv3d(made, made, 3, padding=1), nn.BatchNorm3d(made)
        self.beside = nn.Conv3d(given, made, 1)

    def forward(self, x: Any) -> Any:
        """Features of the same shape."""
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(inner)) + self.beside(x))

    def fold(self) -> None:
        """Make norms part of the convolutions, for good."""
        self.first = fuse_conv_bn_eval(self.first, self.first_norm)
        self.second = fuse_conv_bn_eval(self.second, self.second_norm)
        self.first_norm = self.second_norm = nn.Identity()


class Net(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Grey values [n, 1, z, y, x] from 0 to 1 to logits [n, channels, z, y, x]; sides are multiples of the stride."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        widths = [plan.width << level for level in range(len(plan.pools) + 1)]
        given = [1, *widths[:-1]]
        self.down = nn.ModuleList(Block(a, b) for a, b in zip(given, widths, strict=True))
        self.up = nn.ModuleList(Block(a + b, a) for a, b in pairwise(widths))
        self.last = nn.Conv3d(plan.width, plan.channels, 1)

    def forward(self, grey: Any) -> Any:
        """Logits."""
        x, kept = (grey - self.plan.levels.median) / self.plan.levels.spread, []
        for block, pool in zip(self.down[:-1], self.plan.pools, strict=True):
            kept.append(block(x))
            x = functional.max_pool3d(kept[-1], pool[::-1])
        x = self.down[-1](x)
        for level in reversed(range(len(self.plan.pools))):
            factor = tuple(map(float, self.plan.pools[level][::-1]))
            x = functional.interpolate(x, scale_factor=factor, mode="nearest")
            x = self.up[level](torch.cat([kept[level], x], dim=1))
        return _alone(self.last(x)) if self.plan.exclusive else self.last(x)

    def settle(self) -> None:
        """Let norms be constants, as they will be once it is used."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()


class Answering(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A trained network as it is used: norms folded, answers from 0 to 1, those alone that are used."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = Net(net.plan)
        self.net.load_state_dict({name: value.cpu() for name, value in net.state_dict().items()})
        self.net.eval()
        for block in (*self.net.down, *self.net.up):
            block.fold()
        used = net.plan.used
        last = nn.Conv3d(net.plan.width, used, 1)
        last.load_state_dict({name: value[:used].cpu() for name, value in net.last.state_dict().items()})
        self.net.last = last
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, grey: Any) -> Any:
        """Answers."""
        return torch.sigmoid(self.net(grey))


def _alone(logits: Any) -> Any:
    """Logits whose sigmoids are the shares of a softmax over the channels and none of them, whose logit is 0."""
    count = logits.shape[1]
    others = [[j for j in range(count) if j != k] for k in range(count)]
    none = torch.zeros_like(logits[:, :1])
    against = [torch.logsumexp(torch.cat([none, logits[:, rest]], dim=1), dim=1, keepdim=True) for rest in others]
    return logits - torch.cat(against, dim=1)


def _radius(axis: int, pools: tuple[Vec3, ...]) -> int:
    """Two voxels before and two after what a coarser level sees; pooling and its undoing see a factor less 1 each."""
    if not pools:
        return 2
    factor = pools[0][axis]
    return 2 + (factor - 1) + factor * _radius(axis, pools[1:]) + (factor - 1) + 2
