"""What a job takes: tasks and messages exactly, the rest from records of the same stage or from rates, or unknown."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import queues, rates, records, run, sizing
from igneous_ng.formats.info import new_info
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.records import Message, Run
from igneous_ng.sizing import Estimator, Part
from igneous_ng.stage import Stage
from igneous_ng.stages.ccl import Auto
from igneous_ng.stages.image_create import Create
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.stages.mesh import MeshForge, MeshMerge
from igneous_ng.store import Store
from tests.drill import drill as drill  # a fixture
from tests.layers import create
from tests.test_rates import TEXT

STORE = Store()


def empty(path: Path, shape: tuple[int, int, int], kind: str = "segmentation") -> str:
    """A layer of which there is nothing but the info."""
    dtype = "uint64" if kind == "segmentation" else "uint8"
    encoding = "compressed_segmentation" if kind == "segmentation" else "raw"
    info = new_info(
        kind=kind, dtype=dtype, channels=1, resolution=(8.0, 8.0, 40.0), bounds=Box((0, 0, 0), shape),
        chunk=(64, 64, 64), encoding=encoding,
    )  # fmt: skip
    IO().create_layer(f"file://{path}", info)
    return f"file://{path}"


def only(parts: Any) -> Part:
    (part,) = parts
    assert isinstance(part, Part)
    return part


def table(stage: str, ns: float = 100.0) -> rates.Rates:
    """The rates of tests, as if they were of ``stage``."""
    found = rates.parse(TEXT)
    return replace(found, rates=(replace(found.rates[0], stage=stage, cpu_ns=ns),))


def recorded(plan: Run, seconds: list[float], units: range, written: int = 1000) -> Run:
    """Records of some units of a run, written by hand: so many CPU seconds each."""
    records.save(STORE, plan)
    for unit in units:
        line = {
            "unit": unit, "seconds": 2 * seconds[unit], "cpu_seconds": seconds[unit], "peak_bytes": 77_000_000,
            "start": 0.0, "reads": [], "writes": [{"url": "x", "bytes": written, "digest": "0" * 32}],
        }  # fmt: skip
        records.write(STORE, Message(plan, unit, unit + 1), {unit: line})
    return plan


def test_tasks_and_messages_of_a_petavoxel_are_exact(tmp_path: Path) -> None:
    layer = empty(tmp_path / "seg", (500_000, 400_000, 5_000))  # a quadrillion voxels
    part = only(Estimator().stage(MeshForge(layer=layer, cell=(320, 320, 320), memory=10**10)))
    units = math.ceil(500_000 / 320) * math.ceil(400_000 / 320) * math.ceil(5_000 / 320)
    assert (part.units, part.left) == (units, units)
    span = min(1000, math.ceil(units / 1000))
    assert part.messages == math.ceil(units / span)
    assert part.extent is not None
    assert part.extent.voxels == 10**15


@pytest.mark.parametrize("count", [1, 3, 1000, 1001, 2500])
def test_messages_are_those_that_are_put(drill: Any, tmp_path: Path, count: int) -> None:
    stage = drill(count=count)
    part = only(Estimator().stage(stage))
    url = f"fq://{tmp_path}/queue"
    ready = run.enqueue(stage, url)
    assert part.units == ready.units == count
    assert part.messages == queues.connect(url).counts().waiting


def test_messages_of_some_units_are_counted_without_making_them() -> None:
    chance = random.Random(0)
    for _ in range(200):
        plan = Run("r", "file:///x", {}, 1000, chance.randint(1, 40))
        ends = sorted(chance.sample(range(1001), 8))
        spans = list(zip(ends[::2], ends[1::2], strict=True))
        assert sizing.messages(plan, spans) == len(list(plan.messages(spans)))


def test_by_rates_the_time_is_voxels_and_requests_are_chunks(tmp_path: Path) -> None:
    stage = MeshForge(layer=empty(tmp_path / "seg", (1000, 1000, 1000)), cell=(100, 1000, 1000), memory=10**11)
    part = only(Estimator(table=table("mesh forge")).stage(stage))
    work = part.work
    assert work is not None
    assert (work.basis, work.factor) == ("rates", 8.0)  # twice what volumes differ
    assert work.cpu_seconds == pytest.approx(1e9 * 100e-9)
    assert (work.read, work.written) == (1e9, 2e9)
    assert work.gets == pytest.approx(3e9 / 64**3)
    assert work.puts == pytest.approx(4e9 / 64**3)
    assert part.wall_seconds(1) == pytest.approx(100)
    assert part.wall_seconds(4) == pytest.approx(30)  # ten units of ten seconds each
    assert part.wall_seconds(1000) == pytest.approx(10)
    half = replace(stage, roi=Box((0, 0, 0), (500, 1000, 1000)))
    less = only(Estimator(table=table("mesh forge")).stage(half)).work
    assert less is not None
    assert less.cpu_seconds == pytest.approx(50)


def test_of_what_nothing_is_known_nothing_is_said(drill: Any) -> None:
    part = only(Estimator().stage(drill(count=5)))
    assert part.units == 5
    assert part.work is None
    assert part.wall_seconds(1) is None
    assert part.queue_requests is None


def test_records_of_half_of_the_units_tell_of_the_other_half(tmp_path: Path) -> None:
    stage = MeshForge(layer=empty(tmp_path / "seg", (640, 640, 128)), cell=(64, 64, 64))
    plan = run.plan(stage).run
    assert (plan.units, plan.span) == (200, 1)
    chance = random.Random(1)
    seconds = [chance.lognormvariate(0, 1) for _ in range(200)]  # a few units take ten times as long as most
    order = chance.sample(range(200), 200)
    begun = recorded(plan, seconds, order[:100])  # type: ignore[arg-type]
    part = only(Estimator(table=table("mesh forge", 1e6)).stage(stage, missing=True))
    truth = sum(seconds[unit] for unit in order[100:])
    assert (part.units, part.left, part.messages) == (200, 100, 100)
    assert part.work is not None
    assert part.work.basis == "records"
    assert begun.folder in part.work.source
    assert part.work.cpu_seconds == pytest.approx(truth, rel=0.3)
    assert truth / part.work.factor < part.work.cpu_seconds < truth * part.work.factor
    assert part.work.written == pytest.approx(100_000)
    assert part.work.puts == pytest.approx(100)
    assert part.work.peak_bytes == 77_000_000


def test_records_of_another_layer_tell_by_voxels(tmp_path: Path) -> None:
    small = MeshForge(layer=empty(tmp_path / "small", (128, 128, 128)), cell=(64, 64, 64))
    done = recorded(run.plan(small).run, [3.0] * 8, range(8))
    large = MeshForge(layer=empty(tmp_path / "large", (1280, 1280, 128)), cell=(64, 128, 64))
    for like in (small.home(), done.folder):
        work = only(Estimator([like], table("mesh forge")).stage(large)).work
        assert work is not None
        assert (work.basis, work.factor) == ("records", 1.5)
        assert work.cpu_seconds == pytest.approx(2400)
        assert work.written == pytest.approx(800_000)
    assert only(Estimator([], table("mesh forge")).stage(large)).work.basis == "rates"  # type: ignore[union-attr]


def test_a_sample_that_says_little_is_said_to_be_unsure(tmp_path: Path) -> None:
    stage = MeshForge(layer=empty(tmp_path / "seg", (256, 256, 256)), cell=(64, 64, 64))
    recorded(run.plan(stage).run, [1.0, 9.0] * 32, range(2))
    part = only(Estimator().stage(stage))
    assert part.work is not None
    assert part.work.factor == pytest.approx(1 + 2 * (4 * 2**0.5) / 5 / 2**0.5)


def test_time_on_a_device_is_that_of_the_units(drill: Any) -> None:
    stage = drill(count=4, device=10)
    recorded(run.plan(stage).run, [1.0] * 4, range(4))
    part = only(Estimator().stage(stage))
    assert part.work is not None
    assert (part.work.cpu_seconds, part.work.gpu_seconds) == (4, 8)


def test_a_chain_has_the_steps_that_it_runs(tmp_path: Path) -> None:
    labels = (np.indices((16, 16, 16)).sum(0) // 8).astype(np.uint64)[..., None]
    create(tmp_path / "seg", labels, (0, 0, 0), chunk=(8, 8, 8), kind="segmentation")
    stage = Auto(source=str(tmp_path / "seg"), layer=str(tmp_path / "cc"), cell=(8, 8, 8))
    parts = list(Estimator().stage(stage))
    ran = dict.fromkeys(run.inline(step).name for step in stage.steps(IO()))
    assert [part.stage for part in parts] in ([*ran], [name for name in ran if name != "ccl spread"])
    assert (parts[0].units, parts[0].left) == (8, 8)
    assert all(part.units is None and part.assumed and part.extent == parts[0].extent for part in parts[1:])
    again = list(Estimator().stage(stage))
    assert {part.work.basis for part in again if part.work} == {"records"}
    assert all(part.work is not None and part.work.cpu_seconds >= 0 for part in again)


def test_a_chain_that_no_bench_knows_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    create(tmp_path / "seg", np.ones((8, 8, 8, 1), np.uint64), (0, 0, 0), kind="segmentation")
    stage = Auto(source=str(tmp_path / "seg"), layer=str(tmp_path / "cc"))
    first, *rest = Estimator(table=table("mesh forge")).stage(stage)
    assert first.stage == "ccl label"
    assert first.work is None
    assert [part.stage for part in rest][-1:] in (["the rest of ccl auto"], ["ccl relabel"])


def test_what_is_merged_is_measured_at_the_level_that_was_forged(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (16, 16, 16, 1)).astype(np.uint64)
    layer = str(create(tmp_path / "seg", labels, (0, 0, 0), chunk=(8, 8, 8), kind="segmentation"))
    run.inline(Downsample(layer=layer, factor=(2, 2, 2)))
    run.inline(MeshForge(layer=layer, mip=1))
    part = only(Estimator().stage(MeshMerge(layer=layer)))
    assert part.extent is not None
    assert part.extent.voxels == 8**3


@pytest.mark.long
def test_the_rest_of_a_real_job_is_told_within_a_third(tmp_path: Path) -> None:
    field = np.random.default_rng(0).normal(size=(32, 32, 32)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    np.save(tmp_path / "labels.npy", (field * 10 + 100).astype(np.uint32))
    layer = str(tmp_path / "seg")
    run.inline(Create(source=str(tmp_path / "labels.npy"), layer=layer, axes="xyz", resolution=(8, 8, 8),
                      kind="segmentation"))  # fmt: skip
    stage: Stage = MeshForge(layer=layer, cell=(64, 64, 64))
    ready = run.inline(stage)
    lines = list(records.all_lines(STORE, ready))
    for line in lines[::2]:
        Path(f"{tmp_path}/seg/runs/{ready.id}/records/0/{line['unit']}-{line['unit'] + 1}.jsonl").unlink()
    part = only(Estimator().stage(stage, missing=True))
    assert (part.left, part.units) == (32, 64)
    assert part.work is not None
    assert part.work.cpu_seconds == pytest.approx(sum(line["cpu_seconds"] for line in lines[::2]), rel=0.3)
