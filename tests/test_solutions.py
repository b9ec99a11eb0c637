"""Files of maps: what is stored is what is read, by spans or whole, and is near what was found."""

from __future__ import annotations

import numpy as np
import pytest

from igneous_ng import solutions
from igneous_ng.errors import DataError
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap


def lens(seed: int = 0, amplitude: float = 3.0) -> Lens:
    rng = np.random.default_rng(seed)
    return Lens((99.5, 74.5), 125.0, rng.uniform(-1, 1, (len(POWERS), 2)) * amplitude / len(POWERS))


def some(seed: int, bent: Lens | None, nodes: int = 5) -> TileMap:
    rng = np.random.default_rng(seed)
    matrix = np.eye(2) + rng.normal(0, 0.01, (2, 2))
    return TileMap((200, 150), matrix, rng.uniform(-1e5, 1e5, 2), bent, rng.normal(0, 2, (nodes, nodes, 2)))


def points(n: int = 500) -> np.ndarray:
    return np.random.default_rng(9).uniform((-0.5, -0.5), (199.5, 149.5), (n, 2))


def test_a_map_and_its_inverse_are_one() -> None:
    for bent in (None, lens()):
        for nodes in (0, 5):
            found = some(1, bent, nodes)
            assert np.abs(found.inverse(found(points())) - points()).max() < 1e-6


def test_a_point_does_not_depend_on_its_neighbours() -> None:
    found = some(2, lens())
    whole = found.inverse(found(points()))
    for part in (slice(0, 1), slice(3, 10), slice(100, 499)):
        assert np.array_equal(found.inverse(found(points()[part])), whole[part])


def test_maps_are_stored_rounded_and_read_whole_or_by_spans() -> None:
    bent = lens()
    made = [some(n, bent if n % 2 else None) for n in range(4)]
    kept = [solutions.rounded(one) for one in made]
    for before, after in zip(made, kept, strict=True):
        assert np.abs(before(points()) - after(points())).max() <= 2 * solutions.STEP
    data = solutions.encode(kept, [0, 0, 1, 2])
    found, components = solutions.decode(data, "maps")
    assert components == [0, 0, 1, 2]
    at = solutions.head(data[slice(*solutions.HEAD_SPAN)], "maps")
    for n, one in enumerate(found):
        assert np.array_equal(one(points()), kept[n](points()))
        span = data[slice(*at.tile(n))]
        place = solutions.lens_of(span)
        seen = None if place < 0 else solutions.lens(data[slice(*at.lens(place))])
        assert np.array_equal(solutions.tile(span, at, seen)[0](points()), kept[n](points()))
    assert solutions.encode(found, components) == data


def test_a_map_does_not_change_by_being_rounded_twice() -> None:
    once = solutions.rounded(some(3, None))
    twice = solutions.rounded(once)
    assert np.array_equal(once.matrix, twice.matrix)
    assert np.array_equal(once.nodes, twice.nodes)


def test_torn_files_are_refused() -> None:
    data = solutions.encode([solutions.rounded(some(1, None))], [0])
    with pytest.raises(DataError, match="here: has"):
        solutions.decode(data[:-1], "here")
    with pytest.raises(DataError, match="is no file of maps"):
        solutions.decode(b"x" * 100, "here")


def test_the_box_holds_the_tile() -> None:
    found = some(5, lens())
    x0, y0, x1, y1 = found.box()
    moved = found(points())
    assert x0 - 0.5 <= moved[:, 0].min()
    assert moved[:, 0].max() <= x1 + 0.5
    assert y0 - 0.5 <= moved[:, 1].min()
    assert moved[:, 1].max() <= y1 + 0.5


def test_far_from_the_tile_the_inverse_is_a_point_outside() -> None:
    strong = lens(amplitude=40.0)
    found = TileMap((200, 150), np.eye(2), np.zeros(2), strong, some(1, strong).nodes)
    far = np.array([[-5000.0, 70.0], [90.0, 9000.0], [1e6, -1e6]])
    back = found.inverse(far)
    assert np.isfinite(back).all()
    assert ((back < -100) | (back > 300)).any(axis=1).all()
