"""k-means operations on any floating-point points, chunk by chunk, in plain torch on any device.

On the CPU the bits depend neither on the size of a chunk, nor on the number of threads, nor on the company in a batch:
matrix products run problem by problem on whole tiles of `TILE` rows (the last one is padded), and every sum adds its
rows one after the other.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops import kernel_choice
from gpuquant.ops.cpu_dense import Buffers, TiledLloyd, one_blas_thread
from gpuquant.ops.cpu_ops import share_out
from gpuquant.ops.dense_seeding import DeviceSeeding, TiledSeeding

if TYPE_CHECKING:
    from gpuquant.ops.triton_lloyd import KernelLloyd

TILE = 256
SUMMED = 1 << 14  # points whose moments are added up together
MANY = 1 << 13  # points from which a step on the CPU is worth its worker threads
SCORES_AT_ONCE = 1 << 18  # 2 MiB of float64: the scores of a chunk stay in the L2 cache

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
        self.scores_at_once = min(SCORES_AT_ONCE, 64 * chunk_size) if chunk_size else SCORES_AT_ONCE
        # scores of centred points lose fewer bits
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
        starts = range(0, self.n_points, SUMMED)
        parts = torch.zeros(
            self.n_problems, len(starts), self.n_columns, dtype=torch.float64, device=self.points.device
        )

        def add(place: tuple[int, int]) -> None:
            problem, chunk = place
            rows = slice(starts[chunk], starts[chunk] + SUMMED)
            values = function(self.points[problem, rows].double(), problem)
            weights = self.weights[problem, rows]
            if values.is_cpu:  # NumPy's BLAS, whose threads can be held still
                parts[problem, chunk] = torch.from_numpy(weights.numpy() @ values.numpy())
            else:
                parts[problem, chunk] = weights @ values

        places = list(product(range(self.n_problems), range(len(starts))))
        with one_blas_thread():
            share_out(places, add, 1 if self.points.is_cuda else torch.get_num_threads())
        return parts.cumsum(dim=1)[:, -1]

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
        centers: Tensor,  # [n, K, D], centred; their dtype is that of the products
    ) -> Tensor:  # [n, rows, K]
        """Inner products of centred points and centers, computed on whole tiles."""
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
            torch.bmm(points, centers.mT, out=products)
        return products[:, :n_points]


class DenseLloyd:
    """Lloyd iterations on all problems of a batch.

    There are P = B x n_runs runs: run r works on problem r // n_runs.
    """

    count_weightless = False  # whether points of weight 0 count among those whose label changed

    def __init__(self, points: DensePoints, n_clusters: int, n_runs: int = 1) -> None:
        self._points = points
        self._n_clusters = n_clusters
        self._n_runs = n_runs
        shape = points.n_problems * n_runs, points.n_points
        self._labels = torch.full(shape, -1, dtype=torch.int32, device=points.points.device)
        self.kernels = self._kernel_lloyd()
        self._tiled: dict[int, TiledLloyd] = {}
        self._spare: list[Buffers] = []

    def _kernel_lloyd(self) -> "KernelLloyd | None":
        kernels, points = kernel_choice.kernels_for(self._labels), self._points
        if not kernels or points.n_columns > kernels.MAX_COLUMNS:
            return None
        single = points.points.dtype == torch.float32
        found: KernelLloyd = kernels.KernelLloyd(
            *points.for_kernels(),
            self._labels,
            self._n_clusters,
            single=single,
            snap="single" if single else "double",
            count_weightless=self.count_weightless,
        )
        return found

    @property
    def _in_tiles(self) -> bool:
        return self._points.points.is_cpu and self._points.n_points >= MANY

    @property
    def variance(self) -> Tensor:  # [P]
        """The weighted variance of the points, averaged over the columns."""
        return self._points.variance.repeat_interleave(self._n_runs)

    def enter(self, centers: Tensor) -> Tensor:
        """Centers [P, K, D] in the coordinates of a run: float64, relative to the origin, in the points' dtype."""
        return self.snap(centers.double() - self._origins())

    def leave(self, centers: Tensor) -> Tensor:
        """Centers [P, K, D] in the coordinates of the points."""
        return centers + self._origins()

    def snap(self, centers: Tensor) -> Tensor:
        """Centers [..., K, D] as the points' dtype holds them."""
        return centers.to(self._points.points.dtype).double()

    def step(
        self,
        centers: Tensor,  # [A, K, D] float64, entered
        active: list[int],  # [A]: the runs that take part, ascending
    ) -> tuple[
        Tensor, Tensor, list[int]
    ]:  # sums [A, K, D] float64, weights [A, K] float64, how many labels changed [A]
        """Label every point with its nearest center and sum up the clusters; the lowest wins among equal scores."""
        points = self._points
        if self._in_tiles:
            return self._tiled_step(centers, active)
        if self.kernels:
            return self.kernels.step(centers, active)
        totals = points.zeros(len(active), points.n_columns + 1, self._n_clusters)
        centers = centers.to(points.points.dtype)
        squares, doubled = squared_norms(centers)[:, None], -2 * centers  # a factor of two rounds nothing
        n_changed = torch.zeros(len(active), dtype=torch.int64, device=centers.device)
        for places, rows in points.chunks(self._n_clusters, active):
            runs = [active[place] for place in places]
            problems = [run // self._n_runs for run in runs]
            scores = points.products(problems, rows, doubled[places]).add_(squares[places])
            labels = scores.min(dim=2).indices.to(torch.int32)
            weights = points.weights[span(problems), rows]
            differ = labels != self._labels[span(runs), rows]
            n_changed[places] += (differ if self.count_weightless else differ & (weights > 0)).sum(dim=1)
            self._labels[span(runs), rows] = labels
            numbers = points.points[span(problems), rows].double() - points.origin[problems, None]
            add_rows(totals, places, labels, numbers, weights)
        counted: list[int] = n_changed.tolist()
        return totals[:, :-1].mT, totals[:, -1], counted

    def _tiled_step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        own = zip(active, self.snap(centers).numpy(), strict=True)
        sums, totals, n_changed = zip(*(self._tiled_run(run).step(one) for run, one in own), strict=True)
        return torch.from_numpy(np.stack(sums)), torch.from_numpy(np.stack(totals)), list(n_changed)

    def _tiled_run(self, run: int) -> TiledLloyd:
        if run not in self._tiled:
            points, problem = self._points, run // self._n_runs
            self._tiled[run] = TiledLloyd(
                points.points[problem].numpy(),
                points.origin[problem].numpy(),
                points.weights[problem].numpy(),
                self._labels[run].numpy(),
                self._n_clusters,
                scores_at_once=2 * points.scores_at_once,  # of half the size: in single precision
                count_weightless=self.count_weightless,
                spare=self._spare,
            )
        return self._tiled[run]

    def _origins(self) -> Tensor:  # [P, 1, D]
        return self._points.origin.repeat_interleave(self._n_runs, dim=0)[:, None].double()

    def labels_of_points(self) -> Tensor:  # [P, N] int32
        return self._labels

    def inertia(
        self,
        centers: Tensor,  # [P, K, D] float64, entered
    ) -> list[float]:  # [P]
        """Sum of weight times squared distance to the labelled center."""
        if self.kernels:
            found: list[float] = self.kernels.inertia(centers).tolist()
            return found
        if self._in_tiles:
            return [self._tiled_run(run).inertia(one) for run, one in enumerate(centers.numpy())]
        every = list(range(len(centers)))
        totals = self._points.zeros(len(every), 1)
        for runs, rows in self._points.chunks(1, every):
            distances = torch.stack([self._squared_distances(run, rows, centers[run]) for run in runs])
            add_rows(totals, runs, None, distances[:, :, None], self._weights(runs, rows))
        inertia: list[float] = totals.view(-1).tolist()
        return inertia

    def farthest(
        self,
        run: int,
        n_points: int,
        centers: Tensor,  # [K, D] float64, entered: those of the run's last step
    ) -> tuple[Tensor, Tensor, Tensor]:  # points [n, D] float64, weights [n] float64, labels [n] int64
        """The points of positive weight that are farthest from their center, farthest first."""
        chunks = self._points.chunks(1, [run])
        distances = torch.cat([self._squared_distances(run, rows, centers) for _, rows in chunks])
        weights = self._points.weights[run // self._n_runs]
        distances.masked_fill_(weights == 0, 0)
        index = distances.argsort(descending=True, stable=True)[:n_points]
        index = index[distances[index] > 0]
        points = self._points.points[run // self._n_runs, index].double() - self._points.origin[run // self._n_runs]
        return points, weights[index], self._labels[run, index].long()

    def _weights(self, runs: list[int], rows: slice) -> Tensor:
        return self._points.weights[span([run // self._n_runs for run in runs]), rows]

    def _squared_distances(self, run: int, rows: slice, centers: Tensor) -> Tensor:  # [rows] float64
        problem = run // self._n_runs
        points = self._points.points[problem, rows].double() - self._points.origin[problem]
        return (points - centers[self._labels[run, rows]]).square_().sum(dim=1)


class DenseSeeding:
    """The state of k-means++ in P runs: run r works on problem r // n_runs."""

    def __init__(self, points: DensePoints, n_runs: int = 1) -> None:
        seeding = TiledSeeding if points.points.is_cpu else DeviceSeeding
        problems = [run // n_runs for run in range(points.n_problems * n_runs)]
        self._runs = [seeding(points.points[one], points.origin[one], points.weights[one]) for one in problems]

    def draw(
        self,
        uniforms: npt.NDArray[np.float64],  # [P, L] in [0, 1)
    ) -> npt.NDArray[np.int64]:  # [P, L]
        """Draw points with probability proportional to their weight times their closest squared distance."""
        return np.stack([run.draw(row) for run, row in zip(self._runs, uniforms, strict=True)])

    def add_best(
        self,
        candidates: npt.NDArray[np.int64],  # [P, L]
    ) -> Tensor:  # [P, D] float64: the points that were added
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers of each run."""
        return torch.stack([run.add_best(row) for run, row in zip(self._runs, candidates, strict=True)])

    def potentials(self) -> list[float]:  # [P]
        """Sum of weight times closest squared distance."""
        return [run.potential for run in self._runs]


def squared_norms(centers: Tensor) -> Tensor:  # [A, K, D] -> [A, K]
    if centers.is_cpu:  # rounded as scikit-learn's are
        return torch.from_numpy(np.stack([np.einsum("ij,ij->i", one, one) for one in centers.numpy()]))
    return centers.square().sum(dim=2)


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
        total[places] = sums.index_add_(0, bins, column.reshape(-1)).view(len(places), n_bins)
