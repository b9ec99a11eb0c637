"""Whether a layer is what its records say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from igneous_ng import ledger, names, records
from igneous_ng.audit import Audit, Wrong
from igneous_ng.errors import SpecError
from igneous_ng.geometry import ceil_div
from igneous_ng.inputs import Inputs
from igneous_ng.io import IO
from igneous_ng.records import Run
from igneous_ng.spans import joined
from igneous_ng.stage import LayerUrl, Stage, arg, opt

_PARTS = 64  # of a run, if none is smaller than the least
_LEAST, _MOST = 8, 10_000  # units of a run in one part
_NAMED = 20  # objects in a record
_PEAK = 600_000_000  # what four threads hold of objects and voxels, and the names of a part

Part = tuple[str, int, int]
"""A run, by its id, and the range of its units."""


@dataclass(frozen=True, kw_only=True)
class Verify(Stage, name="records verify"):
    """Compare what records say of a layer with what lies there: `igneous-ng verify` runs this and sums it up.

    Looked at is of each object what the newest run that wrote it says. What is wrong is noted, by run, as ranges of
    units. Runs that go on meanwhile, and what they replace, may be taken for wrong.
    """

    example = "./seg --sample 0.01"
    makes_data: ClassVar[bool] = False

    layer: LayerUrl = arg("Layer to verify.")
    sample: float = opt(1.0, "Fraction of objects whose bytes are read; that all are there is always checked.")
    decode: bool = opt(False, "Decode what is read, too.")
    reads: bool = opt(False, "Tell units whose inputs are others now, too.")
    since: str = opt("", "Only what runs from this one on wrote; by default all.")
    until: str = opt("", "Only what runs up to this one wrote; by default all.")

    def check(self) -> None:
        """A fraction is between 0 and 1."""
        if not 0 <= self.sample <= 1:
            raise SpecError(f"records verify.sample: {self.sample}; give a fraction from 0 to 1")

    def home(self) -> str:
        """The layer keeps what was found."""
        return self.layer

    def _runs(self, io: IO) -> list[Run]:
        runs = ledger.runs(io.store, self.layer)
        return [run for run in runs if self.since <= run.id and (not self.until or run.id <= self.until)]

    def _inputs(self, io: IO, run: Run) -> Inputs | None:
        return Inputs(io.store, tuple(records.about(io.store, run).get("inputs", ()))) if self.reads else None

    def prepare(self, io: IO) -> None:
        """Make the indices by which tasks know what later runs wrote."""
        for run in ledger.runs(io.store, self.layer):
            names.keep(io.store, run)

    def units(self, io: IO) -> Sequence[Part]:
        """Ranges of units of each run that made data, the oldest first."""
        return [part for run in self._runs(io) for part in _parts(run)]

    def peak_bytes(self, unit: Part, io: IO) -> int:
        """Some objects, or parts of large ones, whatever the layer."""
        return _PEAK

    def execute(self, unit: Part, io: IO) -> None:
        """Look at the ledgers of one range. What is read is no provenance of anything, so no ledger tells of it."""
        ident, lo, hi = unit
        causes, units, examples = Counter[str](), set[int](), list[dict[str, Any]]()
        audit: Audit | None = None
        for page in names.pages(io.store, self.layer, ident, (lo, hi)):
            if audit is None:
                audit = Audit(io.store, self.sample, self.decode, self._inputs(io, page.run))
            found = audit.of(page)
            causes.update(one.cause for one in found)
            units.update([page.unit] if found else ())
            examples += [_example(one, page.unit) for one in found[: _NAMED - len(examples)]]
        if audit is not None:
            io.note(objects=audit.objects, read=audit.read, bytes=audit.bytes)
        io.note(run=ident, causes=dict(causes), units=joined(units), examples=examples)


def _example(wrong: Wrong, unit: int) -> dict[str, Any]:
    return {**asdict(wrong), "unit": unit}


def _parts(run: Run) -> list[Part]:
    """The ranges of a run; one also where it has no units, and only prepared and published."""
    size = min(_MOST, max(_LEAST, ceil_div(run.units, _PARTS)))
    return [(run.id, lo, min(lo + size, run.units)) for lo in range(0, max(1, run.units), size)]
