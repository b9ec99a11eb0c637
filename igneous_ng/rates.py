"""How fast stages go, as it was measured on one machine: the file ``rates.toml`` of this package, made by a bench.

A rate is what a stage takes for a voxel of the level that it reads, and how many objects it reads and writes for a
chunk of that. Where a stage goes at several speeds it has several rates, each for requests that are ``when`` says.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from igneous_ng import templates

CHUNK = 64**3  # voxels of a chunk, where nothing says how large chunks are
ANY = "*"


@dataclass(frozen=True)
class Rate:
    """What a stage took: CPU nanoseconds and bytes for a voxel, requests for a chunk.

    ``least`` and ``most`` are the fewest and the most CPU nanoseconds of the volumes that it was measured ``on``.
    """

    stage: str
    on: str
    cpu_ns: float
    least: float
    most: float
    read: float
    written: float
    gets: float
    puts: float
    when: Mapping[str, Any]

    def fits(self, facts: Mapping[str, Any]) -> bool:
        """Whether it is of a request that ``facts`` tell; ``*`` stands for whatever is neither empty nor false."""
        return all(
            bool(facts.get(key)) if wanted == ANY else facts.get(key) == wanted for key, wanted in self.when.items()
        )

    @property
    def spread(self) -> float:
        """How much more one volume took than another."""
        return self.most / self.least if self.least else 1.0


@dataclass(frozen=True)
class Rates:
    """All rates, what they were measured on, and of chains the names of their steps.

    ``process_bytes`` is what a worker process holds beside its task.
    """

    machine: str
    date: str
    process_bytes: int
    rates: tuple[Rate, ...]
    chains: Mapping[str, tuple[str, ...]]

    def find(self, stage: str, facts: Mapping[str, Any]) -> Rate | None:
        """The rate that says most of a request, of those that fit it; None where there is none."""
        found = [rate for rate in self.rates if rate.stage == stage and rate.fits(facts)]
        return max(found, key=lambda rate: len(rate.when), default=None)


@functools.cache
def shipped() -> Rates:
    """The rates that come with this package."""
    return parse(resources.files("igneous_ng").joinpath("rates.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Rates:
    """The rates in ``text``."""
    raw = templates.table(text)
    measured = raw["measured"]
    return Rates(
        machine=measured["machine"],
        date=measured["date"],
        process_bytes=measured["process_bytes"],
        rates=tuple(Rate(**{"when": {}, **one}) for one in raw["rate"]),
        chains={name: tuple(steps) for name, steps in raw.get("chains", {}).items()},
    )
