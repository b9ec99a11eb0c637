"""The maps of all tiles of a section from the links between them: the simplest model that the points need.

Tiles are moved and wrong links dropped; then models with more freedom (turns, affine maps, a lens for each camera,
nets of nodes) are tried on four fifths of the points, and taken where they foretell the last fifth better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from igneous_ng.kernels import elastic_tiles, lens_fit, link_dropping, section_gauge, tile_fit
from igneous_ng.kernels.link_doubts import doubtful
from igneous_ng.kernels.links import Links, components
from igneous_ng.kernels.tile_fit import Model
from igneous_ng.kernels.tile_frames import Lenses, Seen, Tiles, length
from igneous_ng.kernels.tile_maps import TileMap

Array = npt.NDArray[Any]
Wish = Literal["auto", "translation", "rigid", "affine", "elastic"]
MODELS: tuple[Model, ...] = ("translation", "rigid", "affine")
NODES = (5, 9)
"""Nodes along a side of an elastic tile; more where that foretells points better."""
BENT = 1.0
"""Where one point in twenty is off by more, in pixels, elastic tiles are tried."""
_FINE = 0.3  # pixels: where one held-out point in twenty is off by more, more nodes are tried
_GAIN = 0.9  # what more freedom must leave of the error
_NOTHING = 0.02  # pixels: less is no error worth more freedom
_FEW = 10  # points are too few to compare models by


@dataclass(frozen=True)
class Phase:
    """How far points of the links in use were apart, after one step of solving."""

    name: str
    links: int
    p50: float
    p95: float
    most: float


@dataclass(frozen=True)
class Solved:
    """The maps of a section and what they rest on."""

    model: str
    coef: Array
    """Maps ``[n, 3, 2]`` without lens and elastic part."""
    lenses: Lenses
    maps: list[TileMap]
    component: Array
    """``[n]``, 0 is the largest."""
    kept: Array
    """A mask of the links in use, ``[l]``."""
    doubtful: Array
    """A mask of those in use that a dropped one contradicts and nothing confirms, ``[l]``."""
    off: Array
    """``[l]``, the median of how far the points of a link are apart, in pixels."""
    phases: list[Phase]


def solve(tiles: Tiles, links: Links, wish: Wish, lens: bool) -> Solved:
    """The maps of ``tiles``, with any model or that of ``wish``, and with lenses if wanted and needed."""
    plain = tiles.seen(links)
    kept = np.ones(len(links), bool)
    phases = [_phase("stage", plain, tiles.start, kept)]
    kept = link_dropping.by_translation(tiles, plain)
    coef = tile_fit.fit(tiles, plain.only(kept), tiles.start, "translation")
    phases.append(_phase("translation", plain, coef, kept))
    if wish != "translation":
        turned = tile_fit.fit(tiles, plain.only(kept), coef, "rigid")
        turned, kept = link_dropping.by_model(tiles, plain, turned, "rigid", kept)
        phases.append(_phase("rigid", plain, turned, kept))
    used = links.only(kept)
    model, bent = choose(tiles, used, wish, lens)
    if model != "translation":
        coef = turned
    lenses = lens_fit.fit(tiles, used, coef, model) if bent else []
    seen = tiles.seen(links, lenses) if lenses else plain
    if model == "affine" or lenses:
        coef = tile_fit.fit(tiles, seen.only(kept), coef, model)
    coef, kept = link_dropping.by_model(tiles, seen, coef, model, kept)
    phases.append(_phase(model + (" and lens" if lenses else ""), seen, coef, kept))
    nodes = elastic(tiles, seen.only(kept), coef) if _wanted(wish, phases[-1]) else 0
    return _laid(tiles, seen, _Fit(model, coef, lenses, kept, nodes), phases)


@dataclass(frozen=True)
class _Fit:
    model: Model
    coef: Array
    lenses: Lenses
    kept: Array
    nodes: int


def choose(tiles: Tiles, links: Links, wish: Wish, lens: bool) -> tuple[Model, bool]:
    """The model, and whether cameras have lenses: by points that were held out."""
    models: tuple[Model, ...] = MODELS if wish == "auto" else ("affine",) if wish == "elastic" else (wish,)
    if links.held.sum() < _FEW:
        return models[0], False
    if len(models) == 1 and not lens:
        return models[0], False
    best, model, error = _best(tiles, links, models, [])
    if not lens or error <= _NOTHING:
        return model, False
    lenses = lens_fit.fit(
        tiles, links.points(~links.held), best, "translation" if models[-1] == "translation" else "rigid"
    )
    if all(one is None for one in lenses):
        return model, False
    _, bent, less = _best(tiles, links, models, lenses)
    return (bent, True) if less < _GAIN * error else (model, False)


def _best(tiles: Tiles, links: Links, models: tuple[Model, ...], lenses: Lenses) -> tuple[Array, Model, float]:
    """The last maps but those of affine models, the simplest model that does, and its error."""
    seen = tiles.seen(links, lenses)
    train, test = seen.points(~links.held), seen.points(links.held)
    coef, near, chosen, least = tiles.start, tiles.start, models[0], np.inf
    for model in models:
        coef = tile_fit.fit(tiles, train, coef, model)
        error = _error(test.apart(coef))
        if error < _GAIN * least and least > _NOTHING:
            chosen, least = model, error
        near = near if model == "affine" else coef
    return near, chosen, least


def _error(apart: Array) -> float:
    """The geometric mean: a few points that no model explains do not hide what becomes of the others."""
    return float(np.exp(np.log(length(apart) + _NOTHING).mean()) - _NOTHING)


def _wanted(wish: Wish, phase: Phase) -> bool:
    return wish == "elastic" or (wish == "auto" and phase.p95 > BENT)


def elastic(tiles: Tiles, seen: Seen, coef: Array) -> int:
    """How many nodes along a side foretell points best; 0: none does better than affine maps."""
    held = seen.links.held
    if held.sum() < _FEW:  # nothing can be foretold of so few
        return 0
    train, test = seen.points(~held), seen.points(held)
    chosen, least = 0, _error(test.apart(coef))
    for nodes in NODES:
        found = elastic_tiles.fit(tiles, train, coef, nodes).reshape(-1, 2)
        apart = test.apart(coef) + elastic_tiles.pull(tiles, test, nodes) @ found
        error = _error(apart)
        if error < _GAIN * least:
            chosen, least = nodes, error
        if np.percentile(length(apart), 95) <= _FINE:
            break
    return chosen


def _laid(tiles: Tiles, seen: Seen, fit: _Fit, phases: list[Phase]) -> Solved:
    """The maps, laid where the stage has them."""
    apart, nodes, name = seen.apart(fit.coef), None, fit.model + (" and lens" if fit.lenses else "")
    if fit.nodes:
        moved = elastic_tiles.fit(tiles, seen.only(fit.kept), fit.coef, fit.nodes)
        apart = apart + elastic_tiles.pull(tiles, seen, fit.nodes) @ moved.reshape(-1, 2)
        back = np.linalg.inv(tiles.linear(fit.coef))
        nodes = np.einsum("nij,nxyj->nxyi", back, moved)
        name = "elastic" + (" and lens" if fit.lenses else "")
        phases = [*phases, _figures(name, length(apart)[fit.kept[seen.links.of]], int(fit.kept.sum()))]
    pair = seen.links.pair
    component = components(len(tiles), pair[fit.kept])
    coef = section_gauge.laid(tiles, fit.coef, component, fit.model != "translation")
    return Solved(
        model=name,
        coef=coef,
        lenses=fit.lenses,
        maps=tiles.maps(coef, fit.lenses, nodes),
        component=component,
        kept=fit.kept,
        doubtful=doubtful(len(tiles), pair, fit.kept),
        off=seen.links.medians(length(apart)),
        phases=phases,
    )


def _phase(name: str, seen: Seen, coef: Array, kept: Array) -> Phase:
    return _figures(name, length(seen.apart(coef))[kept[seen.links.of]], int(kept.sum()))


def _figures(name: str, apart: Array, links: int) -> Phase:
    found = np.percentile(apart, (50, 95, 100)).tolist() if len(apart) else (0.0, 0.0, 0.0)
    return Phase(name, links, *found)


def shapes(tiles: Tiles, coef: Array) -> Iterator[tuple[str, Array]]:
    """What maps do to the shape of tiles, beyond what the stage says: their scale, and shear as an angle."""
    linear = tiles.linear(coef) @ np.linalg.inv(tiles.matrix)
    x, y = linear[:, :, 0], linear[:, :, 1]
    yield "scale", np.sqrt(np.abs(x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]))
    yield "shear", (x * y).sum(axis=1) / (length(x) * length(y))
