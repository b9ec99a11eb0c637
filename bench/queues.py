"""Queues in a directory side by side, in one run: ours at fq:// and the file queue of python-task-queue.

Each figure is taken in fresh processes. Ours syncs what is put to the disk, theirs does not.

usage: pip install -e '.[bench]'; python bench/queues.py [FOLDER]
"""

from __future__ import annotations

import heapq
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from igneous_ng import records
from igneous_ng.queues.posix import PosixQueue
from igneous_ng.worker.policy import Policy

SPAWN = multiprocessing.get_context("spawn")
LEASE_S = 120
HELD = {"ours": 100_000, "theirs": 4_000}  # theirs takes minutes beyond
LOOPS = {"ours": 40_000, "theirs": 2_000}
LOOPS_HELD = {"ours": 60_000, "theirs": 100}
WORKERS = 500
SIMULATED_S = 1200.0


def body() -> str:
    """A message of the usual size."""
    stage = {"stage": "image downsample", "version": 1, "layer": "precomputed://s3://bucket/em", "factors": [[2, 2, 1]]}
    run = records.new_run(stage, "s3://bucket/em", 10**8)
    return next(run.messages()).to_json()


class Ours:
    def __init__(self, path: str) -> None:
        self.queue = PosixQueue(path)

    def put(self, number: int) -> None:
        text = body()
        self.queue.put(text for _ in range(number))

    def lease(self) -> Any:
        return self.queue.lease(LEASE_S)

    def done(self, lease: Any) -> None:
        assert self.queue.done(lease)


class Theirs:
    def __init__(self, path: str) -> None:
        from taskqueue.file_queue_api import FileQueueAPI

        self.queue = FileQueueAPI(path)

    def put(self, number: int) -> None:
        text = body()
        self.queue.insert([{"payload": text} for _ in range(number)])

    def lease(self) -> Any:
        return next(iter(self.queue.lease(LEASE_S, 1)), None)

    def done(self, lease: Any) -> None:
        self.queue.delete(lease)


SYSTEMS: dict[str, Callable[[str], Any]] = {"ours": Ours, "theirs": Theirs}


@dataclass(frozen=True)
class Figure:
    """How many things were done in how many seconds, by how many CPU seconds, and the most memory of a process."""

    number: int
    wall: float
    cpu: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.number / self.wall

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s, {self.cpu / self.number * 1e6:,.0f} us CPU, {self.peak_mb:.0f} MB"


def process(barrier: Barrier, results: Any, job: Callable[..., int], name: str, args: tuple[Any, ...]) -> None:
    queue = SYSTEMS[name](args[0])
    barrier.wait()
    wall, cpu = time.monotonic(), time.process_time()
    number = job(queue, *args[1:])
    wall, cpu, peak = time.monotonic() - wall, time.process_time() - cpu, 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    results.put((number, wall, cpu, peak))


def measured(job: Callable[..., int], name: str, *args: Any, processes: int = 1) -> Figure:
    """A job in as many processes, begun together."""
    barrier, results = SPAWN.Barrier(processes), SPAWN.Queue()
    started = [SPAWN.Process(target=process, args=(barrier, results, job, name, args)) for _ in range(processes)]
    for one in started:
        one.start()
    told = [results.get() for _ in started]
    for one in started:
        one.join()
    numbers, walls, cpus, peaks = zip(*told, strict=True)
    return Figure(sum(numbers), max(walls), sum(cpus), max(peaks))


# Jobs.


def put(queue: Any, number: int) -> int:
    queue.put(number)
    return number


def hold(queue: Any, number: int) -> int:
    for _ in range(number):
        assert queue.lease() is not None
    return number


def lease_and_done(queue: Any, most: int) -> int:
    number = 0
    while number < most and (lease := queue.lease()) is not None:
        queue.done(lease)
        number += 1
    return number


def insert_a_stage(queue: Any, units: int) -> int:
    run = records.new_run({"stage": "image downsample", "layer": "s3://bucket/em"}, "s3://bucket/em", units)
    return queue.queue.put(message.to_json() for message in run.messages())


# Idle workers, simulated.


def idle_scans(path: str) -> tuple[float, float]:
    """(directory listings per second, mean pause) of workers who find nothing; time is simulated."""
    now, scans, pauses, policy = 1.8e9, 0, [], Policy(lease=LEASE_S)
    PosixQueue(path, clock=lambda: now).put([])
    workers = [PosixQueue(path, clock=lambda: now) for _ in range(WORKERS)]
    real = os.listdir

    def counted(place: str) -> list[str]:
        nonlocal scans
        scans += now >= begin
        return real(place)

    os.listdir = counted  # type: ignore[assignment]
    begin, end = now + 120, now + 120 + SIMULATED_S
    due = [(now + random.uniform(0, 1), number, 0) for number in range(WORKERS)]
    heapq.heapify(due)
    while due[0][0] < end:
        now, number, empty = heapq.heappop(due)
        assert workers[number].lease(LEASE_S) is None
        wait = policy.pause(empty)
        if now >= begin:
            pauses.append(wait)
        heapq.heappush(due, (now + wait, number, empty + 1))
    os.listdir = real
    return scans / SIMULATED_S, sum(pauses) / len(pauses)


# The table.


def row(what: str, ours: Figure, theirs: Figure | None) -> None:
    other = f"{theirs} | {ours.rate / theirs.rate:,.1f}" if theirs else "- | -"
    print(f"| {what} | {ours} | {other} |", flush=True)


def pair(what: str, folder: str, fill: bool, job: Callable[..., int], numbers: dict[str, int], processes: int) -> None:
    """One row: ``numbers`` messages each, put beforehand where ``fill`` says so."""
    figures = {}
    for name, number in numbers.items():
        path = tempfile.mkdtemp(dir=folder)
        if fill:
            measured(put, name, path, number)
        figures[name] = measured(job, name, path, number, processes=processes)
        shutil.rmtree(path)
    row(what, figures["ours"], figures["theirs"])


def outstanding(folder: str) -> None:
    figures = {}
    for name, held in HELD.items():
        path = tempfile.mkdtemp(dir=folder)
        measured(put, name, path, held)
        measured(hold, name, path, held)
        measured(put, name, path, LOOPS_HELD[name])
        figures[name] = measured(lease_and_done, name, path, LOOPS_HELD[name])
        shutil.rmtree(path)
    row(
        f"lease + done, {HELD['ours']:,} held by others (theirs: {HELD['theirs']:,})",
        figures["ours"],
        figures["theirs"],
    )


def main(folder: str) -> None:
    print(f"messages of {len(body())} bytes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| | igneous_ng fq:// | task-queue 2.14.3 file queue | ratio of rates |\n| --- | --- | --- | --- |")
    pair("put", folder, False, put, LOOPS, 1)
    for processes in (1, 2, 4):
        pair(f"lease + done, {processes} process(es)", folder, True, lease_and_done, LOOPS, processes)
    outstanding(folder)
    path = tempfile.mkdtemp(dir=folder)
    stage = measured(insert_a_stage, "ours", path, 10**8)
    row("insert a stage of 10^8 units", stage, None)
    shutil.rmtree(path)
    path = tempfile.mkdtemp(dir=folder)
    scans, mean = idle_scans(path)
    shutil.rmtree(path)
    print(f"\n10^8 units: {stage.number:,} messages in {stage.wall:.1f} s")
    print(f"{WORKERS} idle workers that ask every {mean:.1f} s: {scans:.1f} directory listings per second")
    print(json.dumps({"insert_s": stage.wall, "idle_scans": scans}))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
