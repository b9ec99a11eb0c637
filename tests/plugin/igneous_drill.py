"""A stage for drills of the worker: units that write known bytes, and fail in every way there is."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from igneous_ng.errors import ConfigurationError, DataError, SpecError, TransientError
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt


@dataclass(frozen=True, kw_only=True)
class Drill(Stage, name="drill run"):
    """Write known bytes, and fail where asked to."""

    layer: LayerUrl = arg("Where to write.")
    count: int = opt(1, "Units.")
    seconds: float = opt(0.0, "Seconds that each unit computes.")
    reading: float = opt(0.0, "Seconds that each unit reads.")
    faults: tuple[str, ...] = opt((), "UNIT:KIND, or UNIT:KIND:TIMES for the first attempts only.")
    needs: int = opt(1_000_000, "Bytes of memory to declare.")
    device: int = opt(0, "Bytes of device memory to declare.")

    def home(self) -> str:
        """The layer."""
        return self.layer

    def units(self, io: IO) -> Sequence[int]:
        """Numbers."""
        return range(self.count)

    def peak_bytes(self, unit: int, io: IO) -> int:
        """As declared."""
        return self.needs

    def device_bytes(self, unit: int, io: IO) -> int:
        """As declared."""
        return self.device

    def execute(self, unit: int, io: IO) -> None:
        """Note that it began, fail or compute, write."""
        folder = Path(self.layer.removeprefix("file://"))
        folder.mkdir(parents=True, exist_ok=True)
        before = note(folder, unit)
        with io.away():
            time.sleep(self.reading)
        note(folder, unit, "computing")
        for number, kind, times in map(split, self.faults):
            if number == unit and before < times:
                fail(kind)
        time.sleep(self.seconds)
        note(folder, unit, "computed")
        io.put(f"{self.layer}/data/{unit}", content(unit))

    def finish(self, io: IO) -> None:
        """Publish."""
        io.put(f"{self.layer}/published", b"yes")


def content(unit: int) -> bytes:
    """What a unit writes."""
    return hashlib.sha256(str(unit).encode()).digest() * 64


def note(folder: Path, unit: int, what: str = "began") -> int:
    """Append to the diary; how often this unit did the same before."""
    with (folder / "diary.txt").open("a+") as diary:
        diary.seek(0)
        before = sum(line.split()[:2] == [what, str(unit)] for line in diary)
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
        diary.write(f"{what} {unit} {os.getpid()} {time.time()} {device}\n")
    return before


def split(fault: str) -> tuple[int, str, float]:
    """Unit, kind, times."""
    unit, kind, *times = fault.split(":")
    return int(unit), kind, float(times[0]) if times else float("inf")


def fail(kind: str) -> None:
    """Fail in one way."""
    if kind in ERRORS:
        raise ERRORS[kind]
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "abort":
        os.abort()
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(3)
    if kind == "hang":
        time.sleep(1000)
    if kind == "gil":  # PyDLL keeps the interpreter's lock
        ctypes.PyDLL(None).sleep(10)
    if kind.startswith("eat"):  # megabytes, held for a while
        held = [bytearray(os.urandom(1 << 20)) for _ in range(int(kind[3:]))]
        time.sleep(3)
        held.clear()


ERRORS = {
    "exception": ValueError("a defect"),
    "data": DataError("the data is wrong"),
    "request": SpecError("the request is wrong"),
    "transient": TransientError("the network is down"),
    "configuration": ConfigurationError("this needs a program; install it"),
    "memory": MemoryError("cannot allocate"),
}
