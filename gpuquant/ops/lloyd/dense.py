"""k-means operations on any floating-point points; who runs them is chosen once: compiled loops, Triton, or torch."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from gpuquant.ops import compiled, kernel_choice
from gpuquant.ops.lloyd.reference_dense import ReferenceRuns
from gpuquant.ops.points.dense_points import DensePoints


class DenseRuns(Protocol):
    """Labels, sums and weights of all runs, which an implementation keeps between steps."""

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]: ...

    @property
    def iterate(self) -> Callable[..., list[int]]: ...

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]: ...

    def changed(self, runs: list[int]) -> list[int]: ...

    def inertia(self, centers: Tensor) -> Tensor: ...


class DenseLloyd:
    """Lloyd iterations on all problems of a batch.

    There are P = B x n_runs runs: run r works on problem r // n_runs.
    """

    as_scikit_learn = False  # points of weight 0 count among those whose label changed; scores and means are as there
    labeled: frozenset[int] = frozenset()

    def __init__(self, points: DensePoints, n_clusters: int, n_runs: int = 1) -> None:
        self._points = points
        self._n_runs = n_runs
        shape = points.n_problems * n_runs, points.n_points
        self._labels = torch.full(shape, -1, dtype=torch.int32, device=points.points.device)
        self._runs = _begun(points, self._labels, n_clusters, as_scikit_learn=self.as_scikit_learn)

    @property
    def home(self) -> torch.device:
        """Where centers and sums are worked on."""
        return self._points.points.device

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
        return self._points.snap(centers)

    def step(
        self,
        centers: Tensor,  # [A, K, D] float64, entered
        active: list[int],  # [A]: the runs that take part, ascending
    ) -> tuple[
        Tensor, Tensor, list[int]
    ]:  # sums [A, K, D] float64, weights [A, K] float64, how many labels changed [A]
        """Label every point with its nearest center and sum up the clusters; the lowest wins among equal scores."""
        return self._runs.step(centers, active)

    def iterate(self, *progress: Tensor, **pace: Any) -> list[int]:
        """Iterate as `iterate_by_steps` does."""
        return self._runs.iterate(*progress, **pace)

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:  # [A, K, D], [A, K]
        """The sums and the weights of the clusters after the last step of some runs."""
        return self._runs.sums_of(runs)

    def changed(self, runs: list[int]) -> list[int]:
        """Count the labels that the last step of some runs changed."""
        return self._runs.changed(runs)

    def labels_of_points(self) -> Tensor:  # [P, N] int32
        return self._labels

    def inertia(
        self,
        centers: Tensor,  # [P, K, D] float64, entered
    ) -> list[float]:  # [P]
        """Sum of weight times squared distance to the labeled center."""
        found: list[float] = self._runs.inertia(centers).tolist()
        return found

    def farthest(
        self,
        run: int,
        n_points: int,
        centers: Tensor,  # [K, D] float64, entered: those of the run's last step
    ) -> tuple[Tensor, Tensor, Tensor]:  # points [n, D] float64, weights [n] float64, labels [n] int64
        """The points of positive weight that are farthest from their center, farthest first."""
        problem, labels = run // self._n_runs, self._labels[run]
        weights = self._points.weights[problem]
        distances = self._points.squared_distances(problem, centers, labels).masked_fill_(weights == 0, 0)
        index = distances.argsort(descending=True, stable=True)[:n_points]
        index = index[distances[index] > 0]
        points = self._points.points[problem, index].double() - self._points.origin[problem]
        return points, weights[index], labels[index].long()

    def _origins(self) -> Tensor:  # [P, 1, D]
        return self._points.origin.repeat_interleave(self._n_runs, dim=0)[:, None].double()


def _begun(points: DensePoints, labels: Tensor, n_clusters: int, *, as_scikit_learn: bool) -> DenseRuns:
    kernels = kernel_choice.kernels_for(labels)
    if kernels and points.n_columns <= kernels.MAX_COLUMNS:
        single = points.points.dtype == torch.float32
        found: DenseRuns = kernels.KernelLloyd(
            *points.for_kernels(),
            labels,
            n_clusters,
            single=single,
            snap="single" if single else "double",
            count_weightless=as_scikit_learn,
        )
        return found
    if compiled.runs_for(labels):
        from gpuquant.ops.lloyd.cpu_dense_runs import CompiledRuns

        return CompiledRuns(points, labels, n_clusters, as_scikit_learn=as_scikit_learn)
    return ReferenceRuns(points, labels, n_clusters, as_scikit_learn=as_scikit_learn)
