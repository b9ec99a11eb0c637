"""The kernels by which two volumes are brought to each other, each against what is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.coregistration import Coregistration, Through
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels import bending, coarse_search, likeness, node_fields, sampling, space_maps, volume_matching
from igneous_ng.kernels.likeness import Measure
from igneous_ng.kernels.space_maps import Affine
from igneous_ng.kernels.volume_matching import Found, Status, Sure
from tests.coregistered import VOXEL, about, layer, scenery

SIDE, SEARCH = 32, 6
SHIFT = np.array([1.4, -2.3, 0.6])


def pair(look: str) -> tuple[np.ndarray, np.ndarray]:
    """A volume, and the same moved by a part of a voxel, of another contrast."""
    still = scenery((80, 80, 80))
    box = Box((0, 0, 0), (80, 80, 80))
    there, _ = sampling.sampled(still, (0, 0, 0), box, sampling.points(box) - SHIFT, box, "cubic")
    there = {"same": there, "gain": 0.4 * there + 90, "inverted": 255 - there, "gamma": 255 * (there / 255) ** 2}[look]
    return still.astype(np.float32), (there + np.random.default_rng(0).normal(0, 5, box.shape)).astype(np.float32)


def match(a: np.ndarray, b: np.ndarray, measure: Measure, hole: Box | None = None) -> Found:
    valid = [np.ones(one.shape, bool) for one in (a, b)]
    if hole:
        valid[0][hole.slices()] = False
        a = np.where(valid[0], a, np.float32(0))
    block = Box.sized((24, 24, 24), (SIDE,) * 3)
    wide = block.grow((SEARCH,) * 3, (SEARCH,) * 3)
    seen = [likeness.measured(one, mask, measure) for one, mask in zip((a, b), valid, strict=True)]
    parts = [tuple(one[box.slices()] for one in both) for both, box in zip(seen, (block, wide), strict=True)]
    return volume_matching.matched((parts[0][0], parts[0][1]), (parts[1][0], parts[1][1]), Sure())


@pytest.mark.parametrize(("look", "measure"), [
    ("same", "values"), ("gain", "values"), ("same", "edges"), ("gain", "edges"), ("inverted", "edges"),
    ("gamma", "edges"),
])  # fmt: skip
def test_a_block_is_found_to_a_tenth_of_a_voxel(look: str, measure: Measure) -> None:
    found = match(*pair(look), measure)
    assert found.status == Status.GOOD
    assert np.abs(found.shift - SHIFT).max() < 0.1
    assert found.ratio > 1.5
    assert 0 < found.sigma < 0.2


def test_a_hole_is_not_matched_and_the_rest_is() -> None:
    a, b = pair("inverted")
    found = match(a, b, "edges", Box((20, 20, 20), (42, 60, 60)))
    assert found.status == Status.GOOD
    assert np.abs(found.shift - SHIFT).max() < 0.1
    assert match(a, b, "edges", Box((20, 20, 20), (55, 60, 60))).status == Status.NOTHING


@pytest.mark.parametrize("shares", [(1, 1), (0.8, 1), (1, 0.7), (0.8, 0.7)])
def test_masked_correlations_are_those_of_the_shared_voxels(shares: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    block, window = rng.normal(size=(6, 7, 8)), rng.normal(size=(9, 9, 13))
    here, there = rng.random(block.shape) < shares[0], rng.random(window.shape) < shares[1]
    score, count = volume_matching.correlations((block * here, here), (window * there, there))
    assert score.shape == (4, 3, 6)
    for shift in np.ndindex(*score.shape):
        part = tuple(slice(s, s + n) for s, n in zip(shift, block.shape, strict=True))
        both = here & there[part]
        assert count[shift] == both.sum()
        assert np.isclose(score[shift], np.corrcoef(block[both], window[part][both])[0, 1], atol=1e-4)


@pytest.mark.parametrize("measure", ["values", "edges"])
def test_what_is_not_the_same_is_not_guessed(measure: Measure) -> None:
    a = scenery((80, 80, 80)).astype(np.float32)
    seen = [match(a, scenery((80, 80, 80), n).astype(np.float32), measure).status for n in range(1, 6)]
    assert Status.GOOD not in seen
    noise = np.random.default_rng(0).normal(128, 5, (2, 80, 80, 80)).astype(np.float32)
    assert match(noise[0], noise[1], measure).status != Status.GOOD
    flat = np.full((80, 80, 80), 77, np.float32)
    assert match(flat, flat, measure).status == Status.NOTHING
    assert match(a, np.roll(a, 7, 0), measure).status in (Status.END, Status.WEAK)


def test_a_measure_is_the_same_in_any_window() -> None:
    values = scenery((60, 50, 55)).astype(np.float32)
    valid = np.random.default_rng(3).random(values.shape) < 0.9
    inner = Box((8, 9, 10), (50, 45, 46))
    core = inner.grow((-likeness.REACH,) * 3, (-likeness.REACH,) * 3)
    for measure in ("values", "edges"):
        whole = likeness.measured(values, valid, measure)
        part = likeness.measured(values[inner.slices()].copy("F"), valid[inner.slices()], measure)
        for a, b in zip(whole, part, strict=True):
            assert (a[core.slices()] == b[core.slices(inner.lo)]).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_an_affine_map_is_found_in_spite_of_what_is_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = about(np.array([500.0, 400, 300]))
    p = rng.uniform(0, 1000, (200, 3))
    q = truth(p) + rng.normal(0, 1, p.shape)
    q[:60] += rng.normal(0, 200, (60, 3))
    found = space_maps.refitted(Affine(np.eye(3), np.zeros(3)), p, q, np.ones(200), 4.0)
    assert np.abs(found(p) - truth(p)).max() < 2
    few = space_maps.rounded(found, p, 0.1)
    assert np.abs(few(p) - found(p)).max() < 0.1
    assert np.allclose(few.inverse(few(p)), p)
    assert Affine.parse(few.to_json()).to_json() == few.to_json()


def test_what_a_plane_does_not_tell_stays() -> None:
    old = Affine(np.diag([1.0, 1.0, 1.7]), np.zeros(3))
    p = np.random.default_rng(0).uniform(0, 100, (50, 3)) * [1, 1, 0]
    found = space_maps.refitted(old, p, p * [1.1, 0.9, 1] + 3, np.ones(50), 1.0)
    assert np.allclose(found.matrix, np.diag([1.1, 0.9, 1.7]), atol=1e-6)


def test_landmarks_give_as_much_as_they_tell() -> None:
    rng, truth = np.random.default_rng(0), about(np.zeros(3))
    p = rng.uniform(0, 1000, (7, 3))
    assert np.allclose(space_maps.from_landmarks(p, truth(p)).matrix, truth.matrix)
    assert np.allclose(space_maps.from_landmarks(p[:2], p[:2] + 5)(p), p + 5)
    assert np.allclose(space_maps.from_landmarks(p[:1], p[:1] - 2)(p), p - 2)
    turn = about(np.zeros(3), 30, 1.0).matrix * 1.5
    assert np.allclose(space_maps.from_landmarks(p[:3], p[:3] @ turn.T).matrix, turn)
    with pytest.raises(ValueError, match="plane"):
        Affine.parse(np.diag([1.0, 1, 0, 0])[:3])


def test_maps_are_told_in_words() -> None:
    turn = about(np.zeros(3), 30, 1.0).matrix
    assert space_maps.words(Affine(turn * 1.5, np.zeros(3))) == "stretched by 1.5, 1.5, 1.5, turned by 30 degrees"
    mirror = Affine(np.diag([-1.0, 1, 1]), np.zeros(3))
    assert space_maps.words(mirror).endswith("turned by 180 degrees, mirrored")


def test_a_plate_goes_through_what_is_sure_and_over_what_is_wrong() -> None:
    box = Box((0, 0, 0), (12, 11, 6))
    at = node_fields.points(box, (20, 20, 20))
    truth = 3 * np.sin(at / 60) + at[..., ::-1] * 0.01
    rng = np.random.default_rng(0)
    values = truth + rng.normal(0, 0.05, truth.shape)
    good = rng.random(box.shape) < 0.8
    wrong = good & (rng.random(box.shape) < 0.05)
    values[wrong] += 7
    values[~good] = 1e3
    sigma = np.full(box.shape, 0.05)
    odd = bending.unlike(values, sigma, good, 1.0)
    assert odd[wrong].mean() > 0.9
    assert odd[good & ~wrong].mean() < 0.1
    weight = np.where(good, 1 / sigma**2, 0)
    for known in (weight, np.where(odd, 0, weight)):
        off = np.abs(bending.smooth(values, known, 0.3) - truth)
        assert np.median(off) < 0.05
        assert np.percentile(off, 95) < 0.3
    assert not bending.smooth(values, np.zeros(box.shape), 0.3).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 1), (2, 2, 2), (3, 1, 4)])
def test_a_plate_may_be_a_line_or_a_point(shape: tuple[int, int, int]) -> None:
    values = np.full((*shape, 3), 2.5)
    assert np.allclose(bending.smooth(values, np.ones(shape), 0.3), 2.5, atol=1e-4)
    assert not bending.unlike(values, np.ones(shape), np.ones(shape, bool), 1.0).any()


def test_fields_are_trilinear_and_held_beyond_their_border() -> None:
    box, step = Box((-2, 1, 0), (3, 5, 4)), (40, 20, 10)
    nodes = node_fields.points(box, step)
    assert nodes[2, 0, 1].tolist() == [19.5, 29.5, 14.5]
    matrix = np.array([[0.1, 0.5, 0.2], [0.7, -0.2, 0.1], [0.3, 0.3, 0.3]])
    at = np.random.default_rng(1).uniform((-60, 30, 5), (99, 89, 34), (50, 3))
    places = node_fields.places(at, step)
    found = node_fields.trilinear(nodes @ matrix + 3, box.lo, places)
    assert np.allclose(found, at @ matrix + 3)
    far = node_fields.trilinear(nodes, box.lo, np.array([[-50.0, -50, -50], [90, 90, 90]]))
    assert far.tolist() == [nodes[0, 0, 0].tolist(), nodes[-1, -1, -1].tolist()]
    assert node_fields.around(places, box) == box
    each = [node_fields.trilinear(nodes @ matrix, box.lo, place) for place in places]
    assert (np.array(each) == node_fields.trilinear(nodes @ matrix, box.lo, places)).all()


def test_turns_are_those_of_a_cube() -> None:
    turns, mirrors = (coarse_search.turned(which) for which in ("turns", "mirrors"))
    assert len({one.tobytes() for one in turns}) == 24
    assert len({one.tobytes() for one in mirrors}) == 48
    assert all(np.linalg.det(one) == 1 for one in turns)
    assert all((one @ one.T == np.eye(3)).all() for one in mirrors)


def test_a_volume_is_found_anywhere_in_another() -> None:
    whole = scenery((60, 50, 40)).astype(np.float32)
    a, b = whole[:44], whole[25:, 11:, :31]
    parts = [likeness.measured(one, np.ones(one.shape, bool), "edges") for one in (a, b)]
    place = coarse_search.placed(parts[0], parts[1], 0.2)
    assert place.shift == (25, 11, 0)
    assert place.score > 1.5 * place.rest


def test_a_field_that_folds_leads_nowhere_back(tmp_path: Path) -> None:
    """And one that does not leads back everywhere, beyond its nodes, too."""
    fixed, io = layer(tmp_path / "fixed", np.ones((64, 48, 32), np.uint8), mips=0), IO()
    known = Coregistration(f"file://{tmp_path}/co", fixed, fixed)
    info = io.info(fixed)
    lattice = known.new_round(info, 1, 0, (8, 8, 8))
    nodes = node_fields.points(lattice.box, lattice.step)
    url = f"{known.folder(1)}/field"
    io.create_layer(url, known.layer(info, lattice, 3, 32))
    io.put_json(f"{known.folder(1)}/round.json", lattice.to_json())
    io.put_json(f"{known.folder(1)}/affine.json", {"matrix": about(np.zeros(3)).to_json()})
    p = np.random.default_rng(0).uniform(-50, 600, (200, 3))
    torn = np.random.default_rng(1).normal(0, 20, nodes.shape)
    for values, folds in (((nodes - 24) * 0.4, False), (torn, True)):
        io.write(io.volume(url, 0), lattice.box, np.asfortranarray(values, np.float32))
        through = Through(io, known, 1)
        found = through.fixed(through.moving(p))
        lost = np.isnan(found).any(axis=1)
        assert lost.any() == folds
        assert np.abs(through.moving(found[~lost]) - through.moving(p[~lost])).max() < 0.02 * VOXEL
        assert folds or np.abs(found - p).max() < 0.02 * VOXEL
