"""Emulations of Lloyd steps: the sums of the first program are those of all."""

from types import SimpleNamespace

import torch
from torch import Tensor

from gpuquant.ops.lloyd.moves import move_centers
from gpuquant.ops.lloyd.run_status import RunStatus
from played.emulations import Grid, emulates, nearest_of


def points_of(a: SimpleNamespace, problem: int) -> Tensor:  # [n_points, D] float64
    """The points of a problem, relative to its origin."""
    relative: Tensor = a.points[problem].double() - a.origin[problem].double()
    return relative


@emulates("lloyd_step_kernel")
def step(grid: Grid, a: SimpleNamespace) -> None:
    assert a.sums.shape == (len(a.status), grid[0], a.n_clusters, a.D + 1)
    assert a.n_changed.shape == (len(a.status), grid[0])
    for run in _going(grid, a):
        problem = run // a.n_runs
        points, weights, labels = points_of(a, problem), a.weights[problem], a.labels[run]
        kind = torch.float32 if a.SINGLE else torch.float64
        nearest = nearest_of(points.to(kind), a.centers[run].to(kind))
        differ = nearest != labels
        a.n_changed[run] = 0
        a.n_changed[run, 0] = int((differ if a.COUNT_WEIGHTLESS else differ & (weights > 0)).sum())
        labels.copy_(nearest)
        values = torch.cat([points * weights[:, None], weights[:, None]], dim=1)
        if a.SCATTER:
            scales = a.scales[problem, [0] * a.D + [1]]
            values = (values * scales + 0.5).floor().long()
        a.sums[run] = 0
        a.sums[run, 0].index_add_(0, nearest, values)


def _going(grid: Grid, a: SimpleNamespace) -> list[int]:
    assert grid[1] == len(a.runs)
    return [run for run in a.runs.tolist() if a.status[run] == RunStatus.GOING]


@emulates("add_parts_kernel")
def add_parts(grid: Grid, a: SimpleNamespace) -> None:
    for run in _going(grid, a):
        total = a.parts[run].sum(dim=0)
        if a.SCATTER:
            total = total.double() / a.scales[run // a.n_runs, [0] * a.D + [1]]
        a.totals[run] = total


@emulates("move_centers_kernel")
def move(grid: Grid, a: SimpleNamespace) -> None:
    snap = {"single": lambda centers: centers.float().double(), "double": lambda centers: centers}
    for run in range(grid[0]):
        if a.status[run] != RunStatus.GOING:
            continue
        sums, weights = a.totals[run : run + 1, :, :-1], a.totals[run : run + 1, :, -1]
        if bool((weights <= 0).any()):
            a.status[run] = RunStatus.EMPTY.value
            continue
        one = slice(run, run + 1)
        iteration = int(a.n_iter[run]) + 1
        changes, limits, is_last = [int(a.n_changed[run].sum())], a.limits[one].tolist(), [iteration >= a.max_iter]
        progress = sums, weights, changes, limits, is_last
        new, endings = move_centers(snap[a.SNAP], a.centers[one], a.moves[one], *progress, a.RELAXATION, a.MOMENTUM)
        a.moves[one] = new - a.centers[one]
        a.centers[one] = new
        a.n_iter[run] = iteration
        a.status[run] = endings[0].value


@emulates("inertia_kernel")
def inertia(grid: Grid, a: SimpleNamespace) -> None:
    for run in range(grid[1]):
        problem = run // a.n_runs
        apart = points_of(a, problem) - a.centers[run][a.labels[run].long()]
        a.parts[run] = 0
        a.parts[run, 0] = (a.weights[problem] * apart.square().sum(dim=1)).sum()
