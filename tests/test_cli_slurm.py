"""``igneous-ng slurm submit`` where sbatch is a stand-in: what it is handed, and what is said when it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from igneous_ng import queues
from igneous_ng.cli import main

Submit = Callable[..., Result]
ANSWER = 'echo "$@" >"$PLACE/words"; cat >"$PLACE/script"; env >"$PLACE/environment"; echo "77;cluster"'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    queues.connect(f"fq://{tmp_path}/queue").put(["one", "two", "three", "four", "five"])
    return tmp_path


@pytest.fixture
def submit(place: Path, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Give the command in ``place``, with a program for sbatch, or without one."""

    def give(*words: str, sbatch: str = ANSWER, **more: str) -> Result:
        folder = place / "bin"
        folder.mkdir(exist_ok=True)
        if sbatch:
            (folder / "sbatch").write_text(f"#!/bin/bash\n{sbatch}\n")
            (folder / "sbatch").chmod(0o755)
        monkeypatch.chdir(place)
        environment = {"PATH": f"{folder}:/usr/bin:/bin" if sbatch else str(folder), "PLACE": str(place), **more}
        return CliRunner().invoke(main, ["slurm", "submit", *words], env=environment)

    return give


def test_sbatch_is_handed_the_script_and_the_number_of_the_job_is_said(place: Path, submit: Submit) -> None:
    outside = {"SLURM_JOB_END_TIME": "1", "SLURM_MEM_PER_NODE": "1", "SLURM_CONF": "/etc/slurm.conf"}
    done = submit("fq://queue", "--logs", "logs", "--script", "mine.sh", "--account", "lab", **outside)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "77\n"
    script = (place / "script").read_text()
    assert (place / "words").read_text() == "--parsable\n"
    assert (place / "mine.sh").read_text() == script
    assert f"\nqueue=fq://{place}/queue\n" in script
    assert f"--output={place}/logs/igneous-ng-%A_%a.log" in script
    assert "--array=1-2\n" in script
    assert (place / "logs").is_dir()
    kept = (place / "environment").read_text().splitlines()
    assert [line for line in kept if line.startswith("SLURM_")] == ["SLURM_CONF=/etc/slurm.conf"]
    assert "5 messages on the queue\n2 workers: 4 processes with 4G each; time limit 04:00:00" in done.stderr
    assert "scancel 77" in done.stderr


def test_a_dry_run_writes_the_script_to_the_output_and_nothing_else(place: Path, submit: Submit) -> None:
    before = sorted(place.rglob("*"))
    options = ["--workers=30", "--max-workers=8", "-c", "2", "--memory-per-cpu=6G", "--time=12:30:00", "--gpus=1"]
    done = submit("fq://queue", *options, "--dry-run", "--logs=l", "--script=s", "--directive=--qos=low", sbatch="")
    assert done.exit_code == 0, done.stderr
    lines = {line for line in done.stdout.splitlines() if line.startswith("#SBATCH")}
    wanted = [
        "--array=1-30%8",
        "--cpus-per-task=2",
        "--mem-per-cpu=5723M",
        "--time=12:30:00",
        "--gres=gpu:1",
        "--qos=low",
    ]
    assert {f"#SBATCH {option}" for option in wanted} <= lines
    assert "30 workers, 8 at one time: 2 processes with 5723M each, 1 accelerator; time limit 12:30:00" in done.stderr
    assert sorted(path for path in place.rglob("*") if path.name != "bin") == before


def test_workers_that_wait_make_their_queue(place: Path, submit: Submit) -> None:
    done = submit("fq://new", "--wait")
    assert done.exit_code == 0, done.stderr
    assert queues.connect(f"fq://{place}/new").counts() == queues.Counts(0, 0, 0)
    script = (place / "script").read_text()
    assert "#SBATCH --array=1-10\n" in script
    assert 'options=(-p "$SLURM_CPUS_PER_TASK" --wait)' in script


REFUSALS: dict[str, tuple[list[str], dict[str, Any], int, str]] = {
    "no sbatch": (["fq://queue"], {"sbatch": ""}, 64, "there is no sbatch here: give this command where jobs are sub"),
    "no queue": (["fq://nowhere"], {}, 2, "there is no queue at fq:///"),
    "nothing waits": (["fq://empty"], {}, 2, "nothing waits on fq:///"),
    "in memory": (["memory://one"], {}, 2, "memory://one is in the memory of one process"),
    "unknown kind": (["mem://one"], {}, 2, "mem:// is no kind of queue"),
    "a bare time": (["fq://queue", "--time", "90"], {}, 2, "minutes or hours? Write 90m, 90h or hours:minutes:seconds"),
    "a short time": (["fq://queue", "--time", "5m"], {}, 2, "a time limit of 300 s: workers are told 120 s before"),
    "no such run": (["fq://queue", "--run", "nothing"], {}, 1, "neither the folder of a run nor a layer that has runs"),
    "a file for logs": (["fq://queue", "--logs", "queue/queue.json"], {}, 2, "cannot be written"),
    "refused": (
        ["fq://queue"],
        {"sbatch": 'echo "sbatch: error: invalid partition specified: x" >&2; exit 1'},
        2,
        "sbatch refused: sbatch: error: invalid partition specified: x",
    ),
    "no controller": (
        ["fq://queue"],
        {"sbatch": 'echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2; exit 1'},
        75,
        "SLURM's controller cannot be reached",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_say_what_to_do(case: str, place: Path, submit: Submit) -> None:
    words, more, status, said = REFUSALS[case]
    queues.connect(f"fq://{place}/empty").put(())
    done = submit(*words, **more)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr.replace("\n", " ")
