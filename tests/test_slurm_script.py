"""The script of an array of workers: what it asks for, and what its shell does when its worker ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from igneous_ng.errors import SpecError
from igneous_ng.slurm_script import FOLDER, Script, clock, mebibytes, shipped, stale, write

PROGRAMS = {
    "squeue": 'cat "$STATE"',
    "scontrol": 'echo "$@" >>"$ASKED"',
    "igneous-ng": 'printf "%s\\n" "$@" >"$WORDS"; sleep "${STAY:-0}"; exit "$STATUS"',
}


def directives(script: Script) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.text().splitlines() if line.startswith("#SBATCH ")]


@pytest.fixture
def element(tmp_path: Path) -> dict[str, str]:
    """What surrounds an element of an array, with programs that only note what they are asked for."""
    for name, body in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "state").write_text("RUNNING\n")
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_CPUS_PER_TASK": "4"}
    files = {"STATE": f"{tmp_path}/state", "ASKED": f"{tmp_path}/asked", "WORDS": f"{tmp_path}/words"}
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_MEM_PER_CPU": "1000", **slurm, **files}


def started(text: str, environment: dict[str, str], *words: str, **more: Any) -> subprocess.Popen[str]:
    path = Path(environment["WORDS"]).parent / "script.sh"
    path.write_text(text)
    return subprocess.Popen(["bash", path, *words], env={**environment, **more}, stdout=subprocess.PIPE, text=True)


def asked(environment: dict[str, str]) -> str:
    path = Path(environment["ASKED"])
    return path.read_text() if path.exists() else ""


def test_the_scripts_that_are_shipped_are_what_the_program_writes(tmp_path: Path) -> None:
    assert stale(FOLDER) == []
    assert sorted(shipped()) == ["apptainer.sh", "apptainer_gpu.sh", "array.sh", "gpu.sh"]
    (tmp_path / "gpu.sh").write_text("old")
    (tmp_path / "other.sh").write_text("somebody's")
    assert stale(tmp_path) == sorted([*shipped(), "other.sh"])
    write(tmp_path)
    assert stale(tmp_path) == ["other.sh"]
    assert os.access(tmp_path / "array.sh", os.X_OK)


def test_what_it_asks_of_slurm() -> None:
    assert directives(Script()) == [
        "--job-name=igneous-ng", "--array=1-10", "--nodes=1", "--ntasks=1", "--cpus-per-task=4", "--mem-per-cpu=4G",
        "--time=04:00:00", "--signal=B:TERM@120", "--requeue", "--open-mode=append", "--output=igneous-ng-%A_%a.log",
    ]  # fmt: skip
    wanted = Script(
        workers=50, at_once=20, memory_mib=1280, seconds=90_061, gpus=2, partition="gpu", account="lab",
        directives=("--qos=low",), logs="/shared/the logs/",
    )  # fmt: skip
    assert {
        "--array=1-50%20", "--mem-per-cpu=1280M", "--time=1-01:01:01",
        "--output='/shared/the logs/'igneous-ng-%A_%a.log", "--gres=gpu:2", "--partition=gpu", "--account=lab",
    } <= set(directives(wanted))  # fmt: skip
    assert directives(wanted)[-1] == "--qos=low"
    assert directives(Script(workers=5, at_once=20))[1] == "--array=1-5"


def test_numbers_as_slurm_writes_them() -> None:
    assert [clock(seconds) for seconds in (600, 3600, 86_399.6)] == ["00:10:00", "01:00:00", "1-00:00:00"]
    assert [mebibytes(count) for count in (512, 1024, 1025)] == ["512M", "1G", "1025M"]


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(SpecError, match="at least 10 minutes"):
        Script(seconds=599)
    with pytest.raises(SpecError, match="no container"):
        Script(binds=("/data",))
    with pytest.raises(SpecError, match="two lines"):
        Script(directives=("--qos=low\nrm -r /",))


@pytest.mark.parametrize(
    ("status", "state", "again"),
    [
        (75, "RUNNING", True),
        (143, "RUNNING", True),
        (0, "RUNNING", False),
        (1, "RUNNING", False),
        (2, "RUNNING", False),
        (137, "RUNNING", False),
        (75, "COMPLETING", False),  # scancel, or pushed aside: SLURM has decided
        (75, "", False),
    ],
)
def test_the_job_is_queued_again_where_its_worker_was_interrupted_and_nobody_else_ended_it(
    status: int, state: str, again: bool, element: dict[str, str]
) -> None:
    Path(element["STATE"]).write_text(f"{state}\n")
    shell = started(Script().text(), element, STATUS=str(status))
    said, _ = shell.communicate(timeout=20)
    assert shell.returncode == status
    assert asked(element) == ("requeue 7_3\n" if again else "")  # 7 alone would be all elements
    first, last = said.splitlines()
    assert first.endswith(": -p 4 --memory 3600Mi, requeued 0 times")
    assert last.endswith(f"7_3: the worker ended with status {status}, the job is {state or 'gone'}")


def test_a_signal_ends_the_worker_and_its_status_is_awaited(element: dict[str, str]) -> None:
    worker = Path(element["WORDS"]).parent / "igneous-ng"
    worker.write_text('#!/bin/bash\ntrap "sleep 1; exit 75" TERM\ntouch "$WORDS"\nwhile :; do sleep 0.05; done\n')
    shell = started(Script().text(), element)
    while not Path(element["WORDS"]).exists():
        time.sleep(0.02)
    began = time.monotonic()
    for _ in range(3):  # scancel and a time limit send more than one
        shell.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    said, _ = shell.communicate(timeout=20)
    assert time.monotonic() - began >= 1
    assert shell.returncode == 75
    assert asked(element) == "requeue 7_3\n"
    assert said.count("the worker ended") == 1


@pytest.mark.parametrize(
    ("slurm", "memory"),
    [
        ({}, ["--memory", "3600Mi"]),
        ({"SLURM_MEM_PER_NODE": "2000"}, ["--memory", "1800Mi"]),
        ({"SLURM_MEM_PER_NODE": "0"}, []),  # --mem=0: all that the node has
        ({"SLURM_MEM_PER_CPU": "0"}, []),
    ],
)
def test_the_worker_is_told_what_the_job_has(slurm: dict[str, str], memory: list[str], element: dict[str, str]) -> None:
    shell = started(Script(queue="fq:///it's here").text(), element, STATUS="0", **slurm)
    assert shell.communicate(timeout=20)
    words = Path(element["WORDS"]).read_text().splitlines()
    assert words == ["execute", "fq:///it's here", "-p", "4", *memory]


def test_words_behind_the_script_are_another_queue_and_options_of_the_worker(element: dict[str, str]) -> None:
    text = Script(gpus=1, wait=True).text()
    shell = started(text, element, "sqs://other", "--time-limit", "20 m", STATUS="0", CUDA_VISIBLE_DEVICES="2")
    assert shell.communicate(timeout=20)
    words = Path(element["WORDS"]).read_text().splitlines()
    options = ["-p", "4", "--gpus", "2", "--wait", "--memory", "3600Mi"]
    assert words == ["execute", "sqs://other", *options, "--time-limit", "20 m"]


def test_a_container_is_entered_and_slurm_asked_from_outside() -> None:
    command = "apptainer exec --bind '/my data' --bind /scratch image.sif igneous-ng execute"
    text = Script(container="image.sif", binds=("/my data", "/scratch")).text()
    assert f'\n{command} "$queue" "${{options[@]}}" "$@" &\n' in text
    assert text.count("apptainer") == 1
    assert "exec --nv image.sif" in Script(container="image.sif", gpus=1).text()


def test_started_by_hand_it_says_what_it_is_for(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", FOLDER / "array.sh"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode != 0
    assert "give this script to sbatch" in done.stderr
