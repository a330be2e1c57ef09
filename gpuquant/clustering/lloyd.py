"""Lloyd's algorithm on all runs of a batch: stopping, empty clusters, longer moves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.ops import RunStatus

if TYPE_CHECKING:
    from gpuquant.ops import KernelLloyd

TOGETHER = 1 << 18  # points of runs that go side by side; larger problems keep the CPU busy by themselves
TOGETHER_ON_CUDA = 1 << 26  # there the host should look at many runs as rarely as at one
CENTERS_ON_CUDA = 1 << 24  # each has sums of its own for every 1024 points
MOST_ON_CUDA = 65_535  # a grid's second axis


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
    report: Report | None = None,
) -> Runs:
    """Repeat "label every point, move every center to the mean of its points" until a stopping rule is met.

    With a relaxation w between 1 and 2 a center moves w times as far, which alone never raises the inertia: for fixed
    labels it is a parabola around the mean. With momentum a center also repeats a share of its last move while it goes
    on in that direction. Both save iterations. The stopping rules are the same, and the last move always goes to the
    means.
    """
    progress = _Progress(state, state.enter(centers), max_iter, limits, relaxation, momentum)
    while progress.active:
        if state.kernels and not report:
            progress.advance_on_device(state.kernels)
        else:
            runs = list(progress.active)
            old = progress.centers[runs]
            sums, weights, n_changed = state.step(old, runs)
            squared = progress.finish_iteration(runs, sums, weights, n_changed)
            if report:
                report(progress.n_iter[runs[0]], old, squared, n_changed)
    centers = progress.centers
    if progress.unlabeled:
        unlabeled = sorted(progress.unlabeled)
        state.step(centers[unlabeled], unlabeled)
    return Runs(state.leave(centers), state.inertia(centers), progress.n_iter, progress.converged, state)


class _Progress:
    """The progress of each run, and the rules by which its centers move and it ends."""

    def __init__(
        self,
        state: ops.Lloyd,
        centers: Tensor,  # [P, K, D] float64, entered
        max_iter: int,
        limits: list[float],
        relaxation: float,
        momentum: float,
    ) -> None:
        self._state, self.centers = state, centers.contiguous()
        self._moves = torch.zeros_like(self.centers)
        self._max_iter, self._limits, self._relaxation, self._momentum = max_iter, limits, relaxation, momentum
        self.n_iter, self.converged = [0] * len(centers), [False] * len(centers)
        self.active = list(range(len(centers)))
        self.unlabeled: list[int] = []  # runs that ended by moving

    def finish_iteration(
        self,
        runs: list[int],  # [A], active
        sums: Tensor,  # [A, K, D] float64
        weights: Tensor,  # [A, K] float64
        n_changed: list[int],  # [A]
    ) -> list[float]:  # [A]: the squared shifts
        """End an iteration of some runs, whose points have been labeled."""
        state, old, relaxation = self._state, self.centers[runs], self._relaxation
        means = state.snap(_means(state, runs, old, sums, weights))
        shifts = means - old
        further = means  # not old + shifts, which rounds
        if relaxation != 1 or self._momentum != 0:
            onward = (shifts * self._moves[runs]).sum(dim=2, keepdim=True) > 0
            further = state.snap(old + relaxation * shifts + self._momentum * self._moves[runs] * onward)
            further = torch.where(weights[:, :, None] > 0, further, means)
        squared: list[float] = shifts.square().sum(dim=(1, 2)).tolist()
        straight: list[bool] = []
        for run, shift, changes in zip(runs, squared, n_changed, strict=True):
            self.n_iter[run] += 1
            still = changes == 0 and (relaxation == 1 or shift == 0)
            self.converged[run] = still or shift <= self._limits[run]
            ended = self.converged[run] or self.n_iter[run] == self._max_iter
            straight.append(ended or changes == 0)
            if ended:
                self.active.remove(run)
                self.unlabeled += [] if still and shift == 0 else [run]  # an empty cluster may have moved
        new = torch.where(torch.tensor(straight, device=old.device)[:, None, None], means, further)
        self.centers[runs], self._moves[runs] = new, new - old
        return squared

    def advance_on_device(self, kernels: "KernelLloyd") -> None:
        """Iterate without looking until every run has ended; clusters that became empty are filled here."""
        resting = [0 if run in self.active else 1 for run in range(len(self.n_iter))]
        n_iter, status = (
            torch.tensor(v, dtype=torch.int32, device=self.centers.device) for v in (self.n_iter, resting)
        )
        limits = torch.tensor(self._limits, dtype=torch.float64, device=self.centers.device)
        endings = kernels.iterate(
            self.centers,
            self._moves,
            n_iter,
            status,
            limits,
            max_iter=int(self._max_iter),  # Triton takes no NumPy integers
            relaxation=self._relaxation,
            momentum=self._momentum,
        )
        self.n_iter = n_iter.tolist()
        empty = [run for run in self.active if endings[run] == RunStatus.EMPTY]
        for run in set(self.active).difference(empty):
            self.active.remove(run)
            self.converged[run] = endings[run] != RunStatus.OUT_OF_TIME
            self.unlabeled += [] if endings[run] == RunStatus.STILL else [run]
        if empty:
            self.finish_iteration(empty, *kernels.sums_of(empty), kernels.changed(empty))


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
