"""Where k-means starts: k-means++ or random points. All draws come from a host NumPy RandomState."""

import math

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops


def kmeans_plus_plus(
    points: ops.PointSet, n_clusters: int, random_state: np.random.RandomState
) -> tuple[Tensor, float]:
    """Choose centers [K, D] float64 among the points by greedy k-means++; also their inertia.

    Each new center is the best of 2 + floor(ln K) points, drawn with probability proportional to weight times squared
    distance to the closest center so far (Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful
    seeding"; the greedy variant is described there too). The draws are those of scikit-learn: one uniform number for
    the first center, then 2 + floor(ln K) for each further one.
    """
    state = ops.seeding(points)
    sizes = [1] + [2 + int(math.log(n_clusters))] * (n_clusters - 1)
    centers = [state.add_best(state.draw(random_state.uniform(size=size))) for size in sizes]  # type: ignore[arg-type]
    return torch.from_numpy(np.stack(centers)).to(points.weights.device), state.potential()


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
