"""The process that runs tasks: JSON lines in on standard input, JSON lines out on standard output.

In: ``{"do": WHAT, "message": BODY, ...}`` where WHAT is

* ``execute``: run its units; answered by ``begun``, ``started``, ``unit``, ``failed``, and ``executed`` at the end;
* ``keep``: while executing, leave all but so many units to others; answered by ``given``;
* ``stop``: while executing, begin no more units;
* ``note``: store records and failures that a dead child left, for good if the message ends with it (``last``) and else
  as a checkpoint; answered by ``noted``;
* ``finish``: publish if the run is complete; answered by ``finished``;
* ``settled``: whether nothing is left to do in some runs; answered by ``settled``;
* ``straggler``: what others are slow with in some runs; answered by ``straggler``.

What cannot be done at all is answered by ``error``. The main thread only listens, so it hears the end of its input,
which is the death of its supervisor, at once.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, TextIO

from igneous_ng import fences, records, redaction
from igneous_ng.errors import ConfigurationError, VersionError
from igneous_ng.records import Message, Run
from igneous_ng.store import Store
from igneous_ng.worker import speculation, task
from igneous_ng.worker.task import Task


def main(roots: tuple[str, ...]) -> None:
    """Serve requests until standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the supervisor decides; a terminal signals the whole group
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    fences.confine(roots)
    server = Server(roots, _private_stdout())
    for line in sys.stdin:
        server.take(json.loads(line))
    os._exit(0)  # whatever still runs, nobody wants it


def _private_stdout() -> TextIO:
    """Standard output for events alone: what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


@dataclass
class Server:
    """Answers requests, the long ones in a thread."""

    roots: tuple[str, ...]
    out: TextIO
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _task: Task | None = None
    _full: set[str] = field(default_factory=set)
    _stores: dict[str, Store] = field(default_factory=dict)

    def take(self, request: dict[str, Any]) -> None:
        """Answer a request, now or in time."""
        if request["do"] == "keep":
            self._tell("given", {"spans": self._task.keep(request["units"]) if self._task else []})
        elif request["do"] == "stop":
            if self._task is not None:
                self._task.stop()
        else:
            threading.Thread(target=self._serve, args=(request,), name=request["do"], daemon=True).start()

    def _serve(self, request: dict[str, Any]) -> None:
        try:
            getattr(self, f"_{request['do']}")(request)
        except (VersionError, ConfigurationError) as error:  # another worker can do it
            self._stores.clear()
            self._tell("error", {"cause": "version", "text": redaction.redacted(str(error))})
        except BaseException as error:  # even SystemExit: the supervisor must hear of it
            self._stores.clear()
            self._tell("error", task.blame(error))

    def _execute(self, request: dict[str, Any]) -> None:
        message = Message.parse(request["message"])
        details = {key: request[key] for key in ("attempt", "depth", "until", "longest")}
        self._task = Task(message, self._store(message.run), self.roots, tell=self._tell, **details)
        stopped = self._task.execute()
        self._tell("executed", {"stopped": stopped})

    def _finish(self, request: dict[str, Any]) -> None:
        message = Message.parse(request["message"])
        complete = task.finish(message, self._store(message.run), self.roots, self._full)
        if complete:
            self._stores.clear()  # its scratch folder is gone
        self._tell("finished", {"complete": complete})

    def _note(self, request: dict[str, Any]) -> None:
        message = Message.parse(request["message"])
        run = message.run
        if task.under(run.home, self.roots) and self._store(run).exists(f"{run.folder}/run.json"):
            self._keep(message, request)
        self._tell("noted", {})

    def _keep(self, message: Message, request: dict[str, Any]) -> None:
        store = self._store(message.run)
        lines = {line["unit"]: line for line in request["lines"]}
        store.adopt(write["url"] for line in lines.values() for write in line["writes"])
        if request["last"]:
            task.write(store, message, {**records.read(store, message), **lines})
            records.drop_checkpoints(store, message)
        elif lines:
            store.flush()
            records.checkpoint(store, message, lines, request["owner"])
        for failure in request["failures"]:
            records.note_failure(store, message.run, failure["unit"], failure)
        for lo, hi, failure in request["given_up"]:
            records.give_up(store, Message(message.run, lo, hi), failure)
        store.flush()

    def _settled(self, request: dict[str, Any]) -> None:
        store, runs = Store(), self._mine(request)
        self._tell("settled", {"unsettled": [run.id for run in runs if not records.settled(store, run)]})

    def _straggler(self, request: dict[str, Any]) -> None:
        found = speculation.straggler(Store(), self._mine(request))
        body, seconds = ("", 0.0) if found is None else (found[0].to_json(), found[1])
        self._tell("straggler", {"body": body, "seconds": seconds})

    def _mine(self, request: dict[str, Any]) -> list[Run]:
        """The runs of a request that this worker may look at."""
        runs = (Run(**run) for run in request["runs"])
        return [run for run in runs if task.under(run.home, self.roots)]

    def _store(self, run: Run) -> Store:
        """That of the run at hand: it remembers which folders it has made and synced."""
        if run.id not in self._stores:
            self._stores = {run.id: task.store_of(run)}
        return self._stores[run.id]

    def _tell(self, event: str, details: dict[str, Any]) -> None:
        if "error" in details:
            details = {**details, **task.blame(details["error"])}
            del details["error"]
        with self._lock:
            self.out.write(json.dumps({"event": event, **details}) + "\n")
            self.out.flush()


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
