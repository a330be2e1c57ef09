"""Emulations of what is done to 8-bit colors: cells, and Lloyd steps."""

from types import SimpleNamespace

import torch
from torch import Tensor

from gpuquant.colors.codes import z_order
from gpuquant.ops.lloyd.colors import snapped
from gpuquant.ops.lloyd.cuda_color_steps import LABELING, Number
from gpuquant.ops.lloyd.moves import move_centers
from gpuquant.ops.lloyd.run_status import RunStatus
from played.emulations import Grid, emulates, nearest_of


@emulates("sum_cells_kernel")
def sum_cells(grid: Grid, a: SimpleNamespace) -> None:
    assert (grid[0] - 1) * a.TILE < a.n_colors <= grid[0] * a.TILE
    assert len(a.sums) == 5 << 3 * a.bits
    levels, counts = a.colors.long(), a.counts
    cells = z_order(a.colors).long() >> 3 * (8 - a.bits)
    squares = levels.square().sum(dim=1)
    sums = torch.stack([counts, *(counts * level for level in levels.T), counts * squares], dim=1)
    a.sums.view(-1, 5).index_add_(0, cells, sums)


def _cells(a: SimpleNamespace, level: int) -> Tensor:  # [n, 5]
    bits = a.packed >> 4 * level & 15
    sums: Tensor = a.sums.view(1 << 3 * bits, -1, 5).sum(dim=1)
    return sums


def _means(sums: Tensor) -> Tensor:  # [n, 5] of cells that are not empty -> [n, 3]
    return (2 * sums[:, 1:4] + sums[:, :1]) // (2 * sums[:, :1])


@emulates("measure_cells_kernel")
def measure_cells(grid: Grid, a: SimpleNamespace) -> None:
    assert len(a.occupied) >= grid[0] * grid[1]
    numbers = a.numbers.view(grid[1] + 1, 7)
    for level in range(grid[1]):
        every = _cells(a, level)
        a.occupied[level * grid[0]] = int((every[:, 0] > 0).sum())
        sums = every[every[:, 0] > 0]
        totals, means = sums[:, :1], _means(sums)
        error = sums[:, 4].sum() - (means * (2 * sums[:, 1:4] - means * totals)).sum()
        shifted = means - 128
        moments = [*(totals * shifted).sum(dim=0), (totals * shifted.square()).sum()]
        numbers[level] = torch.stack([torch.tensor(len(sums)), error, totals.sum(), *moments])
    linear, total = sums_of_all(a)
    squares = a.sums.view(-1, 5)[:, 4].sum() - 256 * linear.sum() + 3 * 128**2 * total
    numbers[-1] = torch.stack([total * 0, total * 0, total, *(linear - 128 * total), squares])


def sums_of_all(a: SimpleNamespace) -> tuple[Tensor, Tensor]:  # [3], []
    every = a.sums.view(-1, 5).sum(dim=0)
    return every[1:4], every[0]


@emulates("list_cells_kernel")
def list_cells(grid: Grid, a: SimpleNamespace) -> None:
    assert len(a.counts) == len(a.colors) == grid[1] * a.n_places
    for level in range(grid[1]):
        every = _cells(a, level)
        sums = every[every[:, 0] > 0]
        place = slice(level * a.n_places, level * a.n_places + len(sums))
        a.colors[place], a.counts[place] = _means(sums).to(torch.uint8), sums[:, 0]


@emulates("color_step_kernel")
def color_step(grid: Grid, a: SimpleNamespace) -> None:
    assert a.n_steps == 1 or grid[0] == 1
    width = -(-a.n_clusters // a.NEAR) * a.NEAR
    assert len(a.own) == grid[1] * (grid[0] * 3 * width + 4 * a.n_clusters + 2)
    assert not a.own[grid[1] * grid[0] * 3 * width :].any()
    a.n_made = 0
    for run in range(grid[1]):
        row, n = a.state[run], a.n_clusters
        for _ in range(a.n_steps):
            stand = int(row[Number.STAND - len(Number)])
            if stand != RunStatus.GOING and stand < LABELING:
                break
            a.n_made += 1
            problem = run // a.n_runs
            centers, moves, totals = row[: 3 * n].view(n, 3), row[3 * n : 6 * n].view(n, 3), row[6 * n : 10 * n]
            nearest = nearest_of(a.colors[problem].double() - 128, centers)
            weights = a.weights[problem]
            row[Number.CHANGED - len(Number)] = int(((nearest != a.labels[run]) & (weights > 0)).sum())
            a.labels[run] = nearest.to(torch.int16)
            values = torch.cat([a.colors[problem].double() - 128, torch.ones(a.n_colors, 1)], dim=1)
            totals.view(n, 4).zero_().index_add_(0, nearest, values * weights[:, None])
            _end_step(row, stand, centers, moves, totals.view(n, 4), a.max_iter)


def _end_step(row: Tensor, stand: int, centers: Tensor, moves: Tensor, totals: Tensor, max_iter: int) -> None:
    numbers = row[-len(Number) :]
    if stand >= LABELING:
        numbers[Number.STAND] = stand - LABELING
        return
    if bool((totals[:, 3] <= 0).any()):
        numbers[Number.STAND] = RunStatus.EMPTY
        return
    limit, iteration = float(numbers[Number.LIMIT]), int(numbers[Number.ITERATION]) + 1
    pace = float(numbers[Number.RELAXATION]), float(numbers[Number.MOMENTUM])
    progress = totals[None, :, :3], totals[None, :, 3], [int(numbers[Number.CHANGED])], [limit], [iteration >= max_iter]
    new, (ending,) = move_centers(snapped, centers[None].clone(), moves[None].clone(), *progress, *pace)
    moves.copy_(new[0] - centers)
    centers.copy_(new[0])
    numbers[Number.ITERATION] = iteration
    numbers[Number.STAND] = ending + (LABELING if ending in (RunStatus.CLOSE, RunStatus.OUT_OF_TIME) else 0)
