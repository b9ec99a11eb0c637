"""CLAHE: any window is the whole section's, voxels are what the definition says, and OpenCV says nearly the same."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels.clahe import Tiles, equalise, tile_table

Array = npt.NDArray[Any]


def section(width: int, height: int, dtype: str = "uint8", seed: int = 0) -> Array:
    """Noise on waves, with black in it."""
    rng = np.random.default_rng(seed)
    x, y = np.mgrid[:width, :height]
    image = 0.4 + 0.2 * np.sin(x / 9) + 0.1 * np.cos(y / 5) + rng.normal(0, 0.08, (width, height))
    image[rng.random(image.shape) < 0.1] = 0
    made: Array = (np.clip(image, 0, 1) * np.iinfo(dtype).max).astype(dtype)
    return made


def tiles(lo: tuple[int, int], image: Array, side: int) -> tuple[Tiles, Tiles]:
    return Tiles.over(lo[0], lo[0] + image.shape[0], side), Tiles.over(lo[1], lo[1] + image.shape[1], side)


def everything(lo: tuple[int, int], image: Array) -> Any:
    return tuple((a, a + n) for a, n in zip(lo, image.shape, strict=True))


@given(lo=st.integers(-50, 50), size=st.integers(1, 300), side=st.integers(1, 100))
def test_tiles_cover_an_axis_evenly(lo: int, size: int, side: int) -> None:
    edges = Tiles.over(lo, lo + size, side).edges
    widths = np.diff(edges)
    assert edges[0] == lo
    assert edges[-1] == lo + size
    assert 1 <= widths.min() <= widths.max() <= widths.min() + 1
    assert abs(size / side - len(widths)) <= 0.5 or len(widths) == 1


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(*[st.integers(1, 40)] * 2), lo=st.tuples(*[st.integers(-20, 20)] * 2),
    side=st.integers(1, 20), clip=st.sampled_from([1.0, 2.5, 40.0]), data=st.data(),
)  # fmt: skip
def test_any_window_is_that_of_the_whole(size: Any, lo: Any, side: int, clip: float, data: st.DataObject) -> None:
    image = section(*size)
    both = tiles(lo, image, side)
    expected = equalise(image, everything(lo, image), both, clip, image != 0)
    window = []
    for a, n in zip(lo, size, strict=True):
        begin = data.draw(st.integers(a, a + n - 1))
        window.append((begin, data.draw(st.integers(begin + 1, a + n))))
    (x0, x1), (y0, y1) = (axis.voxels(axis.around(span)) for axis, span in zip(both, window, strict=True))
    part = image[x0 - lo[0] : x1 - lo[0], y0 - lo[1] : y1 - lo[1]]
    found = equalise(part, (window[0], window[1]), both, clip, part != 0)
    (x0, x1), (y0, y1) = window
    assert np.array_equal(found, expected[x0 - lo[0] : x1 - lo[0], y0 - lo[1] : y1 - lo[1]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_each_voxel_is_what_the_definition_says(dtype: str) -> None:
    lo, image = (-7, 3), section(23, 17, dtype)
    both = tiles(lo, image, 6)
    counted = image != 0
    found = equalise(image, everything(lo, image), both, 3.0, counted)

    def mapped(column: int, row: int, value: int) -> int:
        (x0, x1), (y0, y1) = both[0].voxels((column, column + 1)), both[1].voxels((row, row + 1))
        here = slice(x0 - lo[0], x1 - lo[0]), slice(y0 - lo[1], y1 - lo[1])
        counts = np.bincount(image[here][counted[here]], minlength=np.iinfo(dtype).max + 1)
        return int(tile_table(counts, 3.0)[value])

    def weights(axis: Tiles, at: int) -> list[tuple[int, Fraction]]:
        centres = [Fraction(a + b - 1, 2) for a, b in zip(axis.edges, axis.edges[1:], strict=False)]
        after = next((i for i, c in enumerate(centres) if c > at), len(centres))
        if after in (0, len(centres)):
            return [(min(after, len(centres) - 1), Fraction(1))]
        share = (at - centres[after - 1]) / (centres[after] - centres[after - 1])
        return [(after - 1, 1 - share), (after, share)]

    for (x, y), value in np.ndenumerate(image):
        exact = sum(
            a * b * mapped(i, j, int(value))
            for i, a in weights(both[0], x + lo[0])
            for j, b in weights(both[1], y + lo[1])
        )
        assert found[x, y] == int(exact + Fraction(1, 2))


def test_tables_clip_and_spread() -> None:
    counts = np.zeros(256, np.int64)
    counts[100] = 1000
    steep, flat = tile_table(counts, 1e6), tile_table(counts, 1.0)
    assert steep[99] == 0
    assert (steep[100:] == 255).all()
    assert np.abs(np.diff(flat)).max() <= 2
    assert flat[-1] == 255
    assert np.array_equal(tile_table(np.zeros(256, np.int64), 2.0), np.arange(256))


@given(st.lists(st.integers(0, 50), min_size=256, max_size=256), st.floats(1, 50))
def test_tables_lose_no_voxel(counts: list[int], clip: float) -> None:
    table = tile_table(np.array(counts), clip)
    assert (np.diff(table) >= 0).all()
    assert table[-1] == 255


@pytest.mark.parametrize("clip", [2.0, 4.0, 40.0])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_opencv_differs_by_few_grey_levels(dtype: str, clip: float) -> None:
    """It takes a voxel's corner for its centre, half a voxel of the tile's 64 off; the levels are those of 8 bits."""
    cv2 = pytest.importorskip("cv2")
    image = section(512, 512, dtype)
    theirs = cv2.createCLAHE(clip, (8, 8)).apply(np.ascontiguousarray(image)).astype(float)
    both = Tiles.over(0, 512, 64), Tiles.over(0, 512, 64)
    ours = equalise(image, everything((0, 0), image), both, clip, np.ones(image.shape, bool))
    level = np.iinfo(dtype).max / 255
    assert np.abs(ours - theirs).max() <= 2 * level
    assert np.abs(ours - theirs).mean() <= level
