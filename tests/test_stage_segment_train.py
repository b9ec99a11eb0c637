from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, vec
from igneous_ng.io import IO
from igneous_ng.kernels.boundaries import BOUNDARY, INSIDE, bordering, classes
from igneous_ng.models import folder, trees
from igneous_ng.models.base import Machine, Shape
from igneous_ng.models.folder import Card
from igneous_ng.models.trees import Trees
from igneous_ng.stages.segment_train_trees import TrainTrees
from igneous_ng.training import blocks
from igneous_ng.training.blocks import Pair
from tests import segmentations

HELD = Box((40, -7, 3), (60, 60, 60))
SMALL: dict[str, Any] = {"scales": (10.0, 20.0), "textures": (10.0,), "trees": 20, "samples": 4000}


def cells(shape: tuple[int, int, int] = (64, 48, 44)) -> tuple[np.ndarray, np.ndarray]:
    """An image with dark membranes between cells, and the cells."""
    rng = np.random.default_rng(2)
    seeds = rng.uniform(0, 1, (40, 3)) * shape
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    labels = np.argmin(((points[..., np.newaxis, :] - seeds) ** 2).sum(-1), axis=-1) + 1
    dark = gaussian_filter(bordering(labels, (8, 8, 8)).astype(float), 0.7)
    grey = np.clip(150 - 80 * dark + rng.normal(0, 40, shape), 1, 255)
    return grey.astype(np.uint8), labels.astype(np.uint64)


@pytest.fixture
def layers(tmp_path: Path) -> tuple[str, str]:
    grey, labels = cells()
    offset = (3, -7, 0)
    return (
        segmentations.layer(tmp_path / "image", grey[..., np.newaxis], offset),
        segmentations.layer(tmp_path / "labels", labels[..., np.newaxis], offset),
    )


def test_trees_find_boundaries_where_nothing_was_learnt(layers: tuple[str, str], tmp_path: Path) -> None:
    stage = TrainTrees(image=layers[0], labels=layers[1], model=str(tmp_path / "model"), held=HELD, **SMALL)
    run.inline(stage)
    io = IO()
    card = folder.read(io, stage.model)
    assert card.kind == "trees"
    assert card.resolution == (8.0, 8.0, 8.0)
    assert card.overlap == 0
    assert card.made["held"]["right"] > 0.93
    assert card.made["held"]["loss"] < 0.2
    assert "right" in stage.said(io)
    model = trees.load(folder.learnt(io, stage.model, card), card, Machine())
    grey, labels = cells()
    found = model.predict(np.asfortranarray(grey, np.float32) / 255)[..., 0]
    inside = tuple(slice(m, n - m) for m, n in zip(card.shape.margin, grey.shape, strict=True))
    truth = classes(labels, (8, 8, 8))[inside]
    assert found[inside][truth == BOUNDARY].mean() > 0.6 > 0.3 > found[inside][truth == INSIDE].mean()
    assert not found[: card.shape.margin[0]].any()


def test_what_trees_say_is_smoothed(layers: tuple[str, str], tmp_path: Path) -> None:
    said = []
    grey = np.asfortranarray(cells()[0], np.float32) / np.float32(255)
    for name, blur in (("plain", 0.0), ("smooth", 12.0)):
        stage = TrainTrees(image=layers[0], labels=layers[1], model=str(tmp_path / name), blur=blur, **SMALL)
        run.inline(stage)
        card = folder.read(IO(), stage.model)
        model = trees.load(folder.learnt(IO(), stage.model, card), card, Machine())
        margin = tuple(slice(m, n - m) for m, n in zip(card.shape.margin, grey.shape, strict=True))
        said.append(model.predict(grey)[..., 0][margin])
    assert said[0].shape[0] == said[1].shape[0] + 2 * 5  # three times 1.5 voxels
    weighted = gaussian_filter(said[0].astype(float), 1.5, radius=5)[5:-5, 5:-5, 5:-5]
    assert np.abs(weighted - said[1]).max() < 1e-5


def test_the_same_request_gives_the_same_bytes_and_another_seed_others(layers: tuple[str, str], tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run.inline(TrainTrees(image=layers[0], labels=layers[1], model=str(tmp_path / name), seed=seed, **SMALL))
        made.append((tmp_path / name / "trees.npz").read_bytes())
    assert made[0] == made[1] != made[2]


def test_paintings_teach_as_segmentations_do(layers: tuple[str, str], tmp_path: Path) -> None:
    _, labels = cells()
    border = bordering(labels, (8, 8, 8))
    painted = np.where(border, 1, 2).astype(np.uint8)
    painted[:, :, ::2] = 0
    paints = segmentations.layer(tmp_path / "paints", painted[..., np.newaxis], (3, -7, 0))
    stage = TrainTrees(
        image=layers[0], labels=paints, model=str(tmp_path / "m"), painted=True, held=HELD, blocks=3, **SMALL
    )
    run.inline(stage)
    assert folder.read(IO(), stage.model).made["held"]["right"] > 0.85
    wrong = TrainTrees(image=layers[0], labels=layers[1], model=str(tmp_path / "n"), painted=True, **SMALL)
    with pytest.raises(DataError, match="only 0, 1 and 2"):
        wrong.execute(0, IO())
    assert not (tmp_path / "n").exists()


def test_one_class_is_refused(layers: tuple[str, str], tmp_path: Path) -> None:
    same = segmentations.layer(tmp_path / "one", np.ones((64, 48, 44, 1), np.uint64), (3, -7, 0))
    stage = TrainTrees(image=layers[0], labels=same, model=str(tmp_path / "m"), **SMALL)
    with pytest.raises(DataError, match="0 voxels of boundaries"):
        stage.execute(0, IO())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mip": -1}, "count from 0"),
        ({"leaves": 1}, "2 to 256 leaves"),
        ({"rate": 0.0}, "a fraction above 0"),
        ({"scales": ()}, "give some"),
        ({"blur": -1.0}, "0 to 10000 nm"),
        ({"textures": (-1.0,)}, "above 0"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        TrainTrees(image="a", labels="b", model="c", **fields)  # type: ignore[arg-type]


def test_wrong_layers_are_refused(layers: tuple[str, str], tmp_path: Path) -> None:
    image, labels = layers
    model = str(tmp_path / "m")
    far = segmentations.layer(tmp_path / "far", np.ones((8, 8, 8, 1), np.uint64), (900, 0, 0))
    three = segmentations.layer(tmp_path / "three", np.ones((8, 8, 8, 3), np.uint64))
    for fields, said in (
        ({"labels": far}, "nothing in common"),
        ({"labels": three}, "one channel"),
        ({"held": Box((800, 0, 0), (900, 1, 1))}, "there is only"),
        ({"held": Box((-99, -99, -99), (99, 99, 99))}, "nothing of .* is left"),
    ):
        with pytest.raises(SpecError, match=said):
            TrainTrees(**{"image": image, "labels": labels, "model": model, **fields}).prepare(IO())  # type: ignore[arg-type]
    assert not (tmp_path / "m").exists()


def test_trees_are_checked_against_their_card(layers: tuple[str, str], tmp_path: Path) -> None:
    run.inline(TrainTrees(image=layers[0], labels=layers[1], model=str(tmp_path / "m"), **SMALL))
    data = (tmp_path / "m" / "trees.npz").read_bytes()
    card = folder.read(IO(), f"file://{tmp_path}/m")
    again = Trees.parse(data, card.shape, "here")
    assert again.to_bytes() == data
    with pytest.raises(DataError, match="here: trees give one channel"):
        Trees.parse(data, Shape((64, 64, 64), (1, 1, 1), 1), "here")
    with pytest.raises(SpecError, match="walked by processors"):
        trees.load(data, Card("trees", card.shape, (8, 8, 8)), Machine("cuda"))


def test_what_is_held_back_is_cut_out() -> None:
    box, held = Box((0, 0, 0), (9, 8, 7)), Box((3, -2, 2), (5, 4, 99))
    seen = np.zeros(box.shape, int)
    for part in blocks.less(box, held):
        seen[part.slices()] += 1
    seen[(held & box).slices()] += 1
    assert (seen == 1).all()
    assert list(blocks.less(box, None)) == [box]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_few_of_many_blocks_are_chosen(count: int) -> None:
    bounds = Box((-5, 3, 0), (1_000_000, 999_999, 100))
    found = blocks.chosen(bounds, None, (50, 50, 50), count, 7)
    assert 0 < len(found) <= count
    assert len(set(found)) == len(found)
    assert all(box in bounds for box in found)
    assert (
        found
        == blocks.chosen(bounds, None, (50, 50, 50), count, 7)
        != blocks.chosen(bounds, None, (50, 50, 50), count, 8)
    )


def test_the_image_is_mirrored_beyond_its_bounds(layers: tuple[str, str]) -> None:
    io = IO()
    pair = Pair.open(io, *layers, 0)
    grey = cells()[0].astype(np.float32) / np.float32(255)
    found = pair.grey(io, pair.bounds, (5, 4, 3))
    assert np.array_equal(found, np.pad(grey, ((5, 5), (4, 4), (3, 3)), mode="reflect"))
    part = Box((10, 0, 2), (20, 5, 9))
    assert np.array_equal(pair.grey(io, part), grey[part.slices((3, -7, 0))])
    assert vec(found.shape) == (74, 56, 50)
