"""What things cost: prices that a user gives, for a CPU-hour, a stored gigabyte and so on. None is built in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from igneous_ng import spelling
from igneous_ng.errors import SpecError


@dataclass(frozen=True)
class Prices:
    """Prices in one currency; None: not known, and not counted."""

    cpu_hour: float | None = None
    gpu_hour: float | None = None
    gb_month: float | None = None
    million_gets: float | None = None
    million_puts: float | None = None
    million_queue_requests: float | None = None
    currency: str = ""

    @property
    def known(self) -> bool:
        """Whether there is any."""
        return any(getattr(self, name) is not None for name in NAMES)


NAMES = tuple(field.name for field in dataclasses.fields(Prices) if field.name != "currency")


def parse(raw: Any, where: str) -> Prices:
    """The prices in the table ``raw`` of a TOML file; SpecError names ``where`` and the key that is wrong."""
    if not isinstance(raw, dict):
        raise SpecError(f"{where}: expected a table of prices, got {raw!r}; write lines such as cpu_hour = 0.02")
    if unknown := sorted(raw.keys() - {*NAMES, "currency"}):
        known = spelling.choices(unknown[0], (*NAMES, "currency"))
        raise SpecError(f"{where}: nothing has the price {unknown[0]!r}; {known}")
    for name in NAMES:
        if name in raw and not _price(raw[name]):
            raise SpecError(f"{where}.{name}: expected a number from 0 up, got {raw[name]!r}")
    if not isinstance(raw.get("currency", ""), str):
        raise SpecError(f"{where}.currency: expected a text such as USD, got {raw['currency']!r}")
    return Prices(**raw)


def _price(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def bill(prices: Prices, amounts: Mapping[str, float | None]) -> dict[str, float | None]:
    """What ``amounts``, by the names of prices, cost; None where the price or the amount is not known.

    Amounts are in hours, GB, and single requests.
    """
    return {name: _cost(getattr(prices, name), amounts.get(name), name) for name in NAMES}


def _cost(price: float | None, amount: float | None, name: str) -> float | None:
    if price is None or amount is None:
        return None
    return price * amount / (1e6 if name.startswith("million_") else 1)
