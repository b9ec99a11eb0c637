"""The folder of a model: ``model.json``, which says what it takes and gives, and beside it what it learnt.

Nothing in it is ever unpickled. ONNX files and tables of trees are data. A TorchScript file is a program, though one
without access to Python: use those of people you trust. ``torch.export`` files (``.pt2``) are not read at all, for
torch unpickles parts of them (torch 2.13, ``torch/export/pt2_archive/_package.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3, Vec3f, vec
from igneous_ng.io import IO
from igneous_ng.models.base import Shape
from igneous_ng.models.greys import Greys

FILES = {"trees": "trees.npz", "onnx": "model.onnx", "torch": "model.ts"}
"""What a model of each kind learnt, below its folder."""
MOST_CLASSES = 16
"""Classes that one model may tell apart."""
_TYPE = "igneous_ng_model"


@dataclass(frozen=True)
class Card:
    """What ``model.json`` says.

    ``resolution`` is that of the training images in nm, ``levels`` are their grey values: where given, others are
    made comparable before they are shown to the model. Patches share ``overlap`` of their trusted part where nothing
    else is asked for: 0 is enough for a model whose margin holds all that it looks at. Predicting takes
    ``bytes_per_voxel`` of a patch. ``made`` says how it came to be. A model that floods has ``deltas``, by which its
    field of view, the patch, moves. One of ``sides`` has two channels: of an image and a cleft, where it is presynaptic
    and where it is postsynaptic. A model of ``classes`` says in each channel how surely a voxel is of the class of that
    name.
    """

    kind: str
    shape: Shape
    resolution: Vec3f
    levels: Greys | None = None
    overlap: float = 0.5
    bytes_per_voxel: int = 1000
    made: dict[str, Any] = field(default_factory=dict)
    deltas: Vec3 | None = None
    sides: bool = False
    classes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        shape = {"patch": list(self.shape.patch), "margin": list(self.shape.margin), "channels": self.shape.channels}
        levels = None if self.levels is None else self.levels.to_json()
        about = {"resolution": list(self.resolution), "levels": levels, "made": self.made}
        costs = {"overlap": self.overlap, "bytes_per_voxel": self.bytes_per_voxel}
        task: dict[str, Any] = {"task": "sides"} if self.sides else {}
        task |= {} if self.deltas is None else {"task": "flood", "deltas": list(self.deltas)}
        task |= {"task": "classes", "classes": list(self.classes)} if self.classes else {}
        return {"@type": _TYPE, "kind": self.kind, **task, **shape, **costs, **about}

    @classmethod
    def parse(cls, raw: Any, where: str) -> Card:
        """What :meth:`to_json` gave; DataError, naming ``where``, for another value."""
        try:
            shape = Shape(vec(raw["patch"]), vec(raw["margin"]), int(raw["channels"]))
            x, y, z = map(float, raw["resolution"])
            levels = None if raw.get("levels") is None else Greys.parse(raw["levels"], where)
            costs = float(raw.get("overlap", cls.overlap)), int(raw.get("bytes_per_voxel", cls.bytes_per_voxel))
            made, (deltas, sides, classes) = dict(raw.get("made", {})), _task(raw)
            card = cls(raw["kind"], shape, (x, y, z), levels, *costs, made, deltas, sides, classes)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: not a model's description ({error!r}); see docs/design/025") from error
        if card.kind not in FILES:
            raise DataError(f"{where}: a model of kind {card.kind!r}; there are {', '.join(FILES)}")
        if wrong := _wrong(card):
            raise DataError(f"{where}: {wrong}; see docs/design/025")
        return card


def _task(raw: dict[str, Any]) -> tuple[Vec3 | None, bool, tuple[str, ...]]:
    """By what a field of view moves, whether sides are told, and classes: at most one of them, by a model's task."""
    match raw.get("task"):
        case None:
            return None, False, ()
        case "flood":
            return vec(raw["deltas"]), False, ()
        case "sides":
            return None, True, ()
        case "classes" if raw["classes"]:
            return None, False, tuple(map(str, raw["classes"]))
    raise ValueError(f"the task {raw['task']!r}; there are flood, with deltas, sides, classes, with some, or none")


def _wrong(card: Card) -> str:
    """What in a card cannot be; empty where all can."""
    shape = card.shape
    if card.classes:
        if wrong := unnamed(card.classes) or _uncounted(shape, card.classes):
            return wrong
    elif shape.channels not in ((2,) if card.sides else (1, 3)):
        return f"{shape.channels} channels; boundaries are 1, sides of a cleft 2, affinities 3"
    if min(shape.margin) < 0 or any(n <= 2 * m for n, m in zip(shape.patch, shape.margin, strict=True)):
        return f"patches of {shape.patch} with margins of {shape.margin} leave nothing that is to be trusted"
    if not min(card.resolution) > 0:
        return f"voxels of {card.resolution} nm"
    if card.deltas is not None and (wrong := _unmoved(shape, card.deltas)):
        return wrong
    if card.bytes_per_voxel < 1:
        return f"{card.bytes_per_voxel} bytes per voxel"
    return "" if 0 <= card.overlap < 1 else f"an overlap of {card.overlap:g}, which is a part of 1, below 1"


def unnamed(classes: tuple[str, ...]) -> str:
    """What in the names of classes cannot be; empty where all can."""
    if not 1 <= len(classes) <= MOST_CLASSES or len(set(classes)) < len(classes) or not all(classes):
        return f"classes {', '.join(map(repr, classes))}; give 1 to {MOST_CLASSES} different names"
    return ""


def _uncounted(shape: Shape, classes: tuple[str, ...]) -> str:
    if shape.channels == len(classes):
        return ""
    return f"{shape.channels} channels for {len(classes)} classes; each class is one channel"


def _unmoved(shape: Shape, deltas: Vec3) -> str:
    """What in a model that floods cannot be; empty where all can."""
    if shape.channels != 1 or max(shape.margin) > 0 or any(n % 2 == 0 for n in shape.patch):
        return (
            f"a field of view of {shape.patch}, margins {shape.margin}, {shape.channels} channels; 1, odd, without any"
        )
    if any(not 1 <= d <= n // 2 for n, d in zip(shape.patch, deltas, strict=True)):
        return f"a field of view of {shape.patch} that moves by {deltas}; move by 1 voxel to half of it"
    return ""


def write(io: IO, url: str, card: Card, data: bytes) -> None:
    """Store a model: what it learnt first, so that who finds ``model.json`` finds all."""
    io.put(f"{url}/{FILES[card.kind]}", data)
    io.put_json(f"{url}/model.json", card.to_json())


def read(io: IO, url: str) -> Card:
    """What the model at ``url`` says of itself; SpecError where there is none."""
    where = f"{url}/model.json"
    raw = io.get_json(where)
    if raw is None:
        raise SpecError(
            f"{where}: there is no model here; give `sheet`, `net`, `cleft`, or the URL of a model's folder"
        )
    return Card.parse(raw, where)


def learnt(io: IO, url: str, card: Card) -> bytes:
    """What the model learnt, as stored; DataError where it is not there."""
    where = f"{url}/{FILES[card.kind]}"
    data = io.get(where)
    if data is None:
        raise DataError(f"{where} is missing, though model.json is there; copy or train the model again")
    return data
