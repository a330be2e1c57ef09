"""Greedy k-means++ over few samples, rounded exactly as scikit-learn rounds it.

Among few samples two candidates often lower the potential equally, and rounding decides between them.
"""

import numpy as np
import numpy.typing as npt

FEW = 1 << 15  # samples up to which that matters, and threads would gain little

Floats = npt.NDArray[np.float64]


def plus_plus_samples(
    samples: Floats,  # [N, D], centered
    weights: Floats,  # [N]
    n_clusters: int,
    random_state: np.random.RandomState,
) -> list[int]:  # [K]
    """Choose samples; the first draw searches to the right, the others to the left."""
    n_candidates = 2 + int(np.log(n_clusters))
    uniforms = random_state.uniform(size=1 + n_candidates * (n_clusters - 1))
    squares = np.einsum("ij,ij->i", samples, samples)

    def distances_to(index: npt.NDArray[np.int64]) -> Floats:  # [L] -> [L, N]
        found: Floats = np.matmul(samples[index], samples.T)
        found *= -2
        found += squares[index, None]
        found += squares
        return np.maximum(found, 0, out=found)

    running = np.cumsum(weights / weights.sum())
    chosen = [int(np.searchsorted(running / running[-1], uniforms[0], side="right"))]
    closest = distances_to(np.array(chosen))
    potential = (closest @ weights[:, None])[0, 0]
    closest = closest[0]
    for tried in uniforms[1:].reshape(-1, n_candidates):
        drawn = np.searchsorted(np.cumsum(weights * closest), tried * potential).clip(max=len(samples) - 1)
        lowered = np.minimum(distances_to(drawn), closest)
        potentials = (lowered @ weights[:, None])[:, 0]
        best = int(potentials.argmin())
        chosen.append(int(drawn[best]))
        closest, potential = lowered[best], potentials[best]
    return chosen
