"""Breathing k-means: out of the local minimum that Lloyd's algorithm ends in, by adding and removing centers.

Source: B. Fritzke 2020, "The breathing k-means algorithm". Centers are added where the error is large, all are
settled, as many of the least useful are removed, and all are settled again; what lowers the error is kept, and after
every other failure one center less is added. Different from there, the clusters to split are drawn by their error,
which gets stuck less (measured), they are split across their longest side, and the superfluous centers go in several
steps.
Points and centers lie on a grid of a quarter level, so that no product or sum of them rounds, and results do not depend
on the order of sums.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpuquant.threads import one_torch_thread

GRID = 4.0  # steps of a level
FEWEST_ADDED = 8  # at first
ITERATIONS = 4  # of Lloyd's algorithm after each change
RELAXATION = 1.5  # times as far as to the mean, as the iterations on coarse cells go
CLOSE = 1.1  # of the mean distance between neighbors: the freezing range of the source
PAIRS = {"cpu": 1 << 17, "cuda": 1 << 24}  # of point and center: scores fit the cache, or launches are few


def breathe(
    points: Tensor,  # [C, D] uint8, or float64 with numbers of about that size
    counts: Tensor,  # [C] int64, or float64 without fractions
    centers: Tensor,  # [K, D] float64
    *,
    n_cycles: int,  # at most
    draws: np.random.RandomState,
) -> Tensor:  # [K, D] float64
    """Centers with a lower error on points with counts, from given ones."""
    with one_torch_thread():
        return _breathe(_Cells(_on_grid(points.double()), counts), centers, n_cycles, draws)


def _breathe(cells: "_Cells", centers: Tensor, n_cycles: int, draws: np.random.RandomState) -> Tensor:
    best = cells.settled(_on_grid(centers), ITERATIONS)
    most_added, n_failed = min(max(FEWEST_ADDED, len(centers) // 16), len(centers)), 0
    for _ in range(n_cycles):
        errors = best.errors.cpu().numpy()
        n_added = min(most_added - n_failed // 2, int(np.count_nonzero(errors)))
        if n_added == 0:
            break
        chosen = draws.choice(len(errors), n_added, replace=False, p=errors / errors.sum())
        added = cells.halves(best)[torch.from_numpy(chosen).to(centers.device)]
        found = cells.settled(torch.cat([best.centers, added]), ITERATIONS // 2)
        while len(found.centers) > len(centers):  # three quarters of those too many at a time
            n_removed = -(-3 * (len(found.centers) - len(centers)) // 4)
            last = len(found.centers) - n_removed == len(centers)
            found = cells.settled(found.centers[_useful(found, n_removed)], ITERATIONS if last else 1)
        if found.error < best.error:
            best = found
        else:
            n_failed += 1
    return best.centers


@dataclass(frozen=True, eq=False)
class _Settled:
    centers: Tensor  # [K, D] float64
    labels: Tensor  # [C] int64
    errors: Tensor  # [K] float64: summed over the pixels of each cluster
    uses: Tensor  # [K] float64: by how much the error rises without each center
    error: float


class _Cells:
    """Points with counts, and Lloyd's algorithm on them by whole matrices."""

    def __init__(self, points: Tensor, counts: Tensor) -> None:
        self.weights = counts.double()
        self.levels = points
        self._range = points.amin(dim=0), points.amax(dim=0)
        self.squares = self.levels.square().sum(dim=1)
        self.weighted = torch.column_stack([self.levels * self.weights[:, None], self.weights])
        self._columns = torch.column_stack([self.levels, torch.ones_like(self.weights)]).T.contiguous()

    def settled(self, centers: Tensor, iterations: int) -> _Settled:
        """Repeat Lloyd steps, and find out how much each center is worth."""
        labels: Tensor | None = None
        for _ in range(iterations):
            previous, labels = labels, self._nearest(centers)
            if previous is not None and torch.equal(labels, previous):
                break
            moves = self._means(labels, slice(None), centers) - centers
            centers = _on_grid((centers + RELAXATION * moves).clamp(*self._range))
        labels, first, second = self._nearest_two(centers)
        values = torch.column_stack([first + self.squares, second - first]) * self.weights[:, None]
        errors, uses = centers.new_zeros(len(centers), 2).index_add_(0, labels, values).unbind(dim=1)
        return _Settled(centers, labels, errors, uses, float(errors.sum()))

    def _nearest(self, centers: Tensor) -> Tensor:  # [K, D] float64, on the grid -> [C] int64
        nearest = self.levels.new_empty(len(self.levels))
        for part, scores in self._scores(centers):
            torch.amin(scores, dim=0, out=nearest[part])
        return nearest.long() & (_places(len(centers)) - 1)

    def _nearest_two(
        self, centers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # [C] int64; [C], [C]: squared distances less the squares of the points
        places = _places(len(centers))
        found = self.levels.new_empty(2, len(self.levels))
        for part, scores in self._scores(centers):
            torch.amin(scores, dim=0, out=found[0, part])
            scores.scatter_(0, found[0, None, part].long() & (places - 1), torch.inf)
            torch.amin(scores, dim=0, out=found[1, part])
        labels = found.long() & (places - 1)
        first, second = (found - labels) / (GRID**2 * places)
        return labels[0], first, second

    def _scores(self, centers: Tensor) -> Iterator[tuple[slice, Tensor]]:  # places of c points, and [K, c] float64
        """Scores of points, chunk by chunk; the index of the center is in the lowest digits of each.

        A minimum over numbers is several times faster than one that also tells where it is.
        """
        n_centers, n_points = len(centers), len(self.levels)
        unit = GRID**2 * _places(n_centers)
        index = torch.arange(n_centers, dtype=torch.float64, device=centers.device)
        rows = torch.column_stack([-2 * unit * centers, unit * centers.square().sum(dim=1) + index])
        step = max(64, PAIRS[centers.device.type] // n_centers)
        scores = centers.new_empty(n_centers * min(step, n_points))
        for start in range(0, n_points, step):
            columns = self._columns[:, start : start + step]
            block = scores[: n_centers * columns.shape[1]].view(n_centers, -1)
            yield slice(start, start + step), torch.mm(rows, columns, out=block)

    def halves(self, state: _Settled) -> Tensor:  # [K, D] float64
        """The mean of the upper part of each cluster, cut at its center across its longest side."""
        apart = self.levels - state.centers[state.labels]
        spread = torch.zeros_like(state.centers)
        spread.index_add_(0, state.labels, apart.square() * self.weights[:, None])
        longest = spread.argmax(dim=1)[state.labels]
        upper = apart.gather(1, longest[:, None])[:, 0] > 0
        return _on_grid(self._means(state.labels[upper], upper, state.centers))

    def _means(self, labels: Tensor, points: slice | Tensor, centers: Tensor) -> Tensor:  # [K, D] float64
        """The mean of some points of each cluster, or its center where there are none."""
        sums = centers.new_zeros(len(centers), centers.shape[1] + 1).index_add_(0, labels, self.weighted[points])
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:].clamp(min=1), centers)


def _useful(state: _Settled, n_removed: int) -> Tensor:  # [K - n_removed] int64
    """Choose the centers that stay: the least useful go, but not the close neighbors of one that goes."""
    apart = torch.cdist(state.centers, state.centers, compute_mode="donot_use_mm_for_euclid_dist")
    apart.fill_diagonal_(torch.inf)
    close = apart < CLOSE * apart.min(dim=1).values.mean()
    order = state.uses.sort(stable=True).indices.tolist()
    frozen: set[int] = set()
    removed: list[int] = []
    for center in order:
        if len(removed) == n_removed:
            break
        if center not in frozen:
            removed.append(center)
            neighbors = set(close[center].nonzero().view(-1).tolist())
            if len(frozen | neighbors) + n_removed <= len(order):
                frozen |= neighbors
    stays = torch.ones(len(order), dtype=torch.bool, device=state.centers.device)
    stays[removed] = False
    return stays.nonzero().view(-1)


def _on_grid(centers: Tensor) -> Tensor:
    return (centers * GRID).round_() / GRID


def _places(n_centers: int) -> int:
    """The least power of two that is not below the number of centers: numbers below it can hold a center's index."""
    return 1 << (n_centers - 1).bit_length()
