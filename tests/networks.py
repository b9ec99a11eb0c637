"""Small networks as files: ONNX written by its definition (onnx.proto, version 8), so that tests need no exporter."""

from __future__ import annotations

import numpy as np

from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.models import folder
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys

REACH = 2
LEVELS = Greys(0.5, 0.25)


def weights(channels: int, seed: int = 0) -> np.ndarray:
    """Of a convolution [channel, 1, z, y, x] of 5 x 5 x 5 voxels."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 0.3, (channels, 1, *[2 * REACH + 1] * 3))
    return np.asarray(found - found.mean(), np.float32)


def onnx(kernel: np.ndarray, sides: Vec3 | None = None) -> bytes:
    """A convolution and a sigmoid; of patches of any size, or of ``sides`` z, y, x."""
    node = _text(1, "x") + _text(1, "w") + _text(2, "y") + _text(4, "Conv")
    node += _message(5, _text(1, "pads") + b"".join(_number(8, REACH) for _ in range(6)) + _number(20, 7))
    last = _text(1, "y") + _text(2, "z") + _text(4, "Sigmoid")
    tensor = b"".join(_number(1, n) for n in kernel.shape) + _number(2, 1) + _text(8, "w")
    tensor += _message(9, np.ascontiguousarray(kernel, "<f4").tobytes())
    graph = _message(1, node) + _message(1, last) + _text(2, "net") + _message(5, tensor)
    graph += _message(11, _value("x", kernel.shape[1], sides)) + _message(12, _value("z", len(kernel), sides))
    return _number(1, 8) + _message(7, graph) + _message(8, _number(2, 17))


def stored(url: str, channels: int = 3, patch: Vec3 = (20, 20, 20), overlap: float = 0.5, levels: bool = False) -> str:
    """The folder of a convolution whose margin is all that it looks at."""
    shape = Shape(patch, (REACH, REACH, REACH), channels)
    known = LEVELS if levels else None
    card = Card("onnx", shape, (8.0, 8.0, 8.0), known, overlap, made={"by": "tests"})
    folder.write(IO(), url, card, onnx(weights(channels)))
    return url


def classes(url: str, kernel: np.ndarray, patch: Vec3 = (20, 20, 20)) -> str:
    """The folder of a convolution that tells as many classes as ``kernel`` has channels."""
    shape = Shape(patch, (REACH, REACH, REACH), len(kernel))
    names = tuple(f"class {n}" for n in range(len(kernel)))
    card = Card("onnx", shape, (8.0, 8.0, 8.0), None, 0.5, made={"by": "tests"}, classes=names)
    folder.write(IO(), url, card, onnx(kernel))
    return url


def round_weights(channels: int) -> np.ndarray:
    """As :func:`weights`, the same however they are turned: they follow the distance alone."""
    steps = np.arange(-REACH, REACH + 1) ** 2
    squares = steps[:, None, None] + steps[:, None] + steps
    found = np.stack(
        [np.random.default_rng(seed).normal(0, 0.3, 3 * REACH**2 + 1)[squares] for seed in range(channels)]
    )
    return np.asarray(found - found.mean(axis=(1, 2, 3), keepdims=True), np.float32)[:, None]


def _value(name: str, channels: int, sides: Vec3 | None) -> bytes:
    free = [_text(2, letter) for letter in "dhw"]
    spatial = free if sides is None else [_number(1, n) for n in sides]
    shape = b"".join(_message(1, one) for one in (_number(1, 1), _number(1, channels), *spatial))
    return _text(1, name) + _message(2, _message(1, _number(1, 1) + _message(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _message(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
