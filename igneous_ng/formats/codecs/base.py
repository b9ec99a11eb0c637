"""What encodings are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import ConfigurationError
from igneous_ng.geometry import Vec3

Array = npt.NDArray[Any]
Shape4 = tuple[int, int, int, int]
Parameters = Mapping[str, Any]
"""Settings of an encoding, under the names that they have in the ``info`` file; others are passed over."""


@dataclass(frozen=True)
class Setting:
    """What tunes an encoding: ``count`` numbers (a list where there are several), their bounds, what they do."""

    low: float
    high: float
    whole: bool
    help: str
    count: int = 1

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is such a number, or such a list."""
        numbers = [value] if self.count == 1 else value
        return (
            isinstance(numbers, list | tuple)
            and len(numbers) == self.count
            and all(isinstance(n, int | float) and self.low <= n <= self.high for n in numbers)
            and not (self.whole and any(n != int(n) for n in numbers))
        )

    def __str__(self) -> str:
        each = f"{'whole numbers' if self.whole else 'numbers'} from {self.low:g} to {self.high:g}"
        return f"{self.count} {each}" if self.count > 1 else f"one of the {each}"


@dataclass(frozen=True)
class Codec:
    """One encoding: its two functions and what it can hold.

    ``channels`` are the numbers of channels that it knows, any where empty. ``compact`` bytes gain nothing from
    being compressed again. ``exact`` says whether it keeps every bit, with such parameters. ``place`` is for those that
    can decode a part of a chunk to where it belongs: data, shape of the chunk, parameters, start of the part, the part.
    """

    encode: Callable[[Array, Parameters], bytes]
    decode: Callable[[bytes, Shape4, np.dtype[Any], Parameters], Array]
    dtypes: tuple[str, ...]
    channels: tuple[int, ...] = ()
    settings: dict[str, Setting] = field(default_factory=dict)
    exact: Callable[[Parameters], bool] = lambda _: True
    compact: bool = False
    place: Callable[[bytes, Vec3, Parameters, Vec3, Array], None] | None = None

    def holds(self, dtype: str, channels: int) -> bool:
        """Whether it knows such voxels."""
        return dtype in self.dtypes and channels in (self.channels or (channels,))


def optional(module: str) -> Any:
    """A library of the extra ``codecs``; ConfigurationError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"this encoding needs {module}, which is not installed; run: pip install 'igneous-ng[codecs]'"
        ) from error
