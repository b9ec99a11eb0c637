"""Workers under a real SLURM: arrays, preemption, time limits, ``scancel``, ``kill -9``, pipelines; the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igneous_ng import queues, records, run
from igneous_ng.records import Run
from igneous_ng.slurm_script import FOLDER
from igneous_ng.stages.mesh import MeshForge
from igneous_ng.store import Store
from tests.drill import data, drill, expected
from tests.layers import create, files
from tests.slurm_lab import Lab, lab, missing
from tests.test_cli_run import SMALL, labels

__all__ = ["drill"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
SMALL_JOB = ["--array=1-2", "--cpus-per-task=1", "--mem-per-cpu=1G"]
SCRIPT = str(FOLDER / "array.sh")


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if reason := missing():
        pytest.skip(f"no SLURM here: {reason}")


@pytest.fixture(scope="module")
def slurm(installed: None) -> Iterator[Lab]:
    """A SLURM that pushes jobs aside at once."""
    with lab() as found:
        yield found


@pytest.fixture(scope="module")
def telling(installed: None) -> Iterator[Lab]:
    """A SLURM that tells jobs by the signal that they asked for, 20 seconds before it pushes them aside."""
    with lab("SlurmctldParameters=preempt_send_user_signal", grace=20) as found:
        yield found


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A layer, and what is in it once one process has made the pieces of its meshes."""
    folder = tmp_path_factory.mktemp("calm")
    blocks = np.random.default_rng(0).integers(1, 40, (28, 28, 28)).astype(np.uint64)
    array = blocks.repeat(8, 0).repeat(8, 1).repeat(8, 2)[..., None]
    create(folder / "layer", array, (0, 0, 0), chunk=(64, 64, 64), kind="segmentation")
    shutil.copytree(folder / "layer", folder / "done")
    run.inline(MeshForge(layer=str(folder / "done"), cell=(32, 32, 32)))
    return folder / "layer", files(folder / "done")


class Work:
    """A run on a queue in ``place``, and arrays of workers for it."""

    def __init__(self, slurm: Lab, place: Path, stage: Any) -> None:
        self.slurm, self.place = slurm, place
        self.url = f"fq://{place}/queue"
        self.run: Run = run.enqueue(stage, self.url)
        self.queue = queues.connect(self.url)

    def array(self, *options: str, script: str = SCRIPT) -> str:
        return self.slurm("sbatch", "--parsable", *SMALL_JOB, *options, script, self.url, cwd=self.place)

    def done(self) -> int:
        return records.done(Store(), self.run)

    def begun(self, units: int = 5) -> None:
        """Wait until some units are recorded, but by far not all."""
        self.slurm.until(lambda: self.done() >= units)
        assert self.done() < self.run.units / 2

    def ended(self, array: str, state: str = "COMPLETED", seconds: float = 400) -> None:
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        self.slurm.until(lambda: set(self.slurm.states(array)) <= set(over), seconds)
        assert self.slurm.states(array) == [state], self.logs()

    def all_done(self) -> None:
        assert self.done() == self.run.units
        assert records.finished(Store(), self.run)
        assert self.queue.counts() == queues.Counts(0, 0, 0)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.place.rglob("*.log")))


def meshes(slurm: Lab, place: Path, layer: Path) -> Work:
    shutil.copytree(layer, place / "layer")
    return Work(slurm, place, MeshForge(layer=str(place / "layer"), cell=(32, 32, 32)))


def test_submit_sizes_an_array_that_does_what_one_process_does(
    slurm: Lab, calm: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    layer, result = calm
    work = meshes(slurm, tmp_path, layer)
    command = ["igneous-ng", "slurm", "submit", work.url, "--cpus", "1", "--max-workers", "2", "--logs", "logs"]
    array = slurm(*command, "--script", "mine.sh", "--memory-per-cpu", "1G", cwd=tmp_path)
    work.ended(array)
    work.all_done()
    assert files(tmp_path / "layer") == result
    assert (tmp_path / "mine.sh").read_text().count("#SBATCH --array=1-2\n") == 1
    logs = sorted((tmp_path / "logs").iterdir())
    assert [log.name for log in logs] == [f"igneous-ng-{array}_{n}.log" for n in (1, 2)]
    assert all("-p 1 --memory 858Mi, requeued 0 times" in log.read_text() for log in logs)


@pytest.mark.parametrize("site", ["slurm", "telling"])
def test_workers_that_are_pushed_aside_give_back_their_leases_and_come_again(
    site: str, calm: tuple[Path, dict[str, bytes]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    slurm, (layer, result) = request.getfixturevalue(site), calm
    work = meshes(slurm, tmp_path, layer)
    array = work.array()
    work.begun()
    urgent = slurm.urgent(4)
    slurm.until(lambda: slurm.jobs()[urgent] == "RUNNING")
    assert work.queue.counts().leased == 0
    assert work.done() < work.run.units
    work.ended(array)
    work.all_done()
    assert files(tmp_path / "layer") == result
    assert [slurm.restarts(f"{array}_{n}") for n in (1, 2)] == [1, 1]
    assert work.logs().count("requeued 1 times") == 2


def test_a_worker_at_its_time_limit_goes_on_in_another_job(slurm: Lab, drill: Any, tmp_path: Path) -> None:
    work = Work(slurm, tmp_path, drill(count=320, seconds=0.2))
    array = work.array("--time=1", "--signal=B:TERM@30")
    work.ended(array)
    work.all_done()
    assert data(tmp_path) == expected(320)
    assert min(slurm.restarts(f"{array}_{n}") for n in (1, 2)) >= 1
    assert "the worker ended with status 75, the job is RUNNING" in work.logs()


def test_one_element_that_is_told_to_end_queues_itself_again_and_no_other(
    slurm: Lab, drill: Any, tmp_path: Path
) -> None:
    work = Work(slurm, tmp_path, drill(count=300, seconds=0.2))
    array = work.array()
    work.begun()
    numbers = slurm("squeue", "--noheader", "--array", f"--jobs={array}", "--format=%A %i").splitlines()
    first = dict(line.split() for line in numbers)[array]  # whose own number is that of the array
    slurm("scancel", "--signal=TERM", "--batch", first)
    work.ended(array)
    work.all_done()
    assert {n: slurm.restarts(f"{array}_{n}") for n in (1, 2)} == {n: int(first == f"{array}_{n}") for n in (1, 2)}
    assert data(tmp_path) == expected(300)


def test_scancel_is_the_end_and_loses_nothing(slurm: Lab, drill: Any, tmp_path: Path) -> None:
    work = Work(slurm, tmp_path, drill(count=200, seconds=0.2))
    array = work.array()
    work.begun()
    slurm("scancel", array)
    slurm.until(lambda: work.queue.counts().leased == 0, 60)  # by themselves they end after 120 s
    work.ended(array, "CANCELLED")
    time.sleep(15)  # longer than a job waits that is queued again
    assert slurm.states(array) == ["CANCELLED"]
    assert work.queue.counts().waiting >= 200 - work.done() > 0
    work.ended(work.array("--mem-per-cpu=2G"))
    work.all_done()
    assert data(tmp_path) == expected(200)
    assert "--memory 1843Mi" in work.logs()  # options before the script's name override its own


def test_after_kill_9_leases_are_released_and_another_array_ends_the_work(
    slurm: Lab, drill: Any, tmp_path: Path
) -> None:
    work = Work(slurm, tmp_path, drill(count=200, seconds=0.2))
    array = work.array("--array=1-1")
    work.begun()
    batch = slurm.processes(f"{array}_1")[0]
    assert b"slurm_script" in Path(f"/proc/{batch}/cmdline").read_bytes()
    os.kill(batch, signal.SIGKILL)
    work.ended(array, "FAILED")
    assert slurm.restarts(f"{array}_1") == 0
    slurm.until(lambda: not slurm.processes(f"{array}_1"))
    assert work.queue.counts().leased == 1  # for the rest of its 120 s
    assert slurm("igneous-ng", "queue", "release", work.url) == "1 lease released"
    work.ended(work.array())
    work.all_done()
    assert data(tmp_path) == expected(200)


def test_workers_wait_for_a_pipeline(slurm: Lab, tmp_path: Path) -> None:
    place, by_hand = labels(tmp_path / "place"), labels(tmp_path / "by_hand")
    url = f"fq://{tmp_path}/queue"
    options = ["--wait", "--workers=2", "--cpus=1", "--memory-per-cpu=3500M"]
    array = slurm("igneous-ng", "slurm", "submit", url, *options, cwd=tmp_path)
    slurm("igneous-ng", "run", "pipe.toml", "--queue", url, *SMALL, cwd=place)
    assert slurm.states(array) == ["RUNNING"]
    slurm("scancel", array)
    slurm("igneous-ng", "run", "pipe.toml", *SMALL, cwd=by_hand)
    assert files(place) == files(by_hand)
    slurm.until(lambda: slurm.states(array) == ["CANCELLED"])


def test_each_worker_uses_the_accelerator_that_slurm_gave_it(slurm: Lab, drill: Any, tmp_path: Path) -> None:
    work = Work(slurm, tmp_path, drill(count=60, seconds=0.2, device=1))
    refused = subprocess.run(
        ["igneous-ng", "slurm", "submit", work.url], env=slurm.environment, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "drill run needs an accelerator" in refused.stderr
    work.ended(work.array("--partition=batch", script=str(FOLDER / "gpu.sh")))
    work.all_done()
    lines = (tmp_path / "layer" / "diary.txt").read_text().splitlines()
    assert {line.split()[4] for line in lines} == {"0", "1"}


def test_workers_in_a_container(slurm: Lab, drill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "bin" / "apptainer"  # notes what it is asked for, then runs the command outside
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/bash\necho "$@" >>{tmp_path}/asked\nwhile [ "$1" != igneous-ng ]; do shift; done\nexec "$@"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    work = Work(slurm, tmp_path, drill(count=100, seconds=0.2))
    command = ["igneous-ng", "slurm", "submit", work.url, "--container", "ng.sif", "--bind", "/shared", "--cpus=1"]
    array = slurm(*command, "--workers=1", "--gpus=1", "--memory-per-cpu=1G", cwd=tmp_path)
    work.begun()
    slurm("scancel", "--signal=TERM", "--batch", f"{array}_1")
    work.ended(array)
    work.all_done()
    assert slurm.restarts(f"{array}_1") == 1
    asked = (tmp_path / "asked").read_text().splitlines()
    begin = f"exec --nv --bind /shared {tmp_path}/ng.sif igneous-ng execute {work.url} -p 1 --gpus "
    assert len(asked) == 2
    assert all(line.startswith(begin) for line in asked)
