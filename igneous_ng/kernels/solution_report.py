"""What the solution of a section rests on, for people and programs: links, what they leave, components, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels.links import Matches
from igneous_ng.kernels.montage_solving import Phase, Solved, shapes
from igneous_ng.kernels.tile_frames import Tiles, length
from igneous_ng.kernels.tile_maps import Lens

Array = npt.NDArray[Any]
_WORST = 20
_NAMED = 1000  # no list is longer


def report(names: Sequence[str], tiles: Tiles, matches: Matches, solved: Solved) -> dict[str, Any]:
    """To be stored as JSON; lengths are pixels of the section, angles radians."""
    used, doubtful = int(solved.kept.sum()), int(solved.doubtful.sum())
    return {
        "model": solved.model,
        "tiles": len(tiles),
        "links": {**matches.counts, "used": used, "doubtful": doubtful, "dropped": len(solved.kept) - used},
        "phases": [_phase(one) for one in solved.phases],
        "dropped": _dropped(names, matches, solved),
        "doubtful": _named(names, matches, solved, solved.doubtful, _NAMED),
        "worst": _named(names, matches, solved, solved.kept, _WORST),
        "components": _components(names, solved),
        "from_stage": _spread(length(solved.coef[:, 0] - tiles.start[:, 0])),
        "shape": {what: _spread(values) for what, values in shapes(tiles, solved.coef)},
        "lenses": [_lens(camera, lens, tiles) for camera, lens in enumerate(solved.lenses) if lens is not None],
    }


def _phase(phase: Phase) -> dict[str, Any]:
    figures = {"p50": _number(phase.p50), "p95": _number(phase.p95), "max": _number(phase.most)}
    return {"after": phase.name, "links": phase.links, **figures}


def _dropped(names: Sequence[str], matches: Matches, solved: Solved) -> list[dict[str, Any]]:
    """The links left out, the worst first; ``parts``: without it its tiles are in two components."""
    sides = solved.component[matches.links.pair]
    parts = (sides[:, 0] != sides[:, 1]).tolist()
    order = _order(solved, ~solved.kept)[:_NAMED]
    found = _named(names, matches, solved, ~solved.kept, _NAMED)
    return [{**one, "parts": parts[n]} for one, n in zip(found, order, strict=True)]


def _named(names: Sequence[str], matches: Matches, solved: Solved, which: Array, most: int) -> list[dict[str, Any]]:
    """At most so many links of a mask, those that fit least first."""
    order = _order(solved, which)[:most]
    pairs = matches.links.pair[order].tolist()
    offs = solved.off[order].tolist()
    return [{"tiles": [names[i], names[j]], "off": _number(off)} for (i, j), off in zip(pairs, offs, strict=True)]


def _order(solved: Solved, which: Array) -> list[int]:
    found = np.flatnonzero(which)
    ordered: list[int] = found[np.lexsort((found, -solved.off[found]))].tolist()
    return ordered


def _components(names: Sequence[str], solved: Solved) -> list[dict[str, Any]]:
    """Each with its size, how it was placed, and its first tile."""
    count = int(solved.component.max(initial=-1)) + 1
    sizes = np.bincount(solved.component, minlength=count).tolist()
    _, first = np.unique(solved.component, return_index=True)
    return [
        {"tiles": size, "placed": _how(n, sizes), "first": names[at]}
        for n, (size, at) in enumerate(zip(sizes, first.tolist(), strict=True))
    ][:_NAMED]


def _how(component: int, sizes: list[int]) -> str:
    if component == 0 or sizes[0] == 1:
        return "as the stage has it"
    return "as the stage has it, moved as the nearest tiles of the first component"


def _spread(values: Array) -> dict[str, float]:
    if not len(values):
        return {"median": 0.0, "mad": 0.0, "max": 0.0}
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    return {"median": _number(median), "mad": _number(mad), "max": _number(np.abs(values).max())}


def _lens(camera: int, lens: Lens, tiles: Tiles) -> dict[str, Any]:
    mine = np.flatnonzero(tiles.camera == camera)
    width, height = tiles.size[mine[0]].tolist()
    edge = np.stack(np.meshgrid(np.linspace(0, width - 1, 17), np.linspace(0, height - 1, 17)), axis=-1)
    figures = {"tiles": len(mine), "reach": _number(length(lens(edge)).max())}
    return {"camera": camera, "size": [width, height], **figures, "terms": lens.terms.tolist()}


def _number(value: float) -> float:
    return float(f"{value:.5g}")
