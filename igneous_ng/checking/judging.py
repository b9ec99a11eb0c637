"""Whether an aligned volume may be published: figures of sections against bounds, and chains that are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from igneous_ng.formats.checks import Check
from igneous_ng.pages.courses import Demand

_RANGES = 8  # spans of sections that a reason names


@dataclass(frozen=True)
class Bounds:
    """What is demanded of neighbours. Lengths are pixels of mip 0; of sections k apart k times as much is allowed.

    Shares of blocks and nodes may then be ``k^2`` times as bad: tissue that far apart is less alike.
    """

    off: float
    """A block that is farther off, and clearly better there, is misaligned."""
    held_out: float
    residual: float
    misaligned: float
    alike: float
    good: float
    folded: int
    breaks: int
    spared: float
    """Share of sections that may be beyond these bounds; folds and broken chains are never spared."""


@dataclass(frozen=True)
class Rule:
    """One figure and its bound."""

    key: str
    bound: str
    """The field of :class:`Bounds`."""
    said: str
    sign: int = 1
    """-1 where figures below the bound are wrong."""
    apart: int = 0
    """Which power of their distance more is allowed of sections that are no neighbours."""
    spared: bool = True

    def most(self, check: Check, bounds: Bounds) -> float:
        """The bound for a section."""
        apart = 1 if check.against is None else check.z - check.against
        return float(getattr(bounds, self.bound) * apart ** (self.sign * self.apart))

    def beyond(self, check: Check, bounds: Bounds) -> float:
        """By what factor a section is beyond the bound; up to 1 it is within, 0 where there is no figure."""
        value, most = getattr(check, self.key), self.most(check, bounds)
        if value is None:
            return 0.0
        above, below = (value, most) if self.sign > 0 else (most, value)
        if above <= below:
            return min(1.0, above / below) if below > 0 else 0.0
        return above / below if below > 0 else 1.0 + above


RULES = (
    Rule("held_out_p95", "held_out", "places between nodes are off", apart=1),
    Rule("misaligned", "misaligned", "blocks lie clearly better elsewhere", apart=2),
    Rule("alike", "alike", "too few blocks find anything alike near by", sign=-1, apart=2),
    Rule("good", "good", "too few nodes have a good displacement", sign=-1, apart=2),
    Rule("residual_p95", "residual", "the solution contradicts displacements", apart=1),
    Rule("folded", "folded", "cells are folded", spared=False),
)
"""What a section is judged by."""


def wrong(check: Check, bounds: Bounds) -> list[str]:
    """What is wrong with a section, in words with figures."""
    return [_words(rule, check, bounds) for rule in RULES if rule.beyond(check, bounds) > 1]


def score(check: Check, bounds: Bounds) -> float:
    """How bad a section is: the largest of its figures in units of their bounds."""
    return max(rule.beyond(check, bounds) for rule in RULES)


def _words(rule: Rule, check: Check, bounds: Bounds) -> str:
    most = rule.most(check, bounds)
    limit = "least" if rule.sign < 0 else "most"
    return f"{rule.said}: {rule.key} {getattr(check, rule.key):.3g}, at {limit} {most:.3g} is right"


def breaks(checks: Iterable[Check]) -> list[tuple[int, int]]:
    """Sections that follow one another and that nothing connects: no displacement leads across, or no rough map."""
    shown = [one for one in checks if one.source >= 0]
    found = []
    for n, (below, above) in enumerate(pairwise(shown)):
        across = any(_leads(one, below.z) for one in shown[n + 1 : n + 1 + len(above.links)])
        if not across or below.component != above.component:
            found.append((below.z, above.z))
    return found


def _leads(check: Check, below: int) -> bool:
    """Whether a displacement of a section leads to ``below`` or farther down."""
    return any(count and check.z - k <= below for k, count in enumerate(check.links, 1))


@dataclass(frozen=True)
class Verdict:
    """``verdict.json``."""

    round: int
    reasons: tuple[str, ...]
    figures: dict[str, Any]
    accepted: str | None = None
    """Why it is published all the same, as an operator says."""

    @property
    def publish(self) -> bool:
        """Whether rendering may go on."""
        return not self.reasons or self.accepted is not None

    def to_json(self) -> dict[str, Any]:
        """To be stored."""
        said = {} if self.accepted is None else {"accepted": self.accepted}
        head = {"round": self.round, "publish": self.publish, "reasons": list(self.reasons)}
        return {**head, **said, "figures": self.figures}


def judge(checks: Sequence[Check], bounds: Bounds, accepted: str | None = None) -> Verdict:
    """The verdict on all sections of a round, in their order."""
    reasons = list(_reasons(checks, bounds))
    return Verdict(checks[0].round, tuple(reasons), _summary(checks, bounds), accepted)


def _reasons(checks: Sequence[Check], bounds: Bounds) -> Iterable[str]:
    shown = [one for one in checks if one.source >= 0]
    if not any(one.held_out_p95 is not None for one in shown):
        yield "no two sections could be compared: none is shown, or no block of two neighbours has tissue"
    if len(apart := breaks(checks)) > bounds.breaks:
        said = ", ".join(f"{a} and {b}" for a, b in apart[:_RANGES]) + _more(len(apart) - _RANGES)
        yield f"the chain is broken between sections {said}"
    failed = {rule: [one.z for one in shown if rule.beyond(one, bounds) > 1] for rule in RULES}
    beyond = {z for rule, zs in failed.items() if rule.spared for z in zs}
    spared = len(beyond) <= bounds.spared * len(shown)
    for rule, zs in failed.items():
        if zs and not (rule.spared and spared):
            worst = max((one for one in shown if one.z in set(zs)), key=lambda one: rule.beyond(one, bounds))
            yield f"{_words(rule, worst, bounds)} (section {worst.z}); beyond it: {ranges(zs)}"


def demands(checks: Sequence[Check], bounds: Bounds) -> dict[str, Demand]:
    """The bounds as pages show them: those of neighbours, and which sections are beyond theirs."""
    pair = Check(z=1, against=0, round=0, source=1)
    return {
        rule.key: Demand(
            rule.most(pair, bounds),
            rule.sign,
            tuple(one.source >= 0 and rule.beyond(one, bounds) > 1 for one in checks),
        )
        for rule in RULES
    }


def words(raw: Mapping[str, Any], page: str) -> str:
    """A stored verdict for people."""
    figures, said = raw["figures"], "may be published"
    if not raw["publish"]:
        said = "is held back"
    elif raw["reasons"]:
        said = f"is published all the same ({raw['accepted']})"
    off = figures.get("held_out_p95", {"median": float("nan")})["median"]
    lines = [
        f"round {raw['round']} {said}: {figures['sections']:,} sections, {figures['beyond']:,} beyond bounds, missing: "
        f"{figures['missing']}; 95 of 100 places between nodes are within {off:.3g} px in the median section: {page}"
    ]
    return "\n".join([*lines, *(f"- {one}" for one in raw["reasons"])])


def ranges(zs: Sequence[int], most: int = _RANGES) -> str:
    """Section numbers as spans: ``sections 3, 7-12 and 40 more``."""
    spans: list[list[int]] = []
    for z in zs:
        if spans and z == spans[-1][1] + 1:
            spans[-1][1] = z
        else:
            spans.append([z, z])
    said = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans[:most])
    left = sum(b - a + 1 for a, b in spans[most:])
    return f"{'section' if len(zs) == 1 else 'sections'} {said}{_more(left)}"


def _more(count: int) -> str:
    return f" and {count:,} more" if count > 0 else ""


def _summary(checks: Sequence[Check], bounds: Bounds) -> dict[str, Any]:
    """Figures of the whole stack: the median section, and the worst, of each figure that is judged."""
    shown = [one for one in checks if one.source >= 0]
    missing = [one.z for one in checks if one.source < 0]
    found: dict[str, Any] = {
        "sections": len(checks),
        "missing": ranges(missing) if missing else "none",
        "beyond": sum(score(one, bounds) > 1 for one in shown),
        "breaks": len(breaks(checks)),
        "folded": sum(one.folded for one in shown),
    }
    for key, pick in _SUMMED:
        values = [value for one in shown if (value := getattr(one, key)) is not None]
        if values:
            middle, worst = float(np.median(values)), float(pick(values))
            found[key] = {"median": float(f"{middle:.5g}"), "worst": float(f"{worst:.5g}")}
    return found


_SUMMED: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("held_out_p50", max),
    ("held_out_p95", max),
    ("misaligned", max),
    ("alike", min),
    ("good", min),
    ("residual_p50", max),
    ("residual_p95", max),
    ("loop_p50", max),
    ("gap_p50", max),
    ("strain_p95", max),
    ("jitter_ratio", max),
)
