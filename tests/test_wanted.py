"""What is looked for and found, against sets of voxels."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igneous_ng import wanted
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.wanted import Wanted

corners = st.tuples(*[st.integers(-4, 4)] * 3)
boxes = st.builds(lambda lo, shape: Box.sized(lo, shape), corners, st.tuples(*[st.integers(1, 4)] * 3))
asked = st.lists(st.tuples(st.integers(0, 1), boxes, st.sampled_from("ab")), max_size=5)


def voxels(box: Box) -> set[Vec3]:
    return {vec(point) for point in product(*(range(lo, hi) for lo, hi in zip(box.lo, box.hi, strict=True)))}


def left(found: Wanted) -> dict[tuple[int, str], set[Vec3]]:
    result: dict[tuple[int, str], set[Vec3]] = {}
    for mip, seeker, box in found.boxes():
        result.setdefault((mip, seeker), set()).update(voxels(box))
    return result


@given(asked, st.lists(st.tuples(st.integers(0, 1), st.lists(boxes, max_size=3)), max_size=4), boxes)
def test_what_is_left_is_what_sets_leave(
    seeking: list[tuple[int, Box, str]], finding: list[tuple[int, list[Box]]], look: Box
) -> None:
    search, model = Wanted(), dict[tuple[int, str], set[Vec3]]()
    for mip, box, seeker in seeking:
        search.add_box(mip, box, seeker)
        model.setdefault((mip, seeker), set()).update(voxels(box))
    for mip, found in finding:
        search.found(mip, found)
        for key in [key for key in model if key[0] == mip]:
            model[key] -= {voxel for box in found for voxel in voxels(box)}
            if not model[key]:
                del model[key]
    for mip in (0, 1):
        seekers = {seeker for level, seeker in model if level == mip and model[level, seeker] & voxels(look)}
        assert set(search.seekers(mip, look)) == seekers
    assert left(search) == model
    assert bool(search) == bool(model)
    assert not search.rough


def test_nothing_is_no_box() -> None:
    search = Wanted()
    search.add_box(0, Box((0, 0, 0), (0, 5, 5)), "a")
    assert not search


def test_objects_are_looked_for_by_all_who_ask() -> None:
    search = Wanted()
    search.urls["file:///x"] |= {"a", "b"}
    assert search
    assert search.urls.pop("file:///x") == {"a", "b"}
    assert not search


def test_too_many_boxes_become_the_one_that_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "_MOST", 3)
    monkeypatch.setattr(wanted, "_HELD", 5)
    search = Wanted()
    for x in range(0, 40, 4):
        search.add_box(0, Box.sized((x, 0, 0), (1, 1, 1)), "a")
    assert list(search.seekers(0, Box((2, 0, 0), (3, 1, 1)))) == ["a"], "more than was asked for, never less"
    assert search.rough
    assert left(search) == {(0, "a"): voxels(Box((0, 0, 0), (37, 1, 1)))}


def test_a_box_in_too_many_pieces_is_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "_CELLS", 4)
    search, box = Wanted(), Box((0, 0, 0), (9, 9, 9))
    search.add_box(0, box, "a")
    search.found(0, [Box.sized((n, n, n), (1, 1, 1)) for n in range(5)])
    assert list(search.boxes()) == [(0, "a", box)]
    search.found(0, [box])
    assert not search
