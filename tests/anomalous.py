"""A pipeline from image to synapses over little cells, so that places can be told apart by what units noted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igneous_ng import run
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.models import folder
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.stage import Layer, Stage
from igneous_ng.stages.image_measure import ImageMeasure
from igneous_ng.stages.segment_agglomerate import Agglomerate
from igneous_ng.stages.segment_graph import Graph
from igneous_ng.stages.segment_infer import Infer
from igneous_ng.stages.segment_relabel import Relabel
from igneous_ng.stages.segment_watershed import Watershed
from igneous_ng.stages.synapse_assign import Assign
from igneous_ng.stages.synapse_detect import Detect
from tests import networks

CELL = (32, 32, 32)
SHAPE = (192, 192, 64)
NM = (20.0, 20.0, 20.0)
CORNER = Box((0, 0, 0), (96, 96, 64))
SEED, PALENESS = 3, 0.5
THRESHOLD, LENIENT = 0.177, 0.15
"""Of evidence: voxels darker than 98, and than 111, of 255."""
_STEEP = 4.0


def darkness(url: str) -> str:
    """A network of one class, whose evidence falls with the mean grey value of 3 x 3 x 3 voxels."""
    kernel = np.zeros((1, 1, 5, 5, 5), np.float32)
    kernel[:, :, 1:4, 1:4, 1:4] = -_STEEP / 27
    shape = Shape((36, 36, 36), (networks.REACH,) * 3, 1)
    card = Card("onnx", shape, NM, None, 0.0, made={"by": "tests"}, classes=("dark",))
    folder.write(IO(), url, card, networks.onnx(kernel))
    return url


@dataclass(frozen=True)
class Place:
    """Where the layers lie."""

    home: Path

    def __getattr__(self, name: str) -> str:
        return f"file://{self.home}/{name}"


def carried_out(stage: Stage) -> None:
    """All steps of a request, here."""
    for step in stage.steps(IO()):
        run.inline(step)


def supervoxels(at: Place) -> None:
    """Affinities and supervoxels of ``at.image``."""
    carried_out(Infer(image=at.image, layer=at.affinities, cell=CELL, chunk=CELL))
    carried_out(Watershed(affinities=at.affinities, layer=at.supervoxels, leaf=CELL))


def segmented(at: Place) -> None:
    """These, and segments."""
    supervoxels(at)
    carried_out(Graph(layer=at.supervoxels))
    carried_out(Agglomerate(layer=at.supervoxels, thresholds=(0.6,)))
    carried_out(Relabel(supervoxels=at.supervoxels, layer=at.segments, cell=CELL))


def detected(at: Place) -> None:
    """Synapses: what is dark enough where the truth has plaques, and which segments lie beside."""
    carried_out(Infer(image=at.image, layer=at.evidence, model=darkness(at.model), cell=CELL, chunk=CELL))
    carried_out(
        Detect(
            evidence=at.evidence,
            layer=at.found,
            threshold=THRESHOLD,
            min_size=5,
            mask=Layer.parse(at.clefts),
            cell=CELL,
        )
    )
    carried_out(Assign(clefts=at.found, segmentation=at.segments, table=at.table, sides="nearest", cell=CELL, block=32))


def measured(at: Place) -> None:
    """Figures of the image in cells as small as those of all else."""
    carried_out(ImageMeasure(layer=at.image, cell=CELL))
