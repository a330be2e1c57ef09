"""Lloyd iterations on 8-bit colors in plain torch, on any device: every color looks at every center."""

from typing import Any

import torch
from torch import Tensor

from gpuquant.ops.lloyd.colors import MAX_CLUSTERS, ColorLloyd, score_factors
from gpuquant.ops.lloyd.moves import iterate_by_steps
from gpuquant.ops.points.colors import ORIGIN, ColorPoints
from gpuquant.threads import one_torch_thread

SCORES_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 24}  # of float64: what fits a core's cache; 128 MiB


class ReferenceLloyd(ColorLloyd):
    """Scores of some colors at a time, and the lowest of each."""

    def __init__(self, points: ColorPoints, n_clusters: int, n_runs: int = 1) -> None:
        super().__init__(points, n_clusters, n_runs)
        weights = points.weights
        self._labels = weights.new_full((self.n_all, points.n_points), -1, dtype=torch.int16)
        self._totals = weights.new_zeros(self.n_all, n_clusters, 4)
        self._n_changed = [0] * self.n_all
        scores = SCORES_AT_ONCE.get(weights.device.type, 1 << 24)
        self._at_once = max(1, scores // n_clusters)

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

    def _step(self, run: int, centers: Tensor) -> None:  # [K, 3]
        problem, totals, factors = run // self.n_runs, self._totals[run], score_factors(centers)
        totals.zero_()
        n_changed = totals.new_zeros((), dtype=torch.int64)
        for start in range(0, self.points.n_points, self._at_once):
            part = slice(start, start + self._at_once)
            weights, levels = self.points.weights[problem, part], self.points.colors[problem, part].double() - ORIGIN
            scores = torch.addmm(factors[3], levels, factors[:3])
            labels = scores.amin(dim=1).to(torch.int64) & (MAX_CLUSTERS - 1)
            n_changed += ((labels != self._labels[run, part]) & (weights > 0)).sum()
            self._labels[run, part] = labels
            for axis in range(3):
                totals[:, axis].index_add_(0, labels, levels[:, axis] * weights)
            totals[:, 3].index_add_(0, labels, weights)
        self._n_changed[run] = int(n_changed)

    def iterate(self, *progress: Tensor, **pace: Any) -> list[int]:
        return iterate_by_steps(self, *progress, **pace)
