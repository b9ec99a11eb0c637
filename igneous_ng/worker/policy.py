"""What a user asks of a worker."""

from __future__ import annotations

import random
from dataclasses import dataclass

from igneous_ng.errors import SpecError

_FIRST_IDLE_S = 0.25


@dataclass(frozen=True)
class Policy:
    """How to work.

    ``processes`` run at once and take ``memory`` bytes together (None: what this machine, or its cgroup, has). A
    ``lease`` lasts so many seconds without a sign of life. A queue that is empty, or that nobody made, ends the work,
    unless ``wait``; until then it is asked again after ``idle`` seconds on average. Only layers under ``roots`` are
    touched, where given. A unit may take ``time_limit`` seconds. With ``speculate``, an idle worker runs units a second
    time that others hold for long. Each of ``gpus`` (``auto``: all there are) gets one process more, for stages that
    need an accelerator. ``until`` is the time (seconds since 1970) at which this worker will be ended.
    """

    processes: int = 1
    lease: float = 120.0
    wait: bool = False
    roots: tuple[str, ...] = ()
    memory: int | None = None
    time_limit: float | None = None
    speculate: bool = False
    gpus: tuple[str, ...] = ()
    until: float | None = None
    idle: float = 20.0

    def pause(self, empty: int) -> float:
        """Seconds until a queue is asked again that had nothing ``empty`` times: ever more, out of step with others.

        At most a third of a lease, so that what a dead worker held is soon found.
        """
        usual = min(self.idle, _FIRST_IDLE_S * 2.0 ** min(empty, 20))
        return min(usual * random.uniform(0.5, 1.5), self.lease / 3)  # noqa: S311 - to spread load, not to keep a secret

    def __post_init__(self) -> None:
        if self.processes < (0 if self.gpus else 1) or self.lease <= 0:
            raise SpecError(f"{self.processes} processes with leases of {self.lease} s; both must be positive")
        if self.time_limit is not None and self.time_limit <= 0:
            raise SpecError(f"a time limit of {self.time_limit} s; give a positive number of seconds, or none")
        if self.memory is not None and self.memory <= 0:
            raise SpecError(f"{self.memory} bytes of memory; give a positive number, or none for all there is")
