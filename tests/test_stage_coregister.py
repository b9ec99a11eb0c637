"""Two volumes brought to each other, stage by stage, on noise of which all is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import run
from igneous_ng.coregistration import Coregistration, Through
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats import landmarks, points
from igneous_ng.formats.info import SEGMENTATION
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.kernels.volume_matching import Status
from igneous_ng.stages.coregister_fit import Fit
from igneous_ng.stages.coregister_match import Matching
from igneous_ng.stages.coregister_points import Points
from igneous_ng.stages.coregister_render import Render
from igneous_ng.stages.coregister_rough import Rough
from igneous_ng.store import Store
from tests.coregistered import VOXEL, Truth, Waves, about, layer, scenery, seen

SHAPE = (112, 96, 72)
SMALL: dict[str, Any] = {"block": (24, 24, 24), "step": (12, 12, 12), "search": (5, 5, 5)}
TRUTH = Truth(about(np.array(SHAPE) * VOXEL / 2, 0.6, 1.01, 9), Waves.drawn(0.8 * VOXEL, 50 * VOXEL, 1))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both volumes, one round of matches in ``co``, and its map; MOVING is inverted, of 16 bit and two channels."""
    folder = tmp_path_factory.mktemp("coregister")
    still = scenery(SHAPE)
    other = np.clip(seen(still, TRUTH, SHAPE, lambda v: 40_000 - 100 * v, 400), 0, 65535)
    other[:40, :40, :50] = 0  # no tissue
    both = np.stack([np.full(SHAPE, 7), other], axis=-1)
    layer(folder / "moving", both.astype(np.uint16))
    layer(folder / "fixed", still)
    home = str(folder / "co")
    run.inline(Rough(moving=str(folder / "moving"), fixed=str(folder / "fixed"), folder=home, channel=1))
    run.inline(Matching(folder=home, **SMALL))
    run.inline(Fit(folder=home))
    return folder


def rows(folder: Path) -> np.ndarray:
    io = IO()
    volume = io.volume(f"file://{folder}/co/rounds/1/matches", 0)
    return io.read(volume, volume.bounds)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_found_is_true_and_told(done: Path) -> None:
    io, home = IO(), f"file://{done}/co"
    box = Box((24, 24, 16), (104, 88, 64))
    before, after = (TRUTH.errors(io, home, number, box) for number in (0, 1))
    assert np.median(before) > 0.5
    assert np.median(after) < 0.1
    assert np.percentile(after, 95) < 0.3
    table = rows(done)
    good = table[..., 6] == Status.GOOD
    assert 0.4 < good.mean() < 0.9
    told = Matching(folder=home, **SMALL).said(io)
    assert told.startswith(f"{good.sum()} of {good.size} blocks matched; ")
    assert "turned by 0.6" in Fit(folder=home).said(io)
    assert "correlation" in Rough(moving=f"{done}/moving", fixed=f"{done}/fixed", folder=home, channel=1).said(io)


def test_blocks_that_show_nothing_are_not_guessed(done: Path) -> None:
    status = rows(done)[..., 6]
    assert (status[0, 0] == Status.NOTHING).all()
    assert (status[3:, 3:] == Status.GOOD).mean() > 0.6


@pytest.mark.long
def test_any_order_leaves_the_same_bytes_and_all_reads_are_told(done: Path) -> None:
    home = f"file://{done}/co"
    first = contents(done / "co" / "rounds")
    stages = [Matching(folder=home, **SMALL), Fit(folder=home)]
    for stage in stages:
        io = IO()
        for unit in reversed(stage.units(io)):
            stage.execute(unit, io)
        read = {str(entry.get("layer", entry.get("url"))) for entry in io.ledger.reads}
        if stage is stages[0]:
            assert {one.removeprefix(f"file://{done}/") for one in read} == {
                "co/rounds/0/affine.json", "fixed", "moving",
            }  # fmt: skip
    assert contents(done / "co" / "rounds") == first


def test_points_go_both_ways(done: Path, tmp_path: Path) -> None:
    home = f"file://{done}/co"
    at = np.random.default_rng(0).uniform(200, 500, (30, 3))
    table = np.zeros(30, points.POINT)
    table["at"], table["label"] = at, 2**63
    IO().put(f"file://{tmp_path}/a.csv", points.encode(table))
    ways: list[tuple[str, str, Any]] = [("a", "b", "moving"), ("b", "c", "fixed")]
    for source, out, to in ways:
        run.inline(Points(folder=home, file=f"{tmp_path}/{source}.csv", out=f"{tmp_path}/{out}.csv", to=to, round=1))
    there, back = (points.parse((tmp_path / f"{name}.csv").read_bytes(), name) for name in "bc")
    assert np.abs(back["at"] - at).max() < 0.02
    assert (back["label"] == 2**63).all()
    moved = Through(IO(), Coregistration.open(IO(), home), 1).moving(at)
    assert np.abs(there["at"] - moved).max() < 1e-3
    assert np.abs(there["at"] - at).max() > 20
    each = [Through(IO(), Coregistration.open(IO(), home), 1).moving(one) for one in np.round(at, 3)]
    assert (np.array(each) == Through(IO(), Coregistration.open(IO(), home), 1).moving(np.round(at, 3))).all()


def shown(done: Path, path: Path, **fields: Any) -> tuple[str, np.ndarray]:
    stage = Render(folder=f"file://{done}/co", layer=str(path), round=1, **fields)
    run.inline(stage)
    io = IO()
    volume = io.volume(stage.layer, 0)
    return stage.layer, io.read(volume, volume.bounds)


def test_the_volume_lies_on_the_other_whatever_the_chunks(done: Path, tmp_path: Path) -> None:
    url, voxels = shown(done, tmp_path / "a", chunk=(32, 32, 32))
    info, fixed = IO().info(url), IO().info(f"file://{done}/fixed")
    assert info.scales[0].bounds == fixed.scales[0].bounds
    assert [one.bounds.shape for one in info.scales] == [(112, 96, 72), (56, 48, 72), (28, 24, 72)]
    assert (info.channels, info.dtype.name) == (2, "uint16")
    still = scenery(SHAPE)
    deep = (slice(40, 100), slice(40, 84), slice(12, 60))
    assert np.corrcoef(voxels[..., 1][deep].ravel(), still[deep].ravel())[0, 1] < -0.95
    assert set(np.unique(voxels[..., 0])) == {0, 7}
    _, other = shown(done, tmp_path / "b", chunk=(64, 16, 24), memory=300_000_000, num_mips=0)
    assert (other == voxels).all()
    box = Box((16, 20, 8), (90, 61, 50))
    _, part = shown(done, tmp_path / "c", bounds=box, num_mips=0)
    assert (part == voxels[box.slices()]).all()
    _, coarse = shown(done, tmp_path / "d", mip=1, num_mips=0)
    assert coarse.shape == (56, 48, 36, 2)


def test_labels_are_never_mixed(done: Path, tmp_path: Path) -> None:
    cells = np.random.default_rng(0).integers(1, 2**63, (8, 7, 6), np.uint64)
    labels = cells.repeat(14, 0).repeat(14, 1).repeat(12, 2)[: SHAPE[0], : SHAPE[1]]
    url = layer(tmp_path / "labels", labels, mips=0, kind=SEGMENTATION)
    made, voxels = shown(done, tmp_path / "a", of=url)
    assert IO().info(made).kind == SEGMENTATION
    assert set(np.unique(voxels)) <= {0, *np.unique(labels).tolist()}
    assert len(np.unique(voxels)) > 200
    with pytest.raises(SpecError, match="labels are not to be mixed by linear; use nearest"):
        shown(done, tmp_path / "b", of=url, method="linear")
    assert not (tmp_path / "b" / "info").exists()


@pytest.mark.parametrize("turns", ["turns", "mirrors"])
def test_quarter_turns_and_mirrors_are_found(tmp_path: Path, turns: Any) -> None:
    still = scenery((40, 36, 32))
    other = still.transpose(2, 0, 1)[::-1, :, :: -1 if turns == "turns" else 1]
    names = [layer(tmp_path / "moving", other, (5, 6, 7), mips=0), layer(tmp_path / "fixed", still, mips=0)]
    stage = Rough(moving=names[0], fixed=names[1], folder=str(tmp_path / "co"), turns=turns)
    run.inline(stage)
    affine = Coregistration.open(IO(), stage.folder).affine(IO(), 0)
    p = np.array([[3, 4, 5], [20, 11, 30]])
    q = np.rint(affine((p + 0.5) * VOXEL) / VOXEL - 0.5).astype(int) - [5, 6, 7]
    assert other[tuple(q.T)].tolist() == still[tuple(p.T)].tolist()
    assert np.abs(affine.matrix).sum() == 3
    assert ("mirrored" in stage.said(IO())) == (turns == "mirrors")


def test_landmarks_and_matrices_are_taken_as_they_are(tmp_path: Path) -> None:
    names = [layer(tmp_path / name, scenery((32, 32, 32)), mips=0) for name in ("moving", "fixed")]
    p = np.random.default_rng(0).uniform(0, 250, (8, 3))
    lines = [",".join(landmarks.NAMES)] + [",".join(f"{v:.9f}" for v in row) for row in np.hstack([p, TRUTH.affine(p)])]
    (tmp_path / "marks.csv").write_text("\n".join(lines))
    run.inline(
        Rough(moving=names[0], fixed=names[1], folder=str(tmp_path / "a"), landmarks=str(tmp_path / "marks.csv"))
    )
    found = Coregistration.open(IO(), f"file://{tmp_path}/a").affine(IO(), 0)
    assert np.abs(found(p) - TRUTH.affine(p)).max() < VOXEL / 64
    matrix = tuple(np.ravel(TRUTH.affine.to_json()).tolist())
    run.inline(Rough(moving=names[0], fixed=names[1], folder=str(tmp_path / "b"), matrix=matrix))
    found = Coregistration.open(IO(), f"file://{tmp_path}/b").affine(IO(), 0)
    assert np.abs(found(p) - TRUTH.affine(p)).max() < VOXEL / 64
    run.inline(Rough(moving=names[0], fixed=names[1], folder=str(tmp_path / "c"), search="never"))
    assert Coregistration.open(IO(), f"file://{tmp_path}/c").affine(IO(), 0).matrix.tolist() == np.eye(3).tolist()


def test_what_fits_nowhere_is_not_guessed(tmp_path: Path) -> None:
    names = [layer(tmp_path / name, scenery((48, 48, 48), n), mips=0) for n, name in enumerate(("moving", "fixed"))]
    with pytest.raises(DataError, match=r"fits .* nowhere much better than elsewhere .* give --landmarks or --matrix"):
        run.inline(Rough(moving=names[0], fixed=names[1], folder=str(tmp_path / "co")))
    run.inline(Rough(moving=names[0], fixed=names[1], folder=str(tmp_path / "co"), search="never"))
    run.inline(Matching(folder=str(tmp_path / "co"), **SMALL))
    with pytest.raises(DataError, match=r"0 blocks of 64 are matched and agree; 8 are needed"):
        run.inline(Fit(folder=str(tmp_path / "co")))


def test_wrong_requests_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    names = [layer(tmp_path / name, scenery((32, 32, 32)), mips=0) for name in ("moving", "fixed")]
    both: dict[str, Any] = {"moving": names[0], "fixed": names[1], "folder": str(tmp_path / "co")}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"matrix": (1.0, 2.0)}, "2 numbers are not three rows of four"),
        ({"matrix": (0.0,) * 12}, "not three rows of four"),
        ({"matrix": (1.0,) * 12, "landmarks": "x"}, "give one of them"),
        ({"overlap": 0.0}, "0.05 to 1"),
        ({"channel": -1}, "counted from 0"),
        ({"search": "never", "turns": "turns"}, "nothing is searched"),
        ({"folder": names[0]}, "three places"),
    ]
    for more, match in wrong:
        with pytest.raises(SpecError, match=match):
            Rough(**{**both, **more})
    with pytest.raises(SpecError, match="has 1 channels and no channel 3"):
        run.inline(Rough(**both, channel=3))
    (tmp_path / "marks.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match="no table of landmarks in nm with the columns x, y, z, moving_x"):
        run.inline(Rough(**both, landmarks=str(tmp_path / "marks.csv")))
    with pytest.raises(DataError, match="no such file"):
        run.inline(Rough(**both, landmarks=str(tmp_path / "none.csv")))
    with pytest.raises(DataError, match="nothing was begun here; run `coregister rough` first"):
        run.inline(Matching(folder=both["folder"]))
    assert not {"coregistration.json", "rounds"} & set(Store().list(f"file://{tmp_path}/co"))


def test_later_stages_say_what_is_missing(tmp_path: Path) -> None:
    names = [layer(tmp_path / name, scenery((32, 32, 32)), mips=0) for name in ("moving", "fixed")]
    home = str(tmp_path / "co")
    run.inline(Rough(moving=names[0], fixed=names[1], folder=home, search="never"))
    with pytest.raises(SpecError, match="is about other layers"):
        run.inline(Rough(moving=names[1], fixed=names[0], folder=home))
    for stage, match in [
        (Matching(folder=home, round=2, **SMALL), "run `coregister fit --round 1` first"),
        (Fit(folder=home), "run `coregister match --round 1` first"),
        (Render(folder=home, layer=str(tmp_path / "new")), "run `coregister fit --round 2` first"),
    ]:
        with pytest.raises(DataError, match=match):
            run.inline(stage)
    with pytest.raises(SpecError, match="has no mip 3"):
        run.inline(Matching(folder=home, mip=3))
    for wrong in ({"block": (40, 40, 41)}, {"search": (1, 8, 8)}, {"round": 0}):
        with pytest.raises(SpecError, match="coregister match"):
            Matching(folder=home, **wrong)
    with pytest.raises(SpecError, match="one of the two volumes"):
        run.inline(Render(folder=home, layer=names[1], round=0))
    assert sorted(Store().list(f"file://{home}/rounds")) == ["0"]
