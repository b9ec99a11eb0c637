"""Prices: what is known is multiplied, what is not stays unknown, what is wrong is refused by name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from igneous_ng import prices
from igneous_ng.errors import SpecError

EXAMPLE = Path(__file__).parent.parent / "examples" / "prices.toml"


def test_a_bill_multiplies_what_is_known_and_leaves_the_rest_open() -> None:
    found = prices.parse({"cpu_hour": 0.5, "million_puts": 5, "gb_month": 0, "currency": "EUR"}, "here")
    assert found.known
    assert found.currency == "EUR"
    amounts = {"cpu_hour": 3.0, "gpu_hour": 1.0, "gb_month": 7.0, "million_puts": 2e5, "million_gets": 9.0}
    said = prices.bill(found, amounts)
    assert said == {
        "cpu_hour": 1.5,
        "gpu_hour": None,
        "gb_month": 0.0,
        "million_gets": None,
        "million_puts": 1.0,
        "million_queue_requests": None,
    }
    assert prices.bill(found, {"cpu_hour": None})["cpu_hour"] is None
    assert not prices.Prices(currency="EUR").known


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"cpu": 1}, "prices: nothing has the price 'cpu'; there are: cpu_hour"),
        ({"cpu_hour": -1}, "prices.cpu_hour: expected a number from 0 up, got -1"),
        ({"cpu_hour": True}, "prices.cpu_hour: expected a number"),
        ({"gb_month": float("nan")}, "prices.gb_month: expected a number"),
        ({"gb_month": "0.02"}, "prices.gb_month: expected a number"),
        ({"currency": 3}, "prices.currency: expected a text"),
        ([1], "prices: expected a table of prices"),
    ],
)
def test_what_is_no_price_is_refused_by_name(raw: Any, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        prices.parse(raw, "prices")


def test_the_example_has_every_price() -> None:
    found = prices.parse(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")), "example")
    assert all(getattr(found, name) is not None for name in prices.NAMES)
