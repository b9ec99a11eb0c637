"""Sections with known maps, and the matches that follow from them: for tests of the solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.formats import columns
from igneous_ng.formats.sections import name
from igneous_ng.formats.tiles import Picture
from igneous_ng.kernels.links import Links, Matches, gather
from igneous_ng.kernels.tile_frames import Tiles
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap
from igneous_ng.montage import BATCH, Montage, Placed, Row, Section
from igneous_ng.store import Store

Array = npt.NDArray[Any]
SIDE, STEP = 1000, 900


@dataclass(frozen=True)
class Mosaic:
    """A lattice of square tiles: where the stage has them, their true maps, and points of the pairs' overlaps."""

    columns: int
    stage: Array
    truth: list[TileMap]
    matches: dict[str, Array]

    @property
    def tiles(self) -> Tiles:
        n = len(self.truth)
        eye = np.broadcast_to(np.eye(2), (n, 2, 2))
        return Tiles(np.full((n, 2), SIDE), eye, self.stage, np.zeros(n, np.int64))

    @property
    def links(self) -> Links:
        return self.gathered().links

    def gathered(self) -> Matches:
        return gather([self.matches], self.tiles.size, "here")

    def section(self, z: int = 0) -> Section:
        picture = (Picture("file:///no.png"),)
        placed = [
            Placed(f"t{n:05d}", float(x), float(y), SIDE, SIDE, picture, camera="a")
            for n, (x, y) in enumerate(self.stage.tolist())
        ]
        return Section(z, tuple(placed), "uint8", 1)

    def wrong(self, share: float, by: float, seed: int = 1) -> tuple[Mosaic, Array]:
        """The same with some links moved by ``by`` pixels in any direction, and which these are."""
        return self.moved(np.random.default_rng(seed).random(len(self.matches["pair"])) < share, by, seed)

    def moved(self, bad: Array, by: float, seed: int = 1) -> tuple[Mosaic, Array]:
        """The same with the links of a mask moved so, and the mask."""
        rng = np.random.default_rng(seed + 1000)  # not that which drew the mask
        angle = rng.uniform(0, 2 * np.pi, len(bad))
        move = by * np.stack([np.cos(angle), np.sin(angle)], axis=1) * bad[:, None]
        moved = {**self.matches, "q": self.matches["q"] + move[self.matches["of"]]}
        return replace(self, matches=moved), bad

    def without(self, pairs: Callable[[Array], Array], status: int = 2) -> Mosaic:
        """The same where the pairs of a mask, from ``[l, 2]``, do not match."""
        out = pairs(self.matches["pair"])
        found = np.where(out, status, self.matches["status"]).astype(np.uint8)
        kept = ~out[self.matches["of"]]
        less = {key: self.matches[key][kept] for key in ("of", "p", "q", "weight")}
        return replace(self, matches={**self.matches, **less, "status": found})


def mosaic(
    rows: int, cols: int, kind: str = "translation", noise: float = 0.0, seed: int = 0, each: int = 30
) -> Mosaic:
    """Tiles off by up to 20 px of the stage, whose maps are of a ``kind``, and noisy points."""
    rng = np.random.default_rng(seed)
    n = rows * cols
    row, col = np.divmod(np.arange(n), cols)
    stage = np.stack([col, row], axis=1) * float(STEP)
    truth = _truth(kind, stage + rng.uniform(-20, 20, (n, 2)), rng)
    near = [(k, k + 1) for k in range(n) if k % cols < cols - 1] + [(k, k + cols) for k in range(n - cols)]
    pair = np.array(sorted(near), np.int32).reshape(-1, 2)
    of = np.repeat(np.arange(len(pair), dtype=np.int32), each)
    p, q = np.zeros((len(of), 2)), np.zeros((len(of), 2))
    for link, (i, j) in enumerate(pair.tolist()):
        mine = slice(link * each, (link + 1) * each)
        p[mine] = rng.uniform((STEP, 0) if j == i + 1 else (0, STEP), SIDE - 1, (each, 2))
        q[mine] = np.clip(truth[j].inverse(truth[i](p[mine])), 0, SIDE - 1)
        p[mine] = truth[i].inverse(truth[j](q[mine]))
    q += rng.normal(0, noise, q.shape) if noise else 0
    found: dict[str, Array] = {
        "pair": pair,
        "status": np.zeros(len(pair), np.uint8),
        "shift": (stage[pair[:, 1]] - stage[pair[:, 0]]).astype(np.float64),
        "confidence": np.ones(len(pair), np.float32),
        "of": of,
        "p": p,
        "q": q,
        "weight": np.full(len(of), 400, np.float32),
    }
    return Mosaic(cols, stage, truth, found)


def _truth(kind: str, places: Array, rng: np.random.Generator) -> list[TileMap]:
    size = (SIDE, SIDE)
    lens = Lens((499.5, 499.5), float(np.hypot(SIDE, SIDE) / 2), rng.normal(0, 1.5, (len(POWERS), 2)))
    found = []
    for place in places:
        matrix, nodes = np.eye(2), np.zeros((0, 0, 2))
        if kind == "rigid":
            angle = rng.normal(0, 0.01)
            matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        elif kind == "affine":
            matrix = matrix + rng.normal(0, 0.004, (2, 2))
        elif kind == "elastic":
            nodes = rng.normal(0, 1.0, (5, 5, 2))
        found.append(TileMap(size, matrix, place, lens if kind == "lens" else None, nodes))
    return found


def store(home: str, *sections: tuple[int, Mosaic]) -> Montage:
    """The folder of a montage with these sections, registered and matched."""
    rows = []
    for z, one in sections:
        section = one.section(z)
        Store().put_json(f"{home}/sections/{name(z)}.json", section.to_json())
        pairs = len(one.matches["pair"])
        box = section.box if section.tiles else (0.0, 0.0, 0.0, 0.0)
        rows.append(Row(z, len(section.tiles), pairs, box))
        for batch in range(-(-pairs // BATCH)):
            data = columns.pack(cut(one.matches, batch * BATCH, (batch + 1) * BATCH))
            Store().put(f"{home}/matches/{name(z)}/{batch:03d}.cols", data)
    made = Montage(home, 4.0, "uint8", 1, tuple(rows))
    Store().put_json(f"{home}/sections.json", made.to_json())
    return made


def cut(matches: dict[str, Array], start: int, stop: int) -> dict[str, Array]:
    """The batch of the pairs from ``start`` to ``stop``."""
    links = {key: matches[key][start:stop] for key in ("pair", "status", "shift", "confidence")}
    of = matches["of"]
    mine = (of >= start) & (of < stop)
    return {**links, "of": of[mine] - np.int32(start), **{key: matches[key][mine] for key in ("p", "q", "weight")}}


def fitted(found: list[TileMap], truth: list[TileMap], turn: bool) -> Array:
    """How far maps put points of each tile from where they are, ``[n]``, with the section moved, and turned, to fit."""
    grid = np.stack(np.meshgrid(np.linspace(0, SIDE - 1, 5), np.linspace(0, SIDE - 1, 5)), axis=-1).reshape(-1, 2)
    a, b = np.array([one(grid) for one in found]), np.array([one(grid) for one in truth])
    a, b = a - a.mean(axis=(0, 1)), b - b.mean(axis=(0, 1))
    if turn:
        x, y = (a[..., 0] + 1j * a[..., 1]), (b[..., 0] + 1j * b[..., 1])
        x = x * np.exp(1j * np.angle((np.conj(x) * y).sum()))
        a = np.stack([x.real, x.imag], axis=-1)
    return np.asarray(np.hypot(*np.moveaxis(a - b, -1, 0)).max(axis=1))
