"""The rules by which centers move and a run ends, as compiled loops; `moves` has the twin."""

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled
from gpuquant.ops.lloyd.colors import GRID
from gpuquant.ops.lloyd.run_status import RunStatus
from gpuquant.ops.points.colors import ORIGIN

GOING, STILL, CLOSE, OUT_OF_TIME, EMPTY = (status.value for status in RunStatus)
DOUBLE, SINGLE, ON_GRID = 0, 1, 2  # the numbers that a level of a center can be: the last ones lie in the color cube
HALF_EVEN = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, half to even

Floats = npt.NDArray[np.float64]


@compiled
def move_centers(
    totals: Floats,  # [K or more, D + 1]: sums and weights of the clusters
    centers: Floats,  # [K, D]: moved, unless a cluster is empty
    moves: Floats,  # [K, D]: the last moves, which become these
    kind: int,  # of number
    n_changed: int,
    is_last: bool,
    limit: float,
    relaxation: float,
    momentum: float,
) -> int:  # the `RunStatus` of the run
    """End an iteration of one run."""
    squared, n_axes = 0.0, centers.shape[1]
    for k in range(len(centers)):
        if not totals[k, n_axes] > 0:
            return EMPTY
        for axis in range(n_axes):
            shift = _snapped(totals[k, axis] * (1 / totals[k, n_axes]), kind) - centers[k, axis]
            squared += shift * shift
    is_close = squared <= limit or (n_changed == 0 and relaxation == 1)
    straight = is_close or is_last or n_changed == 0
    for k in range(len(centers)):
        onward = 0.0
        for axis in range(n_axes):
            onward += (_snapped(totals[k, axis] * (1 / totals[k, n_axes]), kind) - centers[k, axis]) * moves[k, axis]
        for axis in range(n_axes):
            old, new = centers[k, axis], _snapped(totals[k, axis] * (1 / totals[k, n_axes]), kind)
            if not straight:
                further = (old + relaxation * (new - old)) + (momentum * moves[k, axis] if onward > 0 else 0.0)
                new = _snapped(further, kind)
            moves[k, axis] = new - old
            centers[k, axis] = new
    if n_changed == 0 and squared == 0:
        return STILL
    if is_close:
        return CLOSE
    return OUT_OF_TIME if is_last else GOING


@compiled
def _snapped(level: float, kind: int) -> float:
    if kind == SINGLE:
        level = np.float64(np.float32(level))
    elif kind == ON_GRID:
        level = -ORIGIN if level < -ORIGIN else level
        level = 255 - ORIGIN if level > 255 - ORIGIN else level
        level = ((level * GRID + HALF_EVEN) - HALF_EVEN) / GRID
    return level
