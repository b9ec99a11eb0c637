"""What a source is, and how the axes that a file stores become x, y, z, channel."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import ConfigurationError, DataError, SpecError, TransientError
from igneous_ng.geometry import Box, Vec3, vec

Index = tuple[slice, ...]

# what network file systems answer when they are slow, restarted or full of clients
_PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Source(Protocol):
    """Voxels in files, read by the window. It holds no open file, so it may be used by threads and forks.

    ``resident_bytes`` is the most that a read holds beside the window that it returns: 0 where the file is
    mapped, a decoded piece (strip, tile, chunk, image) where it is compressed, the whole array where the
    format cannot be read in part.
    """

    @property
    def shape(self) -> Vec3:
        """Voxels along x, y, z."""

    @property
    def channels(self) -> int:
        """Values of one voxel."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """In this machine's byte order; booleans as uint8, all other numbers as they are stored."""

    @property
    def resident_bytes(self) -> int:
        """Bytes held beside the window."""

    def read(self, box: Box) -> NDArray[Any]:
        """The voxels of ``box``, inside ``[0, shape)``: [x, y, z, c], any memory order, the caller's own."""

    def check(self) -> None:
        """Look at every file's header (not its pixels); DataError names the first that does not fit.

        For the planner, once; a read checks the files that it opens anyway.
        """


class Stored(Protocol):
    """An array in a file, along the axes it was stored with."""

    @property
    def name(self) -> str:
        """Where it is, in words for users."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes, as stored."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""

    @property
    def resident_bytes(self) -> int:
        """See :class:`Source`."""

    def window(self, index: Index) -> NDArray[Any]:
        """A new array of ``native(dtype)``: one slice, with both ends and step 1, for each stored axis."""

    def check(self) -> None:
        """See :class:`Source`."""


@runtime_checkable
class Named(Protocol):
    """An array whose file may name its axes."""

    @property
    def axes(self) -> str:
        """Letters of ``xyzc`` in stored order; empty where the file says nothing."""


@dataclass(frozen=True)
class ArraySource:
    """A stored array and the names of its axes: a :class:`Source`."""

    stored: Stored
    axes: str

    def __post_init__(self) -> None:
        what, shape = self.stored.name, self.stored.shape
        if not self.axes:
            raise SpecError(f"{what}: the file does not say what its {len(shape)} axes are; give axes, e.g. zyx")
        if set(self.axes) - set("xyzc") or len(set(self.axes)) != len(self.axes):
            raise SpecError(f"{what}: axes {self.axes!r}; write each of x, y, z, c at most once, in stored order")
        if len(self.axes) != len(shape):
            raise SpecError(
                f"{what}: axes {self.axes!r} name {len(self.axes)} axes and the array has {len(shape)}, "
                f"of sizes {shape}; give one letter for each"
            )
        if self.stored.dtype.kind not in "buifc":
            raise DataError(f"{what}: it holds {self.stored.dtype}, not numbers; convert it to an array of numbers")
        if 0 in shape:
            raise DataError(f"{what}: an array of sizes {shape} holds nothing")

    @property
    def shape(self) -> Vec3:
        """Voxels along x, y, z; 1 along those that are not stored."""
        return vec(self._size(letter) for letter in "xyz")

    @property
    def channels(self) -> int:
        """Values of one voxel; 1 where the array has no axis c."""
        return self._size("c")

    @property
    def dtype(self) -> np.dtype[Any]:
        """In this machine's byte order; booleans as uint8."""
        return native(self.stored.dtype)

    @property
    def resident_bytes(self) -> int:
        """Bytes held beside the window."""
        return self.stored.resident_bytes

    def read(self, box: Box) -> NDArray[Any]:
        """The voxels of ``box`` as [x, y, z, c]; SpecError where the box leaves the array."""
        if box not in Box((0, 0, 0), self.shape):
            raise SpecError(f"{self.stored.name}: box {box} is outside of {Box((0, 0, 0), self.shape)}; cut it")
        if not box.voxels:
            return np.empty((*box.shape, self.channels), self.dtype)
        slices = dict(zip("xyz", box.slices(), strict=True)) | {"c": slice(0, self.channels)}
        window = self.stored.window(tuple(slices[letter] for letter in self.axes))
        missing = tuple(range(len(self.axes), 4))
        names = self.axes + "".join(letter for letter in "xyzc" if letter not in self.axes)
        return np.expand_dims(window, missing).transpose([names.index(letter) for letter in "xyzc"])

    def check(self) -> None:
        """Look at every file's header."""
        self.stored.check()

    def _size(self, letter: str) -> int:
        return self.stored.shape[self.axes.index(letter)] if letter in self.axes else 1


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """``dtype`` in this machine's byte order; booleans become uint8."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def own(window: NDArray[Any]) -> NDArray[Any]:
    """A copy of ``window`` in memory, of ``native`` dtype and as near its memory order as can be."""
    return np.array(window, dtype=native(window.dtype), order="K", subok=False)


def needed(module: str, extra: str) -> Any:
    """A library that only some formats need; ConfigurationError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"this format is read with {module}, which is not installed ({error}); pip install 'igneous-ng[{extra}]'"
        ) from error


@contextmanager
def reading(name: str, *wrong: type[Exception]) -> Iterator[None]:
    """Turn what decoders raise on bad bytes (``wrong`` among it) into a DataError that names the file.

    A file system that fails for a moment is a TransientError.
    """
    expected: tuple[type[Exception], ...] = (OSError, ValueError, EOFError, *wrong)
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{name}: the file is gone; bring it back, or plan again without it") from None
    except expected as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise TransientError(f"{name}: the file system failed: {error}; it is read again later") from error
        raise DataError(f"{name}: cannot be read: {error}; check that the file is whole") from error
