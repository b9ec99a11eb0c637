"""What earlier runs made of units that are done again, and the removal of what the units no longer make."""

from __future__ import annotations

from igneous_ng import records
from igneous_ng.io import IO
from igneous_ng.records import Line, Message
from igneous_ng.store import Store, digest
from igneous_ng.subsets import Subset


class Former:
    """The former records of the units of ``message``, which are those of ``subset``; none where it redoes nothing."""

    def __init__(self, store: Store, message: Message, subset: Subset | None) -> None:
        self._lines: dict[int, Line] = {}
        if subset is None:
            return
        wanted: dict[str, dict[int, int]] = {}
        for unit in range(message.lo, message.hi):
            former, number = subset.former(unit)
            wanted.setdefault(former, {})[number] = unit
        for ident, numbers in wanted.items():
            run = records.load(store, f"{message.run.home}/runs/{ident}")
            found = records.read(store, Message(run, min(numbers), max(numbers) + 1))
            self._lines |= {numbers[number]: line for number, line in found.items() if number in numbers}

    def made(self, unit: int) -> dict[str, str]:
        """The digest of each object that the former record of ``unit`` names."""
        entries = self._lines.get(unit, {"writes": ()})["writes"]
        return {entry["url"]: entry["digest"] for entry in entries if "digest" in entry}

    def clear(self, unit: int, io: IO) -> None:
        """Remove the objects that the former record of ``unit`` names and its ledger ``io`` does not.

        Only where they are what they were then: others may have put theirs in the place.
        """
        made = {entry["url"] for entry in io.ledger.writes}
        for url, fingerprint in self.made(unit).items():
            if url not in made:
                found = io.store.stored(url)
                if found is not None and digest(found[0]) == fingerprint:
                    io.delete(url)
