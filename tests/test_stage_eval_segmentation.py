"""Scores are those of their definitions on whole volumes, whatever the cells; maps of errors add up to them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng import cli, redo, run
from igneous_ng.census import Shuffle
from igneous_ng.errors import DataError, SpecError
from igneous_ng.evaluations import tops
from igneous_ng.geometry import Vec3
from igneous_ng.io import IO
from igneous_ng.kernels import contingency, partition_scores
from igneous_ng.stages.eval_segmentation import Errors, EvalSegmentation, Overlaps, Scores
from igneous_ng.store import Store
from tests.layers import create, files, whole

Array = npt.NDArray[Any]


def labels(path: Path, array: Array, lo: Vec3 = (-5, 3, 7), **fields: Any) -> str:
    return str(create(path, array[..., None], lo, kind="segmentation", **fields))


def evaluated(folder: Path, segments: Array, truth: Array, name: str = "errors", **fields: Any) -> dict[str, Any]:
    """Scores of two arrays, as layers."""
    if not (folder / "truth").exists():
        labels(folder / "truth", truth)
        labels(folder / "segments", segments)
    return scored(folder, f"{folder}/segments", f"{folder}/truth", name, **fields)


def scored(folder: Path, segmentation: str, truth: str, name: str = "errors", **fields: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"block": (2, 2, 2), "cell": (16, 16, 16), **fields}
    for stage in EvalSegmentation(segmentation=segmentation, truth=truth, layer=str(folder / name), **chosen).steps(
        IO()
    ):
        run.inline(stage)
    found: dict[str, Any] = json.loads((folder / name / "scores.json").read_text())
    return found


def defined(segments: Array, truth: Array) -> dict[str, float]:
    """Entropies and shares of pairs of voxels, by their definitions, of two partitions without holes."""
    both = np.stack([truth.ravel(), segments.ravel()]).astype(np.int64)
    together = np.unique(both, axis=1, return_counts=True)[1]
    objects, parts = (np.unique(row, return_counts=True)[1] for row in both)
    entropy = [-sum(p * np.log2(p) for p in n / both.shape[1]) for n in (together, objects, parts)]
    same, pairs, found = (float((n.astype(float) ** 2).sum()) for n in (together, objects, parts))
    precision, recall = same / found, same / pairs
    return {
        "voi_split": entropy[0] - entropy[1],
        "voi_merge": entropy[0] - entropy[2],
        "voi": 2 * entropy[0] - entropy[1] - entropy[2],
        "precision": precision,
        "recall": recall,
        "arand": 1 - 2 * precision * recall / (precision + recall),
    }


def single(segments: Array) -> Array:
    """Each voxel of no segment as a segment of its own."""
    found = segments.astype(np.int64)
    found[segments == 0] = np.arange((segments == 0).sum()) + 10**9
    return found


def random(seed: int, shape: tuple[int, ...], objects: int = 5, segments: int = 7) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    near = np.uint64(2**56) + rng.permutation(segments - 1).astype(np.uint64)  # as ids of supervoxels are
    names = np.append(np.uint64(0), near)
    truth = rng.integers(0, objects, shape).astype(np.uint32)
    noise = rng.integers(0, segments, shape)
    return names[np.where(rng.random(shape) < 0.5, truth % segments, noise)], truth


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_definitions(tmp_path: Path, seed: int) -> None:
    segments, truth = random(seed, (19, 8, 21))
    found = evaluated(tmp_path, segments, truth)
    evaluated(tmp_path, segments, truth, "whole", cell=(99, 99, 99))
    assert results(tmp_path / "errors") == results(tmp_path / "whole")
    true = truth > 0
    assigned = true & (segments > 0)
    expected = {
        "one": defined(segments[true], truth[true]),
        "own": defined(single(segments)[true], truth[true]),
        "absent": defined(segments[assigned], truth[assigned]),
    }
    for way, scores in expected.items():
        assert found[way] == pytest.approx(scores, abs=1e-6), way
    assert found["cremi"] == pytest.approx(np.sqrt(expected["one"]["voi"] * expected["own"]["arand"]), abs=1e-6)
    counts = [found[name] for name in ("voxels", "unassigned", "ignored", "objects", "segments")]
    assert counts == [true.sum(), (true & (segments == 0)).sum(), (~true).sum(), 4, 6]


def test_the_truth_is_perfect_and_one_segment_merges_all(tmp_path: Path) -> None:
    truth = random(1, (9, 9, 9))[1] + 1
    names = np.array([0, 9, 8, 7, 6, 5], np.uint16)
    same = evaluated(tmp_path, names[truth], truth)
    assert (same["one"]["voi"], same["own"]["arand"], same["split"], same["merged"]) == (0, 0, [], [])
    merged = scored(tmp_path, labels(tmp_path / "all", np.ones_like(truth)), f"{tmp_path}/truth", "other")
    assert merged["one"]["voi_split"] == 0
    assert merged["one"]["voi_merge"] == pytest.approx(defined(np.ones(729), truth)["voi_merge"], abs=1e-6)
    assert [o["of"] for o in merged["merged"]] == [5]


def results(folder: Path) -> dict[str, bytes]:
    """The map and the scores."""
    return {name: data for name, data in files(folder).items() if not name.startswith("eval/")}


@pytest.mark.long
@settings(max_examples=8)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    block=st.sampled_from([(1, 1, 1), (2, 1, 3), (3, 2, 2)]),
    factors=st.tuples(*[st.integers(1, 3)] * 3),
    border=st.sampled_from([0.0, 4.0, 9.0]),
)
def test_any_cells_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shape: Vec3,
    block: Vec3,
    factors: Vec3,
    border: float,
) -> None:
    folder = tmp_path_factory.mktemp("cells")
    segments, truth = random(seed, shape)
    other: Any = tuple(8 * b * f for b, f in zip(block, factors, strict=True))
    for name, cell in (("one", (999, 999, 999)), ("other", other)):
        evaluated(folder, segments, truth, name, block=block, cell=cell, border=border)
    assert results(folder / "one") == results(folder / "other")


@pytest.mark.long
def test_many_cells_and_levels_and_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    segments, truth = random(3, (40, 37, 21), 90, 80)
    evaluated(tmp_path, segments, truth, "whole", block=(1, 1, 1), cell=(999, 999, 999))
    evaluated(tmp_path, segments, truth, "cells", block=(1, 1, 1), cell=(8, 8, 8))
    assert Shuffle(5 * 5 * 3).top == 2
    assert tops(128) == [128, 2, 1]
    assert results(tmp_path / "whole") == results(tmp_path / "cells")
    before = files(tmp_path / "cells")
    chain = EvalSegmentation(segmentation=f"{tmp_path}/segments", truth=f"{tmp_path}/truth", layer=f"{tmp_path}/cells",
                             block=(1, 1, 1), cell=(8, 8, 8))  # fmt: skip
    for stage in chain.steps(IO()):
        io = IO()
        stage.prepare(io)
        for unit in reversed(stage.units(io)):
            stage.execute(unit, io)
        stage.finish(io)
    assert files(tmp_path / "cells") == before


def test_the_map_adds_up_to_the_scores(tmp_path: Path) -> None:
    segments, truth = random(5, (21, 10, 17))
    found = evaluated(tmp_path, segments, truth, block=(4, 3, 2), cell=(8, 8, 8))
    shown = whole(tmp_path / "errors")
    first = [(n - o) // b for n, o, b in zip((-5, 3, 7), (0, 0, 0), (4, 3, 2), strict=True)]
    at = [(np.arange(n) + o) // b - f for n, o, b, f in zip(truth.shape, (-5, 3, 7), (4, 3, 2), first, strict=True)]
    assert shown.shape == (*(int(a[-1]) + 1 for a in at), 2)
    per_voxel = shown[np.ix_(*at)].astype(float)
    means = per_voxel[truth > 0].mean(axis=0)
    assert means == pytest.approx([found["one"]["voi_split"], found["one"]["voi_merge"]], abs=1e-5)
    corner = np.zeros_like(truth, bool)
    corner[:1, :3, :1] = (truth > 0)[:1, :3, :1]  # the block that holds the first voxel
    expected = [cost(truth, segments, corner), cost(segments, truth, corner)]
    assert shown[0, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def cost(one: Array, other: Array, chosen: Array) -> float:
    """Bits a voxel of the chosen ones of the first corner that ``other`` needs where ``one`` is known."""
    counted = truth_of(one, other) > 0
    total = 0.0
    for x, y, z in np.argwhere(chosen):
        mine = counted & (one == one[x, y, z])
        total += np.log2(mine.sum() / (mine & (other == other[x, y, z])).sum())
    return total / int(chosen.sum())


def truth_of(one: Array, other: Array) -> Array:
    return one if one.dtype == np.uint32 else other


def test_the_worst_objects_are_told_with_places(tmp_path: Path) -> None:
    truth = np.ones((32, 16, 16), np.uint32)
    truth[:, 8:] = 2
    segments = np.full(truth.shape, 11, np.uint64)
    segments[24:, :8] = 12
    found = evaluated(tmp_path, segments, truth, block=(8, 8, 8), cell=(64, 64, 64))
    (split,), (merged,) = found["split"], found["merged"]
    assert (split["label"], split["voxels"], split["of"]) == (1, 4096, 2)
    assert [(p["label"], p["voxels"]) for p in split["parts"]] == [(11, 3072), (12, 1024)]
    assert split["bits"] == pytest.approx(found["one"]["voi_split"])
    assert (merged["label"], [(p["label"], p["voxels"]) for p in merged["parts"]]) == (11, [(2, 4096), (1, 3072)])
    place = np.array(split["parts"][1]["place"]) - (-5, 3, 7)
    assert segments[tuple(place)] == 12
    assert truth[tuple(place)] == 1


def test_voxels_near_a_true_border_are_not_counted(tmp_path: Path) -> None:
    segments, truth = random(8, (12, 12, 3))
    truth = np.kron(truth[::4, ::4, :1] + 1, np.ones((4, 4, 3), np.uint32)).astype(np.uint32)
    found = evaluated(tmp_path, segments, truth, border=8.0, cell=(16, 16, 16))  # voxels of 4, 4 and 40 nm
    near = np.zeros(truth.shape, bool)
    for x, y in itertools.product(range(-2, 3), repeat=2):
        if x * x + y * y <= 4:
            moved = np.pad(truth, 2, mode="edge")[2 + x : 14 + x, 2 + y : 14 + y, 2:-2]
            near |= moved != truth
    assert found["ignored"] == near.sum() > 0
    assert found["one"] == pytest.approx(defined(segments[~near], truth[~near]), abs=1e-6)


def test_layers_of_other_bounds_masks_and_labels_to_ignore(tmp_path: Path) -> None:
    segments, truth = random(9, (16, 12, 10))
    labels(tmp_path / "truth", truth, (0, 0, 0))
    labels(tmp_path / "segments", segments, (4, -2, 3))
    mask = np.random.default_rng(0).integers(0, 2, (4, 3, 5)).astype(np.uint8)
    labels(tmp_path / "mask", mask, (0, 0, 0), resolution=(16.0, 16.0, 80.0))
    found = scored(tmp_path, f"{tmp_path}/segments", f"{tmp_path}/truth", mask=f"{tmp_path}/mask", ignore=(2, 3))
    here, there = truth[4:16, 0:10, 3:10], segments[0:12, 2:12, 0:7]
    kept = np.kron(mask, np.ones((4, 4, 2)))[4:16, 0:10, 3:10].astype(bool) & (here != 2) & (here != 3)
    assert found["bounds"] == "4:16,0:10,3:10"
    assert found["one"] == pytest.approx(defined(there[kept], here[kept]), abs=1e-6)
    assert found["voxels"] == kept.sum()


def test_missing_chunks_are_nothing_if_asked_for(tmp_path: Path) -> None:
    segments, truth = random(2, (8, 8, 8), segments=3)
    labels(tmp_path / "segments", segments)
    labels(tmp_path / "truth", truth)
    next((tmp_path / "segments").glob("*/-5--1_3-7_7-11*")).unlink()
    with pytest.raises(Exception, match="missing"):
        evaluated(tmp_path, segments, truth, "refused")
    segments[:4, :4, :4] = 0
    found = evaluated(tmp_path, segments, truth, fill_missing=True)
    assert found["unassigned"] == ((segments == 0) & (truth > 0)).sum()


def test_nothing_to_count_has_no_scores(tmp_path: Path) -> None:
    found = evaluated(tmp_path, np.ones((4, 4, 4), np.uint32), np.zeros((4, 4, 4), np.uint32))
    assert (found["voxels"], found["one"]["voi"], found["own"]["arand"]) == (0, 0, 0)
    assert not whole(tmp_path / "errors").any()


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    segments, truth = random(2, (8, 8, 8))
    one, other = labels(tmp_path / "segments", segments), labels(tmp_path / "truth", truth)
    layer = f"{tmp_path}/errors"
    with pytest.raises(SpecError, match="what is compared"):
        EvalSegmentation(segmentation=one, truth=other, layer=one)
    with pytest.raises(SpecError, match="at least 1"):
        EvalSegmentation(segmentation=one, truth=other, layer=layer, block=(0, 1, 1))
    with pytest.raises(SpecError, match="nm"):
        EvalSegmentation(segmentation=one, truth=other, layer=layer, border=-1.0)
    coarse = labels(tmp_path / "coarse", truth, resolution=(8.0, 8.0, 40.0))
    far = labels(tmp_path / "far", truth, (99, 99, 99))
    image = str(create(tmp_path / "image", np.zeros((4, 4, 4, 1), np.float32), (0, 0, 0)))
    for layers, said in (((one, coarse), "one resolution"), ((one, far), "no voxel"), ((image, other), "no layer of")):
        with pytest.raises(SpecError, match=said):
            run.plan(Overlaps(segmentation=layers[0], truth=layers[1], layer=layer))
    with pytest.raises(DataError, match="eval overlaps"):
        run.plan(Scores(layer=layer))
    with pytest.raises(DataError, match="not finished|nothing is evaluated|overlaps are missing"):
        run.inline(Overlaps(segmentation=one, truth=other, layer=layer, level=1))
    run.inline(Overlaps(segmentation=one, truth=other, layer=layer))
    with pytest.raises(SpecError, match="evaluated otherwise"):
        run.inline(Overlaps(segmentation=one, truth=other, layer=layer, border=4.0))
    for early in (Scores(layer=layer), Errors(layer=layer)):
        with pytest.raises(DataError, match="not finished|nothing is evaluated|overlaps are missing"):
            run.inline(early)


def test_tables_of_parts_add_up_in_any_order() -> None:
    rng = np.random.default_rng(0)
    parts = []
    for place in range(30):
        truth, segments = rng.integers(0, 9, (2, 4, 4, 4)).astype(np.uint32)
        pairs = contingency.tally(truth, segments, truth == 8, [np.zeros(4)] * 3)
        parts.append(contingency.located(pairs, np.array([place])))
    expected = contingency.summed(parts)
    again = contingency.summed([contingency.summed(parts[20:][::-1]), contingency.summed(parts[:20])])
    assert all(np.array_equal(expected[name], again[name]) for name in contingency.TYPES)
    counts, totals = contingency.looked_up(expected, np.array([3, 3, 99], np.uint64), np.array([4, 99, 4], np.uint64))
    row = (expected["one"] == 3) & (expected["other"] == 4)
    assert counts.tolist() == [expected["count"][row][0], -1, -1]
    assert totals[0] == expected["count"][expected["one"] == 3].sum()


def test_sums_are_exact_for_any_numbers() -> None:
    n = 10**15
    assert partition_scores.weight(n) == pytest.approx(n * np.log2(n) * 2**20, rel=1e-15)
    assert partition_scores.weight(0) == partition_scores.weight(1) == 0
    table = {"one": np.array([1], np.uint64), "other": np.array([2], np.uint64), "count": np.array([n]),
             "most": np.array([1]), "place": np.array([0])}  # fmt: skip
    sums = partition_scores.of_objects(table)[0] + partition_scores.of_segments(table)[0]
    assert sums.truth_square == n**2
    assert partition_scores.scores(sums)["own"]["arand"] == 0


@pytest.mark.long
def test_a_redo_gives_what_is_made_anew(tmp_path: Path) -> None:
    segments, truth = random(4, (32, 16, 16), 30, 40)
    evaluated(tmp_path, segments, truth, block=(1, 1, 1), cell=(8, 8, 8))
    layer = f"file://{tmp_path}/errors"
    before = results(tmp_path / "errors")
    assert not units_again(layer)
    segments[1:3, 1:3, 1:3] = 77
    io = IO()
    volume = io.volume(f"file://{tmp_path}/segments", 0)
    io.write(volume, volume.bounds, np.asfortranarray(segments[..., None]))
    again = units_again(layer)
    assert again["eval overlaps", 0] == 1
    after = results(tmp_path / "errors")
    assert after != before
    evaluated(tmp_path, segments, truth, "anew", block=(1, 1, 1), cell=(8, 8, 8))
    assert after == results(tmp_path / "anew")


def units_again(layer: str) -> dict[tuple[str, int], int]:
    """How many units of each stage and level a redo runs."""
    found = dict[tuple[str, int], int]()
    for wave, _ in redo.carried_out(redo.Redo(Store(), [layer]), lambda wave: run.inline(wave.stage, wave.subset)):
        key = wave.stage.name, int(getattr(wave.stage, "level", 0))
        found[key] = found.get(key, 0) + len(wave.subset)
    return found


def test_it_is_a_command(tmp_path: Path) -> None:
    segments, truth = random(2, (8, 8, 8))
    one, other = labels(tmp_path / "segments", segments), labels(tmp_path / "truth", truth)
    done = CliRunner().invoke(cli.main, ["eval", "segmentation", one, other, f"{tmp_path}/errors"])
    assert done.exit_code == 0, done.output
    assert "VOI" in done.output
    assert "adapted Rand error" in done.output
