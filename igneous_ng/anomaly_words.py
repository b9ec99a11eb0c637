"""What a comparison of two boxes found, in words: the walk from the anomaly to its cause, a line each."""

from __future__ import annotations

import math
from collections.abc import Iterator

from igneous_ng import words
from igneous_ng.anomalies import Compared, Findings, Node, few
from igneous_ng.kernels.comparing import Difference

_SHOWN = 4  # figures of a layer that parts; of one that does not, one


def lines(findings: Findings) -> Iterator[str]:
    """All layers from the anomaly upwards, what differs in each, and the root."""
    for node in findings.nodes:
        yield f"{_state(findings, node):<7} {node.layer}"
        known = [one for one in node.figures if one.difference is not None]
        parted = findings.parted(node)
        for one in parted[:_SHOWN] or sorted(known, key=_p)[:1]:
            yield f"          {one.series.said}: {differs(one)}"
    yield ""
    yield from conclusion(findings)


def conclusion(findings: Findings) -> Iterator[str]:
    """The root, and what cannot be told."""
    roots = findings.roots
    for node in roots:
        below = sum(bool(findings.parted(one)) for one in findings.nodes) - len(roots)
        others = f"; {words.count(below, 'layer')} made of it differ, too" if len(roots) == 1 and below else ""
        first = findings.parted(node)[0]
        yield f"root: {node.layer}: {first.series.said} {differs(first)}{others}"
        yield from (
            f"{one.layer}, from which it came, keeps no figures: {_measure(one)}"
            for one in findings.above(node)
            if findings.silent(one)
        )
    if not roots:
        figures, layers = words.count(findings.compared, "figure"), words.count(len(findings.nodes), "layer")
        yield f"nothing parts: {figures} of {layers} were compared"
        yield from (f"{one.layer} keeps no figures: {_measure(one)}" for one in findings.nodes if findings.silent(one))
    known = [one.difference for node in findings.nodes for one in node.figures]
    if not any(known):
        yield "too few units say anything of one of the boxes: take a larger one, or smaller cells"
    elif all(few(one) for one in known if one):
        yield "the box can be in fewer than 20 places, so nothing can be told from accident: use smaller cells"


def differs(one: Compared) -> str:
    """How a figure differs."""
    difference = one.difference
    if difference is None:
        return "too few units"
    inside, outside = difference.means
    return f"{inside:.4g} against {outside:.4g} ({_how(difference)})"


def _how(difference: Difference) -> str:
    ratio = difference.ratio
    times = "" if math.isinf(ratio) else f"x {ratio:.2f}, "
    moved = f", {difference.p_places:.2g} of {difference.places} places" if difference.places else ""
    return f"{times}{difference.standardised:+.1f} sd, p {difference.p:.1g}{moved}"


def _state(findings: Findings, node: Node) -> str:
    if findings.silent(node):
        return "silent"
    return "PARTS" if findings.parted(node) else "normal"


def _measure(node: Node) -> str:
    return f"`igneous-ng image measure {node.layer}`, if it is a layer, gives it some"


def _p(one: Compared) -> float:
    return one.difference.p if one.difference else 1.0
