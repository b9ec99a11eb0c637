"""States of a training, from which it goes on as if it had not been stopped: arrays by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from igneous_ng.errors import DataError

Array = npt.NDArray[Any]


def of(net: Any, optimizer: Any, step: int) -> dict[str, Array]:
    """All that a training goes on from: the network, what the optimizer remembers, and the steps done."""
    found = {f"net/{name}": _plain(value) for name, value in net.state_dict().items()}
    for at, moments in optimizer.state_dict()["state"].items():
        found |= {f"optimizer/{at}/{name}": _plain(value) for name, value in moments.items()}
    return found | {"step": np.array(step)}


def resume(net: Any, optimizer: Any, state: dict[str, Array], where: str) -> int:
    """Make both what they were when :func:`of` gave ``state``; the steps done.

    DataError, naming ``where``, where that is of another network.
    """
    try:
        net.load_state_dict({name[4:]: torch.from_numpy(a) for name, a in state.items() if name.startswith("net/")})
        optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(state)})
        return int(state["step"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{where}: not a state of this training ({error}); remove it to begin anew") from error


def _plain(value: Any) -> Array:
    return np.asarray(value.detach().cpu().numpy())


def _moments(state: dict[str, Array]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for name, value in state.items():
        if name.startswith("optimizer/"):
            _, at, what = name.split("/")
            found.setdefault(int(at), {})[what] = torch.from_numpy(value)
    return found
