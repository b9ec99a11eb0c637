"""Files of shades: what is stored is what is read by spans, and between samples it is bilinear."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from igneous_ng.errors import DataError
from igneous_ng.formats import shades


def some(shape: tuple[int, int, int] = (150, 70, 2)) -> Any:
    return np.random.default_rng(0).normal(0, 9, shape).astype(np.float32)


def blocks(data: bytes, head: shades.Head, wanted: list[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    return {one: shades.decode(data[slice(*head.span(one))], head, "shades") for one in wanted}


def test_samples_come_back_block_by_block() -> None:
    data = shades.encode(some(), 32, (-640, 320))
    head = shades.head(data[slice(*shades.HEAD_SPAN)], "shades")
    assert head == shades.Head(2, 32, (-640, 320), (3, 2))
    assert head.span((2, 1))[1] == len(data)
    assert all(head.span((x, y))[0] % 16 == 0 for x in range(3) for y in range(2))
    found = blocks(data, head, [(0, 0), (2, 1)])
    assert np.array_equal(found[0, 0], some()[:64, :64])
    assert np.array_equal(found[2, 1][:22, :6], some()[128:, 64:])
    assert (found[2, 1][22:, 0, 0] == some()[-1, 64, 0]).all()  # repeated to fill the block


def test_between_samples_values_are_bilinear() -> None:
    head = shades.head(data := shades.encode(some(), 32, (-640, 320)), "shades")
    rng = np.random.default_rng(1)
    for low, high in (((-640, 320), (1400, 900)), ((-100, 600), (-50, 640)), ((-9000, -9000), (9000, 9000))):
        points = rng.uniform(low, high, (40, 20, 2))
        found = head.between(blocks(data, head, head.touched(points)), points)
        full = np.pad(some(), ((0, 42), (0, 58), (0, 0)), mode="edge")
        axes = [o + (np.arange(n) + 0.5) * 32 - 0.5 for o, n in zip((-640, 320), full.shape, strict=False)]
        inside = np.stack([np.clip(points[..., k], axes[k][0], axes[k][-1]) for k in (0, 1)], axis=-1)
        assert np.abs(found - RegularGridInterpolator(axes, full)(inside)).max() < 1e-4


def test_only_blocks_that_are_needed_are_touched() -> None:
    head = shades.Head(1, 32, (0, 0), (4, 4))
    assert head.touched(np.array([[100.0, 100.0]])) == [(0, 0)]
    assert head.touched(np.array([[64 * 32 - 0.5, 100.0]])) == [(0, 0), (1, 0)]
    assert head.touched(np.array([[3000.0, 5000.0], [100.0, 100.0]])) == [(x, y) for y in range(3) for x in range(2)]


def test_what_is_no_file_of_shades_is_refused() -> None:
    with pytest.raises(DataError, match="no file of shades"):
        shades.head(b"igngmap1" + bytes(40), "shades")
    head = shades.head(shades.encode(some(), 32, (0, 0)), "shades")
    with pytest.raises(DataError, match="ends inside a block"):
        shades.decode(b"", head, "shades")
