"""First centers of k-means: k-means++ or random points. All draws come from a host NumPy RandomState."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import in_words


def kmeans_plus_plus(
    points: ops.PointSet,
    n_clusters: int,
    random_states: Sequence[np.random.RandomState],  # [B]: one per problem
    n_runs: int = 1,
    *,
    least: Sequence[float] = (),  # [B] or []
) -> tuple[Tensor, list[float]]:  # [B * n_runs, K, D] float64 and the inertia of each
    """Choose centers among the points by greedy k-means++, for all runs on all problems at once.

    Each new center is the best of 2 + floor(ln K) points, drawn with probability proportional to weight times squared
    distance to the closest center so far (Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful
    seeding"; the greedy variant is described there too). The draws are those of scikit-learn: one uniform number for
    the first center, then 2 + floor(ln K) for each further one, run by run. No more centers are added, and
    those that are missing are 0, once the inertia of a run is below the `least` of its problem.
    """
    n_candidates = 2 + int(math.log(n_clusters))
    per_run = 1 + n_candidates * (n_clusters - 1)
    uniforms = np.concatenate([state.uniform(size=(n_runs, per_run)) for state in random_states])
    return ops.choose_centers(points, n_clusters, uniforms, n_candidates, n_runs, least=least)


def random_points(
    points: Tensor,  # [N, D]
    weights: Tensor,  # [N] float64
    n_clusters: int,
    random_state: np.random.RandomState,
) -> Tensor:  # [K, D] float64
    """Choose different points with probability proportional to their weight, as scikit-learn's init="random" does."""
    chosen = different_places(weights.cpu().numpy(), n_clusters, random_state)
    return points[torch.from_numpy(chosen).to(points.device)].double()


def different_places(
    weights: npt.NDArray[np.float64],  # [N], of which enough are positive
    number: int,
    random_state: np.random.RandomState,
) -> npt.NDArray[np.int64]:  # [number]
    """Draw as `random_state.choice` without replacement does, all of whose checks take four times as long."""
    assert np.count_nonzero(weights) >= number
    shares, found = weights / weights.sum(), list[int]()
    while len(found) < number:
        if found:
            shares[found] = 0
        sums = shares.cumsum()
        uniforms = random_state.random_sample(number - len(found))
        more = (sums / sums[-1]).searchsorted(uniforms, side="right")
        found += dict.fromkeys(more.tolist())
    return np.array(found, np.int64)


def plus_plus_starts(
    prepared: ops.PointSet,
    points: Tensor,  # [B, N, D]
    weights: Tensor,  # [B, N] float64
    n_clusters: int,
    random_states: Sequence[np.random.RandomState],  # [B]
    n_runs: int,
) -> Tensor:  # [B * n_runs, K, D] float64
    """Start all runs on all problems from `kmeans_plus_plus`."""
    return kmeans_plus_plus(prepared, n_clusters, random_states, n_runs)[0]


def random_starts(
    prepared: ops.PointSet,
    points: Tensor,  # [B, N, D]
    weights: Tensor,  # [B, N] float64
    n_clusters: int,
    random_states: Sequence[np.random.RandomState],  # [B]
    n_runs: int,
) -> Tensor:  # [B * n_runs, K, D] float64
    """Start all runs on all problems from `random_points`."""
    drawn = [
        random_points(rows, weight, n_clusters, state)
        for rows, weight, state in zip(points, weights, random_states, strict=True)
        for _ in range(n_runs)
    ]
    return torch.stack(drawn)


Start = Callable[[ops.PointSet, Tensor, Tensor, int, Sequence[np.random.RandomState], int], Tensor]
INITIALIZATIONS: dict[str, Start] = {"k-means++": plus_plus_starts, "random": random_starts}  # the one table of them


def names_or(*others: str) -> str:
    """All names in quotation marks, and what else can be given, in words."""
    return in_words([*(f'"{name}"' for name in INITIALIZATIONS), *others])
