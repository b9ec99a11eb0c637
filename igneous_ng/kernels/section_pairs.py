"""How one section lies on another: by points that both have, else by trying all turns; believed if blocks agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from igneous_ng.kernels import keypoint_pairs, turn_search
from igneous_ng.kernels.affine import IDENTITY, Affine
from igneous_ng.kernels.block_agreement import Agreement, View, agreement
from igneous_ng.kernels.keypoints import Keypoints

Status = Literal["points", "turns", "failed", "empty"]
SHARE = 0.3
"""Of the blocks of common tissue that must agree, beside those that may by chance."""
_FREE = 6  # blocks: of 13 to 64 of sections with nothing in common up to 6 agreed
_TRIED = 5


@dataclass(frozen=True)
class Sight:
    """What is known of a section: ``view``, and its points."""

    view: View
    points: Keypoints


@dataclass(frozen=True)
class Laid:
    """The first section on the second: ``affine`` takes its points there, pixels of the pictures."""

    status: Status
    affine: Affine = IDENTITY
    mirrored: bool = False
    inverted: bool = False
    inliers: int = 0
    agreed: Agreement | None = None

    @property
    def sure(self) -> bool:
        """Whether so many blocks agree that it is not by chance."""
        if self.agreed is None:
            return False
        return self.agreed.share * self.agreed.common >= SHARE * self.agreed.common + _FREE


NOTHING = Laid("empty")
"""Of a pair of which one is empty."""


def laid(a: Sight, b: Sight, seed: tuple[int, int]) -> Laid:
    """How ``a`` lies on ``b``; status failed where nothing is sure. ``seed``: of the draws."""
    found = _best(a, b, _from_points(a, b, seed))
    if not found.sure:
        found = max(found, _best(a, b, _from_turns(a, b)), key=lambda one: one.sure)
    return found if found.sure else Laid("failed", agreed=found.agreed)


def _from_points(a: Sight, b: Sight, seed: tuple[int, int]) -> Iterable[Laid]:
    for one in keypoint_pairs.guesses(a.points, b.points, seed):
        yield Laid("points", one.affine, one.mirrored, one.inverted, one.inliers)


def _from_turns(a: Sight, b: Sight) -> Iterable[Laid]:
    for one in turn_search.best_turns(a.view, b.view, _TRIED):
        yield Laid("turns", one.affine, one.mirrored, one.inverted)


def _best(a: Sight, b: Sight, guesses: Iterable[Laid]) -> Laid:
    """The first guess that is sure, they come best first; else the one of which most blocks agree."""
    best = Laid("failed")
    for one in guesses:
        agreed = agreement(a.view, b.view, one.affine, one.inverted)
        found = Laid(one.status, agreed.affine, one.mirrored, one.inverted, one.inliers, agreed)
        if found.sure:
            return found
        if best.agreed is None or agreed.score > best.agreed.score:
            best = found
    return best
