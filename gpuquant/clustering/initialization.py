"""Where k-means starts: k-means++ or random points. All draws come from a host NumPy RandomState."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops


def kmeans_plus_plus(
    points: ops.PointSet,
    n_clusters: int,
    random_states: Sequence[np.random.RandomState],  # [B]: one per problem
    n_runs: int = 1,
    *,
    least: float = 0.0,
) -> tuple[Tensor, list[float]]:  # [B * n_runs, K, D] float64 and the inertia of each
    """Choose centers among the points by greedy k-means++, for all runs on all problems at once.

    Each new center is the best of 2 + floor(ln K) points, drawn with probability proportional to weight times squared
    distance to the closest center so far (Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful
    seeding"; the greedy variant is described there too). The draws are those of scikit-learn: one uniform number for
    the first center, then 2 + floor(ln K) for each further one, run by run. No more centers are added once the
    inertia of a run is below `least`.
    """
    n_candidates = 2 + int(math.log(n_clusters))
    per_run = 1 + n_candidates * (n_clusters - 1)
    uniforms = np.concatenate([state.uniform(size=(n_runs, per_run)) for state in random_states])
    found = ops.choose_on_device(points, n_clusters, uniforms, n_candidates, n_runs)
    if found:
        return found
    columns = [slice(0, 1)] + [slice(first, first + n_candidates) for first in range(1, per_run, n_candidates)]
    state = ops.seeding_steps(points, n_runs)
    centers: list[Tensor] = []
    for column in columns:
        centers.append(state.add_best(state.draw(uniforms[:, column])))
        if least > 0 and min(state.potentials()) < least:
            break
    return torch.stack(centers, dim=1).to(points.weights.device), state.potentials()


def random_points(
    points: Tensor,  # [N, D]
    weights: Tensor,  # [N] float64
    n_clusters: int,
    random_state: np.random.RandomState,
) -> Tensor:  # [K, D] float64
    """Choose different points with probability proportional to their weight, as scikit-learn's init="random" does."""
    shares = weights.cpu().numpy()
    chosen = random_state.choice(len(shares), size=n_clusters, replace=False, p=shares / shares.sum())
    return points[torch.from_numpy(chosen).to(points.device)].double()
