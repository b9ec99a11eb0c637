"""Pages of alignments: valid, bounded however many sections there are, and honest where nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from igneous_ng.checking import judging
from igneous_ng.formats.checks import Check
from igneous_ng.pages import aligned, heat
from igneous_ng.pages.aligned import Overlay, Shown
from igneous_ng.pages.courses import BINS, Demand, Line, course
from tests.test_checking import BOUNDS, section
from tests.test_pages import checked

EVIL = "</li><script>alert('x')</script>"


def drawn(checks: list[Check], worst: tuple[Shown, ...] = (), accepted: str | None = None) -> bytes:
    verdict: dict[str, Any] = judging.judge(checks, BOUNDS, accepted).to_json()
    return aligned.draw(checks, verdict, judging.demands(checks, BOUNDS), worst)


def test_pages_are_bounded_however_many_sections_there_are() -> None:
    rng = np.random.default_rng(0)
    few = drawn([section(z, held_out_p95=float(rng.uniform(0, 6))) for z in range(BINS)])
    many = drawn([section(z, held_out_p95=float(rng.uniform(0, 6))) for z in range(10_000)])
    checked(many)
    assert len(many) < 1.5 * len(few) < 1_500_000


def test_all_is_said_and_nothing_is_markup(tmp_path: Any) -> None:
    checks = [section(0), section(1, held_out_p95=9.0), Check(z=2, round=1, source=-1), section(3, against=1)]
    rows = np.zeros((8, 8, 3), np.uint8)
    shown = Shown(checks[1], [EVIL], [Overlay(10.0, 20.0, 7.5, rows, rows)])
    found = checked(drawn(checks, (shown,), f"C. {EVIL}"))
    said = "".join(found.said)
    assert said.count(EVIL) == 2
    assert "missing: section 2" in said
    assert "shown at 10, 20, 7.5 px off" in said
    assert "section 1, 95th percentile 9, median -" in said
    assert "may be published" in said
    assert found.links[0] == "z000001.html"
    page = checked(aligned.section(checks[1], [EVIL], {"off": rows}, shown.overlays))
    assert page.links[0] == "index.html"
    assert sum(link.startswith("data:image/jpeg") for link in page.links) == 3


def test_a_stack_of_nothing_is_a_page() -> None:
    said = checked(drawn([Check(z=5, round=1, source=-1)])).said
    assert said.count("Nothing was measured.") == 14
    assert "held back" in said


def test_a_course_shows_each_extreme_and_marks_what_is_beyond() -> None:
    values = np.full(5 * BINS, 1.0)
    values[700], values[33:40] = 8, np.nan
    beyond = tuple((values > 3).tolist())
    plot = course("t", "s", range(len(values)), [Line("a", values)], Demand(3.0, 1, beyond))
    assert plot.count("<circle") == 1
    assert "sections 700 to 704: " not in plot
    assert "sections 700 to 704, a 1 to 8" in plot
    assert plot.count('fill="#e4e6ea"') == 1  # sections 35 to 39 fill a bin, 33 and 34 do not


@pytest.mark.parametrize("value", [-1.0, 0.0, 2.0, 9.0])
def test_heat_is_grey_where_nothing_is_known_and_red_at_the_top(value: float) -> None:
    rows = heat.coloured(np.full((3, 2), value), 2.0)
    assert rows.shape == (160, 240, 3)
    colour = {-1.0: (232, 234, 238), 0.0: (38, 44, 92)}.get(value, (216, 50, 46))
    assert (rows == colour).all()
