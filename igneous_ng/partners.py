"""Which of the segments near a cleft are its partners. Integers in and out, so that there is one answer.

A segment *passes* for a side where it has at least a quarter of the most evidence that any label has for that side, 0
among them. The presynaptic partner is the one of most evidence that passes for that side; postsynaptic partners are
the others that pass for theirs. Where one segment is the only one that passes for both sides, the cleft is an autapse
if neither side has less than a quarter of the other's evidence; else the weaker side has no partner. Ties go by
contact, then to the smaller label. Without evidence the two segments of most contact are the partners.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp

from igneous_ng.kernels.locations import RANKS
from igneous_ng.synapses import AUTAPSE, MORE, NO_POST, NO_PRE, UNORIENTED, UNSURE

_FULL = 255
_PASSES = 4  # times the evidence is not less than the most there is
EXCITATORY, INHIBITORY = 1, 2


@dataclass(frozen=True)
class Near:
    """The labels near a cleft, ascending: the voxels of each within the radius, and its evidence for either side."""

    labels: Sequence[int]
    voxels: Sequence[int]
    pre: Sequence[int]
    post: Sequence[int]


@dataclass(frozen=True)
class Pair:
    """Partners, as places in the list of labels, None where there is none; ``confidence`` is 255 where all is sure."""

    pre: int | None
    post: int | None
    flags: int
    confidence: int


def pairs(near: Near, polyadic: int) -> list[Pair]:
    """The partners of a cleft, by falling evidence; always one pair at least.

    ``polyadic`` are thousandths of the best postsynaptic evidence that further partners must have; 0: one is enough.
    """
    pre, posts, flags = _sides(near)
    posts, more = _several(near.post, posts, polyadic)
    if not posts:
        return [Pair(pre, None, flags | NO_POST, 0)]
    if pre is None:
        return [Pair(None, post, flags | more | NO_PRE, 0) for post in posts]
    aside = {pre, *posts}
    found = []
    for post in posts:
        sure, doubt = _sure(near.pre, near.labels, pre, {pre})
        other, second = _sure(near.post, near.labels, post, aside)
        mean = min(_mean(near.pre, near.voxels, pre), _mean(near.post, near.voxels, post))
        found.append(Pair(pre, post, flags | more | doubt | second, min(sure, other) * mean // _FULL))
    return found


def unoriented(near: Near, polyadic: int) -> list[Pair]:
    """The partners of a cleft by contact alone, the one of most contact as if it were presynaptic.

    The confidence tells by how much they are nearer than others are.
    """
    order = _ranked(near.voxels, near)
    posts, more = _several(near.voxels, order[1:], polyadic)
    flags = UNORIENTED | more
    if not posts:
        return [Pair(order[0] if order else None, None, flags | NO_POST | (0 if order else NO_PRE), 0)]
    aside = {order[0], *posts, *(place for place, label in enumerate(near.labels) if not label)}
    found = []
    for post in posts:
        sure, doubt = _sure(near.voxels, near.labels, post, aside)
        found.append(Pair(order[0], post, flags | doubt, sure))
    return found


def by_channels(excitatory: int, inhibitory: int) -> tuple[int, int]:
    """The kind that has more evidence and its share of it, of 255; 0 where there is none, or as much of both."""
    both = excitatory + inhibitory
    kind = (excitatory > inhibitory) * EXCITATORY + (inhibitory > excitatory) * INHIBITORY
    return kind, (_FULL * max(excitatory, inhibitory) // both if kind else 0)


def by_density(pre: tuple[int, int], post: tuple[int, int], curve: tuple[float, float]) -> tuple[int, int]:
    """The kind by the density beside the membranes, and its probability, of 255.

    A synapse of Gray's type I, mostly excitatory, has a thick dark band behind the postsynaptic membrane; of type II,
    mostly inhibitory, bands of both sides are alike (Gray 1959; Colonnier 1968). ``pre`` and ``post`` are sums of
    darkness (0 to 255) and voxels within the radius: the difference of their means, postsynaptic less presynaptic, is
    how much thicker and darker that band is. The probability of type I is logistic in it, one half at ``curve[0]``
    grey values, and steeper the smaller ``curve[1]``.
    """
    if not pre[1] or not post[1]:
        return 0, 0
    difference = (post[0] * pre[1] - pre[0] * post[1]) / (pre[1] * post[1])  # one rounding of whole numbers
    steep = max(-700.0, min(700.0, (difference - curve[0]) / curve[1]))
    sure = 1 / (1 + exp(-steep))
    kind = EXCITATORY if sure >= 0.5 else INHIBITORY
    return kind, int(_FULL * max(sure, 1 - sure) + 0.5)


def _sides(near: Near) -> tuple[int | None, list[int], int]:
    """The presynaptic partner, those that may be postsynaptic, best first, and what is odd."""
    pres, posts = _passing(near.pre, near), _passing(near.post, near)
    if not pres:
        return None, posts, 0 if posts else NO_PRE
    pre = pres[0]
    others = [place for place in posts if place != pre]
    if others or not posts:
        return pre, others, 0
    if len(pres) > 1:
        return pres[1], posts, 0
    left, right = near.pre[pre], near.post[pre]
    if min(left, right) * _PASSES >= max(left, right):
        return pre, posts, AUTAPSE
    return (None, posts, 0) if left < right else (pre, [], 0)


def _passing(evidence: Sequence[int], near: Near) -> list[int]:
    most = max(evidence, default=0)
    return [place for place in _ranked(evidence, near) if evidence[place] * _PASSES >= most]


def _ranked(evidence: Sequence[int], near: Near) -> list[int]:
    """Segments that have any of the evidence, by how much they have."""
    some = (place for place, label in enumerate(near.labels) if label and evidence[place])
    return sorted(some, key=lambda place: (-evidence[place], -near.voxels[place], near.labels[place]))


def _several(evidence: Sequence[int], posts: list[int], polyadic: int) -> tuple[list[int], int]:
    """The postsynaptic partners that are wanted, and whether there are more than rows can tell."""
    if not polyadic:
        return posts[:1], 0
    enough = [place for place in posts if evidence[place] * 1000 >= evidence[posts[0]] * polyadic]
    return enough[:RANKS], MORE if len(enough) > RANKS else 0


def _sure(evidence: Sequence[int], labels: Sequence[int], chosen: int, aside: Iterable[int]) -> tuple[int, int]:
    """By how much, of 255, the one that was chosen has more evidence than any label has that is not set aside.

    And UNSURE, where a segment among these has three quarters of it.
    """
    aside, best = set(aside), evidence[chosen]
    rivals = [(score, label) for place, (score, label) in enumerate(zip(evidence, labels, strict=True))
              if place not in aside]  # fmt: skip
    next_best = max((score for score, label in rivals if label), default=0)
    most = max((score for score, _ in rivals), default=0)
    return _FULL * max(0, best - most) // best, UNSURE if next_best * 4 >= best * 3 else 0


def _mean(evidence: Sequence[int], voxels: Sequence[int], place: int) -> int:
    return min(_FULL, evidence[place] // max(1, voxels[place]))
