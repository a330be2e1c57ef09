"""k-means as scikit-learn computes it: all differences from `kmeans` in one place.

k-means++ draws over the samples in their order; emptied clusters take the samples that `argpartition` puts last,
whatever their weight; all labels count when scikit-learn asks whether one has changed. Folded pixels give the same
draws, labels and iterations as the pixels would.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.initialization import kmeans_plus_plus
from gpuquant.clustering.lloyd import iterate
from gpuquant.estimator.level_pixels import LevelPixels
from gpuquant.estimator.running_sums import search_equal_shares, search_shares
from gpuquant.estimator.sample_draws import FEW, plus_plus_samples
from gpuquant.estimator.samples import Samples


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of one run."""

    centers: Tensor  # [K, D] float64
    point_labels: Tensor  # [n_points] int32
    inertia: float
    n_iter: int


class SampleLloyd(ops.DenseLloyd):
    """Lloyd steps that count and move single samples as scikit-learn does."""

    as_scikit_learn = True

    def __init__(self, samples: Samples, n_clusters: int) -> None:
        super().__init__(samples.points, n_clusters)
        self._samples = samples

    def farthest(self, run: int, n_points: int, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The samples farthest from their center, unless all are on theirs, in the order of `argpartition`."""
        distances = self._points.squared_distances(0, centers, self._labels[run])
        if float(distances.max()) == 0:
            return centers[:0], centers[:0, 0], torch.zeros(0, dtype=torch.int64)
        far = np.argpartition(self._samples.per_sample(distances).cpu().numpy(), -n_points)[: -n_points - 1 : -1]
        sample = torch.from_numpy(far.copy()).to(distances.device)
        index = self._samples.point_of(sample)
        points = self._points.points[0, index].double() - self._points.origin[0]
        return points, self._samples.weight_of(sample), self._labels[0, index].long()


def fit_once(
    samples: Samples,
    centers: Tensor,  # [K, D] float64
    *,
    max_iter: int,
    tol: float,
    say: Callable[[str], None] | None = None,
) -> Fit:
    """Run Lloyd's algorithm once from given centers."""
    limit = tol * samples.variance if tol else 0.0  # on the sum of the squared shifts
    state = SampleLloyd(samples, len(centers))

    def report(iteration: int, old: Tensor, shift: float, n_changed: int) -> None:
        assert say is not None
        say(f"Iteration {iteration - 1}, inertia {state.inertia(old)[0]}.")
        if n_changed == 0:
            say(f"Converged at iteration {iteration - 1}: strict convergence.")
        elif shift <= limit:
            say(f"Converged at iteration {iteration - 1}: center shift {shift} within tolerance {limit}.")

    runs = iterate(state, centers[None], max_iter=max_iter, limits=[limit], report=report if say else None)
    return Fit(runs.centers[0], state.labels_of_points()[0], runs.inertia[0], runs.n_iter[0])


def named_centers(
    samples: Samples, init: str, n_clusters: int, random_state: np.random.RandomState
) -> Tensor:  # [K, D] float64
    """Choose the first centers of a run by the method of that name: "k-means++" or "random"."""
    return (plus_plus_centers if init == "k-means++" else random_centers)(samples, n_clusters, random_state)


def plus_plus_centers(samples: Samples, n_clusters: int, random_state: np.random.RandomState) -> Tensor:  # [K, D]
    """Greedy k-means++ over the samples in their order."""
    if samples.weights is not None and bool((samples.weights < 0).any()):
        raise ValueError("probabilities are not non-negative")  # as the draw of the first center in scikit-learn says
    single = samples.dtype == torch.float32
    if samples.device.type == "cpu" and (single or (samples.pixels is None and samples.n_points <= FEW)):
        rows, ranks = samples.points.points[0], samples.pixels.ranks.numpy() if samples.pixels else None
        centered, weights = (rows - samples.points.origin[0]).numpy(), sample_weights(samples)
        return rows[plus_plus_samples(centered, weights, n_clusters, random_state, ranks)].double()
    if samples.pixels is None:
        return kmeans_plus_plus(samples.points, n_clusters, [random_state])[0][0]
    return _plus_plus_pixels(samples, samples.pixels, n_clusters, random_state)


def random_centers(samples: Samples, n_clusters: int, random_state: np.random.RandomState) -> Tensor:  # [K, D]
    """Draw different samples, by weight."""
    weights = sample_weights(samples)
    drawn = random_state.choice(len(weights), size=n_clusters, replace=False, p=weights / weights.sum())
    return samples.points.points[0, samples.point_of(torch.from_numpy(drawn))].double()


def sample_weights(samples: Samples) -> npt.NDArray[Any]:  # [n_samples], of the samples' type
    """The weight of each sample: shares of their sum are rounded as the samples are."""
    if samples.weights is None:
        return np.ones(samples.n_samples, "float32" if samples.dtype == torch.float32 else "float64")
    return samples.weights.to("cpu", samples.dtype).numpy()


def _plus_plus_pixels(
    samples: Samples, pixels: LevelPixels, n_clusters: int, random_state: np.random.RandomState
) -> Tensor:  # [K, D]
    """k-means++ with integer distances between levels, so that every sum is exact.

    Only colors have distances; the draws go over the pixels.
    """
    first = int(pixels.ranks[_first_draw(samples, float(random_state.uniform()))])
    uniforms = random_state.uniform(size=(n_clusters - 1, 2 + int(np.log(n_clusters))))
    totals = samples.totals

    def draws() -> ops.PixelDraws:
        samples.prepare_points()
        if samples.weights is None:
            return pixels.draws
        return ops.pixel_draws(pixels.ranks, len(pixels.colors), samples.weights)

    chosen = ops.choose_among_pixels(pixels.colors, totals, pixels.ranks, samples.weights, first, uniforms, draws)
    return pixels.values[pixels.colors[chosen].long()].double()


def _first_draw(samples: Samples, uniform: float) -> int:
    """Find the sample that `RandomState.choice` draws: its running sum of shares rounds at every addition."""
    n_samples = samples.n_samples
    if samples.weights is not None:
        weights = samples.weights.cpu().numpy()
        total = weights.sum()
        return search_shares(lambda part: weights[part] / total, n_samples, uniform)
    return search_equal_shares(n_samples, uniform)


def number_of_runs(init: Any, n_init: Any, algorithm: str, n_clusters: int, estimator: str) -> int:
    """Settle the number of runs, with scikit-learn's warnings about settings that do not fit together."""
    by_name = isinstance(init, str)
    if algorithm == "elkan" and n_clusters == 1:
        message = "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead."
        warnings.warn(message, RuntimeWarning, stacklevel=5)
    if n_init == "auto":
        n_init = 10 if callable(init) or (by_name and init == "random") else 1
    if not by_name and not callable(init) and n_init != 1:
        message = f"Explicit initial center position passed: performing only one init in {estimator}"
        warnings.warn(f"{message} instead of n_init={n_init}.", RuntimeWarning, stacklevel=5)
        n_init = 1
    return int(n_init)


def same_clustering(labels: Tensor, others: Tensor, n_clusters: int) -> bool:
    """Tell whether each cluster of the first labeling lies in one cluster of the second."""
    pairs = torch.unique(labels.long() * n_clusters + others.long())
    return len(torch.unique(pairs // n_clusters)) == len(pairs)
