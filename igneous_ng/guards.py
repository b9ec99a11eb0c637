"""What is refused before a run begins: to write into a raw archive, and where another run is at work.

A raw archive is a layer, or any folder, in which ``archive.json`` lies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igneous_ng import catalog, environments, history, records
from igneous_ng.errors import IgneousError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.spans import shared
from igneous_ng.stage import Stage
from igneous_ng.store import Store
from igneous_ng.subsets import Subset

_MARK = "archive.json"
_OVER = ("finished", "cancelled", "stopped", "rolledback")
_APART = ("roi", "memory")  # fields that leave the grid of cells as it is


def archive(store: Store, folder: str, note: str = "") -> None:
    """Mark a folder as raw archive: nothing of this program writes into it from now on."""
    store.put_json(f"{folder}/{_MARK}", {"time": time.time(), "by": environments.person(), "note": note})


def release(store: Store, folder: str) -> None:
    """Take the mark away; SpecError where there is none."""
    if not store.exists(f"{folder}/{_MARK}"):
        raise SpecError(f"{folder} is not marked as raw archive; there is nothing to take away")
    store.delete(f"{folder}/{_MARK}")


def check_writable(store: Store, place: str) -> None:
    """SpecError where ``place`` is a raw archive, or lies in one."""
    start, _, path = place.rpartition("://")
    parts = path.split("/")
    for count in range(len(parts), "://" in start, -1):  # an endpoint is no folder
        if parts[count - 1]:
            check_folder(store, f"{start}://{'/'.join(parts[:count])}", place)


def check_folder(store: Store, folder: str, place: str) -> None:
    """SpecError, which names ``place``, where ``folder`` is marked as raw archive."""
    found = store.get_json(f"{folder}/{_MARK}")
    if found is not None:
        note = f" ({found['note']})" if found.get("note") else ""
        raise SpecError(
            f"{place}: {folder} is marked as raw archive{note} and is never written to; choose another destination"
        )


@dataclass(frozen=True)
class Claim:
    """What a run writes: below which folders, and which units of what stage."""

    stage: Stage
    subset: Subset | None

    def overlaps(self, other: Claim, io: IO) -> bool:
        """Whether both may write the same."""
        if not any(_nested(a, b) for a in self.stage.places(io) for b in other.stage.places(io)):
            return False
        if self.stage == other.stage and self.subset and other.subset:
            return bool(shared(self._units(), other._units()))
        if self._grid() != other._grid():
            return True
        own, its = self._hull(io), other._hull(io)
        return own is None or its is None or (own & its).voxels > 0

    def _units(self) -> list[tuple[int, int]]:
        return [(lo, hi) for lo, hi, *_ in self.subset.spans] if self.subset else []

    def _grid(self) -> dict[str, Any]:
        """What tells one grid of cells from another."""
        return {"stage": self.stage.name} | {k: v for k, v in vars(self.stage).items() if k not in _APART}

    def _hull(self, io: IO) -> Box | None:
        """The box around all units of the stage; None where they are no boxes."""
        units: Sequence[Any] = self.stage.units(io)
        first, last = units[0], units[-1]
        return first | last if isinstance(first, Box) and isinstance(last, Box) else None


def _nested(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def over(store: Store, run: Run) -> bool:
    """Whether nobody works on a run any more, as far as can be told from here."""
    if any(records.marked(store, run, word) for word in _OVER) or records.settled(store, run):
        return True
    begun = records.about(store, run)
    here = begun.get("host") == environments.host() and records.queue_of(store, run) is None
    return here and not Path(f"/proc/{begun.get('process')}").exists() and Path("/proc/self").exists()


def rivals(store: Store, wanted: Run, stage: Stage, subset: Subset | None) -> list[Run]:
    """The runs at the same layer that are not over and write where ``wanted`` will; not those of its very request."""
    found, own, io = [], Claim(stage, subset), IO(store)
    for run in history.runs(store, wanted.home):
        same = run.id == wanted.id or (run.stage, run.subset) == (wanted.stage, wanted.subset)
        if same or over(store, run):
            continue
        try:
            its = catalog.decode(run.stage)
            clash = own.overlaps(Claim(its, records.subset(store, run)), io)
        except IgneousError:  # of another program, or of a layer that is no more: who knows what it writes
            clash = True
        if clash and stage.makes_data and records.makes_data(store, run):
            found.append(run)
    return found


def check(store: Store, wanted: Run, stage: Stage, subset: Subset | None) -> None:
    """SpecError where the run may not begin: into an archive, or where another is at work."""
    for place in stage.places(IO(store)) if stage.makes_data else ():
        check_writable(store, place)
    if found := rivals(store, wanted, stage, subset):
        other = found[0]
        raise SpecError(
            f"{wanted.name}: {other.name} {other.id} writes there, too, and is not finished; wait for it, or, if "
            f"nobody works on it any more, `igneous-ng cancel {other.folder}`"
        )
