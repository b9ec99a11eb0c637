"""Requests that are made again when the network fails or the other side is busy."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from igneous_ng.remote.errors import passes

Answer = TypeVar("Answer")
TRIES = 8
_FIRST_S = 0.25  # the longest first pause; doubled each time. All of them take 16 s usually, and 32 s at most
_RANDOM = random.SystemRandom()  # of its own: what is computed from seeds must not depend on the network


def insist(call: Callable[[int], Answer]) -> Answer:
    """What ``call`` answers, given how often it was called before; made again while its errors may pass.

    Pauses are drawn from zero up, so that many who were sent away together do not come back together.
    """
    for tried in range(TRIES - 1):
        try:
            return call(tried)
        except Exception as error:
            if not passes(error):
                raise
        time.sleep(_RANDOM.uniform(0, _FIRST_S * 2**tried))
    return call(TRIES - 1)
