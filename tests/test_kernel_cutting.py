"""Windows in parts: they tile the window, name all that touches them, and change no pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.kernels import cutting, warping
from igneous_ng.kernels.blending import REACH, common
from igneous_ng.kernels.tile_maps import TileMap
from igneous_ng.kernels.warping import Lying
from tests.patches import blended

Array = npt.NDArray[Any]
WINDOW = (-70, 30, 900, 700)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_parts_tile_a_window_and_name_all_that_touches_them(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(-400, 900, (count, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 700, (count, 2))], axis=1)
    covered = np.zeros((WINDOW[2] - WINDOW[0], WINDOW[3] - WINDOW[1]), int)
    for (x0, y0, x1, y1), chosen in cutting.parts(WINDOW, boxes):
        covered[x0 - WINDOW[0] : x1 - WINDOW[0], y0 - WINDOW[1] : y1 - WINDOW[1]] += 1
        wanted = [n for n, box in enumerate(boxes.tolist()) if common(tuple(box), (x0, y0, x1, y1))]
        assert chosen == wanted
    assert (covered == 1).all()


def test_most_of_a_window_is_parts_of_one_tile() -> None:
    boxes = np.array([[x, y, x + 2048, y + 2048] for x in (0, 1843) for y in (0, 1843)])
    alone = [
        (w[2] - w[0]) * (w[3] - w[1]) for w, tiles in cutting.parts((800, 800, 2848, 2848), boxes) if len(tiles) == 1
    ]
    assert sum(alone) == (2048 - 205) ** 2


@pytest.mark.parametrize("dtype", warping.DTYPES)
def test_a_picture_alone_is_shown_as_it_is_blended_with_none(dtype: str) -> None:
    rng = np.random.default_rng(3)
    low = -20_000 if dtype in ("int16", "float32") else 0
    picture = np.asfortranarray(rng.integers(low, 255 if dtype == "uint8" else 30_000, (120, 90, 2))).astype(dtype)
    at = TileMap((120, 90), np.array([[1.01, 0.04], [-0.03, 0.98]]), np.array([11.3, -5.7]))
    window = (-9, -21, 150, 110)
    places = warping.places(at, warping.points(window))
    for gain, add in ((1.0, 0.0), (1.7, -31.5)):
        lying = Lying(picture, places, np.full(2, gain), np.full(2, add))
        for shown in warping.DTYPES:
            whole = np.full((170, 140, 2), 7, shown, order="F")
            lying.show(window[:2], 9, whole[4:163, 5:136])
            wanted = blended([lying.warped(window)], window, 9, shown, channels=2)
            assert np.array_equal(whole[4:163, 5:136], wanted)
            whole[4:163, 5:136] = 7
            assert (whole == 7).all()


def test_parts_show_what_the_whole_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_CALL", 1)  # small tiles are worth being cut, too
    rng = np.random.default_rng(5)
    tiles = [(x, y, rng.integers(0, 255, (200, 180, 1)).astype(np.uint8)) for x in (0, 160) for y in (3, 150)]
    maps = [TileMap((200, 180), np.eye(2), np.array([x + 0.3, y - 0.2])) for x, y, _ in tiles]
    boxes = np.array([[x - 1, y - 1, x + 202, y + 182] for x, y, _ in tiles])
    window = (-10, -10, 380, 350)

    def shown(part: tuple[int, int, int, int], chosen: list[int]) -> Array:
        wide = part[0] - REACH, part[1] - REACH, part[2] + REACH, part[3] + REACH
        places = [warping.places(maps[n], warping.points(wide)) for n in chosen]
        seen = [
            warping.warped(tiles[n][2], wide, one, np.ones(1), np.zeros(1))
            for n, one in zip(chosen, places, strict=True)
        ]
        return blended(seen, part, 0, "uint8")

    whole, parts = shown(window, [0, 1, 2, 3]), list(cutting.parts(window, boxes))
    assert len(parts) > 1
    for part, chosen in parts:
        x, y = (slice(part[k] - window[k], part[k + 2] - window[k]) for k in (0, 1))
        assert np.array_equal(shown(part, chosen), whole[x, y])
