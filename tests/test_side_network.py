"""Sides of clefts by a network: what it sees, whatever the cells are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.clefts import Clefts
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.kernels.contacts import Radius
from igneous_ng.models import folder, opening
from igneous_ng.models.base import Shape
from igneous_ng.models.folder import Card
from igneous_ng.side_network import Looking
from igneous_ng.stages.segment_infer import Infer
from igneous_ng.stages.synapse_assign import Assign, Contacts
from tests import assigned, networks

SHAPE: Vec3 = (40, 36, 30)
CARD = Card("onnx", Shape((16, 16, 12), (2, 2, 2), 2), (8.0, 8.0, 8.0), None, 0.0, 400, sides=True)


def model(path: Path, card: Card = CARD) -> str:
    """Bright is presynaptic, dark is not, and less so beside the cleft."""
    kernel = np.zeros((2, 2, 5, 5, 5), np.float32)
    kernel[0, 0, 2, 2, 2], kernel[1, 0, 2, 2, 2] = 5, -5
    kernel[:, 1] = -0.01
    folder.write(IO(), f"file://{path}", card, networks.onnx(kernel))
    return str(path)


@pytest.fixture
def known(tmp_path: Path) -> dict[str, Any]:
    """Segments in slabs, bright and dark by turns, clefts between them, one much longer than a patch."""
    labels = np.asfortranarray((1 << 55) + np.indices(SHAPE)[0].astype(np.uint64) // 8)
    marks = np.zeros(SHAPE, np.int64)
    for mark, (x, y, z) in enumerate([(8, 4, 3), (16, 30, 20), (24, 0, 0), (32, 20, 26)], 1):
        marks[x - 1 : x + 1, y : y + 4, z : z + 4] = mark
    marks[15:17, 2:27, 10] = 9
    marks[15:17, 2, 10:25] = 9  # its middle is not in it
    assigned.cleft_layer(tmp_path / "clefts", marks)
    assigned.segments(tmp_path / "seg", labels)
    assigned.image(tmp_path / "image", (labels % 2 * 255).astype(np.uint8))
    return {"sides": "network", "evidence": f"{tmp_path}/image", "model": model(tmp_path / "model"), "radius": 24.0}


@pytest.mark.long
def test_bright_segments_are_presynaptic_whatever_the_cells(tmp_path: Path, known: dict[str, Any]) -> None:
    pytest.importorskip("onnxruntime")
    made = [assigned.assign(tmp_path, f"table-{cell}", cell=(cell,) * 3, **known) for cell in (64, 13, 20, 17, 11)]
    assert len({assigned.sha(rows) for rows in made}) == 1
    rows = made[0]
    assert len(rows["id"]) == 5
    assert (rows["pre"] % 2 == 1).all()
    assert (rows["post"] % 2 == 0).all()
    assert (np.abs(rows["pre"].astype(np.int64) - rows["post"].astype(np.int64)) == 1).all()
    assert rows["confidence"].min() > 0
    wanted = assigned.assign(tmp_path, "plain", radius=24.0)
    assert np.array_equal(rows["pre_contact"] + rows["post_contact"], wanted["pre_contact"] + wanted["post_contact"])


def test_the_patch_is_around_the_voxel_nearest_to_the_middle(tmp_path: Path, known: dict[str, Any]) -> None:
    io, seen = IO(), []

    class Seeing:
        backend = "here"

        def answer(self, given: np.ndarray) -> np.ndarray:
            seen.append(given.copy())
            return np.ones_like(given)

    ids, seg, image = (io.volume(f"file://{tmp_path}/{name}", 0) for name in ("clefts", "seg", "image"))
    looking = Looking(io, known["model"], image, ids, seg, Radius(24.0, (8.0, 8.0, 8.0)))
    vars(looking)["network"] = Seeing()
    clefts = Clefts(io, f"file://{tmp_path}/clefts")
    found = looking.contacts(clefts, ids.bounds)
    rows, whole = clefts.within(ids.bounds), io.read(ids, ids.bounds)[..., 0]
    for name, given, some in zip(rows["id"], seen, found, strict=True):
        assert given.shape == (16, 16, 12, 2)
        voxels = np.argwhere(whole == name)
        middle = voxels.sum(axis=0) // len(voxels)
        far = ((voxels - middle) ** 2).sum(axis=1)
        x, y, z = (voxels[far == far.min()][0] - (8, 8, 6)).tolist()
        box = tuple(slice(n + 20, n + 20 + side) for n, side in zip((x, y, z), (16, 16, 12), strict=True))
        assert np.array_equal(given[..., 1], np.pad(whole == name, 20)[box])
        grey = np.pad(io.read(image, ids.bounds)[..., 0], 20)[box]
        assert np.array_equal(given[..., 0], grey.astype(np.float32) / np.float32(255))
        assert np.array_equal(some["pre"], some["post"])
        assert (some["voxels"] == 0).all()


def test_models_of_something_else_are_refused(tmp_path: Path, known: dict[str, Any]) -> None:
    fields = {"clefts": f"{tmp_path}/clefts", "segmentation": f"{tmp_path}/seg", "table": f"{tmp_path}/table"}
    other = networks.stored(f"file://{tmp_path}/affinities")
    with pytest.raises(SpecError, match="a model of something else than the sides of clefts"):
        run.inline(Contacts(**{**fields, **known, "model": other}))
    coarse = Card("onnx", CARD.shape, (16.0, 16.0, 16.0), None, 0.0, 400, sides=True)
    with pytest.raises(SpecError, match="for voxels of .16.0, 16.0, 16.0. nm, and these are of"):
        run.inline(Contacts(**{**fields, **known, "model": model(tmp_path / "coarse", coarse)}))
    with pytest.raises(SpecError, match="--model and --sides network go together"):
        Assign(**{**fields, **known, "model": None})
    with pytest.raises(SpecError, match="a model of the sides of clefts, for `synapse assign`"):
        run.inline(Infer(image=f"{tmp_path}/image", layer=f"{tmp_path}/aff", model=known["model"]))
    with pytest.raises(SpecError, match="holds uint64, and as image it must be of uint8, uint16"):
        run.inline(Contacts(**{**fields, **known, "evidence": f"{tmp_path}/seg"}))
    raw = CARD.to_json()
    assert Card.parse(raw, "here") == CARD
    with pytest.raises(DataError, match="3 channels; .* sides of a cleft 2"):
        Card.parse({**raw, "channels": 3}, "here")
    assert opening.sides(IO(), f"file://{known['model']}", (8.0, 8.0, 8.0)) == CARD
