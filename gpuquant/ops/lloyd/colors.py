"""Exact Lloyd iterations on distinct colors with counts: what all implementations share.

Levels are integers, or multiples of 1/256 in up to four columns, and centers are kept on a grid of 2^-10 levels, so
every score, distance and sum is an integer multiple of a power of two that fits the 53 bits of a float64, for up to
MAX_EXACT pixels: no operation rounds. Results therefore do not depend on the order of summation, the number of threads
or the device. (The sum of all squares may round where levels are no integers: it is added up in one order.)

A score |c|^2 - 2 x.c carries the index of its center in its low bits, so one minimum gives both, and the lowest index
wins among equal scores. That fits the 53 bits, too.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.lloyd.moves import AS_LONG_AS_NEEDED
from gpuquant.ops.points.colors import ORIGIN, ColorPoints, shifted

CENTER_BITS = 10  # centers are multiples of 2^-10 levels: scores have 20 bits after the point, and 18 before it
INDEX_BITS = 12  # of a center in its score, beside these 38 of the 53 of a float64
MAX_CLUSTERS = 1 << INDEX_BITS
MAX_EXACT = 1 << 37  # pixels in all: squares of levels up to 2^14 each, times that, are below 2^53; 137 gigapixels
MAX_EXACT_STEPS = 1 << 30  # of colors in steps: their squares, 2^32 at most, times that, are below 2^63

GRID = float(1 << CENTER_BITS)
SCALE = float(1 << (2 * CENTER_BITS + INDEX_BITS))


class ColorLloyd(ABC):
    """Lloyd iterations on all problems of a batch; labels and sums are kept between steps.

    There are P = B x n_runs runs: run r works on problem r // n_runs. Centers are those of `enter`.
    """

    as_scikit_learn = False
    labeled: frozenset[int] = frozenset()  # runs that ended by moving and were labeled since

    def __init__(self, points: ColorPoints, n_clusters: int, n_runs: int = 1) -> None:
        self.points, self.n_clusters, self.n_runs = points, n_clusters, n_runs
        self.n_all = points.n_problems * n_runs

    @property
    def home(self) -> torch.device:
        """Where centers and sums are worked on."""
        return self.points.weights.device

    @property
    @abstractmethod
    def labels(self) -> Tensor:  # [P, M] int16, colors in Z-order
        """The nearest center of each color at the last step of its run."""

    @property
    @abstractmethod
    def totals(self) -> Tensor:  # [P, K, D + 1] float64
        """The weighted sums of shifted levels, and of weights, of each cluster."""

    @abstractmethod
    def step(
        self,
        centers: Tensor,  # [A, K, D] float64
        active: list[int],  # [A]: the runs that take part, ascending
    ) -> tuple[Tensor, Tensor, list[int]]:  # sums [A, K, D] float64, weights [A, K] float64, labels that changed [A]
        """Label every color with its nearest center (the lowest of equal scores) and sum up the clusters."""

    @abstractmethod
    def iterate(
        self,
        centers: Tensor,  # [P, K, D] float64, contiguous: moved in place
        moves: Tensor,  # [P, K, D] float64, contiguous: the last moves of the centers
        n_iter: Tensor,  # [P] int32
        status: Tensor,  # [P] int32: runs whose `RunStatus` is not GOING rest
        limits: Tensor,  # [P] float64: of the squared shifts of all centers
        *,
        max_iter: int,
        relaxation: float,
        momentum: float,
        n_steps: int = AS_LONG_AS_NEEDED,
    ) -> list[int]:  # the `RunStatus` of each run
        """Iterate until every run has ended, needs the host to fill an empty cluster, or made so many steps."""

    @abstractmethod
    def changed(self, runs: list[int]) -> list[int]:
        """Count the labels of colors with a positive weight that the last step of some runs changed."""

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:  # [A, K, D], [A, K]
        """The sums and the weights of the clusters after the last step of some runs."""
        totals = self.totals[runs]
        return totals[:, :, :-1], totals[:, :, -1]

    def enter(self, centers: Tensor) -> Tensor:
        """Centers [P, K, D] (levels) in the coordinates of a run: float64, shifted by ORIGIN, on the grid."""
        return self.snap(centers.double() - ORIGIN)

    def leave(self, centers: Tensor) -> Tensor:
        """Centers [P, K, D] in levels."""
        return centers + ORIGIN

    def snap(self, centers: Tensor) -> Tensor:
        """Entered centers [..., K, D] in the color cube, on the grid on which every operation is exact."""
        return snapped(centers)

    @property
    def variance(self) -> Tensor:  # [P], on the CPU
        """The variance of the pixels' levels, averaged over the columns."""
        found = [variance for variance in self.points.variance for _ in range(self.n_runs)]
        return torch.tensor(found, dtype=torch.float64)

    def labels_of_points(self) -> Tensor:  # [P, M] int32, in the order in which the colors were given
        return self.points.caller_order(self.labels).to(torch.int32)

    def labels_of_run(self, run: int) -> Tensor:  # [M] int32, in the order in which the colors were given
        """The labels of one run, in memory of their own."""
        return self.points.caller_order(self.labels[run], run // self.n_runs).to(torch.int32)

    def inertia(
        self,
        centers: Tensor,  # [P, K, D] float64
    ) -> list[float]:  # [P]
        """Sum of weight times squared distance to the labeled center."""
        sums, weights = self.totals[:, :, :-1], self.totals[:, :, -1:]
        nearby = centers.round()  # integers, for which the large part of the sum is exact
        exact = (nearby * (2 * sums - weights * nearby)).sum(dim=(1, 2))
        exact = self.points.square_sum.repeat_interleave(self.n_runs) - exact
        step = centers - nearby
        rest = step * (weights * (step + 2 * nearby) - 2 * sums)
        parts = torch.cat([exact[:, None], rest.flatten(1)], dim=1).tolist()
        return [max(0.0, math.fsum(numbers)) for numbers in parts]

    def error_of_levels(
        self,
        run: int,
        levels: npt.NDArray[np.float64],  # [K, D], whole numbers
    ) -> float:
        """Sum of weight times squared distance to the entry of the label that the last step of a run gave."""
        sums, weights = (part[0].cpu().numpy() for part in self.sums_of([run]))
        own = levels - ORIGIN
        inside = float((own * (2 * sums - weights[:, None] * own)).sum())
        return float(self.points.square_sum[run // self.n_runs]) - inside

    def farthest(
        self,
        run: int,
        n_points: int,
        centers: Tensor,  # [K, D] float64: those of the run's last step
    ) -> tuple[Tensor, Tensor, Tensor]:  # points [n, D] float64, shifted, weights [n] float64, labels [n] int64
        """The colors of positive weight that are farthest from their center, farthest first, ties in Z-order."""
        problem = run // self.n_runs
        colors, weights, labels = self.points.colors[problem], self.points.weights[problem], self.labels[run].long()
        distances = torch.zeros_like(weights)
        for column, levels in zip(colors.unbind(dim=1), centers.unbind(dim=1), strict=True):
            distances += (shifted(column) - levels.take(labels)).square_()
        distances.masked_fill_(weights == 0, 0)
        least = distances.topk(min(n_points, len(distances))).values[-1]
        index = ((distances >= least) & (distances > 0)).nonzero().view(-1)
        index = index[distances[index].argsort(descending=True, stable=True)[:n_points]]
        return shifted(colors[index]), weights[index], labels[index]


def snapped(centers: Tensor) -> Tensor:  # [..., D]
    return (centers.clamp(-ORIGIN, 255 - ORIGIN) * GRID).round() / GRID


def score_factors(centers: Tensor) -> Tensor:  # [K, D] float64 -> [D + 1, K]
    """The scores |c|^2 - 2 x.c, scaled and with the index of c in their low bits, as factors of x and of 1."""
    index = torch.arange(len(centers), dtype=torch.float64, device=centers.device)
    offsets = centers.square().sum(dim=1) * SCALE + index
    return torch.cat([centers.t() * (-2 * SCALE), offsets[None]])
