"""Several runs of Lloyd's algorithm from different starts, of which the best is kept."""

from dataclasses import dataclass

from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.lloyd import Runs, lloyd, runs_together


@dataclass(frozen=True, eq=False)
class Run:
    """One of some runs."""

    runs: Runs
    index: int

    @property
    def centers(self) -> Tensor:  # [K, D] float64
        return self.runs.centers[self.index]

    @property
    def labels(self) -> Tensor:  # [N] int32
        return self.runs.labels[self.index]

    @property
    def inertia(self) -> float:
        return self.runs.inertia[self.index]

    @property
    def n_iter(self) -> int:
        return self.runs.n_iter[self.index]

    @property
    def converged(self) -> bool:
        return self.runs.converged[self.index]


def best_runs(
    points: ops.PointSet,  # B problems
    starts: Tensor,  # [B, n_init, K, D] float64
    *,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
    momentum: float = 0.0,
) -> list[Run]:  # [B]
    """For each problem the run with the lowest inertia, the first one on a tie; as many at once as may be."""
    n_problems, _, n_clusters, _ = starts.shape
    at_once = runs_together(points.n_points, n_clusters, points.weights.device, n_problems)
    best: list[Run] = []
    for some in starts.split(at_once, dim=1):
        centers = some.flatten(0, 1).double()
        runs = lloyd(points, centers, max_iter=max_iter, tol=tol, relaxation=relaxation, momentum=momentum)
        n_runs = some.shape[1]
        for problem in range(n_problems):
            every = [Run(runs, index) for index in range(problem * n_runs, (problem + 1) * n_runs)]
            if len(best) == n_problems:
                best[problem] = min(best[problem], *every, key=lambda run: run.inertia)
            else:
                best.append(min(every, key=lambda run: run.inertia))
    return best
