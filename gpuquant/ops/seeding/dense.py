"""k-means++ over floating-point points: worker threads over tiles of rows in NumPy, or plain torch on another device.

One tile on the CPU is rounded exactly as scikit-learn rounds all of its samples: among few points two candidates often
lower the potential equally, and rounding decides between them.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.threads import one_blas_thread, share_out, worker_threads

ROWS = 1 << 15  # of a tile: 0.8 MB of float64 for three columns
KEPT_NUMBERS = 1 << 25  # more distances to candidates are computed twice rather than kept: memory stays bounded

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class TiledSeeding:
    """For every point of one run the squared distance to the closest center chosen so far."""

    def __init__(
        self,
        points: Tensor,  # [N, D] float32 or float64
        origin: Tensor,  # [D], of the points' dtype
        weights: Tensor,  # [N] float64
    ) -> None:
        self._points, self._origin, self._weights = points.numpy(), origin.numpy(), weights.numpy()
        self._starts = range(0, len(points), ROWS)
        self._squares = np.empty(len(points))  # squared norms of the centered points
        self._closest: Doubles | None = None  # [N]
        self._kept: Doubles | None = None  # [L, N]
        self.potential = float(self._weights.sum())

        def measure(tile: int) -> None:
            rows = self._rows(tile)
            centered = self._centered(rows)
            self._squares[rows] = np.einsum("ij,ij->i", centered, centered)

        share_out(range(len(self._starts)), measure, worker_threads())

    def draw(
        self,
        uniforms: Doubles,  # [L] in [0, 1)
    ) -> Indices:  # [L]
        """Draw points with probability proportional to their weight times their closest squared distance."""
        if self._closest is None:  # as scikit-learn: the first draw searches to the right, the others to the left
            running = np.cumsum(self._weights / self._weights.sum())
            return np.searchsorted(running / running[-1], uniforms, side="right").astype(np.int64)
        running = np.cumsum(self._weights * self._closest)
        return np.searchsorted(running, uniforms * self.potential).clip(max=len(running) - 1).astype(np.int64)

    def add_best(
        self,
        candidates: Indices,  # [L]
    ) -> Tensor:  # [D] float64: the point that was added
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers."""
        chosen = (self._points[candidates] - self._origin).astype(np.float64)
        parts = np.zeros((len(self._starts), len(candidates)))
        keep = len(candidates) * len(self._points) <= KEPT_NUMBERS
        if keep and (self._kept is None or len(self._kept) != len(candidates)):
            self._kept = np.empty((len(candidates), len(self._points)))

        def lower(tile: int) -> Doubles:  # [L, rows]
            rows = self._rows(tile)
            kept = self._kept[:, rows] if keep and self._kept is not None else None
            distances: Doubles = np.matmul(chosen, self._centered(rows).T, out=kept)
            distances *= -2
            distances += np.einsum("ij,ij->i", chosen, chosen)[:, None]
            distances += self._squares[rows]
            np.maximum(distances, 0, out=distances)
            if self._closest is not None:
                np.minimum(distances, self._closest[rows], out=distances)
            return distances

        def add(tile: int) -> None:
            parts[tile] = (lower(tile) @ self._weights[self._rows(tile), None])[:, 0]

        with one_blas_thread():
            share_out(range(len(parts)), add, worker_threads())
            potentials = parts.sum(axis=0)
            best = int(potentials.argmin())
            if keep and self._kept is not None:
                closest = self._kept[best].copy()
            else:
                closest = np.concatenate([lower(tile)[best] for tile in range(len(parts))])
        self._closest, self.potential = closest, float(potentials[best])
        return torch.from_numpy(self._points[candidates[best]].astype(np.float64))

    def _rows(self, tile: int) -> slice:
        return slice(self._starts[tile], min(self._starts[tile] + ROWS, len(self._points)))

    def _centered(self, rows: slice) -> Doubles:
        centered: Doubles = (self._points[rows] - self._origin).astype(np.float64, copy=False)
        return centered


class DeviceSeeding:
    """For every point of one run the squared distance to the closest center chosen so far, on any device."""

    def __init__(
        self,
        points: Tensor,  # [N, D] float32 or float64
        origin: Tensor,  # [D], of the points' dtype
        weights: Tensor,  # [N] float64
    ) -> None:
        self._points, self._origin, self._weights = points, origin, weights
        self._closest: Tensor | None = None  # [N] float64
        self.potential = float(weights.sum())

    def draw(
        self,
        uniforms: Doubles,  # [L] in [0, 1)
    ) -> Indices:  # [L]
        """Draw points with probability proportional to their weight times their closest squared distance."""
        shares = self._weights if self._closest is None else self._weights * self._closest
        running = running_sums(shares)
        targets = torch.from_numpy(uniforms).to(running.device) * running[-1]
        found = torch.searchsorted(running, targets, right=self._closest is None)
        drawn: Indices = found.clamp_(max=len(running) - 1).cpu().numpy()
        return drawn

    def add_best(
        self,
        candidates: Indices,  # [L]
    ) -> Tensor:  # [D] float64: the point that was added
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers."""
        index = torch.from_numpy(candidates).to(self._points.device)
        chosen = (self._points[index] - self._origin).double()
        potentials = [self._lowered(center) @ self._weights for center in chosen]
        best = int(torch.stack(potentials).argmin())
        self._closest, self.potential = self._lowered(chosen[best]), float(potentials[best])
        return self._points[index[best]].double()

    def _lowered(self, center: Tensor) -> Tensor:  # [D] -> [N] float64
        distances = torch.zeros(len(self._points), dtype=torch.float64, device=self._points.device)
        for column, start, level in zip(self._points.unbind(dim=1), self._origin, center, strict=True):
            distances += ((column - start).double() - level).square_()
        return distances if self._closest is None else torch.minimum(distances, self._closest)


def running_sums(values: Tensor) -> Tensor:  # [N] -> [N]
    """Add up row by row, then over the rows: on a CUDA device the sums of a single row differ from time to time."""
    rows = torch.nn.functional.pad(values, (0, -len(values) % ROWS)).view(-1, ROWS)
    rows = torch.cat([rows, rows[:1]]).cumsum(dim=1)[:-1]  # two rows at least
    ends = rows[:, -1].cpu().cumsum(dim=0)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return (rows + starts.to(rows.device)[:, None]).view(-1)[: len(values)]
