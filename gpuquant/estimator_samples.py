"""What the estimator clusters: samples, or 8-bit pixels folded to distinct colours in their place."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpuquant.level_pixels import LevelPixels, fold_pixels
from gpuquant.ops.cpu_ops import column_means, share_out, take
from gpuquant.ops.dense import DensePoints

FEW_SAMPLES = 1 << 15  # so few are not folded: there is little to gain


@dataclass(frozen=True, eq=False)
class Samples:
    """What is clustered: samples, or folded pixels in their place."""

    points: DensePoints  # one problem: all samples, or the distinct colours with their summed weights
    weights: Tensor | None  # [n_samples] float64; None: all are 1
    pixels: LevelPixels | None

    @property
    def n_samples(self) -> int:
        return len(self.pixels.ranks) if self.pixels else self.points.n_points

    @property
    def variance(self) -> float:
        """The variance of the columns, averaged over them, whatever the weights."""
        points = self.points
        if self.weights is None:
            return float(points.variance)
        counts = torch.ones_like(points.weights) if self.pixels is None else self.pixels.counts.double()[None]
        return float(DensePoints(points.points, counts, None, points.origin).variance)

    def per_sample(self, values: Tensor) -> Tensor:  # [n_points] -> [n_samples]
        """The value of each sample's point."""
        if self.pixels is None:
            return values
        return take(values, self.pixels.ranks) if values.is_cpu else values.index_select(0, self.pixels.ranks)

    def turn_into_labels(self, labels: Tensor) -> Tensor:  # [n_points] int32 -> [n_samples] int32
        """The label of each sample, in the memory of the pixels' ranks: the samples are of no use afterwards."""
        if self.pixels is None or labels.is_cuda:
            return self.per_sample(labels)
        return take(labels, self.pixels.ranks, out=self.pixels.ranks)

    def point_of(self, sample: Tensor) -> Tensor:  # [n] int64 -> [n] int64
        """Which point stands for each of some samples."""
        return sample if self.pixels is None else self.pixels.ranks[sample].long()

    def weight_of(self, sample: Tensor) -> Tensor:  # [n] int64 -> [n] float64
        """The weights of some samples."""
        return torch.ones_like(sample, dtype=torch.float64) if self.weights is None else self.weights[sample]


def prepare_samples(
    samples: Tensor,  # [N, D] float32, float64 or uint8
    weights: Tensor | None,  # [N] float64
    *,
    centred: bool,  # whether to work relative to the mean
    chunk_size: int | None,
) -> Samples:
    """Fold the samples if they are pixels, and find their mean meanwhile."""
    found: dict[str, Tensor] = {}
    pixels: list[LevelPixels | None] = [None]

    def centre() -> None:
        found["mean"] = column_means(samples) if samples.is_cpu else samples.mean(dim=0, dtype=_dtype(samples))

    def fold() -> None:
        pixels[0] = fold_pixels(samples)

    tasks: list[Callable[[], None]] = [centre] if centred else []
    tasks += [fold] if len(samples) > FEW_SAMPLES else []
    share_out(tasks, lambda task: task(), torch.get_num_threads())
    folded = pixels[0]
    rows = samples.to(_dtype(samples)) if folded is None else folded.rows()
    if folded is None:
        totals = torch.ones(len(rows), dtype=torch.float64, device=rows.device) if weights is None else weights
    elif weights is None:
        totals = folded.counts.double()
    else:
        totals = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        totals.index_add_(0, folded.ranks, weights)
    origin = found.get("mean", rows.new_zeros(rows.shape[1]))
    return Samples(DensePoints(rows[None], totals[None], chunk_size, origin[None]), weights, folded)


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


def _dtype(samples: Tensor) -> torch.dtype:
    return torch.float32 if samples.dtype == torch.float32 else torch.float64
