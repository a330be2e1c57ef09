"""The points that the estimator clusters: samples, or in their place 8-bit pixels folded to distinct colors."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor

from gpuquant import ops
from gpuquant.estimator.level_pixels import LevelPixels
from gpuquant.tensors import repeatable_sums, shared_tensor
from gpuquant.threads import hold_helper, worker_threads

MANY = 1 << 18  # samples whose mean takes 1 ms, and a thread 0.1 to start


class Samples:
    """The points to cluster: samples, or folded pixels in their place."""

    def __init__(
        self,
        samples: Tensor,  # [N, D] float32, float64 or uint8
        pixels: LevelPixels | None,  # the same, folded
        weights: Tensor | None,  # [N] float64; None: all are 1
        *,
        centered: bool,  # whether to work relative to the mean
        chunk_size: int | None,
    ) -> None:
        self._samples, self.pixels, self.weights = samples, pixels, weights
        self._centered, self._chunk_size = centered, chunk_size
        self._later: Future[ops.DensePoints] | None = None
        self.n_samples = len(samples)
        self.n_points = len(samples) if pixels is None else len(pixels.colors)
        self.dtype = torch.float32 if samples.dtype == torch.float32 else torch.float64
        self.device = samples.device

    def prepare_points(self) -> None:
        """Prepare `points`, once, in another thread, while the caller works on something else in its own."""
        begun = self._later is not None or "points" in self.__dict__
        if not begun and self.n_samples >= MANY and self.device.type == "cpu" and worker_threads() > 1:
            thread = ThreadPoolExecutor(1, thread_name_prefix="gpuquant", initializer=hold_helper)
            self._later = thread.submit(self._make_points)
            thread.shutdown(wait=False)

    @cached_property
    def points(self) -> ops.DensePoints:
        """One problem: all samples, or the distinct colors with their summed weights."""
        return self._later.result() if self._later else self._make_points()

    def _make_points(self) -> ops.DensePoints:
        rows = self._samples.to(self.dtype) if self.pixels is None else self.pixels.rows()
        if not self._centered:
            origin = rows.new_zeros(rows.shape[1])
        elif self._samples.is_cpu:
            origin = ops.column_means(self._samples)
        else:
            origin = self._samples.mean(dim=0, dtype=self.dtype)
        return ops.DensePoints(rows[None], self.totals[None], self._chunk_size, origin[None])

    def without_weights(self) -> "Samples":
        """The same points, each of them once."""
        rows = self._samples if self.pixels is None else self.pixels.rows()
        return Samples(rows, None, None, centered=self._centered, chunk_size=self._chunk_size)

    @cached_property
    def totals(self) -> Tensor:  # [n_points] float64
        """The summed weights of the points."""
        if self.weights is None:
            if self.pixels:
                return self.pixels.counts
            return torch.ones(self.n_samples, dtype=torch.float64, device=self.device)
        if self.pixels is None:
            return self.weights
        return repeatable_sums(self.pixels.ranks, self.weights, self.n_points)

    @cached_property
    def variance(self) -> float:
        """The variance of the columns, averaged over them, whatever the weights."""
        if self.pixels:
            return self.pixels.variance()
        points = self.points
        if self.weights is None:
            return float(points.variance)
        equal = torch.ones_like(points.weights)
        return float(ops.DensePoints(points.points, equal, None, points.origin).variance)

    def per_sample(self, values: Tensor) -> Tensor:  # [n_points] -> [n_samples]
        """The value of each sample's point."""
        if self.pixels is None:
            return values
        return ops.take(values, self.pixels.ranks)

    def turn_into_labels(self, labels: Tensor) -> Tensor:  # [n_points] int32 -> [n_samples] int32
        """The label of each sample, in the memory of folded pixels: the samples are of no use afterwards."""
        return labels if self.pixels is None else self.pixels.take(labels)

    def point_of(self, sample: Tensor) -> Tensor:  # [n] int64 -> [n] int64
        """Find the point that stands for each of some samples."""
        return sample if self.pixels is None else self.pixels.ranks[sample].long()

    def weight_of(self, sample: Tensor) -> Tensor:  # [n] int64 -> [n] float64
        """The weights of some samples."""
        return torch.ones_like(sample, dtype=torch.float64) if self.weights is None else self.weights[sample]


def checked_tensor(samples: Tensor) -> Tensor:  # float32, float64 or uint8, contiguous
    """A tensor that can be clustered."""
    given = f"got {tuple(samples.shape)}, {samples.dtype}, {samples.layout}"
    if samples.layout != torch.strided or samples.is_quantized or samples.is_meta or samples.is_complex():
        raise ValueError(f"X must be a dense real tensor with values, {given}")
    if samples.ndim != 2 or 0 in samples.shape:
        raise ValueError(f"X must be [n_samples, n_features] and not empty, {given}")
    samples = samples.detach().resolve_neg()
    if samples.dtype not in (torch.float32, torch.float64, torch.uint8):
        samples = samples.double()
    if not all(np.isfinite(float(bound)) for bound in samples.aminmax()):
        raise ValueError("Input X contains NaN or infinity.")
    return samples.contiguous()


def checked_weights(sample_weight: Any, samples: Any, device: torch.device) -> Tensor | None:  # [N] float64
    """Weights that are one for each sample; None stays None."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Tensor):
        sample_weight = sample_weight.detach().cpu().double().resolve_neg().numpy()
    like = np.empty((samples.shape[0], 0)) if isinstance(samples, Tensor) else samples
    checked = _check_sample_weight(sample_weight, like, dtype=np.dtype(float_type(samples)))
    return as_tensor(checked).to(device=device, dtype=torch.float64)


def checked_centers(centers: Any, n_clusters: int, samples: Any) -> Tensor:  # [K, D] float64
    """Given centers, as the samples' type holds them."""
    if isinstance(centers, Tensor):
        centers = centers.detach().cpu().double().resolve_neg().numpy()
    centers = check_array(centers, dtype=float_type(samples), copy=True, order="C")
    check_centers_shape(centers.shape, n_clusters, samples.shape[1])
    return torch.from_numpy(centers).double()


def check_centers_shape(shape: tuple[int, ...], n_clusters: int, n_features: int) -> None:
    """Raise unless given centers are as many as clusters, and have the samples' columns."""
    found = f"The shape of the initial centers {shape} does not match the number of"
    if shape[0] != n_clusters:
        raise ValueError(f"{found} clusters {n_clusters}.")
    if shape[1] != n_features:
        raise ValueError(f"{found} features of the data {n_features}.")


def as_tensor(values: Any) -> Tensor:
    """An array as a tensor on its own memory; a tensor as it is."""
    return values if isinstance(values, Tensor) else shared_tensor(values)


def float_type(samples: Any) -> str:
    """Name the type of centers and weights that goes with samples."""
    return "float32" if str(samples.dtype).endswith("float32") else "float64"


def as_given(found: Tensor, given: Any) -> Any:
    """A result as a tensor on the given tensor's device, or as an array."""
    return found.to(given.device) if isinstance(given, Tensor) else found.cpu().numpy()
