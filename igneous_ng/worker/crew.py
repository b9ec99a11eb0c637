"""The processes of a worker as its supervisor sees them: the nursery, and children that are asked and watched."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO, Any

from igneous_ng import redaction
from igneous_ng.errors import TransientError
from igneous_ng.worker import machine

_LINE = 1 << 16
_PATIENCE_S = 10.0  # for the nursery, which answers in milliseconds unless the machine is thrashing
_TAIL = 8192  # bytes of what a child said on standard error that are kept when it dies
_NURSERIES = 5  # begun for one child, at most: what kills one may kill the next as well
_POLL_S = 0.002


class Child:
    """One process that runs tasks."""

    def __init__(self, pid: int, stdin: int, stdout: int, errors: IO[bytes]) -> None:
        self.pid = pid
        self._stdin = os.fdopen(stdin, "wb")
        self._stdout = os.fdopen(stdout, "rb", buffering=0)
        self._errors = errors
        self._handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._buffer = b""

    def fileno(self) -> int:
        """What to wait for: it is readable when the child said something or died."""
        return self._stdout.fileno()

    def ask(self, do: str, body: str = "", **details: Any) -> None:
        """Send a request; a child that is gone is noticed when its output ends."""
        with suppress(BrokenPipeError):
            self._stdin.write((json.dumps({"do": do, "message": body, **details}) + "\n").encode())
            self._stdin.flush()

    def events(self) -> tuple[list[dict[str, Any]], bool]:
        """What the child has said since the last call, and whether its output goes on."""
        data = self._stdout.read(_LINE)
        *lines, self._buffer = (self._buffer + (data or b"")).split(b"\n")
        return [json.loads(line) for line in lines], bool(data)

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        with suppress(ProcessLookupError):
            if self._handle is None:
                os.kill(self.pid, signal.SIGKILL)
            else:  # by handle, for the number may be another process's by now
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def forget_errors(self) -> None:
        """Empty its standard error, before another task."""
        os.ftruncate(self._errors.fileno(), 0)

    def errors(self) -> str:
        """The end of what it said on standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL))
        return redaction.redacted(self._errors.read().decode(errors="replace").strip())

    def close(self) -> None:
        """Let go of a child that is dead, or ask one that is idle to end: its input ends."""
        for pipe in (self._stdin, self._stdout, self._errors):
            with suppress(BrokenPipeError):  # what was not flushed, nobody reads
                pipe.close()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class Crew:
    """Makes children: by forking the nursery, or afresh where they need an accelerator (CUDA does not survive a fork).

    ``roots`` are handed to each child. As a context, it is closed at the end.
    """

    def __init__(self, roots: tuple[str, ...] = ()) -> None:
        self._roots = roots
        self._nursery: subprocess.Popen[bytes] | _Copy | None = None
        self._line: socket.socket | None = None
        self._buffer = b""
        self._died: dict[int, int] = {}
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Start the nursery now, as a copy of this process, which has imported what tasks need and done nothing yet.

        Where this process has several threads, the nursery is left to be started as a program when it is needed.
        """
        if machine.threads() != 1:
            return
        from igneous_ng.worker import nursery

        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        ours, theirs = self._pair()
        pid = os.fork()
        if pid == 0:
            nursery.begin(theirs.fileno())
        theirs.close()
        self._line, self._nursery = ours, _Copy(pid)

    def fork(self) -> Child:
        """A child from the nursery, ready in milliseconds."""
        for left in reversed(range(_NURSERIES)):
            try:
                return self._forked()
            except ConnectionError as error:  # the nursery was killed
                self._bury_nursery()
                if not left:
                    raise TransientError(
                        f"no process can be started ({error}); is the machine out of memory?"
                    ) from error
        raise AssertionError

    def spawn(self, environment: dict[str, str]) -> Child:
        """A child that begins as a new program, with ``environment`` added."""
        ours, theirs, errors = _pipes()
        command = [sys.executable, "-m", "igneous_ng.worker.child", *self._roots]
        process = subprocess.Popen(
            command, stdin=theirs[0], stdout=theirs[1], stderr=errors, env={**os.environ, **environment}
        )
        for end in theirs:
            os.close(end)
        self._spawned[process.pid] = process
        return Child(process.pid, *ours, errors)

    def status(self, child: Child) -> int:
        """The exit status of a child whose output ended, negative for a signal; -SIGKILL where nobody can tell."""
        if child.pid in self._spawned:
            child.kill()
            return self._spawned.pop(child.pid).wait()
        with suppress(OSError):
            while child.pid not in self._died:
                self._hear()
        return self._died.pop(child.pid, -signal.SIGKILL)

    def close(self) -> None:
        """End the nursery, whose children have been told to end, and what else was started."""
        if self._line is not None:
            self._line.close()
            self._line = None
        for process in (*self._spawned.values(), *([self._nursery] if self._nursery else [])):
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._nursery = None

    def _forked(self) -> Child:
        line = self._line or self._found()
        ours, theirs, errors = _pipes()
        try:
            request = json.dumps({"roots": self._roots, "environment": {}}).encode()
            socket.send_fds(line, [request], [*theirs, errors.fileno()])
            return Child(self._born(), *ours, errors)
        except BaseException:
            for end in ours:
                os.close(end)
            raise
        finally:
            for end in theirs:
                os.close(end)

    def _born(self) -> int:
        while True:
            for message in self._hear():
                if "born" in message:
                    return message["born"]

    def _hear(self) -> list[dict[str, int]]:
        """What the nursery says next; deaths are remembered."""
        assert self._line is not None
        data = self._line.recv(_LINE)
        if not data:
            raise ConnectionError("the nursery is gone")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        messages: list[dict[str, int]] = [json.loads(line) for line in lines]
        self._died.update((m["died"], m["status"]) for m in messages if "died" in m)
        return messages

    def _found(self) -> socket.socket:
        """Start the nursery."""
        self._line, theirs = self._pair()
        machine.one_thread_each()
        command = [sys.executable, "-m", "igneous_ng.worker.nursery", str(theirs.fileno())]
        self._nursery = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()
        return self._line

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.settimeout(_PATIENCE_S * 6)  # it imports first
        self._buffer = b""
        return ours, theirs

    def _bury_nursery(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._nursery is not None:
            self._nursery.kill()
            self._nursery.wait()
            self._nursery = None


class _Copy:
    """A forked process, with what of a ``Popen`` is used here."""

    def __init__(self, pid: int) -> None:
        self._pid: int | None = pid

    def wait(self, timeout: float = math.inf) -> None:
        """Until it has ended; TimeoutExpired where that takes longer."""
        end = time.monotonic() + timeout
        while self._pid is not None:
            with suppress(ChildProcessError):
                if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                    if time.monotonic() > end:
                        raise subprocess.TimeoutExpired("nursery", timeout)
                    time.sleep(_POLL_S)
                    continue
            self._pid = None

    def kill(self) -> None:
        """End it at once."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)


def _pipes() -> tuple[tuple[int, int], tuple[int, int], IO[bytes]]:
    """Our ends and a child's ends of its input and output, and a file for its standard error."""
    stdin, to_child = os.pipe()
    from_child, stdout = os.pipe()
    return (to_child, from_child), (stdin, stdout), tempfile.TemporaryFile()
