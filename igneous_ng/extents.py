"""How much a request is about: the voxels of the level that it reads, and the facts by which its speed is looked up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import IgneousError
from igneous_ng.geometry import Box, Grid
from igneous_ng.io import IO
from igneous_ng.stage import Layer, Stage, sampled, to_dict


@dataclass(frozen=True)
class Extent:
    """Voxels, and of the layer that has them its kind and the voxels of a chunk, where there is one."""

    voxels: int
    kind: str = ""
    chunk: int = 0


def extent(stage: Stage, io: IO) -> Extent | None:
    """What a request reads of the first of its layers that exists, or else what its units are; None: neither tells."""
    for layer in (value for value in vars(stage).values() if isinstance(value, Layer)):
        found = _of_layer(stage, layer, io)
        if found is not None:
            return found
    try:
        voxels = _of_units(stage.units(io))
    except IgneousError:
        return None
    return None if voxels is None or hasattr(stage, "num_mips") else Extent(voxels, getattr(stage, "kind", ""))


def _of_layer(stage: Stage, layer: str, io: IO) -> Extent | None:
    """None where there is no such layer or level, or ``layer`` is something else."""
    try:
        if not io.store.exists(f"{layer}/info"):
            return None
        info, level = io.info(layer), stage.level_read(io)
    except IgneousError:
        return None
    if not 0 <= level < len(info.scales):
        return None
    scale, roi = info.scales[level], getattr(stage, "roi", None)
    box = scale.bounds & roi if isinstance(roi, Box) else scale.bounds
    return Extent(box.voxels, info.kind, math.prod(scale.chunk))


def _of_units(units: Sequence[Any]) -> int | None:
    """The voxels of all units together; None where they are no boxes."""
    if isinstance(units, Grid):
        return (units[0] | units[-1]).voxels if len(units) else 0
    sample = [unit.voxels for unit in sampled(units) if isinstance(unit, Box)]
    return sum(sample) * len(units) // len(sample) if sample else None


def facts(stage: Stage, found: Extent | None, io: IO) -> Mapping[str, Any]:
    """The fields of a request; ``kind`` is that of what it reads, and a model's folder is told by what it holds."""
    fields = to_dict(stage)
    if found is not None and found.kind:
        fields["kind"] = found.kind
    model = fields.get("model")
    if isinstance(model, str) and "://" in model:
        fields["model"] = _model(model, io)
    return fields


def _model(folder: str, io: IO) -> str:
    try:
        return str((io.store.get_json(f"{folder}/model.json") or {}).get("kind", folder))
    except IgneousError:
        return folder
