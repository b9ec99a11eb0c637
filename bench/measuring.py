"""What a command takes: CPU and wall seconds, and memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    cpu: float
    wall: float
    peak: float


def measured(command: Sequence[str]) -> Cost:
    """Run a command; its CPU seconds and those of its children, wall seconds, and peak bytes of all together."""
    before, begin = os.times(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = [0]
    watch = threading.Thread(target=_watch, args=(process, peak))
    watch.start()
    _, errors = process.communicate()
    wall = time.perf_counter() - begin
    watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.decode()[-2000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu, wall, peak[0])


def _watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    """Sum what each process holds alone (USS), so that pages shared after a fork count once."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [root, *root.children(recursive=True)]:
                total += one.memory_full_info().uss
        except psutil.Error:
            continue
        peak[0] = max(peak[0], total)
        time.sleep(0.05)
