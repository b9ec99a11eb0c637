"""Segments that a tree of nodes finds are those of the whole volume at once, by their definition in plain Python."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.segmentation import Supervoxels
from igneous_ng.stages.segment_agglomerate import Agglomerate
from tests import segmentations, supervoxels
from tests.segmentations import Rules
from tests.supervoxels import Made


def agglomerate(layer: str, **fields: Any) -> None:
    for stage in Agglomerate(layer=layer, **fields).steps(IO()):
        run.inline(stage)


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
    "low": st.sampled_from([0.0, 0.3]),
    "high": st.sampled_from([0.9, 1.0]),
    "offset": st.tuples(*[st.integers(-30, 30)] * 3),
    "fields": asked(),
}


def compare(aff: np.ndarray, leaf: Vec3, low: float, high: float, offset: Vec3, fields: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = supervoxels.make(Path(folder), aff, leaf, low, high, offset)
        agglomerate(made.layer, **fields)
        check(made, fields)


@settings(deadline=None, max_examples=12)
@given(**drawn)
def test_segments_are_those_of_the_whole_volume(
    aff: np.ndarray, leaf: Vec3, low: float, high: float, offset: Vec3, fields: dict[str, Any]
) -> None:
    compare(aff, leaf, low, high, offset, fields)


@pytest.mark.long
@settings(deadline=None, max_examples=400)
@given(**drawn)
def test_segments_are_those_of_the_whole_volume_often(
    aff: np.ndarray, leaf: Vec3, low: float, high: float, offset: Vec3, fields: dict[str, Any]
) -> None:
    compare(aff, leaf, low, high, offset, fields)
