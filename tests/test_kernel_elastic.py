"""Sheets that are pulled to each other, against dense least squares and by cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from igneous_ng.geometry import Box
from igneous_ng.kernels import elastic, elastic_report, elastic_rows, fields, inverting, loops
from igneous_ng.kernels.elastic import Rows, Sheets
from igneous_ng.kernels.elastic_rows import Nodes, Pairs

SHAPE = (5, 6, 7)
NODES = Nodes(Box((-2, 3, 4), (4, 10, 9)), Box((-2, 3, 4), (4, 10, 9)), 20)


def springs(value: float = 1.0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    z, x, y = shape
    return np.full((z, x - 1, y), value), np.full((z, x, y - 1), value)


def links(seed: int = 0, scale: float = np.inf) -> Rows:
    """Random pairs of places in sections one and two apart."""
    rng, parts = np.random.default_rng(seed), []
    for z in range(5, 9):
        for distance in (1, 2)[: z - 4]:
            own = rng.uniform((-39, 60), (79, 199), (40, 2))
            pairs = Pairs(z, distance, own, own + rng.normal(size=own.shape) * 5, np.ones(40), rng.uniform(0.2, 1, 40))
            parts.append(elastic_rows.rows(NODES, pairs))
    found = elastic.joined(parts, 210)
    return Rows(found.matrix, found.wanted, found.weight, np.full(len(found.weight), scale), found.ends)


def dense(sheets: Sheets, rows: Rows) -> np.ndarray:
    """The answer by elimination."""
    unit = np.eye(210).reshape(210, *SHAPE)
    pull = np.stack([sheets.pull(np.stack([one, one], axis=-1))[..., 0].ravel() for one in unit], axis=1)
    matrix = rows.matrix.toarray()
    normal = matrix.T @ (rows.weight[:, np.newaxis] * matrix) + pull
    return np.linalg.solve(normal, matrix.T @ (rows.weight[:, np.newaxis] * rows.wanted)).reshape(*SHAPE, 2)


@pytest.mark.parametrize("stiff", [0.1, 10.0])
def test_the_answer_is_that_of_least_squares(stiff: float) -> None:
    sheets, rows = Sheets(SHAPE, *springs(stiff), 1e-3), links()
    exact = dense(sheets, rows)
    assert np.abs(exact).max() > 1
    found = elastic.solve(sheets, rows, np.zeros((*SHAPE, 2)))
    assert np.abs(found.u - exact).max() < 0.005
    assert found.steps < 60
    assert (found.trust == 1).all()


def test_springs_may_be_given_as_one_number() -> None:
    one = np.full((1, 1, 1), 2.0)
    even = elastic.solve(Sheets(SHAPE, one, one, 1e-3), links(), np.zeros((*SHAPE, 2)))
    assert np.abs(even.u - dense(Sheets(SHAPE, *springs(2.0), 1e-3), links())).max() < 0.005


def test_what_is_held_stays_and_is_what_the_rest_goes_by() -> None:
    sheets, rows = Sheets(SHAPE, *springs(), 1e-3), links()
    exact = dense(sheets, rows)
    free = np.zeros(SHAPE, bool)
    free[1:4, 1:5, 1:6] = True
    start = np.where(free[..., np.newaxis], 7.0, exact)
    found = elastic.solve(sheets, rows, start, free)
    assert (found.u[~free] == start[~free]).all()
    assert np.abs(found.u - exact).max() < 0.01


def test_a_wrong_row_pulls_no_harder_than_its_scale() -> None:
    sheets, rows = Sheets(SHAPE, *springs(), 1e-3), links(scale=2.0)
    wrong = [rows.wanted.copy() for _ in range(2)]
    wrong[0][17] += 100
    wrong[1][17] += 100_000
    far, farther = (
        elastic.solve(sheets, Rows(rows.matrix, one, rows.weight, rows.scale, rows.ends), np.zeros((*SHAPE, 2)))
        for one in wrong
    )
    assert far.trust[17] < 0.05
    assert np.abs(far.u - farther.u).max() < 0.05


def test_nothing_is_passed_on_across_springs_that_are_cut() -> None:
    along_x, along_y = springs()
    along_x[:, 2] = 0
    own = np.array([[-30.5, 69.5]])
    rows = elastic_rows.fixed(NODES, 6, own, own + 5, np.array([1.0]))
    cut = elastic.solve(Sheets(SHAPE, along_x, along_y, 1e-2), rows, np.zeros((*SHAPE, 2))).u
    whole = elastic.solve(Sheets(SHAPE, *springs(), 1e-2), rows, np.zeros((*SHAPE, 2))).u
    assert cut[2, :3].min() > 3
    assert np.abs(cut[2, 3:]).max() < 0.01
    assert whole[2].min() > 2


def test_rows_read_fields_as_everybody_does() -> None:
    rng = np.random.default_rng(3)
    field, points = rng.normal(size=(6, 7, 2)), rng.uniform((-80, 20), (120, 260), (50, 2))
    index, share, inside = NODES.corners(points, 4)
    read = (field.reshape(-1, 2)[index] * share[..., np.newaxis]).sum(axis=1)
    assert inside.all()
    assert np.allclose(read, fields.bilinear(field, (-2, 3), fields.places(points, 20)))
    part = Nodes(Box((0, 4, 4), (3, 8, 9)), NODES.whole, 20)
    _, _, within = part.corners(points, 4)
    at = fields.places(points, 20)
    assert (within == ((at >= (0, 4)) & (at < (2, 7))).all(axis=1)).all()


def test_lumps_are_means_of_blocks_without_what_is_unlike_them() -> None:
    own = fields.points((-2, 3), (4, 10), 20)
    other, sigma = own + np.array([3.0, -1.0]), np.ones((6, 7))
    other[0, 0] += 50
    sigma[4:, 5:] = np.nan
    own_of, other_of, sigma_of, weight = elastic_rows.lumped((own, other, sigma), 4, (-2, 3))
    assert np.abs(other_of - own_of - [3, -1])[1:].max() < 1e-9
    assert len(weight) == 6
    assert weight.sum() <= np.isfinite(sigma).sum()
    assert (sigma_of == 1).all()
    spoilt = np.abs(other_of - own_of - [3, -1])[0]  # the block of nodes -2, -1 and 3: two sound, two
    assert spoilt.max() < 26


def test_pieces_are_sections_that_links_connect() -> None:
    ends = np.array([[1, 0], [3, 2], [4, 2], [5, -1]])
    rows = Rows(sparse.csr_matrix((4, 6)), np.zeros((4, 2)), np.ones(4), np.ones(4), ends)
    piece = elastic_report.components(rows, 6).tolist()
    assert [piece[0] == piece[1], piece[2] == piece[3] == piece[4], len(set(piece))] == [True, True, 3]


@pytest.mark.parametrize("slope", [[[0.1, 0.02], [-0.05, 0.2]], [[1.5, 0.2], [0.1, 1.2]]])
def test_fields_are_inverted_even_where_they_change_faster_than_places_do(slope: list[list[float]]) -> None:
    matrix = np.array(slope)
    forward = fields.points((-40, -40), (80, 80), 20) @ matrix.T + [5.0, -3.0]
    points = np.random.default_rng(0).uniform(0, 400, (30, 2))
    found, missed = inverting.inverse(forward, (-40, -40), 20, points)
    exact = (points - [5.0, -3.0]) @ np.linalg.inv(np.eye(2) + matrix).T - points
    assert np.abs(found - exact).max() < 2e-3
    assert missed.max() < 1e-3
    alone = inverting.inverse(forward, (-40, -40), 20, points[7:8])[0]
    assert (alone == found[7:8]).all()


def test_loops_say_how_sure_displacements_are() -> None:
    rng = np.random.default_rng(1)
    few = np.full((60, 50, 2), np.nan)
    few[:5, :5] = 0
    assert loops.spread(few, few, few, (0, 0), 1000) is None
    noise = [rng.normal(size=(60, 50, 2)) * s for s in (0.8, 0.8, 1.6)]
    told = loops.spread(noise[0], noise[1], noise[2], (0, 0), 10_000)
    assert told is not None
    assert 0.72 < told.sigma < 0.88
    assert 3.2 < told.ratio < 4.9
    assert told.at(2) == pytest.approx(told.sigma * told.ratio**0.5)


def test_springs_are_at_rest_where_a_section_is_as_it_was_found() -> None:
    shape, grown = (2, 7, 5), np.array([[[0.5, -0.1], [0.2, 0.3]], [[0.0, 0.0], [0.0, -0.4]]])
    sheets = Sheets(shape, np.ones((1, 1, 1)), np.ones((1, 1, 1)), 1e-9, grown)
    u = elastic.solve(sheets, elastic.joined([], 70), np.zeros((*shape, 2))).u
    assert np.allclose(np.diff(u, axis=1), grown[:, None, None, 0], atol=1e-3)
    assert np.allclose(np.diff(u, axis=2), grown[:, None, None, 1], atol=1e-3)
