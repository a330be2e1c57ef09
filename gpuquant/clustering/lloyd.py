"""Lloyd's algorithm on all runs of a batch: stopping, empty clusters, longer moves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.ops import RunStatus

TOGETHER = 1 << 18  # points of runs that go side by side; larger problems keep the CPU busy by themselves
TOGETHER_ON_CUDA = 1 << 26  # there the host should look at many runs as rarely as at one
CENTERS_ON_CUDA = 1 << 24  # each has sums of its own for every 1024 points
MOST_ON_CUDA = 65_535  # a grid's second axis


Report = Callable[[int, Tensor, float, int], None]
"""Called with the iteration, the centers it began with, the squared shifts, and how many labels changed."""


@dataclass(frozen=True, eq=False)
class Runs:
    """P runs of Lloyd's algorithm, how each ended, and their state with the final labels."""

    centers: Tensor  # [P, K, D] float64
    inertia: list[float]
    n_iter: list[int]
    converged: list[bool]
    state: ops.Lloyd

    @cached_property
    def labels(self) -> Tensor:  # [P, N] int32, as long as the state takes no further step
        return self.state.labels_of_points()


def runs_together(n_points: int, n_clusters: int, device: torch.device, n_problems: int = 1) -> int:
    """Choose how many runs go side by side, for so many points of each problem and so many clusters."""
    n_all = n_points * n_problems
    if device.type == "cuda":
        n_sums = n_problems * n_clusters * (n_points // 1024 + 1)
        return max(1, min(TOGETHER_ON_CUDA // n_all, CENTERS_ON_CUDA // n_sums, MOST_ON_CUDA // n_problems))
    return max(1, TOGETHER // n_all)


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
    report: Report | None = None,  # of a single run
) -> Runs:
    """Repeat "label every point, move every center to the mean of its points" until a stopping rule is met.

    Relaxation and momentum save iterations: see `gpuquant.ops.lloyd.moves`.
    """
    device = state.home
    centers = state.enter(centers.to(device)).contiguous()
    progress = _Progress(
        centers=centers,
        moves=torch.zeros_like(centers),
        n_iter=torch.zeros(len(centers), dtype=torch.int32, device=device),
        status=torch.full((len(centers),), RunStatus.GOING.value, dtype=torch.int32, device=device),
        limits=torch.tensor(limits, dtype=torch.float64, device=device),
    )
    pace: Any = {"max_iter": int(max_iter), "relaxation": relaxation, "momentum": momentum}  # Triton: no NumPy integers
    stands: list[int] = [RunStatus.GOING] * len(centers)
    while RunStatus.GOING in stands:
        before = centers.clone() if report else centers
        n_steps = 1 if report else ops.AS_LONG_AS_NEEDED
        stands = state.iterate(*progress, **pace, n_steps=n_steps)
        empty = [run for run, stand in enumerate(stands) if stand == RunStatus.EMPTY]
        if empty:
            stands = _go_on_with_filled_clusters(state, progress, empty, **pace)
        if report:
            report(int(progress.n_iter), before, float((centers - before).square().sum()), state.changed([0])[0])
    unlabeled = [run for run, stand in enumerate(stands) if stand != RunStatus.STILL and run not in state.labeled]
    if unlabeled:
        state.step(centers[unlabeled], unlabeled)
    converged = [stand != RunStatus.OUT_OF_TIME for stand in stands]
    return Runs(state.leave(centers), state.inertia(centers), progress.n_iter.tolist(), converged, state)


class _Progress(NamedTuple):
    """The progress of P runs, which the state moves on in place."""

    centers: Tensor  # [P, K, D] float64, entered
    moves: Tensor  # [P, K, D] float64
    n_iter: Tensor  # [P] int32
    status: Tensor  # [P] int32
    limits: Tensor  # [P] float64


def _go_on_with_filled_clusters(
    state: ops.Lloyd, progress: _Progress, runs: list[int], *, max_iter: int, relaxation: float, momentum: float
) -> list[int]:  # the `RunStatus` of each run
    """End the iteration of runs with an empty cluster, which takes over a point that is farthest from its center."""
    sums, weights = (totals.clone() for totals in state.sums_of(runs))
    was_empty = weights == 0
    for place, run in enumerate(runs):
        _relocate(state, run, progress.centers[run], sums[place], weights[place])
    old = progress.centers[runs]
    new, endings = ops.move_centers(
        state.snap,
        old,
        progress.moves[runs],
        sums,
        weights,
        state.changed(runs),
        progress.limits[runs].tolist(),
        (progress.n_iter[runs] + 1 >= max_iter).tolist(),
        relaxation,
        momentum,
        was_empty,
    )
    progress.moves[runs], progress.centers[runs] = new - old, new
    progress.n_iter[runs] += 1
    progress.status[runs] = torch.tensor(endings, dtype=torch.int32, device=new.device)
    stands: list[int] = progress.status.tolist()
    return stands


def _relocate(state: ops.Lloyd, run: int, centers: Tensor, sums: Tensor, weights: Tensor) -> None:
    """Move the farthest points of a run to its empty clusters, in place."""
    empty = (weights == 0).nonzero().view(-1)
    points, point_weights, labels = state.farthest(run, len(empty), centers)
    for cluster, point, weight, label in zip(empty, points, point_weights, labels, strict=False):
        sums[label] -= point * weight
        weights[label] -= weight
        sums[cluster] = point * weight
        weights[cluster] = weight
    left = (weights <= 0).nonzero().view(-1)
    if len(left):  # there are fewer different points, or a farthest one was alone: the cluster shares the heaviest's
        heaviest = weights.argmax()
        sums[left], weights[left] = sums[heaviest].clone(), weights[heaviest].clone()
        if state.as_scikit_learn:  # which copies the heaviest's sums, and divides only these if they come later
            weights[left[left < heaviest]] = 1
