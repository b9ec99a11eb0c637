"""Synthetic sections: they show the stack where the truth says, and their faults are those that were asked for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from igneous_ng import run
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box, Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import fields, synth_warps
from igneous_ng.kernels.synth_warps import CRACK, FOLD, TISSUE, VOID, Scatter, Section
from igneous_ng.stages.synth_sections import SynthSections
from igneous_ng.truths import Truth
from tests.alignments import stack
from tests.layers import files

SHAPE = (300, 240, 6)
QUIET: dict[str, Any] = {"gain": 0.0, "offset": 0.0, "noise": 0.0}


def scenery(shape: Vec3 = SHAPE, channels: int = 1, dtype: str = "uint8") -> np.ndarray:
    """Smooth blobs, so that splines between pixels tell the truth; each slice is another."""
    rng = np.random.default_rng(4)
    found = ndimage.gaussian_filter(rng.normal(size=(*shape, channels)), (3, 3, 0, 0))
    found = (found - found.min()) / np.ptp(found)
    return np.asfortranarray((40 + found * 170) * (256 if dtype == "uint16" else 1)).astype(dtype)


def cut(path: Path, layer: str, **more: Any) -> tuple[str, Truth]:
    out = f"file://{path}"
    run.inline(SynthSections(image=layer, out=out, **{"every": 1, **QUIET, **more}))
    return out, Truth(IO(), out)


def layers(out: str) -> tuple[np.ndarray, np.ndarray]:
    """The sections ``[x, y, z, channel]``, and their codes."""
    io = IO()
    volumes = [io.volume(f"{out}/{name}", 0) for name in ("image", "mask")]
    image, mask = (io.read(volume, volume.bounds) for volume in volumes)
    return image, mask[..., 0]


def pixels(shape: Vec3 = SHAPE) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij"), axis=-1).astype(float)


def sampled(voxels: np.ndarray, places: np.ndarray) -> np.ndarray:
    found: np.ndarray = ndimage.map_coordinates(
        voxels.astype(float), np.moveaxis(places, -1, 0), order=3, mode="mirror"
    )
    return found


@pytest.mark.parametrize("offset", [(0, 0, 0), (-70, 1000, 5)])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (2, "uint16")])
def test_sections_show_the_stack_where_the_truth_says(tmp_path: Path, offset: Vec3, channels: int, dtype: str) -> None:
    voxels = scenery(channels=channels, dtype=dtype)
    layer = stack(tmp_path / "stack", voxels, offset)
    out, truth = cut(tmp_path / "out", layer, warp=3.0, turn=4.0, stretch=0.03, every=2)
    image, mask = layers(out)
    assert image.shape == (300, 240, 3, channels)
    assert IO().info(f"{out}/image").scales[0].resolution == (8, 8, 64)
    for z in range(3):
        places = truth.places(z, pixels())
        there = mask[:, :, z] == TISSUE
        assert (there == ((places >= 0) & (places <= [299, 239])).all(axis=-1)).all()
        assert 0.7 < there.mean() < 1
        for channel in range(channels):
            wanted = sampled(voxels[:, :, 2 * z, channel], places)
            assert np.abs(image[:, :, z, channel] - wanted)[there].max() < 1
        assert not image[:, :, z][~there].any()
        assert (mask[:, :, z][~there] == VOID).all()


def test_bends_are_as_large_and_as_smooth_as_asked() -> None:
    scatter = Scatter(warp=3, shift=0, turn=0, stretch=0, gain=0, offset=0, share=0.3, angle=90, jump=20, seed=5)
    field = synth_warps.nodes(scatter, 7, (0, 0), (600, 500))
    assert np.sqrt((field.astype(float) ** 2).mean()) == pytest.approx(3 * np.hypot(1, 0.25), rel=0.1)
    assert abs(field.mean()) < 0.5
    steps = np.diff(field.astype(float), axis=0) / synth_warps.STEP
    expected = 3 * np.hypot(1 / 90, 0.25 / 35) / np.sqrt(2)  # noise through a Gaussian has this slope
    assert np.sqrt((steps**2).mean()) == pytest.approx(expected, rel=0.1)
    assert not np.array_equal(field, synth_warps.nodes(scatter, 8, (0, 0), (600, 500)))


@settings(max_examples=30)
@given(st.integers(-90, 90), st.integers(-90, 90), st.integers(1, 30), st.integers(1, 30))
def test_a_node_is_the_same_in_whatever_window(x: int, y: int, wide: int, high: int) -> None:
    scatter = Scatter(warp=2, shift=0, turn=0, stretch=0, gain=0, offset=0, share=0.3, angle=90, jump=20, seed=5)
    whole = synth_warps.nodes(scatter, 3, (-90, -90), (120, 120))
    part = synth_warps.nodes(scatter, 3, (x, y), (x + wide, y + high))
    assert (part == whole[x + 90 : x + 90 + wide, y + 90 : y + 90 + high]).all()


@pytest.mark.long
def test_any_cells_give_the_same_bytes(tmp_path: Path) -> None:
    voxels = np.tile(scenery((300, 250, 2)), (5, 5, 1, 1))[:1400, :1100]
    layer = stack(tmp_path / "stack", np.asfortranarray(voxels))
    more = {"noise": 6.0, "gain": 0.2, "offset": 15.0, "turn": 3.0, "folded": (1,)}
    for name, cell in (("small", (1, 1)), ("large", (4000, 4000))):
        out, _ = cut(tmp_path / name, layer, cell=cell, **more)
        if name == "small":
            assert len(SynthSections(image=layer, out=out, every=1, cell=cell).units(IO())) == 8
    small, large = (_bytes(tmp_path / name) for name in ("small", "large"))
    assert small == large
    assert len(small) == 2 * (9 + 9 + 4) + 4


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        name: data for name, data in files(folder).items() if "runs/" not in name and not name.endswith("provenance")
    }


def test_the_field_that_is_stored_is_the_one_that_was_applied(tmp_path: Path) -> None:
    layer = stack(tmp_path / "stack", scenery())
    stage = SynthSections(image=layer, out=str(tmp_path / "out"), every=1, seed=3)
    run.inline(stage)
    truth, scatter = Truth(IO(), stage.out), stage._scatter()
    points = np.random.default_rng(0).uniform(-30, 330, (500, 2))
    section = truth.sections[2]
    bends = synth_warps.bends(scatter, section, section.straight(points))
    assert (truth.places(2, points) == section.shown(section.straight(points), bends)).all()
    nodes = fields.points((0, 0), (19, 15), synth_warps.STEP)
    shift = truth.places(2, nodes) - nodes
    assert np.array(section.shift) == pytest.approx(shift.mean(axis=(0, 1)), abs=4)


def test_one_slice_again_and_again(tmp_path: Path) -> None:
    voxels = scenery()
    layer = stack(tmp_path / "stack", voxels)
    out, truth = cut(tmp_path / "out", layer, every=0, first=4, count=3, warp=0.0, shift=0.0)
    image, _ = layers(out)
    assert (image == voxels[:, :, [4]]).all()
    assert [section.slice for section in truth.sections] == [4, 4, 4]
    assert IO().info(f"{out}/image").scales[0].resolution[2] == 32


def test_levels_are_as_the_truth_says(tmp_path: Path) -> None:
    voxels = scenery()
    layer = stack(tmp_path / "stack", voxels)
    out, truth = cut(tmp_path / "out", layer, warp=0.0, shift=0.0, gain=0.2, offset=15.0, noise=6.0)
    image, _ = layers(out)
    for z, section in enumerate(truth.sections):
        left = image[:, :, z, 0] - (voxels[:, :, z, 0] * section.gain + section.offset)
        assert abs(left.mean()) < 0.3
        assert left.std() == pytest.approx(6, abs=0.4)
    assert len({section.gain for section in truth.sections}) == 6


def test_faults_are_where_the_truth_says(tmp_path: Path) -> None:
    voxels = scenery((300, 240, 9))
    layer = stack(tmp_path / "stack", voxels)
    still = {"warp": 0.0, "shift": 0.0}
    faults: dict[str, Any] = {"lost": (1,), "masked": (2,), "inverted": (3,), "turned": (4,), "flipped": (5,)}
    out, truth = cut(tmp_path / "out", layer, **faults, swapped=(6,), **still)
    image, mask = layers(out)
    image = image[..., 0]
    plain = voxels[..., 0]
    assert (image[..., 0] == plain[..., 0]).all()
    assert not image[..., 1].any()
    assert (mask[..., 1] == VOID).all()
    void = mask[..., 2] == VOID
    assert void.mean() == pytest.approx(0.3, abs=0.01)
    assert not image[..., 2][void].any()
    assert (image[..., 2][~void] == plain[..., 2][~void]).all()
    assert (image[..., 3] == 255 - plain[..., 3]).all()
    turned = (mask[..., 4] == TISSUE) & (image[..., 4] > 0)
    assert turned.mean() == pytest.approx(0.8, abs=0.01)
    assert (image[30:270, :, 4] == np.rot90(plain[30:270, :, 4], -1)).all()
    assert (image[..., 5] == plain[::-1, :, 5]).all()
    assert (image[..., 6] == plain[..., 7]).all()
    assert (image[..., 7] == plain[..., 6]).all()
    assert [s.fault for s in truth.sections] == ["", *faults, "swapped", "swapped", ""]


def test_a_fold_hides_a_strip_and_a_crack_opens_one(tmp_path: Path) -> None:
    voxels = scenery((300, 240, 2))
    layer = stack(tmp_path / "stack", voxels)
    out, truth = cut(tmp_path / "out", layer, warp=1.0, folded=(0,), cracked=(1,), jump=24.0)
    image, mask = layers(out)
    for z, code, width in ((0, FOLD, 12), (1, CRACK, 24)):
        places, section = truth.places(z, pixels()), truth.sections[z]
        there = mask[:, :, z] == TISSUE
        wanted = sampled(voxels[:, :, z, 0], places)
        assert np.abs(image[:, :, z, 0] - wanted)[there].max() < 1
        torn = mask[:, :, z] == code
        length = 240 / max(abs(n) for n in (section.tear.normal if section.tear else ()))
        assert width * 200 < torn.sum() < width * 1.3 * length
        low, high = section.across(10, 1)
        jump = truth.places(z, high) - truth.places(z, low) - (high - low)
        assert np.hypot(*jump.T) == pytest.approx(24, abs=2)
        beside = section.beside(pixels())
        assert (beside[torn] == 0).all()
        assert (beside[~torn] > 0).all()
    dark, bright = image[:, :, 0, 0][mask[:, :, 0] == FOLD], image[:, :, 0, 0][mask[:, :, 0] == TISSUE]
    assert dark.mean() < 0.5 * bright.mean()
    assert not image[:, :, 1, 0][mask[:, :, 1] == CRACK].any()


def test_a_fault_changes_no_other_section(tmp_path: Path) -> None:
    layer = stack(tmp_path / "stack", scenery())
    plain, _ = layers(cut(tmp_path / "plain", layer, noise=6.0)[0])
    spoilt, _ = layers(cut(tmp_path / "spoilt", layer, noise=6.0, lost=(1,), inverted=(4,))[0])
    same = [(plain[:, :, z] == spoilt[:, :, z]).all() for z in range(6)]
    assert same == [True, False, True, True, False, True]


def test_what_was_planted_survives_json() -> None:
    scatter = Scatter(warp=2, shift=8, turn=3, stretch=0.1, gain=0.2, offset=9, share=0.3, angle=37, jump=20, seed=1)
    for fault in ("", "masked", "turned", "folded", "cracked"):
        section = synth_warps.planted(scatter, 4, 16, (500, 400), fault)
        assert Section.from_json(json.loads(json.dumps(dataclasses.asdict(section)))) == section


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"every": 0}, "say how many"),
        ({"count": 7}, "has 6 slices"),
        ({"lost": (6,)}, "a fault in section 6"),
        ({"swapped": (5,)}, "a fault in section 6"),
        ({"lost": (2,), "swapped": (1,)}, "section 2 has two faults"),
        ({"warp": -1.0}, "cannot be negative"),
        ({"jump": 0.0}, "a jump is positive"),
        ({"cell": (0, 5)}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    layer = stack(tmp_path / "stack", scenery((40, 30, 6)))
    with pytest.raises(SpecError, match=said):
        run.inline(SynthSections(image=layer, out=str(tmp_path / "out"), **{"every": 1, **fields}))
    assert not (tmp_path / "out/image/info").exists()


def test_stacks_of_other_types_and_folders_without_truth_are_refused(tmp_path: Path) -> None:
    layer = stack(tmp_path / "stack", scenery((40, 30, 2)).astype(np.float32))
    with pytest.raises(SpecError, match="uint8 or uint16"):
        run.inline(SynthSections(image=layer, out=str(tmp_path / "out")))
    with pytest.raises(DataError, match="synth sections"):
        Truth(IO(), f"file://{tmp_path}").places(0, np.zeros((1, 2)))


def test_said_names_the_faults(tmp_path: Path) -> None:
    layer = stack(tmp_path / "stack", scenery((40, 30, 6)))
    stage = SynthSections(image=layer, out=str(tmp_path / "out"), every=1, lost=(3,), folded=(1,))
    assert stage.said(IO()) == "6 sections; 1 folded, 3 lost"
    assert stage.units(IO())[5] == Box((0, 0, 5), (40, 30, 6))
