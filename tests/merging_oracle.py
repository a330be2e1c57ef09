"""Clusters to merge, and how NumPy merges them: it looks at all pairs each time."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
ENTRY = 4  # steps of the grid in an entry


def problem(seed: int) -> tuple[Integers, Integers, int]:
    """Sums of levels, weights, and how many clusters to keep; many pairs cost the same."""
    random = np.random.RandomState(seed)
    n_clusters = random.randint(3, 24)
    n_kept = random.randint(1, n_clusters)
    weights = random.randint(0 if seed % 3 == 0 else 1, 2 + seed % 3, n_clusters)
    sums = random.randint(0, 2 + seed % 5, (n_clusters, 3)) * [1, 2, 4, 8][seed % 4] * weights[:, None]
    if seed % 7 == 0:
        sums += random.randint(0, 3, (n_clusters, 3)) * (weights[:, None] > 0)
    return sums, weights, n_kept


def costs_of(sums: Floats, weights: Floats) -> Floats:  # [N, N]
    """By how much the error rises if two clusters share a center that is rounded to an entry."""

    def error(sums: Floats, weights: Floats) -> Floats:
        means = sums / np.maximum(weights, 1)[..., None]
        off: Floats = np.square(means - np.round(means / ENTRY) * ENTRY).sum(axis=-1)
        return weights * off

    means, both = sums / np.maximum(weights, 1)[:, None], weights[:, None] + weights
    rises = np.square(means[:, None] - means).sum(axis=2) * (weights[:, None] * weights / np.maximum(both, 1))
    now = error(sums, weights)
    rises = rises + (error(sums[:, None] + sums, both) - (now[:, None] + now))
    return np.where(weights[:, None] * weights > 0, rises, 0.0)


def places_by_numpy(sums: Integers, weights: Integers, n_kept: int) -> list[int]:
    """The cluster in which each one is at last; each time all pairs are looked at."""
    totals, sizes, places = sums.astype(float), weights.astype(float), np.arange(len(weights))
    while len(sizes) > n_kept:
        costs = costs_of(totals, sizes)
        costs[np.tril_indices(len(costs))] = np.inf
        kept, gone = divmod(int(np.argmin(costs)), len(costs))
        totals[kept] += totals[gone]
        sizes[kept] += sizes[gone]
        totals, sizes = np.delete(totals, gone, axis=0), np.delete(sizes, gone)
        places = np.where(places == gone, kept, places)
        places -= places > gone
    return places.tolist()
