"""The verification of a layer from end to end: what is wrong, its repair, and the verification of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from igneous_ng import findings, ledger
from igneous_ng.errors import DataError
from igneous_ng.findings import Findings
from igneous_ng.records import Run
from igneous_ng.repairs import Repair
from igneous_ng.stage import Stage
from igneous_ng.stages.records_verify import Verify
from igneous_ng.store import Store
from igneous_ng.subsets import Subset

CarryOut = Callable[[Stage, Subset | None], Run]
"""Runs a stage, or some units of it, until it is finished."""


@dataclass
class Verification:
    """What was ``found`` at a layer, and which objects there no record names (``strangers``); its ``repair``, where one
    was wanted, and what was found ``then`` of what it made.
    """

    layer: str
    found: Findings
    strangers: list[str]
    repair: Repair | None = None
    then: Findings | None = None

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong, or is so any more."""
        if self.repair is None or self.then is None:
            return not self.found.wrong
        return not self.repair.refused and not self.then.wrong

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types."""
        raw = {"layer": self.layer, "fine": self.fine, **self.found.to_json(), "strangers": self.strangers}
        if self.repair is not None and self.then is not None:
            done, figures = self.repair, ("units", "other", "refused")
            said = {"runs": [run.id for run in done.runs], **{name: getattr(done, name) for name in figures}}
            raw["repair"] = {**said, "then": self.then.to_json()}
        return raw


def verify(layer: str, how: Mapping[str, Any], carry_out: CarryOut, repair: bool = False) -> Verification:
    """Verify what was recorded of ``layer`` until now; where something is wrong, ``repair`` it if that is wanted.

    ``how`` are fields of the stage.
    """
    store = Store()
    runs = ledger.runs(store, layer)
    if not runs:
        raise DataError(f"{layer}: no run is recorded here, so nothing is known of it; check the path")

    def looked(since: str, until: str) -> Findings:
        return findings.of(store, carry_out(Verify(layer=layer, since=since, until=until, **how), None))

    told = Verification(layer, looked("", runs[-1].id), list(findings.strangers(store, layer)))
    if repair and told.found.wrong:
        told.repair = Repair(store, layer, carry_out)
        told.repair.of(told.found.wrong)
        made = [run.id for run in told.repair.runs]
        told.then = looked(made[0], made[-1]) if made else Findings()
    return told
