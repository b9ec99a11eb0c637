"""What this machine grants: memory, kills for want of it, and time.

Limits and counters of memory are those of the control group this process is in, version 1 or 2 (Linux
``Documentation/admin-guide/cgroup-v1/memory.rst`` and ``cgroup-v2.rst``); without one, those of the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SHARE = 0.9  # of the memory there is, where the user gives no number
_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_UNLIMITED = 1 << 60  # version 1 writes a number near 2^63 for "no limit"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Cgroup:
    """The memory controller of a control group; ``folder`` is None where there is none."""

    folder: Path | None
    version: int = 2

    @classmethod
    def mine(cls, root: Path = Path("/sys/fs/cgroup"), self_file: Path = Path("/proc/self/cgroup")) -> Cgroup:
        """That of this process."""
        with contextlib.suppress(OSError):
            for line in self_file.read_text(encoding="ascii").splitlines():
                _, controllers, path = line.split(":", 2)
                if "memory" in controllers.split(","):
                    return cls(_first(root / "memory", path, "memory.limit_in_bytes"), 1)
            for line in self_file.read_text(encoding="ascii").splitlines():
                if line.startswith("0::"):
                    return cls(_first(root, line[3:], "memory.max"), 2)
        return cls(None)

    def limit(self) -> int | None:
        """Bytes that the group may use; None where nothing limits it."""
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        text = self._read(name).strip()
        return int(text) if text.isdigit() and int(text) < _UNLIMITED else None

    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory in this group."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in self._read(name).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def _read(self, name: str) -> str:
        if self.folder is not None:
            with contextlib.suppress(OSError):
                return (self.folder / name).read_text(encoding="ascii")
        return ""


def _first(root: Path, path: str, name: str) -> Path | None:
    """The group's folder; in a container its path may be that of the host, and the root is the group itself."""
    folders = (root / path.strip().lstrip("/"), root)
    return next((folder for folder in folders if (folder / name).exists()), None)


@contextlib.contextmanager
def heeding(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` when this process is asked to end, in the main thread, for Python takes signals in no other."""
    ours = threading.current_thread() is threading.main_thread()
    asked = (signal.SIGINT, signal.SIGTERM) if ours else ()
    old = {number: signal.signal(number, lambda _number, _frame: stop()) for number in asked}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def granted_memory() -> int:
    """Bytes that the tasks of one worker may take together."""
    limit = Cgroup.mine().limit()
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(_SHARE * (whole if limit is None else min(limit, whole)))


def threads() -> int | None:
    """How many threads this process has, those of libraries among them; None where nobody can tell."""
    with contextlib.suppress(OSError):
        return len(list(Path("/proc/self/task").iterdir()))
    return None


def one_thread_each() -> None:
    """Let numerical libraries that are loaded from now on, here and in children, use one thread: a slot is a core."""
    for name in _LIBRARIES:
        os.environ.setdefault(name, "1")


def resident_bytes(pid: int) -> int:
    """Memory of a process that it shares with no file and no parent's untouched pages; 0 where nobody can tell."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return 0


def end_of_walltime() -> float | None:
    """When the batch system will end this job, in seconds since 1970; None where it does not say.

    SLURM tells its batch scripts in ``SLURM_JOB_END_TIME``; older versions answer ``squeue``.
    """
    told = os.environ.get("SLURM_JOB_END_TIME", "")
    if told.isdigit():
        return float(told)
    job, squeue = os.environ.get("SLURM_JOB_ID"), shutil.which("squeue")
    if job is None or squeue is None:
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = [squeue, "--noheader", "--jobs", job, "--format", "%L"]
        left = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        seconds = slurm_seconds(left)
        return None if seconds is None else time.time() + seconds
    return None


def slurm_seconds(text: str) -> float | None:
    """Seconds of ``[days-][hours:]minutes:seconds``, as SLURM writes a time that is left; None for UNLIMITED."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or (days and not days.isdigit()):
        return None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return seconds + 86400 * int(days or 0)


def gpus() -> tuple[str, ...]:
    """The identifiers of the NVIDIA devices here, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    return tuple(_nvidia("index"))


@functools.cache
def device_memory(device: str) -> int | None:
    """Bytes of memory of a device; None where its driver does not say."""
    found = _nvidia("memory.total", "--id", device)
    return int(found[0]) << 20 if found and found[0].isdigit() else None


def _nvidia(what: str, *arguments: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [program, f"--query-gpu={what}", "--format=csv,noheader,nounits", *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return answer.stdout.split()
    return []


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (Linux); elsewhere the end of its input does."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
