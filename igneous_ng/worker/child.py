"""The process that runs tasks: JSON lines in on standard input, JSON lines out on standard output.

In: ``{"do": "execute" | "finish", "message": BODY, "attempt": N}``. Out: ``{"event": "unit", "unit": N}`` for each unit
recorded, then ``{"event": "executed"}``, ``{"event": "finished", "complete": BOOL}`` or ``{"event": "error",
"kind": NAME, "text": TEXT}``. It ends when its input does, thus also when its supervisor is killed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, TextIO

from igneous_ng.errors import DataError, IgneousError, SpecError, TransientError
from igneous_ng.records import Message
from igneous_ng.worker import task

KINDS = (SpecError, DataError, TransientError)


def main(roots: tuple[str, ...]) -> None:
    """Serve requests until standard input ends."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides; a terminal signals the whole group
    signal.signal(signal.SIGTERM, _leave)
    with _private_stdout() as out:
        for line in sys.stdin:
            request = json.loads(line)
            _send(out, _serve(request, roots, out))


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End at once, but through ``finally``, so that no temporary file is left; deaf to a second signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


def _private_stdout() -> TextIO:
    """Standard output for events alone: what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def _send(out: TextIO, event: dict[str, Any]) -> None:
    out.write(json.dumps(event) + "\n")
    out.flush()


def _serve(request: dict[str, Any], roots: tuple[str, ...], out: TextIO) -> dict[str, Any]:
    try:
        message = Message.parse(request["message"])
        if request["do"] == "finish":
            return {"event": "finished", "complete": task.finish(message, roots)}
        task.execute(message, roots, lambda unit: _send(out, {"event": "unit", "unit": unit}), request["attempt"])
        return {"event": "executed"}
    except IgneousError as error:
        kind = next((k.__name__ for k in KINDS if isinstance(error, k)), "Bug")
        return {"event": "error", "kind": kind, "text": f"{type(error).__name__}: {error}"}
    except MemoryError as error:
        return {"event": "error", "kind": "TransientError", "text": f"out of memory: {error}"}
    except Exception:  # a defect must reach the dead letters with its trace, not end the worker
        return {"event": "error", "kind": "Bug", "text": traceback.format_exc()}


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
