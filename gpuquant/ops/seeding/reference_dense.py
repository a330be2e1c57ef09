"""Greedy k-means++ over floating-point points, in plain torch on any device."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ROW = 1 << 15  # numbers that are added up one after the other


def choose_points(
    points: Tensor,  # [N, D] float32 or float64
    weights: Tensor,  # [N] float64
    uniforms: Floats,  # [n_runs, 1 + L (K - 1)] in [0, 1)
    n_candidates: int,  # L
    n_clusters: int,  # K
    least: float = 0.0,  # a run adds no more centers once its potential is below it
) -> tuple[Integers, list[float]]:  # [n_runs, K], or as many as the shortest run has; [n_runs]
    """Choose the points that become centers, run by run; and the potentials that the runs reach."""
    columns = [column.double() for column in points.unbind(dim=1)]
    chosen: list[list[int]] = []
    potentials: list[float] = []

    def lowered(index: int, closest: Tensor) -> Tensor:  # [N]
        distances = torch.zeros_like(weights)
        for column in columns:
            distances += (column - column[index]).square_()
        return torch.minimum(distances, closest)

    for row in uniforms:
        # as scikit-learn: the first draw searches to the right, the others to the left
        centers = _drawn(weights, row[:1], right=True)
        closest = lowered(centers[0], torch.full_like(weights, torch.inf))
        potential = _total(closest * weights)
        for step in range(n_clusters - 1):
            if potential < least:
                break
            first = 1 + step * n_candidates
            drawn = _drawn(weights * closest, row[first : first + n_candidates])
            reached = [_total(lowered(index, closest) * weights) for index in drawn]
            potential = min(reached)
            centers.append(drawn[reached.index(potential)])  # the first one on a tie
            closest = lowered(centers[-1], closest)
        chosen.append(centers)
        potentials.append(potential)
    n_centers = min(len(centers) for centers in chosen)
    return np.array([centers[:n_centers] for centers in chosen]), potentials


def running_sums(values: Tensor) -> Tensor:  # [N] -> [N]
    """Add up row by row, then over the rows: on a CUDA device the sums of a single row differ from time to time."""
    rows = torch.nn.functional.pad(values, (0, -len(values) % ROW)).view(-1, ROW)
    rows = torch.cat([rows, rows[:1]]).cumsum(dim=1)[:-1]  # two rows at least
    ends = rows[:, -1].cpu().cumsum(dim=0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return (rows + starts.to(rows.device)[:, None]).view(-1)[: len(values)]


def _total(values: Tensor) -> float:
    return float(running_sums(values)[-1])


def _drawn(shares: Tensor, uniforms: Floats, *, right: bool = False) -> list[int]:  # [N], [L] -> [L]
    running = running_sums(shares)
    targets = torch.from_numpy(uniforms).to(running.device) * running[-1]
    found: list[int] = torch.searchsorted(running, targets, right=right).clamp_(max=len(running) - 1).tolist()
    return found
