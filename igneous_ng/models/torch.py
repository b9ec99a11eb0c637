"""Networks as TorchScript files, computed by torch: for those that cannot be exported to ONNX, and for half precision.

Such a file is a program in TorchScript. It reaches no Python, and is nevertheless to be trusted like one.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError, DataError, SpecError
from igneous_ng.models.base import Machine, Shape
from igneous_ng.models.folder import Card

Array = npt.NDArray[Any]


class Network:
    """A network from ``[1, c, z, y, x]`` to ``[1, channel, z, y, x]``; c is mostly 1."""

    def __init__(self, module: Any, shape: Shape, device: str, half: bool) -> None:
        self.shape, self.backend = shape, f"torch-{device}"
        self._module, self._device, self._half = module, device, half

    def predict(self, patch: Array) -> Array:
        """See :class:`igneous_ng.models.base.Model`."""
        return self.answer(patch[..., np.newaxis])

    def answer(self, given: Array) -> Array:
        """What the network says of float32 ``[x, y, z, channel]``; as many channels as its shape says."""
        torch = _torch()
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            values = torch.from_numpy(np.ascontiguousarray(given.T))[None].to(self._device)
            found = self._module(values.half() if self._half else values).float().cpu().numpy()
        wanted = (1, self.shape.channels, *values.shape[2:])
        if found.shape != wanted:
            raise DataError(f"the network gives {found.shape} where its model.json promises {wanted}; mend either")
        return np.asarray(found[0].T)


def load(data: bytes, card: Card, machine: Machine) -> Network:
    """The network in ``data``; ConfigurationError where this machine cannot compute it."""
    there = bool(_torch().cuda.is_available())
    if machine.device == "cuda" and not there:
        raise ConfigurationError("torch sees no graphics processor here; give --device cpu, or use another machine")
    device = "cuda" if there and machine.device != "cpu" else "cpu"
    if machine.half and device == "cpu":
        raise SpecError("half precision is for graphics processors; leave --precision half out, or give --device cuda")
    return Network(_module(data, device, machine.half), card.shape, device, machine.half)


@lru_cache(maxsize=1)
def _module(data: bytes, device: str, half: bool) -> Any:
    torch = _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have files that it unpickles
            module = torch.jit.load(io.BytesIO(data), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise DataError(f"not a TorchScript network that torch {torch.__version__} can load: {error}") from error
    return module.half() if half else module


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ConfigurationError("TorchScript networks need torch; pip install igneous-ng[torch]") from None
    return torch
