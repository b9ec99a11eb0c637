"""Networks as ONNX files, computed by onnxruntime.

On processors the bytes do not depend on the number of threads. A graphics processor gives other last digits; there the
precision is full float32, with algorithms that give the same each time.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError, DataError, SpecError
from igneous_ng.models.base import Machine, Shape
from igneous_ng.models.folder import Card

Array = npt.NDArray[Any]
_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
_CPU: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Network:
    """A network from float ``[1, c, z, y, x]`` to ``[1, channel, z, y, x]``, of fixed or free sizes; c is mostly 1."""

    def __init__(self, session: Any, shape: Shape) -> None:
        self.shape, self._session = shape, session
        self.backend = "onnx-cuda" if _CUDA[0] in session.get_providers() else "onnx-cpu"
        self._input = session.get_inputs()[0]
        _check(session, shape)

    def predict(self, patch: Array) -> Array:
        """See :class:`igneous_ng.models.base.Model`."""
        return self.answer(patch[..., np.newaxis])

    def answer(self, given: Array) -> Array:
        """What the network says of float32 ``[x, y, z, channel]``; as many channels as its shape says."""
        values = given.T[np.newaxis].astype(_TYPES[self._input.type], copy=False)
        found = self._session.run(None, {self._input.name: np.ascontiguousarray(values)})[0]
        wanted = (1, self.shape.channels, *values.shape[2:])
        if found.shape != wanted:
            raise DataError(f"the network gives {found.shape} where its model.json promises {wanted}; mend either")
        return np.asarray(found[0].astype(np.float32, copy=False).T)


def load(data: bytes, card: Card, machine: Machine) -> Network:
    """The network in ``data``; ConfigurationError where this machine cannot compute it."""
    if machine.half:
        raise SpecError("an ONNX network has the precision that it was exported with; leave --precision half out")
    return Network(_session(data, _providers(machine.device), _threads()), card.shape)


@lru_cache(maxsize=1)
def _session(data: bytes, providers: tuple[str, ...], threads: int) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = False  # it would hold twice as much, and gain no time with patches this large
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others have work for the cores
    options.log_severity_level = 3  # errors alone: what warnings say, users cannot change
    try:
        return runtime.InferenceSession(data, options, providers=[p for p in (_CUDA, _CPU) if p[0] in providers])
    except Exception as error:  # its own errors have no common base
        raise DataError(f"not an ONNX network that onnxruntime {runtime.__version__} can load: {error}") from error


def _providers(device: str) -> tuple[str, ...]:
    there = _CUDA[0] in _runtime().get_available_providers()
    if device == "cuda" and not there:
        raise ConfigurationError(
            "this onnxruntime computes on processors only; pip install onnxruntime-gpu in its place"
        )
    return (_CUDA[0], _CPU[0]) if there and device != "cpu" else (_CPU[0],)


def _threads() -> int:
    """As many as this process may use: a worker gives each of its slots one."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else len(os.sched_getaffinity(0))


def _check(session: Any, shape: Shape) -> None:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 5:
        raise DataError("a network takes one float array [1, channel, z, y, x]; export it so")
    sizes = inputs[0].shape[2:]
    for size, side in zip(sizes, reversed(shape.patch), strict=True):
        if isinstance(size, int) and size != side:
            x, y, z = reversed(sizes)
            raise SpecError(f"this network takes patches of {x},{y},{z} and no other; {shape.patch} was asked for")


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigurationError("ONNX networks need onnxruntime; pip install igneous-ng[onnx]") from None
    return onnxruntime
