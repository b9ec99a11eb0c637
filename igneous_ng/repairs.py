"""Carry out what makes wrong units anew, so that a layer is again what its records say.

It may be begun again after it was interrupted at any place: what is still wrong then is found by verifying again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from igneous_ng import catalog, history, ledger, mending, records, run, steering
from igneous_ng.errors import DataError, SpecError
from igneous_ng.ledger import PUBLISHED
from igneous_ng.mending import FRAME, Wrong
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.store import MISSING, Store, digest_of
from igneous_ng.subsets import Subset
from igneous_ng.worker.former import Former

WHY = "repair"
CarryOut = Callable[[Stage, Subset], Run]
"""Runs some units of a stage, one at least, until they are finished."""
_HINDERED = (DataError, SpecError, run.DeadLetters)


@dataclass
class Repair:
    """The repair of a ``layer``; ``carry_out`` runs units, here or elsewhere.

    Then there are the ``runs`` that did it, how many ``units`` they had, how many objects have ``other`` bytes than
    before though their inputs are the same, and what was ``refused`` and stays as it is, in words.
    """

    store: Store
    layer: str
    carry_out: CarryOut
    runs: list[Run] = field(default_factory=list)
    units: int = 0
    other: int = 0
    refused: list[str] = field(default_factory=list)

    def of(self, wrong: Wrong) -> None:
        """Make what is ``wrong`` as it was, and nothing else."""
        self._give_up()
        expected = mending.published(self.store, self.layer)
        known = mending.with_later(self.store, self.layer, self._known(wrong))
        asked = mending.make_way(self.store, self.layer, known)
        beside = {ident: [FRAME] for ident, spans in asked.items() if any(lo <= PUBLISHED for lo, _ in spans)}
        framed = [stage for stage, _ in mending.subsets(self.store, self.layer, beside, WHY)]
        todo, left = mending.subsets(self.store, self.layer, asked, WHY), dict(expected)
        while todo:
            stage, subset = todo.pop(0)
            ready = self._one(stage, subset, stage in framed)
            for ident in self._overwritten(ready, left) if ready else ():
                ((stage, subset),) = mending.subsets(self.store, self.layer, {ident: [FRAME]}, WHY)
                if all(stage != other for other, _ in todo):
                    todo.append((stage, subset))
                    framed.append(stage)
        beside_now = {url for ready in self.runs for url, _ in self._beside(ready)}
        self.other += sum(self._digest(url) != expected[url][0] for url in beside_now & expected.keys())

    def _give_up(self) -> None:
        """Let nobody go on with a repair that was interrupted; what is recorded of it stays done."""
        for ready in history.runs(self.store, self.layer):
            subset = records.subset(self.store, ready)
            over = records.finished(self.store, ready) or records.marked(self.store, ready, "cancelled")
            if subset is not None and subset.why == WHY and not over:
                steering.cancel(self.store, ready)

    def _known(self, wrong: Wrong) -> dict[str, list[tuple[int, int]]]:
        """What is wrong of runs of stages that this program has."""
        found = {}
        for ready in ledger.runs(self.store, self.layer):
            if ready.id in wrong:
                try:
                    catalog.decode(ready.stage)
                    found[ready.id] = list(wrong[ready.id])
                except SpecError as error:
                    self.refused.append(f"{ready.name} {ready.id}: {error}")
        return found

    def _one(self, stage: Stage, subset: Subset, framed: bool) -> Run | None:
        """Run what can be made as it was of one request; None where that is nothing, or fails."""
        possible, refused = mending.able(self.store, self.layer, subset)
        self.refused += refused
        if not len(possible) and not framed:
            return None
        try:
            ready = self.carry_out(stage, possible) if len(possible) else run.inline(stage, possible)
        except _HINDERED as error:
            self.refused.append(f"{stage.name}: {error}")
            self._give_up()
            return None
        self.runs.append(ready)
        self.units += len(possible)
        self.other += self._others(ready, possible)
        return ready

    def _others(self, ready: Run, subset: Subset) -> int:
        """How many objects units of ``ready`` made otherwise than their former records say."""
        count = 0
        for message in ready.messages():
            former = Former(self.store, message, subset)
            for place, line in records.read(self.store, message).items():
                new = {entry["url"]: entry.get("digest") for entry in line["writes"]}
                count += sum(new.get(url) != fingerprint for url, fingerprint in former.made(place).items())
        return count

    def _overwritten(self, ready: Run, left: dict[str, tuple[str, str]]) -> Iterator[str]:
        """The runs whose last word on what is published beside the units ``ready`` undid, each once."""
        for url, fingerprint in self._beside(ready):
            wanted, ident = left.get(url, (fingerprint, ""))
            if wanted != fingerprint and records.load(self.store, f"{self.layer}/runs/{ident}").stage != ready.stage:
                del left[url]
                yield ident

    def _beside(self, ready: Run) -> Iterator[tuple[str, str]]:
        """What preparing and publishing ``ready`` wrote: URLs and digests."""
        for page in records.frame(self.store, ready).values():
            for entry in ledger.writes(page):
                yield entry["url"], entry.get("digest", MISSING)

    def _digest(self, url: str) -> str:
        found = self.store.stored(url)
        return digest_of(found and found[0])
