from __future__ import annotations

import numpy as np
import pytest

from igneous_ng.kernels.block_matching import Manner, Picture, Status, matched
from tests.montages import scenery

torch = pytest.importorskip("torch", reason="torch is an optional extra")


@pytest.mark.parametrize("search", [18, 8])
@pytest.mark.parametrize("masked", [False, True])
def test_torch_finds_the_same_vectors(search: int, masked: bool) -> None:
    from igneous_ng.kernels import torch_blocks

    torch.set_num_threads(1)
    manner, low, high = Manner(16, 48, search), (4, 4), (9, 8)
    rng, mask = np.random.default_rng(4), np.ones((260, 260), bool)
    first = scenery((260, 260)).astype(float)
    second = np.roll(first, (3, -5), (0, 1)) + rng.normal(0, 12, first.shape)
    second[100:120, 60:140] = rng.normal(128, 20, (20, 80))
    if masked:
        mask[90:, :80] = False

    def cut(picture: np.ndarray, reach: int) -> Picture:
        x0, y0, x1, y1 = manner.window(low, high, reach + manner.halo)
        return Picture.of(np.asfortranarray(picture[x0:x1, y0:y1], np.float32), mask[x0:x1, y0:y1], manner)

    wanted = rng.random((5, 4)) < 0.8
    pair = cut(first, 0), cut(second, search)
    mine, other = matched(*pair, wanted, manner), matched(*pair, wanted, manner, torch_blocks.correlated)
    assert np.array_equal(mine.status, other.status)
    assert (mine.status == Status.GOOD).sum() > 5
    seen = mine.status != Status.NOTHING
    assert np.abs(mine.shift - other.shift)[seen].max() < 0.01
    assert np.abs(mine.peak - other.peak)[seen].max() < 1e-4
    assert np.array_equal(np.isnan(mine.shift), np.isnan(other.shift))
