"""Dark sheets in a grey image."""

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

def respond(patch: Plane, scales: list[tuple[Plane, Plane, Plane]], darkness: float) -> Plane:
    """The largest of all scales' responses, [z, y, x] as the patch: that of the Hessian's largest eigenvalue, less
    ``darkness`` times the smoothed image.

    A scale is, along z, y and x, a Gaussian and its first two derivatives, ``[3, 2 radius + 1]``. Voxels nearer to an
    end of the patch than the largest radius along that axis get -1e30.
    """
