"""k-means, written by hand: batched, weighted, on any device."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.errors import ArgumentError
from gpuquant.initialization import kmeans_plus_plus, random_points


@dataclass(frozen=True, eq=False)
class KMeansResult:
    """What `kmeans` found; for a batch every field has a leading axis B.

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
    """

    centers: Tensor
    labels: Tensor
    inertia: Tensor
    n_iter: Tensor
    converged: Tensor


@dataclass(frozen=True, eq=False)
class Run:
    """One run of Lloyd's algorithm: centers [K, D] float64, its state with the final labels, and how it ended."""

    centers: Tensor
    state: ops.Lloyd
    n_iter: int
    converged: bool


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
        B separate problems of N points each. uint8 points with D = 3 are 8-bit colours: they are clustered exactly (no
        operation rounds) and several times faster; pass each colour once, with its count as weight.
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
        Bounds the memory for scores to 64 numbers per unit; changes no result.

    Returns
    -------
    KMeansResult

    Raises
    ------
    ArgumentError
        An argument has an unusable shape, dtype or value, such as NaN among the points.

    Notes
    -----
    Stopping rules and the handling of empty clusters are scikit-learn's: an empty cluster takes over the point that is
    farthest from its center (S. Lloyd 1982, "Least squares quantization in PCM"). The problems of a batch run one after
    the other, so a problem's result does not depend on its company.

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
    problems = [
        _best_of(
            rows,
            weight,
            n_clusters,
            starts[index] if isinstance(starts, Tensor) else starts,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            random_state=np.random.RandomState(random_state),
            chunk_size=chunk_size,
        )
        for index, (rows, weight) in enumerate(zip(batch, batch_weights, strict=True))
    ]
    dtype = torch.float32 if points.dtype in (torch.float16, torch.bfloat16, torch.float32) else torch.float64
    device = points.device
    result = KMeansResult(
        centers=torch.stack([run.centers for run, _ in problems]).to(dtype),
        labels=torch.stack([run.state.labels_of_points() for run, _ in problems]),
        inertia=torch.tensor([inertia for _, inertia in problems], dtype=torch.float64, device=device),
        n_iter=torch.tensor([run.n_iter for run, _ in problems], device=device),
        converged=torch.tensor([run.converged for run, _ in problems], device=device),
    )
    if points.ndim == 3:
        return result
    return KMeansResult(result.centers[0], result.labels[0], result.inertia[0], result.n_iter[0], result.converged[0])


def lloyd(
    points: ops.PointSet,
    centers: Tensor,  # [K, D] float64
    *,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
) -> Run:
    """Repeat "label every point, move every center to the mean of its points" until a stopping rule is met.

    With a relaxation w between 1 and 2 a center moves w times as far. For fixed labels the inertia is a parabola
    around the mean, so it still never rises, and fewer iterations are needed. The stopping rules are the same, and the
    last move always goes to the means.
    """
    state = ops.lloyd_steps(points, len(centers))
    centers = state.snap(centers)
    limit = tol * points.variance
    converged = False
    n_iter = 0
    while n_iter < max_iter and not converged:
        n_iter += 1
        sums, weights, n_changed = state.step(centers)
        means = state.snap(_means(state, centers, sums, weights))
        shift = float((means - centers).square().sum())
        if n_changed == 0 and (relaxation == 1 or shift == 0):
            return Run(means, state, n_iter, converged=True)
        converged = shift <= limit
        last = converged or n_iter == max_iter or n_changed == 0
        centers = means if last else state.snap(centers + relaxation * (means - centers))
    state.step(centers)
    return Run(centers, state, n_iter, converged)


def _means(state: ops.Lloyd, centers: Tensor, sums: Tensor, weights: Tensor) -> Tensor:
    """The means of the clusters; an empty cluster takes over a point that is farthest from its center."""
    empty = (weights == 0).nonzero().view(-1)
    if len(empty):
        sums, weights = sums.clone(), weights.clone()
        points, point_weights, labels = state.farthest(len(empty), centers)
        for cluster, point, weight, label in zip(empty, points, point_weights, labels, strict=False):
            sums[label] -= point * weight
            weights[label] -= weight
            sums[cluster] = point * weight
            weights[cluster] = weight
    means = sums / weights[:, None]
    still_empty = weights <= 0  # fewer different points than clusters
    return torch.where(still_empty[:, None], means[weights.argmax()], means)


def _best_of(
    points: Tensor,
    weights: Tensor,
    n_clusters: int,
    init: str | Tensor,
    *,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: np.random.RandomState,
    chunk_size: int | None,
) -> tuple[Run, float]:
    """The run with the lowest inertia, and that inertia."""
    in_range = not isinstance(init, Tensor) or bool(((init >= 0) & (init <= 255)).all())
    if points.dtype == torch.uint8 and (n_clusters > ops.MAX_CLUSTERS or points.shape[1] != 3 or not in_range):
        points = points.double()
    prepared = ops.point_set(points, weights, chunk_size=chunk_size)
    best: tuple[Run, float] | None = None
    for _ in range(n_init):
        if isinstance(init, Tensor):
            centers = init.double()
        elif init == "random":
            centers = random_points(points, weights, n_clusters, random_state)
        else:
            centers, _ = kmeans_plus_plus(prepared, n_clusters, random_state)
        run = lloyd(prepared, centers, max_iter=max_iter, tol=tol)
        inertia = run.state.inertia(run.centers)
        if best is None or inertia < best[1]:
            best = run, inertia
    assert best is not None
    return best


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
    if points.is_floating_point() and not bool(points.isfinite().all()):
        raise ArgumentError("points contain NaN or infinite values; remove or replace them first")
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


def _check_init(init: str | Tensor, batch: Tensor, n_clusters: int) -> str | Tensor:
    if isinstance(init, Tensor):
        expected = (n_clusters, batch.shape[2])
        if init.shape[-2:] != expected or init.ndim not in (2, 3) or (init.ndim == 3 and len(init) != len(batch)):
            raise ArgumentError(
                f"init must be centers [K, D] = {expected} or one set per problem, got {tuple(init.shape)}"
            )
        if not bool(init.isfinite().all()):
            raise ArgumentError("init contains NaN or infinite values")
        init = init.to(batch.device)
        return init if init.ndim == 3 else init.expand(len(batch), *expected)
    if not isinstance(init, str) or init not in ("k-means++", "random"):
        raise ArgumentError(f'init={init!r} is unknown; use "k-means++", "random" or a tensor of centers')
    return init


def check_settings(n_init: int, max_iter: int, tol: float, random_state: int, chunk_size: int | None) -> None:
    """Raise unless the settings of a k-means run can be used."""
    check_positive("n_init", n_init)
    check_positive("max_iter", max_iter)
    if chunk_size is not None:
        check_positive("chunk_size", chunk_size)
    if not (isinstance(tol, int | float) and math.isfinite(tol) and tol >= 0):
        raise ArgumentError(f"tol={tol!r} must be a finite number, 0 or more")
    if not isinstance(random_state, int | np.integer) or not 0 <= random_state < 2**32:
        raise ArgumentError(f"random_state={random_state!r} must be an integer from 0 to 2^32 - 1")


def check_positive(name: str, value: int) -> None:
    """Raise unless the argument is an integer of at least 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be an integer of at least 1")
