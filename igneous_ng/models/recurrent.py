"""Networks that flood: of grey values and logits they say by how much the logits change."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]
_MOST = np.float32(16)  # logits are kept within, so that no object is ever beyond doubt


class _Network(Protocol):
    backend: str

    def answer(self, given: Array) -> Array:
        """Of [x, y, z, channel] another one."""
        ...


class Recurrent:
    """A ``network`` from two channels, grey values and logits, to one: what is added to the logits."""

    def __init__(self, network: _Network) -> None:
        self._network, self.backend = network, network.backend

    def step(self, grey: Array, logits: Array) -> Array:
        """See :class:`igneous_ng.models.base.Flooding`; DataError where the network says no number."""
        found = logits + self._network.answer(np.stack([grey, logits], axis=-1))[..., 0]
        if not np.isfinite(found).all():
            raise DataError("the network gives logits that are no numbers; train it again, with a lower rate")
        return np.asarray(np.clip(found, -_MOST, _MOST))
