from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.worker.sharing import kept


def test_a_range_of_hours_is_cut_to_ten_minutes() -> None:
    assert kept(1000, 60.0, starving=False) == 10
    assert kept(10, 3600.0, starving=False) == 1


def test_when_nothing_waits_half_is_given() -> None:
    assert kept(9, 10.0, starving=True) == 5
    assert kept(9, 10.0, starving=False) is None


def test_crumbs_and_single_units_are_not_divided() -> None:
    assert kept(9, 1.0, starving=True) is None
    assert kept(1, 800.0, starving=True) is None


@given(st.integers(1, 10**6), st.floats(1e-6, 1e5), st.booleans())
def test_what_is_kept_is_something_and_no_more_than_there_was(left: int, seconds: float, starving: bool) -> None:
    count = kept(left, seconds, starving)
    assert count is None or 1 <= count <= left
