"""Models by name: ``sheet``, ``net``, ``cleft``, or the URL of a folder."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import cast

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3, Vec3f
from igneous_ng.io import IO
from igneous_ng.models import folder, level, recurrent, sheet
from igneous_ng.models.base import Answering, Flooding, Machine, Model
from igneous_ng.models.folder import Card
from igneous_ng.store import digest

_STORED = ("net", "cleft")
NAMES = ("sheet", *_STORED)
"""The models that come with the package: a filter, a network of affinities, one of the sides of synapses."""
_PACKAGED = Path(__file__).parent


def card(io: IO, name: str, resolution: Vec3f, extent: Vec3) -> Card:
    """What a model says of itself, to a level of such voxels and so many of them; SpecError where there is none."""
    if name == "sheet":
        return sheet.card(resolution, extent)
    if name not in _STORED:
        return _of_voxels(folder.read(io, name), name)
    where = _PACKAGED / name / "model.json"
    if not where.exists():
        raise SpecError(
            f"this package was built without its network {name}; give --model sheet, or the URL of a model's folder"
        )
    return Card.parse(json.loads(where.read_text()), str(where))


def flooding(io: IO, name: str, resolution: Vec3f) -> Card:
    """What a model that floods says of itself, to voxels of ``resolution``; SpecError where there is none."""
    if name == level.NAME:
        return level.card(resolution)
    found = folder.read(io, name)
    if found.deltas is None:
        raise SpecError(
            f"{name}: a model for `segment infer`, that does not flood; `segment train flood` makes what floods"
        )
    return found


def sides(io: IO, name: str, resolution: Vec3f) -> Card:
    """What a model says of itself that tells the sides of clefts, in voxels of ``resolution``; else SpecError."""
    found = folder.read(io, name)
    if not found.sides:
        raise SpecError(f"{name}: a model of something else than the sides of clefts; its model.json has no such task")
    if found.resolution != resolution:
        raise SpecError(f"{name}: a model for voxels of {found.resolution} nm, and these are of {resolution} nm")
    return found


def _of_voxels(found: Card, name: str) -> Card:
    if found.sides:
        raise SpecError(f"{name}: a model of the sides of clefts, for `synapse assign`; give one of affinities")
    if found.deltas is not None:
        raise SpecError(f"{name}: a model that floods, for `segment flood auto`; `segment train net` makes others")
    return found


def learnt(io: IO, name: str, card: Card) -> bytes:
    """What the model learnt; nothing of one that learns nothing. What comes with the package is code, not data."""
    if name in ("sheet", level.NAME):
        return b""
    file = _PACKAGED / name / folder.FILES[card.kind]
    return file.read_bytes() if name in _STORED else folder.learnt(io, name, card)


def load(data: bytes, card: Card, machine: Machine) -> Model:
    """The model that learnt ``data``."""
    if card.kind == "sheet":
        return sheet.Sheet(card)
    return cast(Model, import_module(f"igneous_ng.models.{card.kind}").load(data, card, machine))


def load_flooding(data: bytes, card: Card, machine: Machine) -> Flooding:
    """The model that floods which learnt ``data``."""
    if card.kind == level.NAME:
        return level.Level()
    return recurrent.Recurrent(import_module(f"igneous_ng.models.{card.kind}").load(data, card, machine))


def load_sides(data: bytes, card: Card, machine: Machine) -> Answering:
    """The model of the sides of clefts which learnt ``data``."""
    return cast(Answering, import_module(f"igneous_ng.models.{card.kind}").load(data, card, machine))


def check_same(data: bytes, known: str, name: str) -> None:
    """DataError where a model is another than the one of the digest ``known``."""
    if digest(data) != known:
        raise DataError(f"{name}: the model was changed since this layer was begun; run `segment infer` anew")
