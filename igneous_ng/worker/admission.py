"""Which messages there is room for, and which child is ended when there is none left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from igneous_ng.records import Message
from igneous_ng.worker import machine
from igneous_ng.worker.job import Job

if TYPE_CHECKING:
    from igneous_ng.worker.slot import Slot

_OVERLAP = 3  # units under way at once: one is read, one computes, one is written
_LOOK_S = 0.5


class Admission:
    """Divides ``room`` bytes among ``slots`` children."""

    def __init__(self, room: int, slots: int) -> None:
        self.room, self._slots = room, slots
        self._looked = 0.0

    def refusal(self, message: Message, devices: Sequence[str | None]) -> str | None:
        """Why this worker can never do a message; None where it can."""
        run = message.run
        if message.needs > self.room:
            return f"{run.name} takes {message.needs:,} bytes of memory and this worker has {self.room:,}"
        if run.device_bytes == 0:
            return None if None in devices else f"{run.name} needs a processor slot; give -p"
        if not any(device is not None and _fits(device, run.device_bytes) for device in devices):
            return f"{run.name} needs an accelerator with {run.device_bytes:,} bytes; give --gpus"
        return None

    def suits(self, message: Message, device: str | None) -> bool:
        """Whether a slot with this device, or without one, is for such messages."""
        if message.run.device_bytes == 0:
            return device is None
        return device is not None and _fits(device, message.run.device_bytes)

    def depth(self, message: Message) -> int:
        """How many units may be under way in one child."""
        if message.alone or message.needs == 0 or message.run.device_bytes:
            return 1
        return max(1, min(_OVERLAP, message.hi - message.lo, self.room // self._slots // message.needs))

    def admits(self, job: Job, others: Sequence[Job]) -> bool:
        """Whether ``job`` may begin beside ``others``."""
        if not others:
            return True
        if job.message.alone or any(other.message.alone for other in others):
            return False
        taken = sum(max(other.charge, other.peak_bytes) for other in others)
        return taken + job.charge <= self.room

    def watch(self, slots: Sequence[Slot]) -> None:
        """End the child that is most above its share, once all together are above what there is."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        resident = {slot: machine.resident_bytes(slot.child.pid) for slot in slots if slot.job is not None}
        for slot, size in resident.items():
            assert slot.job is not None
            slot.job.peak_bytes = max(slot.job.peak_bytes, size)
        if sum(resident.values()) > self.room:
            worst = max(resident, key=lambda slot: resident[slot] - (slot.job.charge if slot.job else 0))
            if not worst.ended_by:
                worst.kill("out of memory", f"it held {resident[worst]:,} bytes; all tasks may hold {self.room:,}")


def _fits(device: str, wanted: int) -> bool:
    has = machine.device_memory(device)
    return has is None or has >= wanted
