"""Carry out what makes wrong units anew, so that a layer is again what its records say.

It may be begun again after it was interrupted at any place: what is still wrong then is found by verifying again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from igneous_ng import catalog, history, ledger, mending, records, run, steering
from igneous_ng.errors import DataError, SpecError
from igneous_ng.io import IO
from igneous_ng.mending import FRAME, Wrong
from igneous_ng.records import Run
from igneous_ng.stage import Stage
from igneous_ng.store import Store, digest_of
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
        mending.subsets(self.store, self.layer, known, WHY)  # refuses what is not known, before anything is touched
        asked = mending.make_way(self.store, self.layer, known)
        framed = [stage for stage, _ in self._frames(ident for ident in asked if min(asked[ident]) < (0, 0))]
        todo = mending.subsets(self.store, self.layer, asked, WHY)
        while todo:
            stage, subset = todo.pop(0)
            for ready in self._one(stage, subset, stage in framed):
                for other, nothing in self._frames(self._undone(ready, expected)):
                    if all(other != one for one, _ in todo):
                        todo.append((other, nothing))
                    framed += [other] if other not in framed else []
        made = {url for ready in self.runs for url, _ in mending.beside(self.store, ready)} & expected.keys()
        self.other += sum(self._digest(url) != expected[url].digest for url in made)

    def _frames(self, idents: Iterable[str]) -> list[tuple[Stage, Subset]]:
        """What prepares and publishes as these runs did."""
        return mending.subsets(self.store, self.layer, {ident: [FRAME] for ident in idents}, WHY)

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

    def _one(self, stage: Stage, subset: Subset, framed: bool) -> Iterator[Run]:
        """Make of one request what can be made as it was; what is ``framed`` is prepared first: units may read that."""
        if framed and len(subset):
            with suppress(*_HINDERED):  # then running it says so, too
                stage.prepare(IO(self.store))
        possible, refused = mending.able(self.store, self.layer, subset)
        self.refused += refused
        if len(possible) or not len(subset):
            yield from self._run(stage, possible)

    def _run(self, stage: Stage, subset: Subset) -> Iterator[Run]:
        """The run of a subset; none where it fails."""
        try:
            ready = self.carry_out(stage, subset) if len(subset) else run.inline(stage, subset)
        except _HINDERED as error:
            self.refused.append(f"{stage.name}: {error}")
            self._give_up()
            return
        self.runs.append(ready)
        self.units += len(subset)
        self.other += self._others(ready, subset)
        yield ready

    def _others(self, ready: Run, subset: Subset) -> int:
        """How many objects units of ``ready`` made otherwise than their former records say."""
        count = 0
        for message in ready.messages():
            former = Former(self.store, message, subset)
            for place, line in records.read(self.store, message).items():
                new = {entry["url"]: entry.get("digest") for entry in line["writes"]}
                count += sum(new.get(url) != fingerprint for url, fingerprint in former.made(place).items())
        return count

    def _undone(self, ready: Run, expected: Mapping[str, mending.Beside]) -> Iterator[str]:
        """The runs that wrote later than this request what ``ready`` has now made otherwise beside its units."""
        for url, fingerprint in mending.beside(self.store, ready):
            if url in expected and expected[url].digest != fingerprint:
                writers = expected[url].writers
                own = [place for place, one in enumerate(writers) if one.stage == ready.stage]
                yield from (one.id for one in writers[max(own, default=-1) + 1 :])

    def _digest(self, url: str) -> str:
        found = self.store.stored(url)
        return digest_of(found and found[0])
