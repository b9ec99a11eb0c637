"""What a figure that units note says of quality: so that places can be compared by it, and a map drawn of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure of what a unit made, in words, and how figures of several units are put together.

    As a rule a figure is a mean or a share of the voxels of a unit. ``counted`` ones are numbers of things, compared as
    things per µm³. Others are means over so many things as the note ``of`` says: where that is 0 they say nothing.
    """

    said: str
    counted: bool = False
    of: str = ""


IMAGE = {
    "black": Figure("share of voxels that are black or missing"),
    "contrast": Figure("contrast: grey values between 5 % and 95 %"),
    "focus": Figure("focus: variance of the Laplacian"),
    "membranes": Figure("membrane contrast: grey values by which thin dark structures stand out"),
}
"""Those of an image (:mod:`igneous_ng.kernels.quality`)."""
LABELS = {
    "background": Figure("share of voxels that are background"),
    "labels": Figure("labels", counted=True),
    "median": Figure("voxels in the unit of the median label", of="labels"),
    "enclosed": Figure("share of labels that do not leave the unit", of="labels"),
}
"""Those of a layer of labels."""
