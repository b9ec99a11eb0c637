from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from igneous_ng.worker import machine
from igneous_ng.worker.machine import Cgroup


def group(tmp_path: Path, lines: str, files: dict[str, str]) -> Cgroup:
    (tmp_path / "self").write_text(lines)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Cgroup.mine(tmp_path, tmp_path / "self")


def test_a_group_of_version_1(tmp_path: Path) -> None:
    files = {"memory.limit_in_bytes": "1000000\n", "memory.oom_control": "under_oom 0\noom_kill 3\n"}
    lines = "5:cpu,cpuacct:/x\n4:memory:/jobs/7\n0::/jobs/7\n"
    found = group(tmp_path, lines, {f"memory/jobs/7/{name}": text for name, text in files.items()})
    assert (found.version, found.limit(), found.kills()) == (1, 1_000_000, 3)


def test_a_group_of_version_2(tmp_path: Path) -> None:
    found = group(
        tmp_path, "0::/jobs/7\n", {"jobs/7/memory.max": "500\n", "jobs/7/memory.events": "low 0\noom 9\noom_kill 2\n"}
    )
    assert (found.version, found.limit(), found.kills()) == (2, 500, 2)


def test_in_a_container_the_root_is_the_group(tmp_path: Path) -> None:
    found = group(tmp_path, "0::/kubepods/pod1\n", {"memory.max": "700\n", "memory.events": "oom_kill 1\n"})
    assert (found.limit(), found.kills()) == (700, 1)


@pytest.mark.parametrize("text", ["max", "9223372036854771712", ""])
def test_no_limit_is_none(tmp_path: Path, text: str) -> None:
    assert group(tmp_path, "0::/\n", {"memory.max": text}).limit() is None


def test_without_groups_there_is_neither_limit_nor_kill(tmp_path: Path) -> None:
    found = Cgroup.mine(tmp_path, tmp_path / "absent")
    assert (found.limit(), found.kills()) == (None, 0)


def test_granted_memory_is_below_what_the_machine_has() -> None:
    assert 0 < machine.granted_memory() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_resident_bytes_follow_what_a_process_holds() -> None:
    script = "import os,sys\nx = bytearray(os.urandom(1)) * (200 << 20)\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 200 << 20 <= machine.resident_bytes(process.pid) < 260 << 20
        process.communicate()
    assert machine.resident_bytes(process.pid) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("59", 59), ("01:30", 90), ("2:00:01", 7201), ("3-00:00:00", 259200), ("UNLIMITED", None), ("INVALID", None)],
)
def test_times_as_slurm_writes_them(text: str, seconds: float | None) -> None:
    assert machine.slurm_seconds(text) == seconds


def test_the_end_of_a_slurm_job_is_what_it_says_or_what_squeue_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert machine.end_of_walltime() is None
    squeue = tmp_path / "squeue"
    squeue.write_text('#!/bin/sh\ntest "$3" = 77 && echo 1:00:00\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert machine.end_of_walltime() == pytest.approx(time.time() + 3600, abs=5)
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1234567")
    assert machine.end_of_walltime() == 1234567.0


def test_devices_are_those_that_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\ncase "$1" in *index) echo 0; echo 1;; *memory.total) echo 81559;; esac\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    machine.device_memory.cache_clear()
    assert machine.gpus() == ("0", "1")
    assert machine.device_memory("0") == 81559 << 20
    machine.device_memory.cache_clear()


def test_without_nvidia_smi_there_are_no_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    machine.device_memory.cache_clear()
    assert machine.gpus() == ()
    assert machine.device_memory("0") is None
    machine.device_memory.cache_clear()
