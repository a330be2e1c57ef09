"""Lloyd iterations on colors in plain torch, on any device: neighbors look at the centers that are near them."""

from typing import Any

import torch
from torch import Tensor

from gpuquant.ops.lloyd.colors import MAX_CLUSTERS, ColorLloyd, score_factors
from gpuquant.ops.lloyd.moves import iterate_by_steps
from gpuquant.ops.lloyd.near_scores import boxes_of, near_scores
from gpuquant.ops.points.colors import ColorPoints, shifted
from gpuquant.threads import one_torch_thread, share_out, spare_threads

SCORES_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 24}  # of float64, were no center too far: measured; 128 MiB
BOXES_AT_ONCE = 32  # whose near centers are looked for together: measured beside 16 and 64


class ReferenceLloyd(ColorLloyd):
    """Scores of some neighbors at a time, and the lowest of each."""

    def __init__(self, points: ColorPoints, n_clusters: int, n_runs: int = 1) -> None:
        super().__init__(points, n_clusters, n_runs)
        weights = points.weights
        self._labels = weights.new_full((self.n_all, points.n_points), -1, dtype=torch.int16)
        self._totals = weights.new_zeros(self.n_all, n_clusters, points.n_columns + 1)
        self._n_changed = [0] * self.n_all
        self._size = max(1, SCORES_AT_ONCE.get(weights.device.type, 1 << 24) // n_clusters)
        self._boxes = boxes_of(shifted(points.colors).mT, self._size)  # [2, B, D, n]

    @property
    def labels(self) -> Tensor:
        return self._labels

    @property
    def totals(self) -> Tensor:
        return self._totals

    def changed(self, runs: list[int]) -> list[int]:
        return [self._n_changed[run] for run in runs]

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        with one_torch_thread():
            for run, own in zip(active, centers, strict=True):
                self._step(run, own)
        return *self.sums_of(active), self.changed(active)

    def _step(self, run: int, centers: Tensor) -> None:  # [K, D]
        problem, factors, n_workers = run // self.n_runs, score_factors(centers).T.contiguous(), spare_threads()
        colors, weights, boxes = self.points.colors[problem], self.points.weights[problem], self._boxes[:, problem]
        labels, totals = (
            torch.empty_like(self._labels[run]),
            weights.new_zeros(n_workers, factors.shape[1], self.n_clusters),
        )

        def work(worker: int) -> None:
            for first in range(worker * BOXES_AT_ONCE, boxes.shape[2], n_workers * BOXES_AT_ONCE):
                some = slice(first * self._size, (first + BOXES_AT_ONCE) * self._size)
                columns = weights.new_ones(factors.shape[1], len(weights[some]))
                columns[:-1] = shifted(colors[some]).T
                own = boxes[:, :, first : first + BOXES_AT_ONCE]
                scores = near_scores(columns, own, self._size, centers, factors)
                nearest = torch.cat([part.amin(dim=0) for part in scores]).long() & (MAX_CLUSTERS - 1)
                labels[some] = nearest
                for total, column in zip(totals[worker], columns * weights[some], strict=True):
                    total.index_add_(0, nearest, column)

        share_out(range(n_workers), work, n_workers)
        self._n_changed[run] = int(((labels != self._labels[run]) & (weights > 0)).sum())
        self._labels[run], self._totals[run] = labels, totals.sum(dim=0).T

    def iterate(self, *progress: Tensor, **pace: Any) -> list[int]:
        return iterate_by_steps(self, *progress, **pace)
