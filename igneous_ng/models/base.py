"""What a model is to the stages that use one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from igneous_ng.geometry import Vec3

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """What a model takes and gives.

    A patch of ``patch`` voxels x, y, z goes in; of what comes out ``margin`` voxels at each side are not to be trusted.
    ``channels`` is 1 for boundaries (1: surely boundary), 3 for affinities to the voxel before along x, y, z, or, of a
    model of classes, their number.
    """

    patch: Vec3
    margin: Vec3
    channels: int


@dataclass(frozen=True)
class Machine:
    """What a model may compute on: ``device`` is ``cpu``, ``cuda``, or ``auto``: cuda where there is one.

    With ``half``, networks compute in 16 bits, where their kind can.
    """

    device: str = "cpu"
    half: bool = False


class Model(Protocol):
    """A model that is loaded. The same patch gives the same bytes, whatever else was asked before."""

    shape: Shape
    backend: str
    """What computes, for records: ``numpy``, ``onnx-cpu``, ``onnx-cuda``, ``torch-cpu``, ``torch-cuda``."""

    def predict(self, patch: Array) -> Array:
        """Of a patch ``[x, y, z]`` of :attr:`shape`, float32 grey values from 0 to 1, ``[x, y, z, channel]`` float32.

        Values are from 0 to 1. Arrays are in Fortran order.
        """
        ...


class Answering(Protocol):
    """A network that is loaded, of any channels. The same input gives the same bytes, whatever was asked before."""

    backend: str
    """What computes, for records, as of a :class:`Model`."""

    def answer(self, given: Array) -> Array:
        """Of float32 ``[x, y, z, channel]`` another one of the same sides."""
        ...


class Flooding(Protocol):
    """A model that floods and is loaded. The same field of view gives the same bytes, whatever was asked before."""

    backend: str
    """What computes, for records, as of a :class:`Model`."""

    def step(self, grey: Array, logits: Array) -> Array:
        """How surely voxels are of the object then, as logits, float32 [x, y, z].

        ``grey`` are float32 grey values from 0 to 1 of a field of view [x, y, z], ``logits`` what was known before.
        """
        ...


def grey(voxels: Array) -> Array:
    """Grey values from 0 to 1, float32, of an image of integers or of floats that are so already."""
    if voxels.dtype.kind == "f":
        return voxels.astype(np.float32, copy=False)
    return voxels.astype(np.float32) / np.float32(np.iinfo(voxels.dtype).max)
