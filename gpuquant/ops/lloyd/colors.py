"""Exact, pruned Lloyd iterations on distinct 8-bit colors with counts, in plain torch on any device.

Two properties of the data carry everything here.

*Exactness.* Levels are integers and centers are kept on a grid of 2^-10 levels, so every score, distance and sum is
an integer multiple of a power of two that fits the 53 bits of a float64: no operation rounds. Results therefore do
not depend on the order of summation, the shape of a matrix product, the number of threads or the device.

*Locality.* Colors in Z-order fill small boxes, block by block, and few centers can be nearest in a box
(`candidate_lists`). The lists allow every center some slack, and stay valid until one has moved by more than that.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpuquant.ops import kernel_choice
from gpuquant.ops.lloyd.candidate_lists import CENTER_BITS, CandidateLists, positions
from gpuquant.ops.points.color_blocks import BLOCK, ORIGIN, ColorBlocks

if TYPE_CHECKING:
    from gpuquant.ops.lloyd.cuda_runs import KernelLloyd

SCORES_AT_ONCE = 1 << 19  # 4 MiB of float64, in each of three arrays of scratch
ALL_PAIRS = 1 << 13  # so few pairs of block and center are all scored: choosing among them would cost more
EVERYWHERE = 1e4  # a slack that keeps every center in every list

_GRID = float(1 << CENTER_BITS)


class ColorLloyd:
    """Lloyd iterations on all problems of a batch: keeps labels, sums and candidate lists between steps.

    There are P = B x n_runs runs: run r works on problem r // n_runs.
    """

    def __init__(self, blocks: ColorBlocks, n_clusters: int, n_runs: int = 1) -> None:
        self.blocks = blocks
        self.n_clusters = n_clusters
        self.n_runs = n_runs
        device = blocks.weights.device
        n_all = blocks.n_problems * n_runs
        self.labels = torch.full((n_all, blocks.n_blocks, BLOCK), -1, dtype=torch.int16, device=device)
        self.kernels = self._kernel_lloyd()
        if self.kernels:
            self._totals = self.kernels.totals.permute(2, 0, 1)
            return
        self._totals = torch.zeros(4, n_all, n_clusters, dtype=torch.float64, device=device)
        self._centers = torch.full((n_all, n_clusters, 3), torch.nan, dtype=torch.float64, device=device)  # shifted
        self._labeled = False
        at_once = min(SCORES_AT_ONCE, 64 * blocks.chunk_size) if blocks.chunk_size else SCORES_AT_ONCE
        self._lists = CandidateLists(blocks, n_clusters, n_runs, at_once)

    def step(
        self,
        centers: Tensor,  # [A, K, 3] float64, entered
        active: list[int],  # [A]: the runs that take part, ascending
    ) -> tuple[
        Tensor, Tensor, list[int]
    ]:  # sums [A, K, 3] float64, weights [A, K] float64, how many labels changed [A]
        """Label every color with its nearest center and sum up the clusters; all runs take part in the first step."""
        if self.kernels:
            return self.kernels.step(centers, active)
        if not self._lists.hold_for(active, centers):
            self._lists.make(active, centers, self._slack(centers, active))
        self._centers[active] = centers
        n_changed = self._update(self._lists.nearest(centers), active)
        return self._totals[:3, active].permute(1, 2, 0), self._totals[3, active], n_changed

    def _kernel_lloyd(self) -> "KernelLloyd | None":
        kernels, blocks = kernel_choice.kernels_for(self.labels), self.blocks
        if not kernels:
            return None
        found: KernelLloyd = kernels.KernelLloyd(
            *blocks.for_kernels(),
            self.labels.view(len(self.labels), -1),
            self.n_clusters,
            single=False,
            snap="grid",
            group=BLOCK,
        )
        return found

    def _slack(self, centers: Tensor, active: list[int]) -> Tensor:  # [A, K] float64, in levels
        """Choose how far the centers may move before new lists: about as far as in four steps like the last one."""
        if self.blocks.n_blocks * self.n_clusters <= ALL_PAIRS:
            return torch.full_like(centers[:, :, 0], EVERYWHERE)
        if not self._lists.kept:
            return torch.zeros_like(centers[:, :, 0])
        moved = (centers - self._centers[active]).square().sum(dim=2).sqrt()
        return (4 * moved + 0.4).nan_to_num(nan=2.0)

    def enter(self, centers: Tensor) -> Tensor:
        """Centers [P, K, 3] (levels) in the coordinates of a run: float64, shifted by ORIGIN, on the grid."""
        return self.snap(centers.double() - ORIGIN)

    def leave(self, centers: Tensor) -> Tensor:
        """Centers [P, K, 3] in levels."""
        return centers + ORIGIN

    def snap(self, centers: Tensor) -> Tensor:
        """Entered centers [..., K, 3] in the color cube, on the grid on which every operation is exact."""
        return (centers.clamp(-ORIGIN, 255 - ORIGIN) * _GRID).round() / _GRID

    @property
    def variance(self) -> Tensor:  # [P]
        """The variance of the pixels' levels, averaged over the three channels."""
        return self.blocks.variance.repeat_interleave(self.n_runs)

    def labels_of_points(self) -> Tensor:  # [P, M] int32, in the order in which the colors were given
        return self.blocks.caller_order(self.labels).to(torch.int32)

    def inertia(
        self,
        centers: Tensor,  # [P, K, 3] float64, entered
    ) -> list[float]:  # [P]
        """Sum of weight times squared distance to the labeled center."""
        weights, sums = self._totals[3], self._totals[:3].permute(1, 2, 0)
        nearby = centers.round()  # integers, for which the large part of the sum is exact
        exact = (nearby * (2 * sums - weights[:, :, None] * nearby)).sum(dim=(1, 2))
        exact = self.blocks.square_sum.repeat_interleave(self.n_runs) - exact
        step = centers - nearby
        rest = step * (weights[:, :, None] * (step + 2 * nearby) - 2 * sums)
        parts = torch.cat([exact[:, None], rest.flatten(1)], dim=1).tolist()
        return [max(0.0, math.fsum(numbers)) for numbers in parts]

    def farthest(
        self,
        run: int,
        n_points: int,
        centers: Tensor,  # [K, 3] float64, entered: those of the run's last step
    ) -> tuple[Tensor, Tensor, Tensor]:  # points [n, 3] float64, weights [n] float64, labels [n] int64
        """The colors of positive weight that are farthest from their center, farthest first."""
        problem = run // self.n_runs
        points, weights, labels = self.blocks.points[problem], self.blocks.weights[problem], self.labels[run].long()
        distances = torch.zeros(labels.shape, dtype=torch.float64, device=centers.device)
        for axis in range(3):
            distances += (points[:, axis] - centers[:, axis][labels]).square_()
        distances = distances.masked_fill_(weights == 0, 0).view(-1)
        index = distances.argsort(descending=True, stable=True)[:n_points]
        index = index[distances[index] > 0]
        colors = self.blocks.colors_at(problem, index).double()
        return colors, weights.view(-1)[index], labels.view(-1)[index]

    def _update(
        self,
        labels: Tensor,  # [A, n_blocks, BLOCK] int16
        active: list[int],
    ) -> list[int]:  # how many changed in each run
        """Take over new labels: colors that change clusters leave the sums of one and join those of another."""
        size = self.blocks.n_blocks * BLOCK
        if not self._labeled:
            self._labeled = True
            self.labels = labels
            for run in active:
                self._add_all(run)
            return [self.blocks.n_points] * len(active)
        runs = torch.tensor(active, device=labels.device)
        every = len(active) == len(self.labels)
        before = self.labels if every else self.labels[runs]
        changed = positions(labels != before)
        place = changed // size
        first_clusters = (runs * self.n_clusters).take(place)
        colors = changed + ((runs // self.n_runs - torch.arange(len(active), device=runs.device)) * size).take(place)
        self._add(first_clusters + labels.view(-1).take(changed), colors, sign=1)
        self._add(first_clusters + before.view(-1).take(changed), colors, sign=-1)
        if every:
            self.labels = labels
        else:
            self.labels[runs] = labels
        is_point = self.blocks.weights.view(-1).take(colors) > 0
        counted: list[int] = torch.bincount(place[is_point], minlength=len(active)).tolist()
        return counted

    def _add_all(self, run: int) -> None:
        problem = run // self.n_runs
        clusters, weights = self.labels[run].view(-1).to(torch.int32), self.blocks.weights[problem]
        self._totals[3, run].index_add_(0, clusters, weights.view(-1))
        for axis in range(3):
            weighted = self.blocks.points[problem, :, axis] * weights
            self._totals[axis, run].index_add_(0, clusters, weighted.view(-1))

    def _add(
        self,
        clusters: Tensor,  # [n] int64, among the clusters of all runs
        colors: Tensor,  # [n] int64, among the colors of all problems
        sign: int,
    ) -> None:
        weights = self.blocks.weights.view(-1).take(colors)
        totals = self._totals.view(4, -1)
        totals[3].index_add_(0, clusters, weights, alpha=sign)
        position = colors + 2 * (colors & -BLOCK)  # of the red level: a block holds 3 BLOCK numbers
        for axis in range(3):
            levels = self.blocks.points.view(-1).take(position + axis * BLOCK)
            totals[axis].index_add_(0, clusters, levels * weights, alpha=sign)
