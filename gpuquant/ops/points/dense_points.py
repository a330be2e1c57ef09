"""Floating-point points with weights, and sums over them that depend neither on threads nor on company."""

from collections.abc import Callable
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from gpuquant.threads import one_blas_thread, share_out, worker_threads

SUMMED = 1 << 14  # points whose moments are added up together
NUMBERS_SUMMED_ON_CUDA = 1 << 24  # 128 MiB of float64, which they are copied to
NUMBERS_AT_ONCE = 1 << 22  # 32 MiB of float64, in operations point by point


class DensePoints:
    """Points and weights of B problems; neither is copied."""

    def __init__(
        self,
        points: Tensor,  # [B, N, D] float32 or float64
        weights: Tensor,  # [B, N] float64
        chunk_size: int | None,  # bounds the scores that plain torch makes at once to 64 numbers for each unit
        origin: Tensor | None = None,  # [B, D]: what is subtracted from points; their mean if not given
    ) -> None:
        self.points, self.weights, self.chunk_size = points, weights, chunk_size
        self.n_problems, self.n_points, self.n_columns = points.shape
        # scores of centered points lose fewer bits
        self.origin = self.mean.to(points.dtype) if origin is None else origin

    @property
    def total_weight(self) -> Tensor:  # [B] float64
        if self.weights.is_cpu:  # torch's sum depends on its number of threads
            return torch.from_numpy(self.weights.numpy().sum(axis=1))
        return self.weights.sum(dim=1)

    @cached_property
    def mean(self) -> Tensor:  # [B, D] float64
        """The weighted means of the columns."""
        return self._column_sums(lambda points, _: points) / self.total_weight[:, None]

    @cached_property
    def variance(self) -> Tensor:  # [B] float64
        """The weighted variances of the columns, averaged over them."""
        squares = self._column_sums(lambda points, problem: (points - self.mean[problem]).square_())
        return (squares / self.total_weight[:, None]).mean(dim=1)

    def _column_sums(self, function: Callable[[Tensor, int], Tensor]) -> Tensor:  # [B, D] float64
        """Weighted sums of a function of the points of each problem, chunk by chunk of a size of its own."""
        n_rows = max(1, NUMBERS_SUMMED_ON_CUDA // self.n_columns) if self.points.is_cuda else SUMMED
        starts = range(0, self.n_points, n_rows)
        parts = torch.zeros(
            self.n_problems, len(starts), self.n_columns, dtype=torch.float64, device=self.points.device
        )

        def add(place: tuple[int, int]) -> None:
            problem, chunk = place
            rows = slice(starts[chunk], starts[chunk] + n_rows)
            values = function(self.points[problem, rows].double(), problem)
            weights = self.weights[problem, rows]
            if values.is_cpu:  # NumPy's BLAS, whose threads can be held still
                parts[problem, chunk] = torch.from_numpy(weights.numpy() @ values.numpy())
            else:
                parts[problem, chunk] = (weights[:, None] * values).sum(dim=0)

        places = list(product(range(self.n_problems), range(len(starts))))
        with one_blas_thread():
            share_out(places, add, 1 if self.points.is_cuda else worker_threads())
        # torch's sum depends on the number of threads on the CPU, its running sum on their timing on CUDA
        return parts.sum(dim=1) if parts.is_cuda else parts.cumsum(dim=1)[:, -1]

    def points_at(self, problem: int, index: Tensor) -> Tensor:  # [n] int64 -> [n, D] float64
        """Some points."""
        return self.points[problem, index].double()

    def for_kernels(self) -> tuple[Tensor, Tensor, Tensor]:  # [B, N, D], [B, D] float64, [B, N]
        """The points, what they are relative to, and their weights."""
        return self.points.contiguous(), self.origin.double().contiguous(), self.weights.contiguous()

    def snap(self, centers: Tensor) -> Tensor:  # [..., D]
        """Centers as the points' dtype holds them."""
        return centers.to(self.points.dtype).double()

    def squared_distances(
        self,
        problem: int,
        centers: Tensor,  # [K, D] float64, relative to the origin
        labels: Tensor,  # [N] int32
    ) -> Tensor:  # [N] float64
        """The squared distance of every point of a problem to the center of its label, chunk by chunk."""
        n_rows = max(1, NUMBERS_AT_ONCE // self.n_columns)
        pairs = zip(self.points[problem].split(n_rows), labels.split(n_rows), strict=True)
        origin = self.origin[problem]
        parts = [_row_sums(((some.double() - origin) - centers[own]).square_()) for some, own in pairs]
        return torch.cat(parts)


def _row_sums(values: Tensor) -> Tensor:  # [n, D] -> [n]
    if values.is_cpu:  # rounded as scikit-learn's: of samples equally far the order depends on it
        return torch.from_numpy(values.numpy().sum(axis=1))
    return values.sum(dim=1)
