"""A trained network as a file that any machine runs, and how much of a patch's border it leaves in doubt."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from igneous_ng.errors import DataError
from igneous_ng.geometry import Vec3, ceil_div, vec
from igneous_ng.training import flood_net
from igneous_ng.training.network import Answering, Plan

Array = npt.NDArray[Any]
_SAME = 1e-4  # by how much ONNX and torch may differ
_UNSEEN = 0.5 / 255  # what nobody sees in answers of bytes
_STEPS = 8  # parts of the radius that are tried as margin
_INSIDE = (128, 128, 64)  # voxels x, y, z of a patch that are not margin: they divide the cells of inference
_SIDE = 40  # of the patch by which it is exported


def to_onnx(net: Answering) -> bytes:
    """The network in ONNX, for patches of any shape of whole strides; the same network gives the same bytes.

    ``grey`` [1, 1, z, y, x] in, ``answers`` [1, channel, z, y, x] out. DataError where it does not answer as in torch.
    """
    example = torch.rand(1, 1, _SIDE, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    any_side = {"grey": dict.fromkeys((2, 3, 4), torch.export.Dim.DYNAMIC)}
    names: dict[str, Any] = {"input_names": ["grey"], "output_names": ["answers"]}
    with warnings.catch_warnings():  # of what torch does not like in itself
        warnings.simplefilter("ignore")
        made = torch.onnx.export(net, (example,), dynamo=True, dynamic_shapes=any_side, verbose=False, **names)
    return _checked(made, example, net)


def flooding(net: flood_net.Answering, field: Vec3) -> bytes:
    """A network that floods in ONNX, for fields of view of this shape; as :func:`to_onnx`.

    ``grey`` [1, 2, z, y, x], grey values and logits, in; ``change`` [1, 1, z, y, x] of the logits out.
    """
    example = torch.rand(1, 2, *reversed(field), generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            net, (example,), dynamo=True, verbose=False, input_names=["grey"], output_names=["change"]
        )
    return _checked(made, example, net)


def _checked(made: Any, example: Any, net: Any) -> bytes:
    """What was exported, as bytes; DataError where it answers otherwise than in torch."""
    model = made.model_proto
    _strip(model)
    data: bytes = model.SerializeToString(deterministic=True)
    off = float(np.abs(answered(data, example.numpy()) - net(example).numpy()).max())
    if not off <= _SAME:
        raise DataError(f"the network in ONNX answers otherwise than in torch, by {off:g}; try other versions of them")
    return data


def answered(data: bytes, grey: Array) -> Array:
    """What a network in ONNX says of ``grey`` [1, 1, z, y, x]."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {"grey": grey})[0]
    return found


def margin(net: Answering, images: list[Array]) -> Vec3:
    """How many voxels at each side of a patch follow what lies beyond it by more than can be seen in bytes.

    Of images [x, y, z] the middle is shown alone, and compared with what is said of it within the image. Whole strides;
    all voxels within the radius where images are too small to tell.
    """
    plan = net.net.plan
    found = 1
    for image in images:
        found = max(found, next((n for n in range(1, _STEPS) if _agree(net, image, n)), _STEPS))
    return _part(plan, found)


def patch(plan: Plan, wide: Vec3) -> Vec3:
    """The patch for a margin: whole strides."""
    return vec(2 * m + ceil_div(n, s) * s for m, n, s in zip(wide, _INSIDE, plan.stride, strict=True))


def _part(plan: Plan, steps: int) -> Vec3:
    """So many parts of the radius, in whole strides."""
    return vec(ceil_div(ceil_div(r * steps, _STEPS), s) * s for r, s in zip(plan.radius, plan.stride, strict=True))


def _agree(net: Answering, image: Array, steps: int) -> bool:
    """Whether a margin of ``steps`` parts of the radius hides that the surroundings of a patch are not known."""
    plan = net.net.plan
    wide, beyond = _part(plan, steps), _part(plan, _STEPS // 2)
    shape = [n - n % s for n, s in zip(image.shape, plan.stride, strict=True)]
    inner = [n - 2 * b - 2 * m for n, b, m in zip(shape, beyond, wide, strict=True)]
    if min(inner) < 1:
        return False
    whole = image[tuple(slice(0, n) for n in shape)]
    alone = whole[tuple(slice(b, n - b) for b, n in zip(beyond, shape, strict=True))]
    middle = tuple(slice(b + m, n - b - m) for b, m, n in zip(beyond, wide, shape, strict=True))
    within = tuple(slice(m, n - m) for m, n in zip(wide, alone.shape, strict=True))
    return bool(np.abs(_said(net, whole)[middle] - _said(net, alone)[within]).max() <= _UNSEEN)


def _said(net: Answering, grey: Array) -> Array:
    """Answers [x, y, z, channel] of a patch [x, y, z]."""
    with torch.inference_mode():
        found: Array = net(torch.from_numpy(np.ascontiguousarray(grey.T))[None, None])[0].numpy().T
    return found


def _strip(model: onnx.ModelProto) -> None:
    """Forget where and by what code it was exported."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph, model):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
