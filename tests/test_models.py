"""Models: their folders, grey values made comparable, and networks by onnxruntime and torch."""

from __future__ import annotations

import io as streams
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import correlate
from scipy.special import expit

from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.kernels.augmenting import Turn
from igneous_ng.models import folder, greys, opening
from igneous_ng.models.asking import Asked
from igneous_ng.models.base import Machine, Model, Shape
from igneous_ng.models.folder import Card
from igneous_ng.models.greys import Greys
from tests import networks
from tests.layers import create

CARD = Card("onnx", Shape((9, 8, 7), (2, 2, 2), 3), (8.0, 8.0, 8.0), Greys(0.5, 0.2), 0.25, 300, {"by": "tests"})
CPU = Machine()


def seen(shape: tuple[int, ...] = (9, 8, 7)) -> np.ndarray:
    return np.asfortranarray(np.random.default_rng(0).random(shape).astype(np.float32))


def expected(patch: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What the network says, by scipy."""
    wide = patch.astype(np.float64)
    return np.stack([expit(correlate(wide, one[0].T.astype(np.float64), mode="constant")) for one in kernel], -1)


def test_a_folder_gives_back_what_was_put_in_it(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/model"
    folder.write(IO(), url, CARD, b"learnt")
    assert folder.read(IO(), url) == CARD
    assert folder.learnt(IO(), url, CARD) == b"learnt"


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_a_description_names_classes(count: int) -> None:
    names = tuple(f"class {n}" for n in range(count))
    card = Card("onnx", Shape((9, 8, 7), (2, 2, 2), count), (8.0, 8.0, 8.0), classes=names)
    raw = card.to_json()
    assert raw["task"] == "classes"
    assert raw["classes"] == list(names)
    assert Card.parse(raw, "here") == card
    assert "task" not in CARD.to_json()


def test_what_a_description_leaves_out_has_defaults() -> None:
    raw = CARD.to_json()
    for key in ("levels", "overlap", "bytes_per_voxel", "made"):
        del raw[key]
    assert Card.parse(raw, "here") == Card("onnx", CARD.shape, CARD.resolution)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "pickle"}, "kind 'pickle'; there are trees, onnx, torch"),
        ({"channels": 2}, "2 channels"),
        ({"patch": [4, 9, 9]}, "leave nothing that is to be trusted"),
        ({"margin": [-1, 0, 0]}, "leave nothing"),
        ({"margin": [1, 2]}, "not a model's description"),
        ({"patch": None}, "not a model's description"),
        ({"resolution": [0, 1, 1]}, "voxels of"),
        ({"overlap": 1}, "overlap of 1"),
        ({"bytes_per_voxel": 0}, "0 bytes"),
        ({"levels": {"median": 0.5}}, "a median and a spread"),
        ({"levels": {"median": 0.5, "spread": 0}}, "more than 0"),
        ({"levels": {"median": 128, "spread": 30}}, "from 0 to 1"),
        ({"task": "dream"}, "the task 'dream'"),
        ({"task": "classes"}, "not a model's description"),
        ({"task": "classes", "classes": []}, "classes, with some"),
        ({"task": "classes", "classes": ["a", "b"]}, "3 channels for 2 classes"),
        ({"task": "classes", "classes": ["a", "b", "a"]}, "different names"),
        ({"task": "classes", "classes": ["a", "", "b"]}, "different names"),
        ({"task": "classes", "classes": [str(n) for n in range(17)], "channels": 17}, "1 to 16"),
    ],
)
def test_a_wrong_description_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Card.parse({**CARD.to_json(), **change}, "model.json")


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}"
    with pytest.raises(SpecError, match="there is no model here"):
        opening.card(IO(), url, (8, 8, 8), (9, 9, 9))
    IO().put_json(f"{url}/model.json", CARD.to_json())
    with pytest.raises(DataError, match=r"model.onnx is missing"):
        opening.learnt(IO(), url, CARD)
    monkeypatch.setattr(opening, "_PACKAGED", tmp_path / "none")
    with pytest.raises(SpecError, match="built without its network"):
        opening.card(IO(), "net", (8, 8, 8), (9, 9, 9))


@pytest.mark.parametrize("name", ["net", "cleft"])
def test_a_network_of_the_package_is_a_folder_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    networks.stored(f"file://{tmp_path}/{name}")
    monkeypatch.setattr(opening, "_PACKAGED", tmp_path)
    card = opening.card(IO(), name, (8, 8, 8), (9, 9, 9))
    assert card == folder.read(IO(), f"file://{tmp_path}/{name}")
    assert opening.learnt(IO(), name, card) == (tmp_path / name / "model.onnx").read_bytes()


def test_levels_are_order_statistics() -> None:
    shades = np.repeat(np.array([0, 0.1, 0.2, 0.5, 0.9, 1], np.float32), [50, 15, 20, 30, 26, 9])
    found = Greys.of(greys.counted(shades))
    assert found is not None  # of 100 that are not 0: from the 11th to the 91st
    assert [found.median, found.spread] == pytest.approx([0.5, 0.8], abs=1e-5)
    assert Greys.of(greys.counted(np.zeros(5, np.float32))) is None
    assert Greys.of(greys.counted(np.full(5, 0.5, np.float32))) is None


def test_levels_moved_are_those_asked_for() -> None:
    shades = np.random.default_rng(0).normal(0.3, 0.05, 10**5).astype(np.float32)
    own, like = Greys.of(greys.counted(shades)), Greys(0.6, 0.2)
    assert own is not None
    moved = Greys.of(greys.counted(own.moved(shades, like)))
    assert moved is not None
    assert [moved.median, moved.spread] == pytest.approx([0.6, 0.2], abs=1e-4)
    assert own.moved(np.array([-9, 9], np.float32), like).tolist() == [0, 1]


def test_levels_of_a_layer_are_those_of_its_voxels_where_all_are_looked_at(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (21, 17, 9, 1)).astype(np.uint8)
    volume = IO().volume(f"file://{create(tmp_path / 'image', image, (-3, 2, 5), (8, 8, 8))}", 0)
    whole = Greys.of(greys.counted(image.astype(np.float32) / np.float32(255)))
    assert greys.measured(IO(), volume, lambda _: None) == whole
    left_out = image[..., 0] > 99
    part = Greys.of(greys.counted(image[image <= 99].astype(np.float32) / np.float32(255)))
    assert greys.measured(IO(), volume, lambda box: left_out[box.slices((-3, 2, 5))]) == part
    with pytest.raises(DataError, match="none holds two grey values"):
        greys.measured(IO(), volume, lambda box: np.ones(box.shape, bool))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [None, (7, 8, 9)])
def test_a_network_says_what_its_convolution_says(channels: int, sides: Any) -> None:
    pytest.importorskip("onnxruntime")
    kernel = networks.weights(channels)
    card = Card("onnx", Shape((9, 8, 7), (2, 2, 2), channels), (8.0, 8.0, 8.0))
    model = opening.load(networks.onnx(kernel, sides), card, CPU)
    found = model.predict(seen())
    assert model.backend == "onnx-cpu"
    assert found.flags.f_contiguous
    np.testing.assert_allclose(found, expected(seen(), kernel), atol=1e-5)


def test_networks_that_do_not_fit_are_refused() -> None:
    pytest.importorskip("onnxruntime")
    data = networks.onnx(networks.weights(3), (7, 8, 9))
    with pytest.raises(SpecError, match=r"patches of 9,8,7 and no other"):
        opening.load(data, Card("onnx", Shape((9, 9, 9), (2, 2, 2), 3), (8.0, 8.0, 8.0)), CPU)
    with pytest.raises(DataError, match="mend either"):
        opening.load(data, Card("onnx", Shape((9, 8, 7), (2, 2, 2), 1), (8.0, 8.0, 8.0)), CPU).predict(seen())
    with pytest.raises(DataError, match="not an ONNX network"):
        opening.load(b"nothing", CARD, CPU)
    with pytest.raises(SpecError, match="exported with"):
        opening.load(data, CARD, Machine(half=True))


def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    networks.stored(f"file://{tmp_path}", patch=(48, 40, 33))
    program = (
        "import sys, hashlib, numpy as np\n"
        "from igneous_ng.io import IO\n"
        "from igneous_ng.models import opening\n"
        "from igneous_ng.models.base import Machine\n"
        "card = opening.card(IO(), sys.argv[1], (8, 8, 8), (99, 99, 99))\n"
        "model = opening.load(opening.learnt(IO(), sys.argv[1], card), card, Machine())\n"
        "patch = np.asfortranarray(np.random.default_rng(0).random(card.shape.patch).astype(np.float32))\n"
        "print(hashlib.sha256(model.predict(patch).tobytes(order='F')).hexdigest())"
    )
    found = set()
    for threads in ("1", "2", "3"):
        words = [sys.executable, "-c", program, f"file://{tmp_path}"]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        found.add(subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(found) == 1


def test_torchscript_says_the_same_as_onnx() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    kernel = networks.weights(3)
    net = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 5, padding=2, bias=False), torch.nn.Sigmoid())
    net[0].weight.data = torch.from_numpy(kernel)
    stream = streams.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 1, 7, 8, 9)), stream)
    card = Card("torch", CARD.shape, CARD.resolution)
    model = opening.load(stream.getvalue(), card, CPU)
    other = opening.load(networks.onnx(kernel), CARD, CPU)
    assert model.backend == "torch-cpu"
    np.testing.assert_allclose(model.predict(seen()), other.predict(seen()), atol=1e-5)
    with pytest.raises(SpecError, match="half precision"):
        opening.load(stream.getvalue(), card, Machine(half=True))
    with pytest.raises(DataError, match="not a TorchScript network"):
        opening.load(b"nothing", card, CPU)


class Nonsense:
    """A model whose answers are no fractions."""

    shape, backend = Shape((2, 2, 2), (0, 0, 0), 1), "test"

    def __init__(self, value: float) -> None:
        self._value = value

    def predict(self, patch: np.ndarray) -> np.ndarray:
        return np.full((*patch.shape, 1), self._value, np.float32, order="F")


@pytest.mark.parametrize("value", [-1e-7, 1.0000001])
def test_answers_that_rounding_took_beyond_their_ends_are_brought_back(value: float) -> None:
    model: Model = Nonsense(value)
    said = Asked(model, [Turn()], None, None).of(np.zeros((2, 2, 2), np.uint8))
    assert 0 <= said.min() <= said.max() <= 1


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_answers_that_are_no_fractions_are_refused(value: float) -> None:
    model: Model = Nonsense(value)
    asked = Asked(model, [Turn()], None, None)
    with pytest.raises(DataError, match="from 0 to 1"):
        asked.of(np.zeros((2, 2, 2), np.uint8))
