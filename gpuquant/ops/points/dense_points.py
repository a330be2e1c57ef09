"""Floating-point points with weights, and the sums over them, chunk by chunk, in plain torch on any device.

On the CPU the bits depend neither on the size of a chunk, nor on the number of threads, nor on the company in a batch:
matrix products run problem by problem on whole tiles of `TILE` rows (the last one is padded), and every sum adds its
rows one after the other.
"""

import os
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import product

import numpy as np
import torch
from torch import Tensor

from gpuquant.tensors import repeatable_sums
from gpuquant.threads import one_blas_thread, share_out, worker_threads

TILE = 256  # rows of every product, so that its bits do not depend on the number of points (see above)
SUMMED = 1 << 14  # points whose moments are added up together
NUMBERS_SUMMED_ON_CUDA = 1 << 24  # 128 MiB of float64, which they are copied to
SCORES_AT_ONCE = 1 << 18  # 2 MiB of float64: the scores of a chunk stay in the L2 cache
SCORES_ON_CUDA = 1 << 26  # 0.5 GiB: launches are few
FEWEST_SCORES = 1 << 20  # 8 MiB of float64: chunks are not halved below that, as it would free next to nothing

Chunk = tuple[list[int], slice]  # places in a list of runs, and rows: many rows of one run, or all rows of several


class DensePoints:
    """Points and weights of B problems; neither is copied."""

    group = 1  # a point's columns lie together

    def __init__(
        self,
        points: Tensor,  # [B, N, D] float32 or float64
        weights: Tensor,  # [B, N] float64
        chunk_size: int | None,
        origin: Tensor | None = None,  # [B, D]: what is subtracted from points; their mean if not given
    ) -> None:
        self.points, self.weights = points, weights
        self.n_problems, self.n_points, self.n_columns = points.shape
        most = SCORES_ON_CUDA if points.is_cuda else SCORES_AT_ONCE
        self.scores_at_once = min(most, 64 * chunk_size) if chunk_size else most
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

    def zeros(self, *shape: int) -> Tensor:
        """Sums of n runs: [n, S] or, bin by bin, [n, S, n_bins]."""
        shape = shape if len(shape) == 3 else (*shape, 1)
        return torch.zeros(shape, dtype=torch.float64, device=self.points.device)

    @property
    def can_make_chunks_smaller(self) -> bool:
        return self.scores_at_once > FEWEST_SCORES

    def make_chunks_smaller(self) -> None:
        """Halve the chunks, for want of memory, and give back what the device no longer needs."""
        self.scores_at_once //= 2
        torch.cuda.empty_cache()

    def chunks(
        self,
        width: int,  # how many numbers an operation needs per point
        runs: list[int],
    ) -> Iterator[Chunk]:
        """Runs and rows, so many that runs x rows x width stays bounded."""
        n_rows = max(1, self.scores_at_once // (max(width, self.n_columns) * TILE)) * TILE
        together = max(1, n_rows // (-(-self.n_points // TILE) * TILE))
        for first in range(0, len(runs), together):
            places = list(range(first, min(first + together, len(runs))))
            for start in range(0, self.n_points, n_rows):
                yield places, slice(start, min(start + n_rows, self.n_points))

    def products(
        self,
        problems: list[int],  # [n]
        rows: slice,
        centers: Tensor,  # [n, K, D], centered; their dtype is that of the products
    ) -> Tensor:  # [n, rows, K]
        """Inner products of centered points and centers, computed on whole tiles."""
        points = (self.points[span(problems), rows] - self.origin[problems, None]).to(centers.dtype)
        n_points = points.shape[1]
        if n_points % TILE:
            points = torch.nn.functional.pad(points, (0, 0, 0, TILE - n_points % TILE))
        products = points.new_empty(*points.shape[:2], centers.shape[1])
        if points.is_cpu:  # NumPy's BLAS rounds as that of scikit-learn on every processor
            with one_blas_thread():
                for found, one, other in zip(products.numpy(), points.numpy(), centers.numpy(), strict=True):
                    np.matmul(one, other.T, out=found)
        else:
            with ieee_products:
                torch.bmm(points, centers.mT, out=products)
        return products[:, :n_points]


class _IeeeProducts:
    """No TF32, whatever the caller's program has allowed, while any thread is inside."""

    def __init__(self) -> None:
        self._lock, self._n_inside, self._allowed = threading.Lock(), 0, ""

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._allowed = product_precision()
                set_product_precision("ieee")
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                set_product_precision(self._allowed)

    def begin_anew(self) -> None:
        """Forget, in a forked process, the threads inside: they stayed in the parent."""
        self._lock = threading.Lock()
        if self._n_inside:
            self._n_inside = 0
            set_product_precision(self._allowed)


def product_precision() -> str:
    """The precision of single-precision matrix products on CUDA.

    From torch 2.9 on it is a setting of the backend, which is read without an error whichever setting the caller's
    program used; `torch.get_float32_matmul_precision` raises where that was not its own.
    """
    backend = torch.backends.cuda.matmul
    return backend.fp32_precision if hasattr(backend, "fp32_precision") else torch.get_float32_matmul_precision()


def set_product_precision(precision: str) -> None:
    """Set a precision that `product_precision` gave, or "ieee"; a setting that holds already is not touched."""
    backend = torch.backends.cuda.matmul
    if not hasattr(backend, "fp32_precision"):
        torch.set_float32_matmul_precision("highest" if precision == "ieee" else precision)
    elif backend.fp32_precision != precision:
        backend.fp32_precision = precision


ieee_products = _IeeeProducts()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ieee_products.begin_anew)


def span(index: list[int]) -> slice | list[int]:
    """The same index as a slice where it has no gaps: what it selects is then not copied."""
    if index == list(range(index[0], index[0] + len(index))):
        return slice(index[0], index[0] + len(index))
    return index


def add_rows(
    totals: Tensor,  # [A, S or S + 1, n_bins] float64, added to in place
    places: list[int],  # [n]: whose sums
    labels: Tensor | None,  # [n, rows] int32, the bin of each row; None is bin 0
    values: Tensor,  # [n, rows, S] float64
    weights: Tensor,  # [n, rows] float64
) -> None:
    """Add weighted rows to their bins, one row after the other, so that the order of addition is the rows' own.

    A last sum, if there is one more than columns of values, is that of the weights.
    """
    n_bins = totals.shape[2]
    bins = torch.arange(len(places), dtype=torch.int32, device=values.device)[:, None] * n_bins
    bins = (bins + labels if labels is not None else bins.expand(weights.shape)).reshape(-1)
    weighted = [column * weights for column in values.unbind(dim=2)]
    for total, column in zip(totals.unbind(dim=1), [*weighted, weights], strict=False):
        sums = total[places].view(-1)  # a copy, whose additions go on where the last chunk's ended
        if sums.is_cpu:
            sums.index_add_(0, bins, column.reshape(-1))
        else:
            sums += repeatable_sums(bins, column.reshape(-1), len(sums))
        total[places] = sums.view(len(places), n_bins)
