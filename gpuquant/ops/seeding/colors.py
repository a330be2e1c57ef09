"""k-means++ on distinct 8-bit colors with counts: exact, and looking only at colors that a new center can change.

This runs on the host whatever the device: each of the K - 1 steps depends on the one before and is short, so the
time goes into calls, which NumPy makes fastest.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.points.colors import ORIGIN, ColorPoints

GROUP = 32  # colors that are looked at together, so that one test spares all of them
PAIRS_AT_ONCE = 1 << 14  # of a candidate and a group: 4 MiB of scratch

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class ColorSeeding:
    """The state of k-means++ in P = B x n_runs runs, one after the other: a host is busy with one."""

    def __init__(self, points: ColorPoints, n_runs: int = 1) -> None:
        problems = [run // n_runs for run in range(points.n_problems * n_runs)]
        self._runs = [run_on_colors(points.colors[problem], points.weights[problem]) for problem in problems]

    def draw(
        self,
        uniforms: Floats,  # [P, L] in [0, 1)
    ) -> Indices:  # [P, L], positions in Z-order
        """Draw colors with probability proportional to their weight times their closest squared distance."""
        return np.stack([run.draw(row) for run, row in zip(self._runs, uniforms, strict=True)])

    def add_best(
        self,
        candidates: Indices,  # [P, L], positions in Z-order
    ) -> Tensor:  # [P, 3] float64: the colors that were added, in levels
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers of each run."""
        best = [row[run.add_best(row)] for run, row in zip(self._runs, candidates, strict=True)]
        return torch.from_numpy(np.stack([run.color_at(place) for run, place in zip(self._runs, best, strict=True)]))

    def potentials(self) -> list[float]:  # [P]
        """Sum of count times closest squared distance."""
        return [run.potential() for run in self._runs]

    def closest(self) -> Tensor:  # [P, places in Z-order] float32
        """The squared distance of every color to the closest center so far."""
        return torch.from_numpy(np.stack([run.closest.reshape(-1) for run in self._runs]))


def run_on_colors(
    colors: Tensor,  # [M, D] uint8, neighbors close together; D up to 4
    weights: Tensor,  # [M] float64
) -> "RunSeeding":
    """k-means++ in one run on colors with any number of channels; positions are those in the given order."""
    n_colors, n_places = len(colors), -(-len(colors) // GROUP) * GROUP
    axes = np.empty((colors.shape[1], n_places), np.float32)
    for axis, levels in zip(axes, colors.cpu().numpy().T, strict=True):
        np.subtract(levels, np.float32(ORIGIN), out=axis[:n_colors])
        axis[n_colors:] = axis[n_colors - 1]
    padded = np.zeros(n_places)
    padded[:n_colors] = weights.cpu().numpy()
    return RunSeeding(axes.reshape(len(axes), -1, GROUP), padded.reshape(-1, GROUP))


class RunSeeding:
    """For every color the squared distance to the closest center chosen so far.

    Distances between colors are integers below 2^24, so float32 holds them, and float64 their weighted sums, exactly.
    A center at distance d from the middle of a group of neighbors changes nothing in it if d is more than the group's
    radius plus its largest closest distance.
    """

    def __init__(
        self,
        axes: npt.NDArray[np.float32],  # [D, n_groups, GROUP]: levels, shifted by ORIGIN
        weights: Floats,  # [n_groups, GROUP]; 0 is padding
    ) -> None:
        self._axes, self._weights = axes, weights
        low, high = self._axes.min(axis=2).astype(np.float64), self._axes.max(axis=2).astype(np.float64)
        self._middles = (low + high) / 2  # [D, n_groups]
        self._middle_squares = np.square(self._middles).sum(axis=0)
        self._radii = np.sqrt(np.square(high - low).sum(axis=0)) / 2
        self.closest = np.full(self._weights.shape, np.inf, np.float32)
        self._potentials = self._weights.sum(axis=1)  # before the first center
        self._reach = np.full(len(self._radii), np.inf)  # squared
        self._scratch = np.empty((2, PAIRS_AT_ONCE, GROUP), np.float32)  # fresh memory costs more than the work
        self._side: str = "right"  # as scikit-learn: the first draw searches to the right, the others to the left

    def draw(
        self,
        uniforms: Floats,  # [L] in [0, 1)
    ) -> Indices:  # [L], positions in Z-order
        sums = self._potentials.cumsum()
        targets = uniforms * sums[-1]
        groups = np.minimum(np.searchsorted(sums, targets, side=self._side), len(sums) - 1)  # type: ignore[call-overload]
        rest = targets - (sums[groups] - self._potentials[groups])
        shares = self._weights[groups]
        if self._side == "left":
            shares = shares * self.closest[groups]
        inner = shares.cumsum(axis=1)
        passed = inner <= rest[:, None] if self._side == "right" else inner < rest[:, None]
        positions: Indices = groups * GROUP + np.minimum(passed.sum(axis=1), GROUP - 1)
        return positions

    def add_best(
        self,
        candidates: Indices,  # [L], positions in Z-order
    ) -> int:  # which of them was added
        colors = self._axes[:, candidates // GROUP, candidates % GROUP]  # [D, L]
        wide = colors.astype(np.float64)
        apart = wide.T @ self._middles
        apart *= -2
        apart += self._middle_squares
        apart += np.square(wide).sum(axis=0)[:, None]
        near, groups = np.nonzero(apart <= self._reach)
        best = 0
        if len(candidates) > 1:
            gains = np.zeros(len(candidates))
            for start in range(0, len(groups), PAIRS_AT_ONCE):
                members, origin = groups[start : start + PAIRS_AT_ONCE], near[start : start + PAIRS_AT_ONCE]
                _, potentials = self._lowered(members, colors[:, origin])
                gains += np.bincount(origin, self._potentials[members] - potentials, len(gains))
            best = int(gains.argmax())
        self._update(groups[near == best], colors[:, best : best + 1])
        return best

    def color_at(self, position: int) -> Floats:  # [D], in levels
        color: Floats = self._axes[:, position // GROUP, position % GROUP].astype(np.float64) + ORIGIN
        return color

    def potential(self) -> float:
        return float(self._potentials.sum())

    def _update(self, changed: Indices, color: npt.NDArray[np.float32]) -> None:
        for start in range(0, len(changed), PAIRS_AT_ONCE):
            members = changed[start : start + PAIRS_AT_ONCE]
            closest, self._potentials[members] = self._lowered(members, color)
            self.closest[members] = closest
            self._reach[members] = np.square(self._radii[members] + np.sqrt(closest.max(axis=1)) + 1e-3)
        self._side = "left"

    def _lowered(
        self,
        members: Indices,  # [P]
        colors: npt.NDArray[np.float32],  # [D, P] or [D, 1]
    ) -> tuple[npt.NDArray[np.float32], Floats]:  # [P, GROUP], [P]
        """The closest distances with a center at each pair's color, in scratch memory, and the groups' potentials."""
        distances, numbers = self._scratch[:, : len(members)]
        for axis in range(len(colors)):
            levels = numbers if axis else distances
            np.take(self._axes[axis], members, axis=0, out=levels, mode="clip")
            np.subtract(levels, colors[axis, :, None], out=levels)
            np.square(levels, out=levels)
            if axis:
                distances += levels
        np.take(self.closest, members, axis=0, out=numbers, mode="clip")
        np.minimum(distances, numbers, out=distances)
        return distances, np.einsum("pg,pg->p", distances, self._weights[members])
