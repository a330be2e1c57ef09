"""Lloyd's algorithm on all runs of a batch: stopping, empty clusters, longer moves."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gpuquant import ops

TOGETHER = 1 << 18  # points of runs that go side by side; larger problems keep the device busy by themselves


# the iteration, the centers it began with, the squared shifts and how many labels changed
Report = Callable[[int, Tensor, list[float], list[int]], None]


@dataclass(frozen=True, eq=False)
class Runs:
    """P runs of Lloyd's algorithm, how each ended, and their state with the final labels."""

    centers: Tensor  # [P, K, D] float64
    inertia: list[float]
    n_iter: list[int]
    converged: list[bool]
    state: ops.Lloyd


def lloyd(
    points: ops.PointSet,
    centers: Tensor,  # [P, K, D] float64: for each problem of the batch as many starts
    *,
    max_iter: int,
    tol: float,  # in units of the variance of the points
    relaxation: float = 1.0,
    momentum: float = 0.0,
) -> Runs:
    """Run Lloyd's algorithm on prepared points from given centers."""
    state = ops.lloyd_steps(points, centers.shape[1], len(centers) // points.n_problems)
    limits = (tol * state.variance).tolist()
    return iterate(state, centers, max_iter=max_iter, limits=limits, relaxation=relaxation, momentum=momentum)


def iterate(
    state: ops.Lloyd,
    centers: Tensor,  # [P, K, D] float64
    *,
    max_iter: int,
    limits: list[float],  # [P]: a run has converged when the squared shifts of its centers add up to no more
    relaxation: float = 1.0,
    momentum: float = 0.0,
    report: Report | None = None,
) -> Runs:
    """Repeat "label every point, move every center to the mean of its points" until a stopping rule is met.

    With a relaxation w between 1 and 2 a center moves w times as far, which alone never raises the inertia: for fixed
    labels it is a parabola around the mean. With momentum a center also repeats a share of its last move while it goes
    on in that direction. Both save iterations. The stopping rules are the same, and the last move always goes to the
    means.
    """
    centers = state.enter(centers)
    moves = torch.zeros_like(centers)
    n_iter, converged = [0] * len(centers), [False] * len(centers)
    active = list(range(len(centers)))
    unlabelled: list[int] = []  # runs that ended by moving
    for iteration in range(1, max_iter + 1):
        old = centers[active]
        sums, weights, n_changed = state.step(old, active)
        means = state.snap(_means(state, active, old, sums, weights))
        shifts = means - old
        further = means  # not old + shifts, which rounds
        if relaxation != 1 or momentum != 0:
            onward = (shifts * moves[active]).sum(dim=2, keepdim=True) > 0
            further = state.snap(old + relaxation * shifts + momentum * moves[active] * onward)
            further = torch.where(weights[:, :, None] > 0, further, means)
        going: list[int] = []
        straight: list[bool] = []
        squared = shifts.square().sum(dim=(1, 2)).tolist()
        if report:
            report(iteration, old, squared, n_changed)
        for run, shift, changes in zip(active, squared, n_changed, strict=True):
            n_iter[run] = iteration
            still = changes == 0 and (relaxation == 1 or shift == 0)
            converged[run] = still or shift <= limits[run]
            ended = converged[run] or iteration == max_iter
            straight.append(ended or changes == 0)
            if not still:
                (unlabelled if ended else going).append(run)
        new = torch.where(torch.tensor(straight, device=old.device)[:, None, None], means, further)
        centers[active], moves[active] = new, new - old
        active = going
        if not active:
            break
    if unlabelled:
        unlabelled.sort()
        state.step(centers[unlabelled], unlabelled)
    return Runs(state.leave(centers), state.inertia(centers), n_iter, converged, state)


def _means(state: ops.Lloyd, active: list[int], centers: Tensor, sums: Tensor, weights: Tensor) -> Tensor:
    """The means of the clusters [A, K, D]; an empty cluster takes over a point that is farthest from its center."""
    if bool((weights == 0).any()):
        sums, weights = sums.clone(), weights.clone()
        for place in (weights == 0).any(dim=1).nonzero().view(-1).tolist():
            _relocate(state, active[place], centers[place], sums[place], weights[place])
    means = sums * (1 / weights)[:, :, None]
    still_empty = (weights <= 0)[:, :, None]  # fewer different points than clusters
    heaviest = weights.argmax(dim=1)[:, None, None].expand(-1, 1, means.shape[2])
    return torch.where(still_empty, means.gather(1, heaviest), means)


def _relocate(state: ops.Lloyd, run: int, centers: Tensor, sums: Tensor, weights: Tensor) -> None:
    """Move the farthest points of a run to its empty clusters, in place."""
    empty = (weights == 0).nonzero().view(-1)
    points, point_weights, labels = state.farthest(run, len(empty), centers)
    for cluster, point, weight, label in zip(empty, points, point_weights, labels, strict=False):
        sums[label] -= point * weight
        weights[label] -= weight
        sums[cluster] = point * weight
        weights[cluster] = weight
