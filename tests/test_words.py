"""Figures in words."""

from __future__ import annotations

import pytest

from igneous_ng import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.25, "0.25 s"), (9, "9 s"), (12.4, "12 s"), (59.6, "1 min"), (60, "1 min"), (70, "1 min 10 s"),
     (3600, "1 h"), (3605, "1 h"), (7500, "2 h 5 min"), (86400, "1 d"), (100_000, "1 d 3 h")],
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (3e9, "3 GB"), (1.2345e15, "1,234 TB")]
)
def test_amounts(size: float, said: str) -> None:
    assert words.amount(size) == said


def test_a_table_has_columns_of_equal_width() -> None:
    assert words.table([("a", "long one", "x"), ("bcd",), ("e", "f")]) == ["  a    long one  x", "  bcd", "  e    f"]
    assert words.table([]) == []


@pytest.mark.parametrize(
    ("rate", "said"), [(2.5, "2.5 units/s"), (0.5, "30 units/min"), (0.01, "36 units/h"), (1e-5, "0.036 units/h")]
)
def test_rates(rate: float, said: str) -> None:
    assert words.rate(rate) == said


def test_counts_and_processor_time() -> None:
    assert [words.count(n, "unit") for n in (0, 1, 2000)] == ["0 units", "1 unit", "2,000 units"]
    assert [words.cpu(s) for s in (2.461, 360, 36e5)] == ["2.46 CPU-seconds", "0.1 CPU-hours", "1,000 CPU-hours"]
