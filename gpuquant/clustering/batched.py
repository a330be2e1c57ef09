"""k-means, written by hand: batched, weighted, on any device."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_positive, check_settings
from gpuquant.clustering.initialization import INITIALIZATIONS, names_or
from gpuquant.clustering.lloyd import runs_together
from gpuquant.clustering.restarts import best_runs
from gpuquant.devices import memory_error_as_device_error
from gpuquant.errors import ArgumentError


@dataclass(frozen=True, eq=False, repr=False)
class KMeansResult:
    """The result of `kmeans`; for a batch every field has a leading axis B.

    Attributes
    ----------
    centers : Tensor, [K, D] or [B, K, D]
        float32 for float16 and float32 points, else float64.
    labels : Tensor, int32 [N] or [B, N]
        Index of the nearest center, the lowest among equal scores.
    inertia : Tensor, float64 [] or [B]
        Sum of weight times squared distance to the nearest center.
    n_iter : Tensor, int64 [] or [B]
        Lloyd iterations of the best of the `n_init` runs.
    converged : Tensor, bool [] or [B]
        Whether a stopping rule was met within `max_iter` iterations.

    Examples
    --------
    >>> import gpuquant, torch
    >>> found = gpuquant.kmeans(torch.tensor([[0.0], [2.0], [10.0]]), 2, init=torch.tensor([[0.0], [10.0]]))
    >>> found.centers.tolist(), found.labels.tolist(), found.inertia.item()
    ([[1.0], [10.0]], [0, 0, 1], 2.0)
    >>> found.n_iter.item(), found.converged.item()
    (2, True)
    """

    centers: Tensor
    labels: Tensor
    inertia: Tensor
    n_iter: Tensor
    converged: Tensor

    def __repr__(self) -> str:
        n_problems = f"{_count(len(self.centers), 'problem')} of " if self.centers.ndim == 3 else ""
        n_clusters, n_columns = self.centers.shape[-2:]
        size = f"{_count(n_clusters, 'cluster')} of {_count(self.labels.shape[-1], 'point')}"
        size = f"{n_problems}{size} in {_count(n_columns, 'column')}"
        if self.inertia.is_meta or not self.inertia.numel():
            return f"KMeansResult({size})"
        inertia = _span(f"{value:.3g}" for value in self.inertia.aminmax())
        n_iter = _span(str(int(value)) for value in self.n_iter.aminmax())
        iterations = "1 iteration" if n_iter == "1" else f"{n_iter} iterations"
        n_ended = int(self.converged.sum())
        ended = f"{n_ended} of {len(self.converged)} converged" if n_problems else "converged" * n_ended or "stopped"
        return f"KMeansResult({size}, inertia {inertia}, {iterations}, {ended})"


@memory_error_as_device_error()
def kmeans(
    points: Tensor,
    n_clusters: int,
    *,
    weights: Tensor | None = None,
    init: str | Tensor = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int = 0,
    chunk_size: int | None = None,
) -> KMeansResult:
    """Cluster weighted points by Lloyd's algorithm, on the device of the points.

    Parameters
    ----------
    points : Tensor, [N, D] or [B, N, D], float16 to float64, or uint8
        B separate problems of N points each. uint8 points with D = 3 are 8-bit colors: they are clustered exactly (no
        operation rounds) and several times faster; pass each color once, with its count as weight.
    n_clusters : int
        K, from 1 to the number of points with a positive weight.
    weights : Tensor, [N] or [B, N], optional
        How many points each row stands for. 0 is padding: it changes nothing.
    init : "k-means++", "random" or Tensor [K, D] or [B, K, D]
        Greedy k-means++ is the better start; given centers continue from an earlier result.
    n_init : int
        Runs from different starts; the one with the lowest inertia is kept.
    max_iter : int
        Iterations of one run at most.
    tol : float
        Stop when the centers' squared shifts add up to at most `tol` times the mean variance of the columns. A run also
        stops when no label changes.
    random_state : int
        Seed of the draws. Every problem of a batch draws as if it were alone.
    chunk_size : int, optional
        Bounds the memory for scores to 64 numbers per unit where compiled loops and kernels do not run; changes no
        result.

    Returns
    -------
    KMeansResult

    Raises
    ------
    ArgumentError
        An argument has an unusable shape, dtype or value, such as NaN among the points.
    DeviceError
        A CUDA device has too little memory.

    Notes
    -----
    Stopping rules and the handling of empty clusters are scikit-learn's: an empty cluster takes over the point that is
    farthest from its center (S. Lloyd 1982, "Least squares quantization in PCM"). The start is that of D. Arthur and
    S. Vassilvitskii 2007, "k-means++: the advantages of careful seeding". Small problems, and the `n_init` runs on
    them, go side by side, large ones one after the other; the result does not depend on the company.

    Examples
    --------
    >>> import gpuquant, torch
    >>> points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    >>> gpuquant.kmeans(points, 2).inertia.item()
    1.0
    """
    batch, batch_weights = _check_points(points, weights)
    check_positive("n_clusters", n_clusters)
    check_settings(n_init, max_iter, tol, random_state, chunk_size)
    if int((batch_weights > 0).sum(dim=1).min()) < n_clusters:
        message = f"n_clusters={n_clusters} is more than the number of points with a positive weight in {points.shape}"
        raise ArgumentError(f"{message}; ask for fewer clusters")
    starts = _check_init(init, batch, n_clusters)
    if isinstance(starts, Tensor):
        n_init = 1

    def cluster(group: slice) -> KMeansResult:
        return _best_runs(
            batch[group],
            batch_weights[group],
            n_clusters,
            starts[group] if isinstance(starts, Tensor) else starts,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
            chunk_size=chunk_size,
        )

    parts = _in_groups(len(batch), runs_together(batch.shape[1], n_clusters, batch.device), cluster)
    dtype = torch.float32 if points.dtype in (torch.float16, torch.bfloat16, torch.float32) else torch.float64
    names = [field.name for field in fields(KMeansResult)]
    found = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    found["centers"] = found["centers"].to(dtype)
    return KMeansResult(**{name: value if points.ndim == 3 else value[0] for name, value in found.items()})


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _span(ends: Iterable[str]) -> str:
    """The lowest and the highest of some numbers, or the one that they are."""
    return " to ".join(dict.fromkeys(ends))


def _in_groups(n_problems: int, at_once: int, cluster: Callable[[slice], KMeansResult]) -> list[KMeansResult]:
    """Cluster the problems of a batch, so many at once; half as many where a device has too little memory."""
    parts: list[KMeansResult] = []
    first = 0
    while first < n_problems:
        at_once = min(at_once, n_problems - first)
        try:
            parts.append(cluster(slice(first, first + at_once)))
            first += at_once
        except torch.OutOfMemoryError:
            if at_once == 1:
                raise
            at_once = (at_once + 1) // 2
    return parts


def _best_runs(
    points: Tensor,  # [B, N, D]
    weights: Tensor,  # [B, N] float64
    n_clusters: int,
    init: str | Tensor,
    *,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: int,
    chunk_size: int | None,
) -> KMeansResult:
    """The best of `n_init` runs on each problem."""
    if points.dtype == torch.uint8 and not _are_exact(points, weights, n_clusters, init):
        points = points.double()
    prepared = ops.point_set(points, weights, chunk_size=chunk_size)
    if isinstance(init, Tensor):
        starts = init[:, None]
    else:
        random_states = [np.random.RandomState(random_state) for _ in points]
        at_once = runs_together(weights.shape[1], n_clusters, weights.device, len(weights))
        numbers = [min(at_once, n_init - first) for first in range(0, n_init, at_once)]
        some = [INITIALIZATIONS[init](prepared, points, weights, n_clusters, random_states, n) for n in numbers]
        starts = torch.cat([centers.unflatten(0, (len(points), -1)) for centers in some], dim=1)
    best = best_runs(prepared, starts, max_iter=max_iter, tol=tol)
    device = points.device
    return KMeansResult(
        centers=torch.stack([run.centers for run in best]).to(device),
        labels=torch.stack([run.labels for run in best]),
        inertia=torch.tensor([run.inertia for run in best], dtype=torch.float64, device=device),
        n_iter=torch.tensor([run.n_iter for run in best], device=device),
        converged=torch.tensor([run.converged for run in best], device=device),
    )


def _are_exact(points: Tensor, weights: Tensor, n_clusters: int, init: str | Tensor) -> bool:
    """Tell whether 8-bit points are colors that can be clustered without rounding."""
    in_range = not isinstance(init, Tensor) or bool(((init >= 0) & (init <= 255)).all())
    few = n_clusters <= ops.MAX_CLUSTERS and float(weights.sum(dim=1).max()) <= ops.MAX_EXACT
    return points.shape[2] == 3 and few and in_range


def _check_points(points: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:  # [B, N, D], [B, N] float64
    if not isinstance(points, Tensor):
        raise ArgumentError(f"points must be a torch tensor, got {type(points).__name__}; use torch.as_tensor(points)")
    points = points.detach()
    if points.ndim not in (2, 3) or 0 in points.shape:
        raise ArgumentError(f"points must be [N, D] or [B, N, D] and not empty, got {tuple(points.shape)}")
    if not points.is_floating_point() and points.dtype != torch.uint8:
        raise ArgumentError(f"points must be floating-point or uint8, got {points.dtype}; use points.double()")
    if points.dtype in (torch.float16, torch.bfloat16):
        points = points.float()
    if points.is_floating_point():
        _check_range(points)
    batch = points if points.ndim == 3 else points[None]
    if weights is not None and not isinstance(weights, Tensor):
        raise ArgumentError(f"weights must be a torch tensor, got {type(weights).__name__}")
    if weights is None:
        return batch, torch.ones(batch.shape[:2], dtype=torch.float64, device=points.device)
    if weights.shape != points.shape[:-1]:
        expected = tuple(points.shape[:-1])
        raise ArgumentError(
            f"weights must have the shape of the points without D, {expected}, got {tuple(weights.shape)}"
        )
    weights = weights.to(device=points.device, dtype=torch.float64)
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ArgumentError("weights must be finite and not negative")
    if points.dtype == torch.uint8 and not bool((weights == weights.round()).all()):
        raise ArgumentError("weights of uint8 points are counts and must be integers; for others use points.double()")
    return batch, weights if weights.ndim == 2 else weights[None]


def _check_range(points: Tensor) -> None:
    low, high = (float(bound) for bound in points.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ArgumentError("points contain NaN or infinite values; remove or replace them first")
    largest = math.sqrt(torch.finfo(points.dtype).max / (16 * points.shape[-1]))
    if max(-low, high) > largest:
        raise ArgumentError(f"points reach {max(-low, high):g}, and squared distances overflow; scale them down first")


def _check_init(init: str | Tensor, batch: Tensor, n_clusters: int) -> str | Tensor:
    if isinstance(init, Tensor):
        expected = (n_clusters, batch.shape[2])
        if init.shape[-2:] != expected or init.ndim not in (2, 3) or (init.ndim == 3 and len(init) != len(batch)):
            raise ArgumentError(
                f"init must be centers [K, D] = {expected} or one set per problem, got {tuple(init.shape)}"
            )
        if init.is_complex() or not bool(init.isfinite().all()):
            raise ArgumentError("init must be real and finite")
        init = init.to(batch.device)
        return init if init.ndim == 3 else init.expand(len(batch), *expected)
    if not isinstance(init, str) or init not in INITIALIZATIONS:
        raise ArgumentError(f"init={init!r} is unknown; use {names_or('a tensor of centers')}")
    return init
