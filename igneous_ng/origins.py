"""What a run was: the request, who asked for it, when, and with what code it was carried out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from igneous_ng import catalog, records
from igneous_ng.errors import IgneousError
from igneous_ng.records import Run
from igneous_ng.stage import Stage, plain
from igneous_ng.store import Store


@dataclass(frozen=True)
class Origin:
    """A run as it was asked for. ``parameters`` are all; ``chosen`` those that are not the stage's defaults.

    Times are in seconds since 1970; where a time or a name is not known it is None, or empty.
    """

    run: str
    id: str
    layer: str
    stage: str
    version: int
    units: int
    parameters: dict[str, Any]
    chosen: dict[str, Any]
    by: str = ""
    host: str = ""
    planned: float | None = None
    finished: float | None = None
    environment: str = ""
    code: dict[str, Any] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=list)

    def input(self, url: str) -> dict[str, Any]:
        """The version of the input that is ``url`` or holds it, as it was then; empty where none was recorded."""
        for found in self.inputs:
            place = str(found["url"])
            whole = place.partition("*")[0]
            if url == place or (url.startswith(whole) and (whole != place or url.startswith(f"{place}/"))):
                return found
        return {}


def origin(store: Store, run: Run) -> Origin:
    """What ``run`` was."""
    about, finished = records.about(store, run), store.get_json(f"{run.folder}/finished.json")
    known = {key: about[key] for key in ("by", "host", "planned", "environment", "code", "inputs") if key in about}
    return Origin(
        run=run.folder,
        id=run.id,
        layer=run.home,
        stage=run.name,
        version=int(run.stage.get("version", 0)),
        units=run.units,
        parameters={key: value for key, value in run.stage.items() if key not in ("stage", "version")},
        chosen=chosen(run.stage),
        finished=None if finished is None else float(finished["time"]),
        **known,
    )


def chosen(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request that are not the defaults; all of them where the stage is not known here."""
    given = {key: value for key, value in stage.items() if key not in ("stage", "version")}
    usual = _defaults(str(stage.get("stage")))
    return {key: value for key, value in given.items() if key not in usual or usual[key] != value}


def _defaults(name: str) -> dict[str, Any]:
    try:
        cls: type[Stage] = catalog.load(name)
    except IgneousError:
        return {}
    return {f.name: plain(f.default) for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
