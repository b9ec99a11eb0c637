"""What is wrong with sections in the light of each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise

from igneous_ng.formats.overrides import Override
from igneous_ng.formats.verified import BAD, Finding
from igneous_ng.registering.overriding import CODE

_MOST = 100  # sections that are named one by one in a gap


def gaps(sections: Sequence[int]) -> list[Finding]:
    """The sections that the sequence lacks, by the step that it mostly has."""
    steps = Counter(b - a for a, b in pairwise(sections))
    if not steps:
        return []
    step = min(steps, key=lambda one: (-steps[one], one))
    rows = []
    for a, b in pairwise(sections):
        lost = range(a + step, b, step)
        if len(lost) > _MOST:
            rows.append(Finding("sequence", BAD, f"sections {lost[0]} to {lost[-1]} are missing, {len(lost)} of them"))
        else:
            rows += [Finding("sequence", BAD, f"section {z} is missing") for z in lost]
    return rows


def odd(kinds: dict[int, tuple[str, int]]) -> dict[int, Finding]:
    """The sections whose pictures are of another type, or have other channels, than those of most."""
    if not kinds:
        return {}
    count = Counter(kinds.values())
    usual = max(count, key=lambda kind: (count[kind], kind))
    said = "section {} has {} x {}; most have {} x {}: it is left out"
    return {
        z: Finding("type", BAD, said.format(z, kind[1], kind[0], usual[1], usual[0]))
        for z, kind in kinds.items()
        if kind != usual
    }


def astray(said: Sequence[Override], sections: Collection[int]) -> list[Finding]:
    """Overrides of sections that are not there."""
    words = "there is no section {}; correct z, or remove the line"
    return [
        Finding(CODE, BAD, f"{one.words}: {words.format(one.z)}", one.tile) for one in said if one.z not in sections
    ]
