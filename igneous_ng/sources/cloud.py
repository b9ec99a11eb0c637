"""Layers that only cloud-volume reads: graphene, the chunked graphs of the CAVE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igneous_ng.errors import DataError, TransientError
from igneous_ng.formats import info as infos
from igneous_ng.formats.info import Info
from igneous_ng.geometry import Box
from igneous_ng.sources.base import needed


@dataclass(frozen=True)
class Cloud:
    """A layer at cloud-volume's own kind of path; labels of graphene are supervoxels."""

    path: str
    info: Info

    def read(self, mip: int, box: Box) -> NDArray[Any]:
        """The voxels of ``box``; DataError for a missing chunk."""
        from cloudvolume import CloudVolume
        from cloudvolume.exceptions import EmptyVolumeException

        try:
            return np.asfortranarray(CloudVolume(self.path, mip=mip, progress=False)[box.slices()])
        except EmptyVolumeException as error:
            raise DataError(f"{self.path} mip {mip}: {box} has a missing chunk ({error}); write it first") from error
        except Exception as error:  # each protocol has its own
            raise TransientError(f"{self.path} mip {mip}: {box} was not read ({error}); will be tried again") from error


def open_graphene(url: str) -> Cloud:
    """The supervoxels of a chunked graph."""
    return open_cloud(f"graphene://{url}")


def open_cloud(path: str) -> Cloud:
    """A layer by cloud-volume's path."""
    needed("cloudvolume", "graphene")
    from cloudvolume import CloudVolume

    try:
        found = CloudVolume(path, progress=False).info
    except Exception as error:  # as above
        raise DataError(f"{path}: cloud-volume finds no layer here ({type(error).__name__}: {error})") from error
    return Cloud(path, infos.parse(found, path))
