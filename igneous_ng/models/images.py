"""The images that models are shown: of which level and type they may be."""

from __future__ import annotations

import numpy as np

from igneous_ng.errors import SpecError
from igneous_ng.geometry import Vec3f
from igneous_ng.io import IO
from igneous_ng.models.folder import Card
from igneous_ng.volume import Volume

_NEAR = 4 / 3  # by which a level's voxels may differ from those that a model was trained on


def opened(io: IO, image: str, mip: int, fill_missing: bool) -> Volume:
    """A level of an image; SpecError where that is none."""
    volume = io.volume(image, mip, fill_missing)
    if volume.channels != 1 or volume.dtype not in (np.uint8, np.uint16, np.float32):
        raise SpecError(
            f"{image}: {volume.channels} channel(s) of {volume.dtype.name}; an image is one channel of uint8, "
            "uint16, or float32 from 0 to 1"
        )
    return volume


def check_scale(stage: str, volume: Volume, card: Card) -> None:
    """SpecError where voxels are not of the size that the model knows, with the level whose are."""

    def fits(resolution: Vec3f) -> bool:
        return all(1 / _NEAR <= r / known <= _NEAR for r, known in zip(resolution, card.resolution, strict=True))

    if fits(volume.resolution):
        return
    better = [mip for mip, scale in enumerate(volume.info.scales) if fits(scale.resolution)]
    advice = f"give --mip {better[0]}" if better else "no level of this layer has such voxels; resample it, or train"
    raise SpecError(
        f"{stage}: voxels of mip {volume.mip} are {volume.resolution} nm, and the model was trained on "
        f"{card.resolution} nm; {advice}"
    )
