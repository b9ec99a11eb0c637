"""The kernel of compressed_segmentation: the bytes of the reference library, and no way out of the data."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import compressed_segmentation as library
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.geometry import Vec3, vec
from igneous_ng.native import cseg

Array = npt.NDArray[Any]
BLOCK = (8, 8, 8)
sides = st.tuples(*[st.integers(1, 40)] * 3)
blocks = st.one_of(st.just(BLOCK), st.tuples(*[st.integers(1, 12)] * 3))


@st.composite
def labels(draw: st.DrawFn) -> Array:
    """Lumps or noise of few or many labels, the highest ones among them, in either memory order."""
    shape, dtype = draw(sides), draw(st.sampled_from(("uint32", "uint64")))
    count, lump = draw(st.sampled_from((1, 2, 3, 16, 17, 300, 10**5))), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    array = rng.integers(0, count, [n // lump + 1 for n in shape])
    for axis in range(3):
        array = array.repeat(lump, axis)
    array = array[tuple(slice(n) for n in shape)]
    top = np.iinfo(dtype).max
    return np.asarray((top - array.astype(dtype))[..., np.newaxis], order=draw(st.sampled_from("CF")))


@given(labels(), blocks)
def test_the_bytes_are_those_of_the_library(array: Array, block: Vec3) -> None:
    theirs = library.compress(np.asfortranarray(array), block_size=block, order="F")
    assert cseg.encode(array, block) == theirs


@given(labels(), blocks, st.data())
def test_any_part_comes_back(array: Array, block: Vec3, data: st.DataObject) -> None:
    shape: Vec3 = array.shape[:3]
    start = vec(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = vec(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    part = array[tuple(map(slice, start, stop))]
    around = np.zeros([n + 2 for n in part.shape[:3]] + [1], array.dtype, order=data.draw(st.sampled_from("CF")))
    cseg.decode(cseg.encode(array, block), shape, block, start, around[1:-1, 1:-1, 1:-1])
    assert np.array_equal(around[1:-1, 1:-1, 1:-1], part)
    assert np.count_nonzero(around) == np.count_nonzero(part)


@given(labels(), st.data())
def test_damaged_bytes_are_refused_or_give_voxels(array: Array, data: st.DataObject) -> None:
    """Whether they lead out of the data, a build with AddressSanitizer tells; here a fault would end the process."""
    coded = bytearray(cseg.encode(array, BLOCK))
    for _ in range(data.draw(st.integers(1, 4))):
        coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        cseg.decode(bytes(coded), array.shape[:3], BLOCK, (0, 0, 0), np.zeros_like(array))


@given(labels(), st.data())
def test_bytes_that_end_early_are_refused(array: Array, data: st.DataObject) -> None:
    coded = cseg.encode(array, BLOCK)
    headers = 4 + 8 * int(np.prod([-(-n // 8) for n in array.shape[:3]]))
    torn = coded[: data.draw(st.integers(0, headers - 1))]
    with pytest.raises(ValueError, match="it ends before"):
        cseg.decode(torn, array.shape[:3], BLOCK, (0, 0, 0), np.zeros_like(array))


def test_several_channels_are_one_after_the_other() -> None:
    first, second = (np.full((9, 3, 2, 1), n, np.uint32, order="F") for n in (1, 70000))
    both = cseg.encode(np.concatenate([first, second], 3), BLOCK)
    words = np.frombuffer(both, "<u4")
    assert words[0] == 2
    assert words[2 : words[1]].tobytes() == cseg.encode(first, BLOCK)[4:]
    assert words[words[1] :].tobytes() == cseg.encode(second, BLOCK)[4:]


def test_what_makes_no_sense_is_refused() -> None:
    array = np.zeros((4, 4, 4, 1), np.uint32)
    coded = cseg.encode(array, BLOCK)
    with pytest.raises(ValueError, match=r"\[x, y, z, c\]"):
        cseg.encode(array[..., 0], BLOCK)
    with pytest.raises(ValueError, match="uint32 or uint64"):
        cseg.encode(array.astype(np.uint16), BLOCK)
    with pytest.raises(ValueError, match="sides of 1 to 1024"):
        cseg.encode(array, (8, 0, 8))
    with pytest.raises(ValueError, match="outside of the chunk"):
        cseg.decode(coded, (4, 4, 4), BLOCK, (1, 0, 0), array)


def test_a_chunk_of_more_labels_than_offsets_reach_is_refused() -> None:
    noise = np.arange(210**3, dtype=np.uint64).reshape(210, 210, 210, 1)
    with pytest.raises(ValueError, match="use smaller chunks"):
        cseg.encode(noise, BLOCK)
