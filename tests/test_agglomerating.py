"""Segments that a tree of nodes finds are those of the whole volume at once, by their definition in plain Python."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.agglomerating import Step
from igneous_ng.geometry import Vec3
from igneous_ng.segmentation import Agglomeration
from tests import segmentations, supervoxels
from tests.segmentations import Rules
from tests.supervoxels import Made, Memory


def agglomerate(made: Made, name: str = "default", seed: int | None = None, **fields: Any) -> None:
    """All steps; with a seed the nodes of a level in any order, each twice."""
    made.known.decide(Agglomeration(name=name, **fields))
    for number in range(len(fields["thresholds"])):
        step = Step(made.io, made.layer, name, number)
        for level in range(step.tree.top + 1):
            for at in shuffled(step, level, seed):
                step.merge(level, at)
        for level in range(step.tree.top - 1, -1, -1):
            for at in shuffled(step, level, seed):
                step.spread(level, at)


def shuffled(step: Step, level: int, seed: int | None) -> list[Vec3]:
    nodes = [step.tree.at(level, index) for index in range(step.tree.nodes(level).voxels)]
    return nodes if seed is None else random.Random(seed).sample(2 * nodes, 2 * len(nodes))


def whole(made: Made, fields: dict[str, Any]) -> np.ndarray:
    """The segments of the whole volume at once, canonical."""
    chosen = {key: fields[key] for key in fields if key not in ("thresholds", "fan")}
    rules = Rules(fields["thresholds"][-1], **chosen)
    return segmentations.agglomerate(segmentations.watershed(made.aff, made.plan.low, made.plan.high), made.aff, rules)


def check(made: Made, fields: dict[str, Any], name: str = "default") -> None:
    """Segments are those of the whole volume, called by their smallest supervoxels, their figures right."""
    found, table = supervoxels.segments(made, name)
    assert np.array_equal(segmentations.canonical(found.astype(np.int64)), whole(made, fields))
    for segment in np.unique(found[found > 0]):
        rows = table["segment"] == segment
        assert segment == made.ids[found == segment].min()
        assert (table["size"][rows] == (found == segment).sum()).all()
        assert (table["parts"][rows] == rows.sum()).all()
        assert len(np.unique(table["weakest"][rows])) == 1


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of an agglomeration."""
    last = draw(st.sampled_from([0.2, 0.4, 0.5, 0.6]))
    before = draw(st.sampled_from([(), (0.8,), (0.9, 0.7)]))
    guard = draw(st.sampled_from([(0, 0.0), (3, 0.7), (6, 0.6), (10, 0.55)]))
    small = draw(st.sampled_from([(0, 0.0), (4, 0.1), (12, 0.3)]))
    return {
        "thresholds": (*before, last),
        "linkage": draw(st.sampled_from(["mean", "mean", "max", "quantile:0.5", "quantile:0.25"])),
        "guard_size": guard[0], "guard_threshold": guard[1],
        "small_size": small[0], "small_threshold": small[1],
        "fan": draw(st.sampled_from([2, 3, 8])),
    }  # fmt: skip


@st.composite
def volumes(draw: st.DrawFn) -> np.ndarray:
    """Affinities of few or many levels, smooth or not."""
    shape = (draw(st.integers(1, 11)), draw(st.integers(1, 7)), draw(st.integers(1, 5)))
    levels, sigma = draw(st.sampled_from([4, 16, 256])), draw(st.sampled_from([0.3, 0.8, 1.2]))
    if np.prod(shape) < 2:
        shape = (2, 1, 1)
    return segmentations.affinities(shape, levels, draw(st.integers(0, 2**31)), sigma)


drawn: dict[str, Any] = {
    "aff": volumes(),
    "leaf": st.tuples(*[st.sampled_from([2, 3, 4, 5, 7])] * 3),
    "limits": st.tuples(st.sampled_from([0.0, 0.3]), st.sampled_from([0.9, 1.0])),
    "fields": asked(),
}


@settings(deadline=None, max_examples=100)
@given(**drawn)
def test_segments_are_those_of_the_whole_volume(
    aff: np.ndarray, leaf: Vec3, limits: tuple[float, float], fields: dict[str, Any]
) -> None:
    made = supervoxels.make("file:///m", Memory(), aff, leaf, limits)
    agglomerate(made, **fields)
    check(made, fields)


@pytest.mark.long
@settings(deadline=None, max_examples=2000)
@given(**drawn)
def test_segments_are_those_of_the_whole_volume_often(
    aff: np.ndarray, leaf: Vec3, limits: tuple[float, float], fields: dict[str, Any]
) -> None:
    made = supervoxels.make("file:///m", Memory(), aff, leaf, limits)
    agglomerate(made, **fields)
    check(made, fields)


def written(made: Made, folder: str) -> dict[str, bytes]:
    """The objects in a folder of `segment`."""
    objects, start = made.io.objects, f"{made.known.url}/{folder}/"  # type: ignore[attr-defined]
    return {url.removeprefix(start): data for url, data in objects.items() if url.startswith(start)}


@settings(deadline=None, max_examples=20)
@given(**drawn, seed=st.integers(0, 99), fan=st.sampled_from([2, 3, 8]))
def test_any_order_twice_and_any_fan_leave_the_same_bytes(
    aff: np.ndarray, leaf: Vec3, limits: tuple[float, float], fields: dict[str, Any], seed: int, fan: int
) -> None:
    made = supervoxels.make("file:///m", Memory(), aff, leaf, limits)
    agglomerate(made, "plain", **fields)
    agglomerate(made, "again", seed, **fields)
    agglomerate(made, "other", **{**fields, "fan": fan})
    again = {url: data for url, data in written(made, "agglomerations/again").items() if url != "plan.json"}
    plain = {url: data for url, data in written(made, "agglomerations/plain").items() if url != "plan.json"}
    assert again == plain
    assert written(made, "agglomerations/other/segments") == written(made, "agglomerations/plain/segments")
