"""Greedy k-means++ on distinct colors with counts, in plain torch on any device.

Distances are integers below 2^24, and sums of them with counts are exact in float64 in any order.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

DISTANCES_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 24}  # of float64: what fits a core's cache; 128 MiB


def choose_colors(
    colors: Tensor,  # [M, D] uint8 or int16, in the order of the draws
    weights: Tensor,  # [M] float64, whole numbers; 0 is allowed
    uniforms: Floats,  # [n_runs, 1 + L (K - 1)] in [0, 1)
    n_candidates: int,  # L
    n_clusters: int,  # K
    least: float = 0.0,  # a run adds no more centers once its potential is below it
) -> tuple[Integers, list[float]]:  # [n_runs, K], or as many as the shortest run has; [n_runs]
    """Choose the colors that become centers, run by run; and the potentials that the runs reach."""
    chosen: list[list[int]] = []
    potentials: list[float] = []
    for row in uniforms:
        # as scikit-learn: the first draw searches to the right, the others to the left
        centers, run = drawn(weights, row[:1], right=True), ColorSeeding(colors, weights)
        run.add_best(centers)
        for step in range(n_clusters - 1):
            if run.potential() < least:
                break
            first = 1 + step * n_candidates
            centers.append(run.add_best(drawn(weights * run.closest(), row[first : first + n_candidates])))
        chosen.append(centers)
        potentials.append(run.potential())
    n_centers = min(len(centers) for centers in chosen)
    return np.array([centers[:n_centers] for centers in chosen]), potentials


class ColorSeeding:
    """One run of k-means++ whose candidates are drawn elsewhere."""

    def __init__(
        self,
        colors: Tensor,  # [M, D] uint8 or int16; D up to 4
        weights: Tensor,  # [M] float64
    ) -> None:
        levels, self._weights = colors.T.double(), weights
        self._columns = torch.cat([levels, levels.square().sum(dim=0)[None], torch.ones_like(weights)[None]])
        self._closest = torch.full_like(weights, torch.inf)

    def add_best(
        self,
        candidates: list[int],  # [L]: indices of colors
    ) -> int:
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers; return it."""
        columns = self._columns[:, candidates]
        rows = torch.cat([-2 * columns[:-2], columns[-1:], columns[-2:-1]]).T  # |x - c|^2 = |x|^2 - 2 x.c + |c|^2
        size = max(1, DISTANCES_AT_ONCE.get(rows.device.type, 1 << 24) // len(candidates))
        parts = [slice(start, start + size) for start in range(0, len(self._weights), size)]
        sums = sum(self._lowered(rows, part) @ self._weights[part] for part in parts)
        potentials: list[float] = torch.as_tensor(sums).tolist()
        best = potentials.index(min(potentials))
        self._potential = potentials[best]
        self._closest = torch.cat([self._lowered(rows[best : best + 1], part)[0] for part in parts])
        return candidates[best]

    def closest(self) -> Tensor:  # [M] float64
        """The squared distance of every color to the closest center so far."""
        return self._closest

    def potential(self) -> float:
        """The sum of weight times closest squared distance, of which there is one after the first center."""
        return self._potential

    def _lowered(self, rows: Tensor, part: slice) -> Tensor:  # [L, n] float64
        """The closest distances of some colors, if each candidate were added."""
        return (rows @ self._columns[:, part]).clamp_(max=self._closest[part])


def drawn(
    shares: Tensor,  # [M] float64
    uniforms: Floats,  # [L] in [0, 1)
    *,
    right: bool = False,  # pass by a color at which the running sum equals the number
) -> list[int]:  # [L]
    """Draw colors with probability proportional to their shares."""
    running = shares.cumsum(dim=0)
    targets = torch.from_numpy(uniforms).to(running.device) * running[-1]
    found: list[int] = torch.searchsorted(running, targets, right=right).clamp_(max=len(running) - 1).tolist()
    return found
