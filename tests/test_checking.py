"""The verdict on a stack: every bound can fail, chains break where nothing leads across, spans are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from igneous_ng.alignment import Round
from igneous_ng.checking import judging
from igneous_ng.checking.blocks import Lattice
from igneous_ng.checking.judging import Bounds
from igneous_ng.errors import DataError
from igneous_ng.formats.checks import Check
from igneous_ng.geometry import Box

BOUNDS = Bounds(
    off=2.4, held_out=4.8, residual=4.8, misaligned=0.1, alike=0.5, good=0.5, folded=0, breaks=0, spared=0.01
)
FINE = {"held_out_p95": 2.0, "residual_p95": 2.0, "misaligned": 0.01, "alike": 0.9, "good": 0.9}


def section(z: int, **more: Any) -> Check:
    known: dict[str, Any] = {"z": z, "round": 1, "source": z, "against": z - 1 if z else None, "links": (50, 5, 0, 0)}
    return Check(**known | (FINE if z else {}) | more)


def stack(count: int = 6) -> list[Check]:
    return [section(0, links=(0, 0, 0, 0)), *(section(z) for z in range(1, count))]


def test_a_good_stack_may_be_published() -> None:
    verdict = judging.judge(stack(), BOUNDS)
    assert verdict.publish
    assert verdict.to_json()["reasons"] == []
    assert verdict.figures["held_out_p95"] == {"median": 2.0, "worst": 2.0}
    assert verdict.figures["missing"] == "none"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("held_out_p95", 4.9, "places between nodes are off"),
        ("misaligned", 0.11, "blocks lie clearly better elsewhere"),
        ("alike", 0.49, "too few blocks find anything alike"),
        ("alike", 0.0, "too few blocks find anything alike"),
        ("good", 0.49, "too few nodes have a good displacement"),
        ("residual_p95", 4.9, "the solution contradicts displacements"),
        ("folded", 1, "cells are folded"),
    ],
)
def test_every_bound_can_fail(key: str, value: Any, said: str) -> None:
    checks = stack()
    checks[3] = replace(checks[3], **{key: value})
    verdict = judging.judge(checks, BOUNDS)
    assert not verdict.publish
    (reason,) = verdict.reasons
    assert said in reason
    assert reason.endswith("(section 3); beyond it: section 3")
    assert judging.wrong(checks[3], BOUNDS)
    assert not judging.wrong(checks[4], BOUNDS)
    assert judging.score(checks[3], BOUNDS) > 1 >= judging.score(checks[4], BOUNDS)
    assert judging.judge(checks, BOUNDS, "nobody needs it (A.)").publish
    generous = replace(BOUNDS, spared=0.5)
    assert judging.judge(checks, generous).publish == (key != "folded")


def test_a_bound_itself_is_within() -> None:
    checks = [replace(one, held_out_p95=4.8, misaligned=0.1, alike=0.5, good=0.5) for one in stack()]
    assert judging.judge(checks, BOUNDS).publish


def test_figures_may_be_worse_over_missing_sections() -> None:
    checks = stack()
    checks[2] = Check(z=2, round=1, source=-1)
    checks[3] = replace(checks[3], against=1, links=(0, 40, 0, 0), held_out_p95=9.0, residual_p95=9.0)
    verdict = judging.judge(checks, BOUNDS)
    assert verdict.publish
    assert verdict.figures["missing"] == "section 2"
    checks[3] = replace(checks[3], misaligned=0.4, good=0.125)
    assert judging.judge(checks, BOUNDS).publish
    assert not judging.judge([*checks[:3], replace(checks[3], misaligned=0.41), *checks[4:]], BOUNDS).publish
    assert not judging.judge([*checks[:3], replace(checks[3], good=0.12), *checks[4:]], BOUNDS).publish


def test_chains_break_where_no_displacement_leads_across() -> None:
    checks = stack(8)
    checks[4] = replace(checks[4], links=(0, 0, 0, 0))
    assert judging.breaks(checks) == []  # section 5 leads to 3
    checks[5] = replace(checks[5], links=(50, 0, 0, 0))
    assert judging.breaks(checks) == [(3, 4)]
    verdict = judging.judge(checks, BOUNDS)
    assert verdict.reasons == ("the chain is broken between sections 3 and 4",)
    assert judging.judge(checks, replace(BOUNDS, breaks=1)).publish
    checks[6] = replace(checks[6], links=(0, 0, 7, 0))
    assert judging.breaks(checks) == []
    apart = [replace(one, component=one.z // 4) for one in stack(8)]
    assert judging.breaks(apart) == [(3, 4)]
    gap = [one if one.z not in (0, 3, 7) else Check(z=one.z, round=1, source=-1) for one in stack(8)]
    assert judging.breaks(gap) == []
    gap[4] = replace(gap[4], links=(0, 0, 0, 0))
    assert judging.breaks(gap) == [(2, 4)]


def test_where_nothing_was_compared_nothing_is_published() -> None:
    blank = [Check(z=z, round=1, source=-1) for z in range(3)]
    assert "no two sections could be compared" in judging.judge(blank, BOUNDS).reasons[0]
    seen = [replace(one, held_out_p95=None) for one in stack()]
    assert not judging.judge(seen, BOUNDS).publish


def test_spans_of_sections_are_named_and_bounded() -> None:
    assert judging.ranges([4]) == "section 4"
    assert judging.ranges([1, 2, 3, 7, 9, 10]) == "sections 1-3, 7, 9-10"
    assert judging.ranges(range(0, 40, 2), 3) == "sections 0, 2, 4 and 17 more"


def test_a_check_is_stored_as_it_is() -> None:
    one = section(3, worst=((1.5, 2.5, 3.25),), drift_x=1 / 3)
    again = Check.from_json(one.to_json(), "here")
    assert again == replace(one, drift_x=0.33333)
    with pytest.raises(DataError, match="says nothing of a section"):
        Check.from_json({"z": 3}, "here")


@pytest.mark.parametrize("most", [1, 4, 7, 50, 400])
@pytest.mark.parametrize("step", [32, 40, 256])
def test_blocks_lie_midway_between_nodes_and_are_as_many_as_asked_for(most: int, step: int) -> None:
    nodes = Round(1, 0, step, Box((-3, 2, 0), (40, 31, 5)))
    found = Lattice.of(nodes, most)
    wide, high, _ = found.box.shape
    assert wide * high <= max(most, 4)
    assert found.pitch % (2 * step) == 0
    assert found.box == nodes.box * (step, step, 1) // (found.pitch, found.pitch, 1)
    for i, j in ((found.box.lo[0], found.box.lo[1]), (1, 2)):
        x, y = ((n + 0.5) / step - 0.5 for n in found.middle(i, j))  # as places of the lattice of nodes
        assert (x % 1, y % 1) == (0.5, 0.5)
        x0, y0, x1, y1 = found.window(i, j, 4)
        assert ((x0 + x1) / 2 * 4 - 0.5, (y0 + y1) / 2 * 4 - 0.5) == found.middle(i, j)
