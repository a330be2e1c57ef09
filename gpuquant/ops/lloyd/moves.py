"""The rules by which the centers of Lloyd's algorithm move and a run ends, in plain torch on any device.

With a relaxation w between 1 and 2 a center moves w times as far, which alone never raises the inertia: for fixed
labels it is a parabola around the mean. With momentum a center also repeats a share of its last move while it goes on
in that direction. Both save iterations. The stopping rules are the same, and the last move always goes to the means.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gpuquant.ops.lloyd.run_status import RunStatus

# Steps before the host looks for the first time whether runs on a device have ended, and before it looks again: a look
# takes as long as three launches, and runs on all colors after those on cells are often at their end after one or two.
LOOKS = 4, 8, 16
AS_LONG_AS_NEEDED = 1 << 30  # iterations: a run ends long before


class Stepping(Protocol):
    """State of runs that can do one step and tell what came of it."""

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]: ...

    def snap(self, centers: Tensor) -> Tensor: ...


def iterate_by_steps(
    state: Stepping,
    centers: Tensor,  # [P, K, D] float64, entered: moved in place
    moves: Tensor,  # [P, K, D] float64: the last moves of the centers
    n_iter: Tensor,  # [P] int32
    status: Tensor,  # [P] int32: runs whose `RunStatus` is not GOING rest
    limits: Tensor,  # [P] float64
    *,
    max_iter: int,
    relaxation: float,
    momentum: float,
    n_steps: int = AS_LONG_AS_NEEDED,
) -> list[int]:  # the `RunStatus` of each run
    """Iterate all runs together until each has ended, needs a cluster filled, or has done so many steps."""
    stands: list[int] = status.tolist()
    for _ in range(n_steps):
        going = [run for run, stand in enumerate(stands) if stand == RunStatus.GOING]
        if not going:
            break
        sums, weights, n_changed = state.step(centers[going], going)
        is_empty = (weights == 0).any(dim=1).tolist()
        places = [place for place, empty in enumerate(is_empty) if not empty]
        for run, empty in zip(going, is_empty, strict=True):
            stands[run] = RunStatus.EMPTY if empty else stands[run]
        if places:
            runs = [going[place] for place in places]
            new, endings = move_centers(
                state.snap,
                centers[runs],
                moves[runs],
                sums[places],
                weights[places],
                [n_changed[place] for place in places],
                limits[runs].tolist(),
                (n_iter[runs] + 1 >= max_iter).tolist(),
                relaxation,
                momentum,
            )
            moves[runs] = new - centers[runs]
            centers[runs] = new
            n_iter[runs] += 1
            for run, ending in zip(runs, endings, strict=True):
                stands[run] = ending
    status.copy_(torch.tensor(stands, dtype=status.dtype))
    return stands


def move_centers(
    snap: Callable[[Tensor], Tensor],
    centers: Tensor,  # [A, K, D] float64
    moves: Tensor,  # [A, K, D] float64: the last moves of the centers
    sums: Tensor,  # [A, K, D] float64
    weights: Tensor,  # [A, K] float64, positive
    n_changed: list[int],  # [A]
    limits: list[float],  # [A]: a run has converged when the squared shifts of its centers add up to no more
    is_last: list[bool],  # [A]: whether the run has no further iteration
    relaxation: float,
    momentum: float,
    was_empty: Tensor | None = None,  # [A, K] bool: clusters that were filled, whose centers go straight
) -> tuple[Tensor, list[RunStatus]]:  # [A, K, D]
    """End an iteration: move every center to the mean of its points, or farther."""
    means = snap(sums * (1 / weights)[:, :, None])
    shifts = means - centers
    squared: list[float] = shifts.square().sum(dim=(1, 2)).tolist()
    endings, straight = [], []
    for shift, changes, limit, last in zip(squared, n_changed, limits, is_last, strict=True):
        if changes == 0 and shift == 0:  # if a filled cluster moved, its point is labeled anew
            endings.append(RunStatus.STILL)
        elif shift <= limit or (changes == 0 and relaxation == 1):
            endings.append(RunStatus.CLOSE)
        else:
            endings.append(RunStatus.OUT_OF_TIME if last else RunStatus.GOING)
        straight.append(endings[-1] != RunStatus.GOING or changes == 0)
    if (relaxation == 1 and momentum == 0) or all(straight):
        return means, endings
    onward = (shifts * moves).sum(dim=2, keepdim=True) > 0
    further = snap(centers + relaxation * shifts + momentum * moves * onward)
    goes_straight = torch.tensor(straight, device=centers.device)[:, None, None]
    if was_empty is not None:
        goes_straight = goes_straight | was_empty[:, :, None]
    return torch.where(goes_straight, means, further), endings
