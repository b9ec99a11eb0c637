"""What was measured of how a section lies in an aligned volume: ``checks/z000012.json``.

Lengths are pixels of mip 0. A figure is None where there was nothing to measure it by.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import DataError

DIGITS = 5
"""Digits of a figure that are kept."""
Worst = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The figures of one section."""

    z: int
    round: int
    source: int
    """The section of the layer that is shown; -1: none, and then nothing was measured."""
    component: int = 0
    against: int | None = None
    """The section with which it was compared: the nearest below that is shown, at most four away."""
    statuses: tuple[int, ...] = (0, 0, 0, 0, 0)
    """Nodes by what the flow to the section below says of them: good, void, weak, unlike, at the end of the search."""
    links: tuple[int, ...] = (0, 0, 0, 0)
    """Displacements that the solution rests on, by distance from 1."""
    good: float | None = None
    """Share of the nodes with something to see that have such a displacement."""
    residual_p50: float | None = None
    """What the solution leaves of these displacements."""
    residual_p95: float | None = None
    residual_max: float | None = None
    loops: int = 0
    """Nodes at which d(z, z-1) + d(z-1, z-2) - d(z, z-2) is known; it would be 0."""
    loop_p50: float | None = None
    loop_p95: float | None = None
    blocks: int = 0
    """Blocks between nodes, in which both sections have tissue, that were compared anew through the final maps."""
    alike: float | None = None
    """Share of them in which some place near by is alike."""
    held_out_p50: float | None = None
    """How far from where it should be the best place is, in those that are alike."""
    held_out_p95: float | None = None
    back_p50: float | None = None
    """By how much the same, asked from the other section, is not the opposite."""
    back_p95: float | None = None
    misaligned: float | None = None
    """Share of the blocks that are alike whose best place is farther away than is allowed, and clearly better."""
    shift_x: float | None = None
    """The median of these displacements along an axis: what all of the section is off by."""
    shift_y: float | None = None
    correlation: float | None = None
    """The median correlation of blocks as they lie."""
    gap_p50: float | None = None
    """By how much it would be better at the best place."""
    gap_p95: float | None = None
    strain_p95: float | None = None
    """Stretch or compression of lengths by the elastic map, 0.01 being one hundredth."""
    strain_max: float | None = None
    area_min: float | None = None
    """Of what becomes of an area; 1: the same."""
    area_max: float | None = None
    folded: int = 0
    """Cells between nodes that lie upside down, but for those at folds and cracks that the mask knows."""
    torn: int = 0
    """Those at such folds and cracks."""
    drift_x: float | None = None
    """Mean displacement of the section from its rough map."""
    drift_y: float | None = None
    turn: float | None = None
    """The same, as a turn in radians."""
    jitter: float | None = None
    """How much displacements differ from those of the section below at the shortest wavelengths, rms along an axis."""
    jitter_ratio: float | None = None
    """The same, in units of how sure matches are; above 1 the solution follows what nobody knows."""
    worst: tuple[Worst, ...] = ()
    """Places (x, y of the volume) that are off the most, and how far."""

    def to_json(self) -> dict[str, Any]:
        """To be stored; figures with :data:`DIGITS` digits."""
        return {key: _rounded(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, raw: Any, where: str) -> Check:
        """As it is stored; DataError where it is none."""
        try:
            worst = tuple((x, y, off) for x, y, off in raw["worst"])
            return cls(**{**raw, "statuses": tuple(raw["statuses"]), "links": tuple(raw["links"]), "worst": worst})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: says nothing of a section ({error!r}); run `align check` again") from None

    def figures(self) -> dict[str, Any]:
        """Those that are known, for records."""
        left_out = ("z", "round", "worst")
        return {key: value for key, value in self.to_json().items() if value is not None and key not in left_out}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return [_rounded(one) for one in value] if isinstance(value, (tuple, list)) else value
