"""k-means operations on any floating-point points [N, D], chunk by chunk, in plain torch on any device.

On the CPU the bits depend neither on the size of a chunk nor on the number of threads: matrix products run on whole
tiles of `TILE` rows (the last one is padded), and every sum adds its rows one after the other.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

TILE = 256
SCORES_AT_ONCE = 1 << 18  # 2 MiB of float64: the scores of a chunk stay in the L2 cache


class DensePoints:
    """Points and weights of one problem; neither is copied."""

    def __init__(
        self,
        points: Tensor,  # [N, D] float32 or float64
        weights: Tensor,  # [N] float64
        chunk_size: int | None,
    ) -> None:
        self.points, self.weights = points, weights
        self._scores_at_once = min(SCORES_AT_ONCE, 64 * chunk_size) if chunk_size else SCORES_AT_ONCE
        totals = self.zeros(1 + points.shape[1])
        squares = self.zeros(points.shape[1])
        for rows in self.chunks(1):
            add_rows(
                totals, None, torch.cat([points[rows].double(), torch.ones_like(weights[rows, None])], 1), weights[rows]
            )
        self.total_weight = float(totals[-1, 0])
        self.mean = totals[:-1, 0] / totals[-1, 0]  # [D] float64
        for rows in self.chunks(1):
            add_rows(squares, None, (points[rows].double() - self.mean).square_(), weights[rows])
        self.variance = float((squares[:, 0] / totals[-1, 0]).mean())
        self.origin = self.mean.to(points.dtype)  # scores of centred points lose fewer bits

    def zeros(self, n_sums: int, n_bins: int = 1) -> Tensor:
        return torch.zeros(n_sums, n_bins, dtype=torch.float64, device=self.points.device)

    def chunks(
        self,
        width: int,  # how many numbers an operation needs per point
    ) -> Iterator[slice]:
        """Runs of rows, so many that rows x width stays bounded."""
        n_rows = max(1, self._scores_at_once // (max(width, self.points.shape[1]) * TILE)) * TILE
        for start in range(0, len(self.points), n_rows):
            yield slice(start, min(start + n_rows, len(self.points)))

    def products(
        self,
        rows: slice,
        centers: Tensor,  # [K, D], centred, of the points' dtype
    ) -> Tensor:  # [rows, K]
        """Inner products of centred points and centers, computed on whole tiles."""
        points = self.points[rows] - self.origin
        n_points = len(points)
        if n_points % TILE:
            points = torch.nn.functional.pad(points, (0, 0, 0, TILE - n_points % TILE))
        return (points @ centers.t())[:n_points]


class DenseLloyd:
    """Lloyd iterations over one set of points."""

    def __init__(self, points: DensePoints, n_clusters: int) -> None:
        self._points = points
        self._n_clusters = n_clusters
        self._labels = torch.full_like(points.weights, -1, dtype=torch.int32)

    @property
    def variance(self) -> float:
        """The weighted variance of the points, averaged over the columns."""
        return self._points.variance

    def snap(self, centers: Tensor) -> Tensor:
        """Centers as float64 [K, D] that the points' dtype can hold."""
        return centers.to(self._points.points.dtype).double()

    def step(
        self,
        centers: Tensor,  # [K, D] float64, snapped
    ) -> tuple[Tensor, Tensor, int]:  # sums [K, D] float64, weights [K] float64, how many labels changed
        """Label every point with its nearest center and sum up the clusters; the lowest wins among equal scores."""
        problem = self._points
        n_columns = centers.shape[1]
        totals = problem.zeros(n_columns + 1, self._n_clusters)
        centred = (centers - problem.origin).to(problem.points.dtype)
        squares = centred.square().sum(dim=1)
        n_changed = 0
        for rows in problem.chunks(self._n_clusters):
            scores = problem.products(rows, centred).mul_(-2).add_(squares)
            labels = scores.min(dim=1).indices.to(torch.int32)
            n_changed += int((labels != self._labels[rows]).sum())
            self._labels[rows] = labels
            points = problem.points[rows].double() - problem.origin
            add_rows(totals, labels, torch.cat([points, torch.ones_like(points[:, :1])], dim=1), problem.weights[rows])
        weights = totals[n_columns]
        return totals[:n_columns].t() + weights[:, None] * problem.origin, weights, n_changed

    def labels_of_points(self) -> Tensor:  # [N] int32
        return self._labels

    def inertia(self, centers: Tensor) -> float:
        """Sum of weight times squared distance to the labelled center."""
        total = self._points.zeros(1)
        for rows in self._points.chunks(1):
            add_rows(total, None, self._squared_distances(rows, centers)[:, None], self._points.weights[rows])
        return float(total)

    def farthest(
        self,
        n_points: int,
        centers: Tensor,  # [K, D] float64, those of the last step
    ) -> tuple[Tensor, Tensor, Tensor]:  # points [n, D] float64, weights [n] float64, labels [n] int64
        """The points of positive weight that are farthest from their center, farthest first."""
        distances = torch.cat([self._squared_distances(rows, centers) for rows in self._points.chunks(1)])
        distances.masked_fill_(self._points.weights == 0, 0)
        index = distances.argsort(descending=True, stable=True)[:n_points]
        index = index[distances[index] > 0]
        return self._points.points[index].double(), self._points.weights[index], self._labels[index].long()

    def _squared_distances(self, rows: slice, centers: Tensor) -> Tensor:  # [rows] float64
        return (self._points.points[rows].double() - centers[self._labels[rows]]).square_().sum(dim=1)


class DenseSeeding:
    """The state of k-means++: for every point the squared distance to the closest center chosen so far."""

    def __init__(self, points: DensePoints) -> None:
        self._points = points
        self._closest: Tensor | None = None  # [N] float64
        self._cumulative = points.weights.cumsum(0)

    def draw(
        self,
        uniforms: npt.NDArray[np.float64],  # [L] in [0, 1)
    ) -> Tensor:  # [L] int64
        """Draw points with probability proportional to their weight times their closest squared distance."""
        right = self._closest is None  # as scikit-learn: the first draw searches to the right, the others to the left
        targets = torch.from_numpy(uniforms).to(self._cumulative.device) * self._cumulative[-1]
        return torch.searchsorted(self._cumulative, targets, right=right).clamp_(max=len(self._cumulative) - 1)

    def add_best(
        self,
        candidates: Tensor,  # [L] int64
    ) -> npt.NDArray[np.float64]:  # [D]: the point that was added
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers."""
        best = candidates[:1]
        if len(candidates) > 1:
            potentials = self._points.zeros(len(candidates))
            for rows in self._points.chunks(len(candidates)):
                add_rows(potentials, None, self._lowered(rows, candidates), self._points.weights[rows])
            best = candidates[potentials[:, 0].argmin()][None]
        closest = [self._lowered(rows, best)[:, 0] for rows in self._points.chunks(1)]
        self._closest = torch.cat(closest)
        self._cumulative = (self._closest * self._points.weights).cumsum(0)
        return self._points.points[best[0]].double().cpu().numpy()

    def potential(self) -> float:
        """Sum of weight times closest squared distance."""
        return float(self._cumulative[-1])

    def _lowered(self, rows: slice, candidates: Tensor) -> Tensor:  # [rows, L] float64
        problem = self._points
        centers = problem.points[candidates] - problem.origin
        points = problem.points[rows] - problem.origin
        distances = problem.products(rows, centers).mul_(-2).add_(centers.square().sum(dim=1))
        distances = distances.add_(points.square_().sum(dim=1, keepdim=True)).clamp_(min=0).double()
        return distances if self._closest is None else distances.minimum(self._closest[rows, None])


def add_rows(
    totals: Tensor,  # [S, n_bins] float64, added to in place
    labels: Tensor | None,  # [n] int32, the bin of each row; None is bin 0
    values: Tensor,  # [n, S] float64
    weights: Tensor,  # [n] float64
) -> None:
    """Add weighted rows to their bins, one row after the other, so that the order of addition is the rows' own."""
    if labels is None:
        labels = torch.zeros(len(values), dtype=torch.int32, device=values.device)
    values = values.masked_fill((weights == 0)[:, None], 0)  # a padding row may hold anything
    for total, column in zip(totals, values.unbind(dim=1), strict=True):
        total.index_add_(0, labels, column * weights)
