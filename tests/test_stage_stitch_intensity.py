"""Brightness of a montage: planted faults are mended, by the files alone that other steps left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from igneous_ng import catalog, run, tones
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.kernels import flat_nodes
from igneous_ng.montage import Montage
from igneous_ng.stages.stitch_intensity import All, Balance, Flatfield, Intensity, Levels, Shade
from tests.layers import files, notes
from tests.planted import Planted, shade_of, texture

Array = npt.NDArray[Any]
STAGES: tuple[type[Intensity], ...] = (Flatfield, Balance, Shade, Levels)


def everything(made: Planted) -> None:
    for cls in STAGES:
        run.inline(cls(montage=made.url))


def toned(made: Planted, z: int = 0) -> Array:
    """Gain and offset of each tile and channel."""
    io = IO()
    found = tones.of_tiles(io, Montage.open(io, made.url), made.section(z))
    assert found is not None
    return found


def field_of(made: Planted, camera: str = "") -> Array:
    """The flat field of a camera at each pixel, ``[x, y, channel]``."""
    found = tones.flat(IO(), made.url, camera)
    assert found is not None
    size = made.size, made.size
    return np.dstack([flat_nodes.coarse(found[:, :, c], size, 1, size) for c in range(found.shape[2])])


def shaded(made: Planted, z: int = 0) -> tuple[Any, Array]:
    data = IO().get(f"{made.url}/shades/z{z:06d}.shade")
    assert data is not None
    return shade_of(data)


def differences(made: Planted, tone: Array) -> tuple[Array, Array]:
    """By how much tiles differ where they overlap, in the mean, and over stretches of 64 pixels."""
    section, even = made.section(0), field_of(made)
    shown = [tone[n, :, 0] * picture / even + tone[n, :, 1] for n, picture in enumerate(made.pictures[0])]
    means, parts = [], []
    for i, j in section.pairs:
        one, other = made.shared(section, i, j, shown)
        gap = (one - other)[..., 0]
        gap = gap if gap.shape[0] > gap.shape[1] else gap.T
        means.append(abs(gap.mean()))
        parts += [abs(gap[n : n + 64].mean()) for n in range(0, len(gap) - 63, 64)]
    return np.array(means), np.array(parts)


def test_steps_between_the_tiles_of_a_noisy_section_are_below_a_grey_level(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    gains, offsets = rng.uniform(0.8, 1.2, 36), rng.uniform(-15, 15, 36)

    def fault(made: Planted, n: int, true: Array) -> Any:
        return (true - offsets[n]) / gains[n] + np.random.default_rng(n).normal(0, 6, true.shape)

    made = Planted(tmp_path, (6, 6), 512, 51, fault=fault)
    everything(made)
    assert differences(made, np.tile((1.0, 0.0), (36, 1, 1)))[0].max() > 40
    means, parts = differences(made, toned(made))
    assert means.max() < 0.3  # offsets are rounded to 1/4
    assert parts.max() < 0.8
    assert "before, 0.2 after" in Balance(montage=made.url).said(IO())
    assert np.abs(shaded(made)[1]).max() < 2  # there was nothing left to shade
    assert Flatfield(montage=made.url).said(IO()) == "1 of 1 cameras: even, or too few tiles to know"


def darkening(size: int) -> Array:
    at = (np.arange(size) + 0.5) / size * 2 - 1
    found = 1 - 0.25 * (at[:, None] ** 2 + at**2) / 2
    return np.asarray(found / found.mean())[..., None]


def test_planted_vignetting_of_a_camera_is_found_within_a_percent(tmp_path: Path) -> None:
    even = darkening(128)
    made = Planted(
        tmp_path,
        (10, 10),
        overlap=8,
        sections=(3, 4, 7),
        camera="beam 1/a_b",
        spread=12.0,
        fault=lambda _, n, true: true * even * (0.7 + 0.006 * (n % 50)),
    )
    run.inline(Flatfield(montage=made.url))
    assert [path.name for path in (tmp_path / "flat").iterdir()] == ["beam%201%2Fa%5Fb.cols"]
    assert np.abs(field_of(made, made.camera) / even - 1).max() < 0.01
    assert "camera beam 1/a_b: 0.8" in Flatfield(montage=made.url).said(IO())


def test_of_few_tiles_no_field_is_known(tmp_path: Path) -> None:
    even = darkening(128)
    made = Planted(tmp_path, (4, 4), sections=(0, 1, 2, 3), fault=lambda _, __, true: true * even)
    run.inline(Flatfield(montage=made.url))
    assert (field_of(made) == 1).all()
    assert "too few places" in notes(tmp_path)[0]["told"]
    assert tones.flat_url("x", "") == "x/flat/_.cols"
    assert tones.flat_url("x", "_") == "x/flat/%5F.cols"


@pytest.mark.parametrize("counted", [True, False])
def test_what_a_place_shows_in_all_sections_is_not_taken_for_the_camera(tmp_path: Path, counted: bool) -> None:
    same = [texture((128, 128), n)[..., None] for n in range(36)]
    made = Planted(tmp_path, (6, 6), 128, 8, tuple(range(8)), counted=counted, fault=lambda _, n, __: same[n])
    run.inline(Flatfield(montage=made.url))
    assert np.abs(field_of(made) - 1).max() < 0.01


def test_any_order_and_repetition_gives_the_same_bytes(tmp_path: Path) -> None:
    made = [
        Planted(tmp_path / str(n), (3, 8), sections=(1, 2, 5), fault=lambda _, n, true: true * (1 + n / 99) + n)
        for n in range(2)
    ]
    everything(made[0])
    for cls in STAGES:
        stage = cls(montage=made[1].url)
        for unit in [*reversed(stage.units(IO())), *stage.units(IO())]:
            stage.execute(unit, IO())
    one, other = (files(one.home) for one in made)
    names = [name for name in one if name.split("/")[0] in ("flat", "tones", "shades", "levels")]
    assert len(names) == 1 + 3 * 2 + 3 + 3
    assert {name: one[name] for name in names} == {name: other[name] for name in names}


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_channels_of_sixteen_bits_are_each_for_themselves(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    gains, offsets = rng.uniform(0.8, 1.2, (12, 2)), rng.uniform(-3000, 3000, (12, 2))
    made = Planted(tmp_path, (3, 4), channels=2, dtype=dtype, fault=lambda _, n, true: (true - offsets[n]) / gains[n])
    everything(made)
    found = toned(made)
    assert found.shape == (12, 2, 2)
    for channel in range(2):
        ratio = found[:, channel, 0] / gains[:, channel]
        assert np.abs(ratio / ratio.mean() - 1).max() < 0.01
    section, shown = made.section(0), [found[n, :, 0] * p + found[n, :, 1] for n, p in enumerate(made.pictures[0])]
    for i, j in section.pairs:
        one, other = made.shared(section, i, j, shown)
        assert np.abs((one - other).mean(axis=(0, 1))).max() < 80  # of 65535
    quantiles = json.loads((tmp_path / "tones/z000000.json").read_text())["quantiles"]
    for channel in range(2):
        true = np.quantile([one[..., channel] for one in made.true[0]], 0.5)
        assert quantiles[channel][1] == pytest.approx(true, rel=0.1)
    at, samples = shaded(made)
    assert at.channels == samples.shape[2] == 2


def test_a_slope_within_tiles_is_spread_and_lies_where_it_should(tmp_path: Path) -> None:
    slope = (np.arange(256) / 255 - 0.5)[:, None, None] * 20
    made = Planted(tmp_path, (1, 6), 256, 64, fault=lambda _, __, true: true + slope, spread=10.0)
    run.inline(Shade(montage=made.url))
    at, samples = shaded(made)
    assert (at.factor, at.origin) == (8, (-512, -512))
    centres = at.origin[0] + (np.arange(samples.shape[0]) + 0.5) * 8 - 0.5
    row = samples[:, 64 + 14 : 64 + 18, 0].mean(axis=1)
    for n in range(1, 5):  # it rises across each overlap, as what is blended falls there, and falls between
        start = n * 192.0
        across = np.interp(start + 56, centres, row) - np.interp(start + 8, centres, row)
        within = np.interp(start + 184, centres, row) - np.interp(start + 72, centres, row)
        assert across > 4
        assert within < -3
        assert abs(np.interp(start + 32, centres, row)) < 1.5


def test_what_is_added_makes_the_section_smoother(tmp_path: Path) -> None:
    def bent(size: int, n: int) -> Array:
        at, c = (np.arange(size) + 0.5) / size * 2 - 1, np.random.default_rng(n).uniform(-8, 8, 4)
        x, y = at[:, None], at[None]
        return np.asarray(c[0] * x + c[1] * y + c[2] * x * y + c[3] * (x * x - 1 / 3))[..., None]

    made = Planted(tmp_path, (4, 4), 256, 48, fault=lambda p, n, true: true + bent(p.size, n))
    for cls in (Balance, Shade):
        run.inline(cls(montage=made.url))
    at, samples = shaded(made)
    tone, section = toned(made), made.section(0)
    left, weight = np.zeros((900, 900)), np.zeros((900, 900))
    side = np.minimum(np.arange(256) + 0.5, 255.5 - np.arange(256))
    for n, tile in enumerate(section.tiles):
        place = tuple(slice(int(v), int(v) + 256) for v in (tile.x, tile.y))
        deep = np.minimum(side[:, None], side)
        left[place] += deep * (tone[n, 0, 0] * (128 + bent(256, n)[..., 0]) + tone[n, 0, 1] - 128)
        weight[place] += deep
    left /= np.maximum(weight, 1e-9)
    where = [(np.arange(900) - o + 0.5) / at.factor - 0.5 for o in at.origin]
    mended = left + ndimage.map_coordinates(samples[..., 0], np.meshgrid(*where, indexing="ij"), order=1)
    steep = [np.abs(np.diff(one, axis=0))[100:700, 100:700] for one in (left, mended)]
    assert np.quantile(steep[0], 0.99) > 1.6 * np.quantile(steep[1], 0.99)


def test_sections_are_brought_to_the_median_of_five(tmp_path: Path) -> None:
    made = Planted(tmp_path, (2, 2), sections=(0, 1, 2, 3, 4, 9), seed=3)
    for z, picture in ((2, 1.2), (9, 0.5)):
        made.fault = lambda _, __, true, by=picture: true * by - 20  # type: ignore[misc]
        section = made.section(z)
        made._paint(section)
        made._write(section)
    everything(made)
    level = {z: json.loads((tmp_path / f"levels/z{z:06d}.json").read_text()) for z in made.sections}
    assert level[9] == {"gain": [1.0], "offset": [0.0]}
    assert Levels(montage=made.url).said(IO()).startswith(f"gains of sections: {level[2]['gain'][0]:.3f} to 1.0")
    assert level[2]["gain"][0] == pytest.approx(1 / 1.2, abs=0.06)
    means = [level[z]["gain"][0] * np.mean(made.pictures[z]) + level[z]["offset"][0] for z in made.sections if z != 9]
    assert np.ptp(means) < 4
    assert np.ptp([np.mean(made.pictures[z]) for z in (0, 1, 3, 4)]) < 4


def test_one_tile_no_tile_and_a_tile_that_cannot_be_read(tmp_path: Path) -> None:
    for label, lattice in (("one", (1, 1)), ("none", (0, 0)), ("more", (2, 3))):
        made = Planted(tmp_path / label, lattice, unread=frozenset({1}), sections=(0, 1))
        for cls in STAGES if label != "none" else STAGES[1:]:
            run.inline(cls(montage=made.url))
        assert np.abs(toned(made) - (1, 0)).max(initial=0) < 0.5
        assert np.abs(shaded(made)[1]).max(initial=0) < 1.5
        level = json.loads((made.home / "levels/z000000.json").read_text())
        assert (label == "none") == (level == {"gain": [1.0], "offset": [0.0]})
    with pytest.raises(SpecError, match="nothing to do"):
        run.inline(Flatfield(montage=Planted(tmp_path / "bare", (0, 0)).url))


def test_a_unit_reads_its_own_section_alone_and_says_so(tmp_path: Path) -> None:
    made = Planted(tmp_path, (2, 3), sections=(4, 5))
    everything(made)
    for cls, needed in ((Balance, "matches/z000004/000.cols"), (Shade, "solutions/z000004.maps")):
        io = IO()
        cls(montage=made.url).execute(4, io)
        read = {entry["url"].removeprefix(f"{made.url}/") for entry in io.ledger.reads}
        assert {needed, "sections/z000004.json", "verified/z000004/000.thumbs", "flat/_.cols"} <= read
        assert not any("z000005" in url for url in read)


@pytest.mark.parametrize(
    ("gone", "stage", "message"),
    [
        ("sections.json", Balance, "run `ingest register` first"),
        ("matches/z000000/000.cols", Balance, "run `stitch match` first"),
        ("solutions/z000000.maps", Shade, "run `stitch solve` first"),
        ("verified/z000000/000.thumbs", Flatfield, "run `ingest verify`"),
        ("manifest/z000000.jsonl", Shade, "run `ingest plan` again"),
        ("tones/z000000.json", Levels, "run `stitch balance` first"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, gone: str, stage: type[Intensity], message: str) -> None:
    made = Planted(tmp_path, (2, 2))
    (tmp_path / gone).unlink(missing_ok=True)
    with pytest.raises(DataError, match=message):
        run.inline(stage(montage=made.url))


def test_files_of_other_tiles_are_refused(tmp_path: Path) -> None:
    made = Planted(tmp_path, (2, 2))
    run.inline(Balance(montage=made.url))
    (tmp_path / "tones/z000000.f32").write_bytes(b"1234")
    with pytest.raises(DataError, match="not those of 4 tiles"):
        Shade(montage=made.url).execute(0, IO())
    others = Planted(tmp_path / "others", (2, 3))
    (tmp_path / "solutions/z000000.maps").write_bytes((others.home / "solutions/z000000.maps").read_bytes())
    with pytest.raises(DataError, match="has 6 maps for 4 tiles"):
        Shade(montage=made.url).execute(0, IO())
    (tmp_path / "manifest/z000000.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="has no line for"):
        Balance(montage=made.url).execute(0, IO())


def test_the_chain_is_what_follows_the_solution_in_order(tmp_path: Path) -> None:
    assert catalog.chains()["stitch intensity"].cls == "All"
    plain = All(montage=str(tmp_path))
    assert [type(step) for step in plain.steps(IO())] == [Balance, Levels]
    chain = All(montage=str(tmp_path), memory=10**9, shade=True)
    steps = list(chain.steps(IO()))
    assert [type(step) for step in steps] == [Balance, Shade, Levels]
    assert {step.memory for step in steps} == {10**9}
