"""Which results a run could see: so that it is known when it was made from older ones.

* ``RUN/after.json`` names the runs that were finished before it and that it needs. A run begun by hand has none, and is
  judged by the clocks: what finished later than it began, it has not seen.
* ``LAYER/runs/chains/MARK.json`` names the runs of a chain of stages that is finished; its steps cannot be counted up
  again once intermediates are cleaned away. MARK is the digest of the request.
"""

from __future__ import annotations

from collections.abc import Sequence

from igneous_ng import history, records
from igneous_ng.errors import DataError, VersionError
from igneous_ng.records import Run
from igneous_ng.stage import Stage, to_dict
from igneous_ng.store import Store


def newest(store: Store, stage: Stage) -> Run | None:
    """The newest run of the very request that ``stage`` is; None where there is none."""
    return next(history.of(store, stage.home(), to_dict(stage)), None)


def enter(store: Store, run: Run, sources: Sequence[Run]) -> None:
    """Say that ``run`` came after ``sources``, unless it is said already."""
    url = f"{run.folder}/after.json"
    if not store.exists(url):
        store.put_json(url, {"runs": [source.folder for source in sources]})


def unseen(store: Store, run: Run, sources: Sequence[Run]) -> Run | None:
    """The first of the finished runs ``sources`` whose result ``run`` cannot have seen; None where it saw all."""
    named: list[str] = (store.get_json(f"{run.folder}/after.json") or {"runs": []})["runs"]
    requests = {_request(folder) for folder in named}
    for source in sources:
        if _request(source.folder) in requests:
            seen = source.folder in named
        else:
            finished = records.finished_at(store, source)
            seen = finished is not None and finished <= history.begun_at(run)
        if not seen:
            return source
    return None


def _request(folder: str) -> tuple[str, str]:
    """The place of the runs of one request, and its digest, by which a run's folder ends."""
    place, _, name = folder.rpartition("/")
    return place, name.rpartition("-")[2]


def close(store: Store, chain: Stage, runs: Sequence[Run]) -> None:
    """Say that ``chain`` is finished, by these runs."""
    store.put_json(_chain(chain), {"chain": to_dict(chain), "runs": [run.folder for run in runs]})


def closed(store: Store, chain: Stage) -> list[Run]:
    """The runs by which ``chain`` was finished; none where it was not, or where one of them is the newest no more."""
    said = store.get_json(_chain(chain))
    if said is None or said["chain"] != to_dict(chain):
        return []
    try:
        runs = [records.load(store, folder) for folder in said["runs"]]
    except (DataError, VersionError):  # one was removed, or another version made it
        return []
    return runs if all(next(history.of(store, run.home, run.stage), None) == run for run in runs) else []


def _chain(chain: Stage) -> str:
    return f"{chain.home()}/runs/chains/{records.mark(to_dict(chain))}.json"
