"""The process that children are forked from. It has imported what tasks need, so that they start in milliseconds.

It has one thread, runs no task and holds no open file, and forks while it is so. On its socket it takes one line
of JSON, ``{"roots": [...], "environment": {...}}``, with three file descriptors: the child's standard input, output
and error. It answers ``{"born": PID}``, and later ``{"died": PID, "status": N}``, negative for a signal.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from igneous_ng.worker import child, machine

_LINE = 1 << 16


def begin(handle: int) -> NoReturn:
    """Be the nursery, in a copy of the supervisor's process, of which only ``handle`` and what it imported is kept."""
    status = 1
    try:
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        os.closerange(3, handle)
        os.closerange(handle + 1, os.sysconf("SC_OPEN_MAX"))
        main(handle)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def main(handle: int) -> None:
    """Fork children on request until the socket is closed."""
    machine.die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    deaths, wake = os.pipe()
    for end in (deaths, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    with socket.socket(fileno=handle) as line, suppress(ConnectionError):  # closed with words on their way
        while True:
            ready, _, _ = select.select([line.fileno(), deaths], [], [])
            if deaths in ready:
                os.read(deaths, _LINE)
                _bury(line)
            if line.fileno() in ready and not _serve(line, (deaths, wake)):
                break
    with suppress(ChildProcessError):  # their input has ended, too; what they used is counted when they are waited for
        while True:
            os.wait()


def _bury(line: socket.socket) -> None:
    """Tell of every child that ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        line.sendall(_encoded(died=pid, status=os.waitstatus_to_exitcode(status)))


def _serve(line: socket.socket, private: tuple[int, int]) -> bool:
    """Fork one child; False when the supervisor is gone."""
    data, handles, _, _ = socket.recv_fds(line, _LINE, 3)
    if not data:
        return False
    request = json.loads(data)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _become(request, handles, [*private, line.fileno()])
    for handle in handles:
        os.close(handle)
    line.sendall(_encoded(born=pid))
    return True


def _become(request: dict[str, Any], handles: list[int], private: list[int]) -> None:
    """Be a child. Never returns."""
    status = 1
    try:
        machine.die_with_parent()
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
        for handle in (*handles, *private):
            os.close(handle)
        os.environ.update(request["environment"])
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode) for n, mode in enumerate("rww"))
        child.main(tuple(request["roots"]))
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _encoded(**values: int) -> bytes:
    return (json.dumps(values) + "\n").encode()


if __name__ == "__main__":
    main(int(sys.argv[1]))
