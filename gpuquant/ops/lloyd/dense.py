"""k-means operations on any floating-point points: Triton kernels, worker threads, or plain torch on any device."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops import kernel_choice
from gpuquant.ops.lloyd.cpu_dense import Buffers, TiledLloyd
from gpuquant.ops.lloyd.moves import iterate_by_steps
from gpuquant.ops.points.dense_points import DensePoints, add_rows, span
from gpuquant.ops.seeding.dense import DeviceSeeding, TiledSeeding

if TYPE_CHECKING:
    from gpuquant.ops.lloyd.cuda_runs import KernelLloyd

MANY = 1 << 13  # points from which a step on the CPU is worth its worker threads


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
        self._last_step: dict[int, tuple[Tensor, Tensor, int]] = {}  # of each run: sums, weights, labels that changed

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
        if self.kernels:
            return self.kernels.step(centers, active)
        sums, weights, n_changed = (self._tiled_step if self._in_tiles else self._step_in_fitting_chunks)(
            centers, active
        )
        self._last_step |= zip(active, zip(sums, weights, n_changed, strict=True), strict=True)
        return sums, weights, n_changed

    def iterate(self, *progress: Tensor, **pace: Any) -> list[int]:
        """Iterate as `iterate_by_steps` does."""
        return self.kernels.iterate(*progress, **pace) if self.kernels else iterate_by_steps(self, *progress, **pace)

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:  # [A, K, D], [A, K]
        """The sums and the weights of the clusters after the last step of some runs."""
        if self.kernels:
            return self.kernels.sums_of(runs)
        return torch.stack([self._last_step[run][0] for run in runs]), torch.stack(
            [self._last_step[run][1] for run in runs]
        )

    def changed(self, runs: list[int]) -> list[int]:
        """Count the labels that the last step of some runs changed."""
        return self.kernels.changed(runs) if self.kernels else [self._last_step[run][2] for run in runs]

    def _step_in_fitting_chunks(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        """Take smaller chunks where a device has too little memory."""
        while True:
            try:
                return self._step_in_chunks(centers, active)
            except torch.OutOfMemoryError:
                if not self._points.can_make_chunks_smaller:
                    raise
            self._points.make_chunks_smaller()  # out of the handler, whose traceback keeps the failed attempt's tensors

    def _step_in_chunks(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        points = self._points
        totals = points.zeros(len(active), points.n_columns + 1, self._n_clusters)
        centers = centers.to(points.points.dtype)
        squares, doubled = squared_norms(centers)[:, None], -2 * centers  # a factor of two rounds nothing
        labels = torch.empty(len(active), points.n_points, dtype=torch.int32, device=centers.device)
        n_changed = torch.zeros(len(active), dtype=torch.int64, device=centers.device)
        for places, rows in points.chunks(self._n_clusters, active):
            runs = [active[place] for place in places]
            problems = [run // self._n_runs for run in runs]
            scores = points.products(problems, rows, doubled[places]).add_(squares[places])
            found = scores.min(dim=2).indices.to(torch.int32)
            weights = points.weights[span(problems), rows]
            differ = found != self._labels[span(runs), rows]
            n_changed[places] += (differ if self.count_weightless else differ & (weights > 0)).sum(dim=1)
            labels[span(places), rows] = found
            numbers = points.points[span(problems), rows].double() - points.origin[problems, None]
            add_rows(totals, places, found, numbers, weights)
        self._labels[active] = labels
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
                scores_at_once=points.scores_at_once,
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
        """Sum of weight times squared distance to the labeled center."""
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
