"""The network that floods: residual modules (Januszewski et al. 2018), helped by a flood that it can steer.

What is known of an object spreads within the field of view from voxel to voxel where these are *open*, which the
network learns of grey values; residual modules make logits of how far it came. A chain of convolutions alone has to
find this out by itself, which takes days. Tensors are [n, channel, z, y, x].
"""

from __future__ import annotations

import copy
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from igneous_ng.geometry import Vec3f
from igneous_ng.models.greys import Greys
from igneous_ng.training.network import pools

_OPEN = 2.0  # how open voxels are: the logit where affinities are in doubt, and by how much these count
_SURE = 3.0  # the logit of what the flood reaches in full, and, less than 0, of what it does not
_MOST = 4.0  # logits beyond are as sure to convolutions


class Block(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A residual module: two convolutions and what they add to (He et al. 2016)."""

    def __init__(self, wide: int, count: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv3d(wide, wide, 3, padding=1) for _ in range(2))
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="relu")
        self.second.weight.data /= count  # so that many together are as strong as one

    def forward(self, x: Any) -> Any:
        """Features of the same shape."""
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class Net(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Grey values and logits [n, 2, z, y, x] to what is added to the logits, and affinities: 1 and 3 channels.

    It sees voxels by twos along each axis along which they are as short as any, as channels of one (Shi et al. 2016,
    "Real-time single image and video super-resolution"): an eighth of the work, and twice as far to see. The first half
    of its ``modules`` learn where voxels are open; ``steps`` is how far the flood comes.
    """

    def __init__(self, resolution: Vec3f, levels: Greys, width: int, modules: int, steps: int) -> None:
        super().__init__()
        self.levels, self.fold, self.steps = levels, pools(resolution, 1)[0][::-1], steps
        self.first = nn.Conv3d(prod(self.fold), width, 3, padding=1)
        self.before = nn.ModuleList(Block(width, modules) for _ in range(modules // 2))
        own = prod(self.fold)
        self.beside, self.open = nn.Conv3d(width, 3 * own, 1), nn.Conv3d(3 * own, 1, 1)
        nn.init.constant_(self.open.weight, _OPEN / (3 * own))
        nn.init.constant_(self.open.bias, _OPEN)
        self.reached = nn.Conv3d(1 + own, width, 1)
        self.after = nn.ModuleList(Block(width, modules) for _ in range(modules - modules // 2))
        self.last = nn.Conv3d(width, own, 1)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)

    def forward(self, seen: Any) -> Any:
        """Changes of logits, and logits of affinities.

        The flood begins with what was known, and so what it says takes the place of that.
        """
        sides = seen.shape[2:]
        known = seen[:, 1:]
        x = self.first(self._folded((seen[:, :1] - self.levels.median) / self.levels.spread))
        for block in self.before:
            x = block(x)
        beside = self.beside(functional.relu(x)).float()
        flood = self._flood(torch.sigmoid(self.open(beside).float()), known)
        x = x + self.reached(torch.cat([flood, self._folded(torch.tanh(known / _MOST))], dim=1))
        for block in self.after:
            x = block(x)
        x = torch.cat([self.last(functional.relu(x)).float() + _SURE * (2 * flood - 1), beside], dim=1)
        found = self._unfolded(x)[:, :, : sides[0], : sides[1], : sides[2]]
        return torch.cat([found[:, :1] - known.clamp(-_SURE, _SURE), found[:, 1:]], dim=1)

    def _flood(self, open_: Any, logits: Any) -> Any:
        """How surely the object comes to each fold, over those that are open (geodesic dilation)."""
        known = torch.sigmoid(self._folded(logits)).amax(dim=1, keepdim=True)
        flood = known * open_
        for _ in range(self.steps):
            flood = functional.max_pool3d(flood, 3, 1, 1) * open_
        return flood

    def _folded(self, x: Any) -> Any:
        """Voxels of a fold as channels of one; those beyond are as the last."""
        (c, d, b), (count, _, depth, height, width) = self.fold, x.shape
        x = functional.pad(x, (0, -width % b, 0, -height % d, 0, -depth % c), mode="replicate")
        parts = (x.shape[2] // c, c, x.shape[3] // d, d, x.shape[4] // b, b)
        x = x.reshape(count, -1, *parts).permute(0, 1, 3, 5, 7, 2, 4, 6)
        return x.reshape(count, -1, *parts[::2])

    def _unfolded(self, x: Any) -> Any:
        (c, d, b), (count, _, z, y, x_) = self.fold, x.shape
        x = x.reshape(count, -1, c, d, b, z, y, x_).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(count, -1, z * c, y * d, x_ * b)


class Answering(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A trained network as it is used: changes of logits alone."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).cpu()
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, seen: Any) -> Any:
        """Changes of logits [n, 1, z, y, x]."""
        return self.net(seen)[:, :1]
