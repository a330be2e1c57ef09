"""Centers rounded to 8-bit entries, and these settled on all colors."""

import math

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.batched import KMeansResult
from gpuquant.clustering.lloyd import Runs
from gpuquant.colors.alpha import OPAQUE
from gpuquant.colors.spaces import WorkingSpace
from gpuquant.fitting.fit import Effort, PaletteFit


def settle(runs: Runs, run: int, tol: float) -> PaletteFit:
    """Round the centers of a run to a palette of different, used entries, and settle it by Lloyd steps on integers.

    The mean rounded is the best integer entry for given labels, and an unused entry is replaced by the color farthest
    from its entry; both lower the error, which is an integer, so this ends.
    """
    state = runs.state
    centers = state.enter(runs.centers.round())  # integers in the coordinates of the run, too
    best: PaletteFit | None = None
    while True:
        sums, weights, _ = state.step(centers[run, None], [run])
        unused = (weights[0] == 0).nonzero().view(-1)
        if len(unused):
            replacements, _, _ = state.farthest(run, len(unused), centers[run])
            centers[run, unused[: len(replacements)]] = replacements
            continue
        error = state.inertia(centers)[run]
        least = math.inf if best is None else best.error
        if error < least:
            best = PaletteFit(
                palette=state.leave(centers)[run].to(torch.uint8),
                labels=state.labels_of_points()[run],
                counts=weights[0].to(torch.int64),
                error=error,
                inertia=runs.inertia[run],
                n_iter=runs.n_iter[run],
                converged=runs.converged[run],
            )
        if best is not None and error >= (1 - tol) * least:
            return best
        centers[run] = (sums[0] / weights[0, :, None]).round()


SETTLE_TOL = 1e-4  # half the time, for less than 0.1 % of the error (measured on three photos)


def settle_in_space(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    points: Tensor,  # [M, D] float64: the same in the working space
    counts: Tensor,  # [M] int64
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    space: WorkingSpace,
    result: KMeansResult,
    cost: Effort,
    *,
    keep_last: bool = False,
) -> PaletteFit:
    """Move rounded entries, but not a last one that is kept, by Lloyd steps as long as what is written gets better."""
    weights, tol = counts.double(), max(cost.settle_tol, SETTLE_TOL)
    state = ops.lloyd_steps(ops.point_set(points[None], weights[None]), len(palette))
    last = palette[-1].clone()
    opaque_weights = weights * (colors[:, 3] == OPAQUE) if colors.shape[1] == 4 else None
    best: PaletteFit | None = None
    begun = False
    while True:
        centers = state.enter(space.enter(palette)[None])
        sums, totals, _ = state.step(centers, [0])
        unused = (totals[0] == 0).nonzero().view(-1)
        if len(unused):
            farthest, _, _ = state.farthest(0, len(unused), centers[0])
            palette[unused[: len(farthest)]] = space.leave(state.leave(farthest[None])[0])
            continue
        labels = state.labels_of_points()[0].clone()
        if begun:
            error = state.inertia(centers)[0]
            least = math.inf if best is None else best.error
            if error < least:
                best = PaletteFit(
                    palette=palette,
                    labels=labels,
                    counts=totals[0].round().to(torch.int64),
                    error=error,
                    inertia=error,
                    n_iter=int(result.n_iter),
                    converged=bool(result.converged),
                )
            if best is not None and error >= (1 - tol) * least:
                return best
        begun = True
        palette = space.leave(state.leave((sums[0] / totals[0, :, None])[None])[0])
        if opaque_weights is not None:  # what is opaque for the most part must not shine through
            opaque = torch.zeros_like(totals[0]).index_add_(0, labels.long(), opaque_weights)
            palette[opaque > totals[0] / 2, 3] = OPAQUE
        if keep_last:
            palette[-1] = last
