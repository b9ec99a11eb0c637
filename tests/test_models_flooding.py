"""Models that flood: their folders, and networks of two channels in ONNX and TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.models import folder, level, opening, recurrent
from igneous_ng.models.base import Machine, Shape
from igneous_ng.models.folder import Card
from igneous_ng.stages.segment_flood import Fill
from igneous_ng.stages.segment_infer import Infer
from igneous_ng.stages.segment_train_flood import TrainFlood
from tests import floods
from tests.segmentations import layer
from tests.test_stage_segment_train import cells

CARD = Card("torch", Shape((17, 17, 9), (0, 0, 0), 1), (8.0, 8.0, 8.0), None, 0.0, 100, deltas=(4, 4, 2))


def test_a_card_says_that_it_floods_and_reads_the_same_again() -> None:
    raw = CARD.to_json()
    assert raw["task"] == "flood"
    assert Card.parse(raw, "here") == CARD
    for wrong, words in (
        ({"deltas": [9, 4, 2]}, "moves by"),
        ({"patch": [16, 17, 9]}, "odd"),
        ({"margin": [1, 0, 0]}, "odd"),
    ):
        with pytest.raises(DataError, match=words):
            Card.parse({**raw, **wrong}, "here")


def test_models_are_not_taken_for_what_they_are_not(tmp_path: Path) -> None:
    sources: dict[str, Any] = dict(floods.stored(tmp_path, floods.tubes((20, 20, 20))))
    folder.write(IO(), f"file://{tmp_path}/model", CARD, b"none")
    with pytest.raises(SpecError, match="for `segment flood auto`"):
        run.plan(Infer(image=sources["image"], layer=f"file://{tmp_path}/x", model=str(tmp_path / "model")))
    folder.write(IO(), f"file://{tmp_path}/other", Card("onnx", Shape((8, 8, 8), (0, 0, 0), 3), (8.0, 8.0, 8.0)), b"")
    with pytest.raises(SpecError, match="for `segment infer`"):
        run.plan(Fill(**sources, layer=f"file://{tmp_path}/x", model=str(tmp_path / "other")))
    coarse = Card("torch", CARD.shape, (40.0, 8.0, 8.0), None, 0.0, 100, deltas=(4, 4, 2))
    folder.write(IO(), f"file://{tmp_path}/coarse", coarse, b"")
    with pytest.raises(SpecError, match="trained on"):
        run.plan(Fill(**sources, layer=f"file://{tmp_path}/x", model=str(tmp_path / "coarse")))


def test_the_rule_of_levels_floods_what_is_joined() -> None:
    grey = np.zeros((17, 17, 17), np.float32)
    grey[4:13, 8, 8] = grey[4:13, 4, 4] = 1
    logits = np.full(grey.shape, -3, np.float32)
    logits[8, 8, 8] = 3
    found = level.Level().step(grey, logits)
    expected = np.zeros(grey.shape, bool)
    expected[4:13, 8, 8] = True
    assert np.array_equal(found > 0, expected)


class Odd:
    """A network that adds a number, or none at all."""

    backend = "numpy"

    def __init__(self, value: float) -> None:
        self.value = value

    def answer(self, given: np.ndarray) -> np.ndarray:
        assert given.shape[3] == 2
        return given[..., :1] + np.float32(self.value)


def test_a_network_adds_to_logits_which_stay_within_limits() -> None:
    grey, logits = np.full((3, 3, 3), 0.5, np.float32), np.ones((3, 3, 3), np.float32)
    assert (recurrent.Recurrent(Odd(2)).step(grey, logits) == 3.5).all()
    assert (recurrent.Recurrent(Odd(99)).step(grey, logits) == 16).all()
    with pytest.raises(DataError, match="no numbers"):
        recurrent.Recurrent(Odd(np.nan)).step(grey, logits)


def test_a_torchscript_network_gets_grey_values_and_logits() -> None:
    torch = pytest.importorskip("torch", reason="the extra `torch` is optional")

    class Plain(torch.nn.Module):  # type: ignore[misc, name-defined]  # torch has no types here
        def forward(self, seen: Any) -> Any:
            return 2 * seen[:, :1] - seen[:, 1:]

    import io

    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Plain(), torch.zeros(1, 2, 9, 17, 17)), data)
    rng = np.random.default_rng(0)
    grey, logits = (np.asfortranarray(rng.random(CARD.shape.patch, np.float32)) for _ in range(2))
    found = opening.load_flooding(data.getvalue(), CARD, Machine()).step(grey, logits)
    assert np.allclose(found, 2 * grey, atol=1e-6)


def test_training_learns_and_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript", "torch"):
        pytest.importorskip(name, reason="the extra `train` is optional")
    image, labels = cells((48, 40, 40))
    urls = [layer(tmp_path / n, a[..., None], (3, -7, 0)) for n, a in (("image", image), ("labels", labels))]
    small: dict[str, Any] = {"field": (9, 9, 9), "deltas": (2, 2, 2), "width": 4, "modules": 1, "rate": 0.01}
    small |= {"held": Box((3, -7, 0), (23, 33, 40)), "memory": 9_000_000_000}
    for name, rounds in (("few", 1), ("many", 30), ("again", 30)):
        run.inline(TrainFlood(image=urls[0], labels=urls[1], model=str(tmp_path / name), rounds=rounds, **small))
    cards = [folder.read(IO(), f"file://{tmp_path}/{name}") for name in ("few", "many", "again")]
    assert cards[1].made["held"]["loss"] < cards[0].made["held"]["loss"]
    assert (tmp_path / "many" / "model.onnx").read_bytes() == (tmp_path / "again" / "model.onnx").read_bytes()
    assert cards[1].deltas == (2, 2, 2)
    layers = {"image": urls[0], "layer": f"file://{tmp_path}/out", "chunk": (16, 16, 16), "cell": (16, 16, 16)}
    stage = Fill(**layers, overlap=(8, 8, 8), model=str(tmp_path / "many"), min_size=5)  # type: ignore[arg-type]
    run.inline(stage)
    before = (tmp_path / "out" / "flood" / "runs" / "0-0-0").read_bytes()
    stage.execute(stage.units(IO())[0], IO())
    assert (tmp_path / "out" / "flood" / "runs" / "0-0-0").read_bytes() == before


def test_a_stopped_training_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript", "torch"):
        pytest.importorskip(name, reason="the extra `train` is optional")
    from igneous_ng.training.flooding import Training

    image, labels = cells((48, 40, 40))
    urls = [layer(tmp_path / n, a[..., None], (3, -7, 0)) for n, a in (("image", image), ("labels", labels))]
    small: dict[str, Any] = {"field": (9, 9, 9), "deltas": (2, 2, 2), "width": 4, "modules": 2, "rounds": 6}
    small |= {"image": urls[0], "labels": urls[1], "checkpoint": 4, "precision": "mixed", "memory": 9_000_000_000}
    run.inline(TrainFlood(model=str(tmp_path / "whole"), **small))
    advance = Training.advance

    def stopped(training: Training) -> float:
        if training.step == 5:
            raise KeyboardInterrupt
        return advance(training)

    monkeypatch.setattr(Training, "advance", stopped)
    part = TrainFlood(model=str(tmp_path / "part"), **small)
    with pytest.raises(KeyboardInterrupt):
        part.execute(0, IO())
    assert not (tmp_path / "part" / "model.onnx").exists()
    monkeypatch.setattr(Training, "advance", advance)
    run.inline(part)
    for name in ("model.onnx", "model.json", "checkpoint.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    with pytest.raises(SpecError, match="with other fields"):
        run.inline(TrainFlood(model=str(tmp_path / "part"), **{**small, "precision": "full"}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"field": (16, 17, 17)}, "odd"),
        ({"deltas": (13, 4, 4)}, "at most half"),
        ({"width": 0}, "at least 1"),
        ({"minutes": -1.0}, "more than 0"),
    ],
)
def test_senseless_trainings_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        TrainFlood(**{"image": "/a", "labels": "/b", "model": "/c", **fields})
