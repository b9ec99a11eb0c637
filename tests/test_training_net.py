from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.models import folder, opening
from igneous_ng.models.base import Machine
from igneous_ng.models.greys import Greys
from igneous_ng.stage import Layer
from igneous_ng.stages.segment_train_net import TrainNet
from igneous_ng.training import augmentation, blocks
from tests import segmentations
from tests.test_stage_segment_train import HELD, cells, layers

__all__ = ["layers"]

ISOTROPIC, THICK = (8.0, 8.0, 8.0), (4.0, 4.0, 40.0)
SMALL: dict[str, Any] = {"width": 2, "patch": (24, 24, 24), "distances": (1, 3), "rate": 0.02, "memory": 9_000_000_000}


def torch() -> Any:
    """The extra `train`, or nothing of this is tested."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="the extra `train` is optional")
    found = pytest.importorskip("torch", reason="the extra `train` is optional")
    found.set_num_threads(1)
    return found


def begun(steps: int = 40, width: int = 2, *, mixed: bool = False) -> Any:
    """A training on a toy."""
    torch()
    from igneous_ng.training import fitting, network, targets

    grey, labels = cells((40, 36, 32))
    sample = fitting.Sample(np.asfortranarray(grey, np.float32) / np.float32(255), labels, 1.0)
    plan = network.Plan(width, network.pools(ISOTROPIC), 6, Greys(0.6, 0.3))
    target = targets.Affinities(ISOTROPIC, (1, 3))
    recipe = fitting.Recipe(ISOTROPIC, (24, 24, 24), 1, steps, 0.02, target, 5, mixed)
    return fitting.Training(recipe, plan, [sample], "cpu"), sample


def spots(shape: tuple[int, int, int] = (48, 44, 40)) -> tuple[np.ndarray, np.ndarray]:
    """An image with few dark balls, and classes: 1 is their lower half, 2 the upper one, which is darker."""
    rng = np.random.default_rng(1)
    grey = rng.normal(150, 12, shape)
    labels = np.zeros(shape, np.uint8)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    for middle in ((10, 10, 10), (30, 30, 12), (14, 30, 30), (38, 12, 28)):
        ball = ((places - middle) ** 2).sum(axis=-1) < 16
        upper = places[..., 2] > middle[2]
        labels[ball & ~upper], labels[ball & upper] = 1, 2
        grey[ball & ~upper] -= 50
        grey[ball & upper] -= 90
    return np.clip(grey, 1, 255).astype(np.uint8), labels


def classing(steps: int = 120) -> Any:
    """A training on rare classes."""
    torch()
    from igneous_ng.training import fitting, network, targets

    grey, labels = spots()
    sample = fitting.Sample(np.asfortranarray(grey, np.float32) / np.float32(255), labels, 1.0)
    plan = network.Plan(4, network.pools(ISOTROPIC), 2, Greys(0.6, 0.1), 2, exclusive=True)
    target = targets.Classes(("pale", "dark"), targets.rarity(np.bincount(labels.ravel())))
    return fitting.Training(fitting.Recipe(ISOTROPIC, (24, 24, 24), 1, steps, 0.02, target, 5), plan, [sample], "cpu")


def test_rare_classes_are_learnt() -> None:
    training = classing()
    before = training.score(training.samples)
    for _ in range(120):
        training.advance()
    after = training.score(training.samples)
    assert after["loss"] < 0.2 * before["loss"]
    assert min(after[f"{name} {what}"] for name in ("pale", "dark") for what in ("precision", "recall")) > 0.4


def test_most_patches_hold_what_is_rare() -> None:
    training = classing()
    drawn = [training._draw(np.random.default_rng(n)) for n in range(200)]
    assert all(grey.shape == (24, 24, 24) and wanted.shape == (2, 24, 24, 24) for grey, wanted, _ in drawn)
    inner = (slice(None), *[slice(4, -4)] * 3)
    held = np.mean([wanted[inner].any() for _, wanted, _ in drawn])
    sample = training.samples[0]
    training._sought = [np.zeros(0, np.int64)]
    plain = np.mean([training._draw(np.random.default_rng(n))[1][inner].any() for n in range(200)])
    assert 0 < (sample.labels > 0).mean() < 0.02
    assert held > 0.7 + 0.3 * plain - 0.1
    assert held > plain + 0.1


def test_what_counts_of_classes_is_as_defined() -> None:
    found = torch()
    from igneous_ng.training import targets

    target = targets.Classes(("a", "b"), (1.0, 3.0))
    labels = np.array([0, 1, 2, blocks.UNKNOWN, 2], np.uint8).reshape(5, 1, 1)
    wanted, known = (found.from_numpy(one.T[None].astype(np.float32)) for one in target.wanted(labels))
    assert wanted[0, :, 0, 0].tolist() == [[0, 1, 0, 0, 0], [0, 0, 1, 0, 1]]
    assert target.weights(wanted, known)[0, :, 0, 0].tolist() == [[1, 1, 3, 0, 3], [1, 1, 3, 0, 3]]
    logits = found.tensor([[9.0, 9, -9, 9, -9], [-9, -9, 9, 9, -9]]).reshape(1, 2, 1, 1, 5)
    told = target.told(target.tally(logits, wanted, known))
    assert told == {"a precision": 0.5, "a recall": 1.0, "b precision": 1.0, "b recall": 0.5}
    assert targets.rarity(np.array([10**6, 10**6, 250_000, 0])) == (1.0, 2.0, 16.0)


def test_of_classes_a_voxel_is_of_one_at_most() -> None:
    found = torch()
    from igneous_ng.training.network import Answering, Net, Plan, pools

    plan = Plan(2, pools(ISOTROPIC), 3, Greys(0.5, 0.3), 3, exclusive=True)
    net = Net(plan).eval()
    grey = found.rand(1, 1, 16, 16, 16)
    kept = []
    net.last.register_forward_hook(lambda _module, _given, made: kept.append(made))
    logits = net(grey)
    shares = found.softmax(found.cat([found.zeros_like(kept[0][:, :1]), kept[0]], dim=1), dim=1)[:, 1:]
    assert (found.sigmoid(logits) - shares).abs().max() < 1e-6
    assert (Answering(net)(grey) - shares).abs().max() < 1e-5


@pytest.mark.parametrize("mixed", [False, True])
def test_steps_lower_the_loss(*, mixed: bool) -> None:
    training, sample = begun(mixed=mixed)
    before = training.score([sample])
    for _ in range(40):
        training.advance()
    after = training.score([sample])
    assert after["loss"] < 0.85 * before["loss"]
    assert after["missed"] + after["false"] < 0.9


def test_mixed_precision_is_nearly_the_same_and_keeps_weights_whole() -> None:
    (full, _), (mixed, _) = begun(), begun(mixed=True)
    one, other = full.advance(), mixed.advance()
    assert 0 < abs(one - other) < 0.02 * one
    assert {value.dtype for name, value in mixed.state().items() if name.endswith("weight")} == {np.dtype("float32")}


def test_a_training_goes_on_as_if_it_had_not_stopped() -> None:
    whole, _ = begun(8)
    for _ in range(8):
        whole.advance()
    first, _ = begun(8)
    for _ in range(3):
        first.advance()
    state = first.state()
    second, _ = begun(8)
    second.resume(state, "here")
    for _ in range(5):
        second.advance()
    one, two = whole.state(), second.state()
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    with pytest.raises(DataError, match="here: not a state"):
        begun(8, width=3)[0].resume(state, "here")


def test_a_folded_network_answers_as_the_one_that_learnt() -> None:
    found, (training, _) = torch(), begun()
    from igneous_ng.training.network import Answering

    for _ in range(3):
        training.advance()
    grey = found.rand(1, 1, 16, 20, 24)
    with found.inference_mode():
        training.net.eval()
        wanted = found.sigmoid(training.net(grey))[:, :3]
        assert (Answering(training.net)(grey) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("resolution", [ISOTROPIC, THICK])
def test_a_voxel_is_looked_at_as_far_as_the_radius(resolution: tuple[float, float, float]) -> None:
    found = torch()
    from igneous_ng.training.network import Answering, Net, Plan, pools

    plan = Plan(2, pools(resolution), 3, Greys(0.5, 0.3))
    assert plan.stride == ((4, 4, 4) if resolution == ISOTROPIC else (4, 4, 1))
    net = Answering(Net(plan)).double()
    for parameter in net.parameters():
        parameter.abs_()  # nothing is rectified away
    sides = [2 * (r + r % 4) + 8 for r in plan.radius]
    grey = found.full((1, 1, *sides[::-1]), 0.9, dtype=found.float64, requires_grad=True)
    middle = [n // 2 for n in sides[::-1]]
    net.net(grey)[(0, 0, *middle)].backward()
    seen = np.argwhere(grey.grad[0, 0].numpy().T != 0)
    reach = np.maximum(np.array(middle[::-1]) - seen.min(axis=0), seen.max(axis=0) - middle[::-1])
    assert (reach <= plan.radius).all()
    assert (reach >= np.array(plan.radius) - plan.stride).all()


@pytest.mark.long
def test_what_is_exported_answers_as_torch_does_and_does_not_say_where_it_was_made() -> None:
    found, (training, sample) = torch(), begun()
    from igneous_ng.training import export
    from igneous_ng.training.network import Answering

    for _ in range(10):
        training.advance()
    net = Answering(training.net)
    data = export.to_onnx(net)
    assert b".py" not in data
    grey = found.rand(1, 1, 20, 48, 28)
    assert np.abs(export.answered(data, grey.numpy()) - net(grey).numpy()).max() < 1e-4
    wide = export.margin(net, [sample.grey])
    assert all(0 < m <= r + 4 and m % 4 == 0 for m, r in zip(wide, training.plan.radius, strict=True))
    assert export.patch(training.plan, (8, 12, 4)) == (144, 152, 72)


@pytest.mark.long
def test_a_stopped_training_goes_on_to_the_same_bytes(layers: tuple[str, str], tmp_path: Path) -> None:
    torch()
    common: dict[str, Any] = {
        "image": layers[0],
        "labels": layers[1],
        "held": HELD,
        "rounds": 6,
        "checkpoint": 4,
        **SMALL,
    }
    whole = TrainNet(model=str(tmp_path / "whole"), **common)
    run.inline(whole)
    part = TrainNet(model=str(tmp_path / "part"), minutes=1e-9, **common)
    run.inline(part)
    assert folder.read(IO(), part.model).made["steps"] == 0
    run.inline(TrainNet(model=str(tmp_path / "part"), **common))
    for name in ("model.onnx", "model.json", "checkpoint.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    made = json.loads((tmp_path / "whole" / "model.json").read_text())
    assert made["kind"] == "onnx"
    assert made["made"]["held"]["loss"] > 0
    assert all(n % 4 == 0 for n in made["patch"] + made["margin"])
    other = TrainNet(model=str(tmp_path / "part"), **{**common, "seed": 9})
    with pytest.raises(SpecError, match="of a training with other fields"):
        other.execute(0, IO())


@pytest.fixture
def spotted(tmp_path: Path) -> dict[str, Any]:
    """The fields of a training on layers of rare classes."""
    grey, labels = spots()
    return {
        "image": segmentations.layer(tmp_path / "spots", grey[..., np.newaxis]),
        "labels": segmentations.layer(tmp_path / "classes", labels[..., np.newaxis]),
        "target": "classes",
        "classes": ("pale", "dark"),
        **SMALL,
    }


@pytest.mark.long
def test_a_stopped_training_of_classes_goes_on_to_the_same_bytes(spotted: dict[str, Any], tmp_path: Path) -> None:
    torch()
    common: dict[str, Any] = {**spotted, "held": Box((0, 0, 28), (48, 44, 40)), "rounds": 6, "checkpoint": 2}
    run.inline(TrainNet(model=str(tmp_path / "whole"), **common))
    run.inline(TrainNet(model=str(tmp_path / "part"), minutes=1e-9, **common))
    run.inline(TrainNet(model=str(tmp_path / "part"), **common))
    for name in ("model.onnx", "model.json", "checkpoint.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    card = folder.read(IO(), f"file://{tmp_path}/whole")
    assert card.classes == ("pale", "dark")
    assert card.shape.channels == 2
    assert set(card.made["held"]) == {"loss", "pale precision", "pale recall", "dark precision", "dark recall"}
    model = opening.load(folder.learnt(IO(), f"file://{tmp_path}/whole", card), card, Machine("cpu"))
    said = model.predict(np.full(card.shape.patch, 0.5, np.float32, order="F"))
    assert said.shape == (*card.shape.patch, 2)


def test_labels_that_are_no_classes_are_refused(spotted: dict[str, Any], tmp_path: Path) -> None:
    torch()
    three = {**spotted, "model": str(tmp_path / "m"), "classes": ("pale", "dark", "none")}
    with pytest.raises(DataError, match="no voxel of none"):
        TrainNet(**three).execute(0, IO())
    with pytest.raises(DataError, match="a voxel of class 2; classes are 1 to 1"):
        TrainNet(**{**three, "classes": ("pale",)}).execute(0, IO())
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": ("a",)}, "target affinities and 1 names"),
        ({"target": "classes"}, "target classes and 0 names"),
        ({"target": "classes", "classes": ("a", "a")}, "different names"),
        ({"rounds": 0}, "at least 1"),
        ({"distances": (2,)}, "first of distances"),
        ({"patch": (18, 16, 16)}, "multiples of 4"),
        ({"share": 1.0}, "fractions above 0"),
        ({"minutes": -1.0}, "more than 0"),
        ({"second_image": "d"}, "given together"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        TrainNet(image="a", labels="b", model="c", **fields)  # type: ignore[arg-type]


def test_images_too_small_or_of_other_voxels_are_refused(layers: tuple[str, str], tmp_path: Path) -> None:
    torch()
    common: dict[str, Any] = {"image": layers[0], "labels": layers[1], "model": str(tmp_path / "m")}
    with pytest.raises(SpecError, match="holds a patch"):
        TrainNet(patch=(64, 64, 64), **common).prepare(IO())
    second: dict[str, Any] = {"second_image": layers[0], "second_labels": layers[1]}
    TrainNet(patch=(24, 24, 24), **common, **second).prepare(IO())
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("resolution", [ISOTROPIC, THICK])
def test_arrays_are_turned_together_and_thick_sections_stay(resolution: tuple[float, float, float]) -> None:
    numbers = np.asfortranarray(np.arange(4 * 4 * 4).reshape(4, 4, 4))
    found = set()
    for seed in range(200):
        one, two = augmentation.turned(np.random.default_rng(seed), resolution, numbers, numbers * 2)
        assert np.array_equal(2 * one, two)
        assert one.flags.f_contiguous
        if resolution == THICK:
            assert {tuple(np.unique(one[:, :, z] % 4)) for z in range(4)} == {(n,) for n in range(4)}
        found.add(one.tobytes())
    assert len(found) == (48 if resolution == ISOTROPIC else 16)


def test_shades_are_those_of_the_seed_and_stay_in_range() -> None:
    grey = np.asfortranarray(cells((20, 18, 16))[0], np.float32) / np.float32(255)
    before, seen = grey.copy(), set()
    for seed in range(20):
        one, two = (augmentation.shaded(np.random.default_rng(seed), grey, 0.3, THICK) for _ in range(2))
        assert np.array_equal(one, two)
        assert one.dtype == np.float32
        assert 0 <= one.min() <= one.max() <= 1
        assert np.corrcoef(one.ravel(), grey.ravel())[0, 1] > 0.5
        seen.add(one.tobytes())
    assert len(seen) == 20
    assert np.array_equal(grey, before)


def test_two_images_are_drawn_as_often_as_asked(layers: tuple[str, str], tmp_path: Path) -> None:
    torch()
    grey, labels = cells((48, 48, 48))
    dim = segmentations.layer(tmp_path / "dim", (grey // 2 + 1)[..., np.newaxis])
    known = segmentations.layer(tmp_path / "known", labels[..., np.newaxis])
    stage = TrainNet(
        image=layers[0], labels=layers[1], model=str(tmp_path / "m"), second_image=Layer(dim),
        second_labels=Layer(known), share=0.4, held=Box((50, -7, 0), (67, 41, 44)), **SMALL,
    )  # fmt: skip
    samples, levels = stage._samples(IO())
    assert sum(one.weight * one.grey.size for one in samples[-1:]) == pytest.approx(0.4)
    assert sum(one.weight * one.grey.size for one in samples[:-1]) == pytest.approx(0.6)
    assert abs(np.median(samples[-1].grey) - levels.median) < 0.02  # as bright as the first
    assert all(one.grey.shape[0] == 47 for one in samples[:-1])
