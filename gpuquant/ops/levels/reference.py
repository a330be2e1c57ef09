"""8-bit levels among floating-point samples in plain torch, on any device."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.tensors import repeatable_sums

ROWS_AT_ONCE = 1 << 22  # 128 MiB for four columns of float64
FIRST_ROWS = 1 << 15  # tell most samples that are no levels from those that are
PIXELS_AT_ONCE = 1 << 19  # 4 MiB of float64


class Scale(NamedTuple):
    """How levels may be written in samples."""

    values: Tensor  # [256], on the CPU: what each level is
    factor: float  # makes levels of values, about
    steps: tuple[float, float]  # a level times the first is exact, or the second is 0: their sum is rounded once


def scales(dtype: torch.dtype) -> Iterator[Scale]:
    """The scales that samples of a dtype may have."""
    # on the CPU: a CUDA device divides by a number by multiplying with its reciprocal, which rounds another way
    if dtype == torch.uint8:
        yield Scale(torch.arange(256, dtype=torch.float64), 1.0, (1.0, 0.0))
        return
    every, inverse = torch.arange(256, dtype=dtype), torch.tensor(1 / 255, dtype=dtype)
    yield Scale(every, 1.0, (1.0, 0.0))
    yield Scale(every / 255, 255.0, ((1 - 2.0**-40) / 255, 2.0**-40 / 255))  # the first has 33 bits, every eighth set
    yield Scale(every * inverse, 255.0, (float(inverse), 0.0))


def read_levels(samples: Tensor) -> tuple[Tensor, Tensor] | None:  # [N, D] -> [256], uint8 [N, D]
    """The level of every sample, if one scale gives all samples back exactly."""
    for values, factor, _ in scales(samples.dtype):
        there = values.to(samples.device)
        if _read(samples[:FIRST_ROWS], there, factor) is not None:
            levels = _read(samples, there, factor)
            if levels is not None:
                return there, levels
    return None


def _read(samples: Tensor, values: Tensor, factor: float) -> Tensor | None:  # uint8 [N, D]
    levels = torch.empty(samples.shape, dtype=torch.uint8, device=samples.device)
    fits = torch.ones((), dtype=torch.bool, device=samples.device)
    for chunk, found in zip(samples.split(ROWS_AT_ONCE), levels.split(ROWS_AT_ONCE), strict=True):
        found.copy_((chunk * factor).round_().clamp_(0, 255))
        fits &= (values[found.long()] == chunk).all()  # any level for NaN, which differs from it
    return levels if bool(fits) else None


def rank_keys(sample_keys: Tensor, keys: Tensor) -> Tensor:  # [N] int32, [M] int32, ascending -> [N] int32
    """Find the rank of each key."""
    return torch.searchsorted(keys, sample_keys, out_int32=True)


def take_by_keys(values: Tensor, keys: Tensor, sample_keys: Tensor) -> Tensor:  # [M], [M] int32, [N] int32 -> [N]
    """Find the value of each key."""
    return values[torch.searchsorted(keys, sample_keys)]


class PixelDraws:
    """Draws of pixels by running sums over all of them, chunk by chunk."""

    def __init__(
        self,
        ranks: Tensor,  # [N] int32: which of the distinct colors each pixel has
        n_colors: int,
        weights: Tensor | None = None,  # [N] float64; None: all are 1
    ) -> None:
        self._ranks, self._n_colors = ranks, n_colors
        self._weights = torch.ones(len(ranks), dtype=torch.float64, device=ranks.device) if weights is None else weights

    def totals(self) -> Tensor:  # [M] float64
        """The summed weights of each color."""
        return repeatable_sums(self._ranks, self._weights, self._n_colors)

    def draw(
        self,
        values: Tensor,  # [M]: whole numbers that are not negative
        uniforms: npt.NDArray[np.float64],  # [L] in [0, 1)
    ) -> list[int]:  # [L]: the ranks of the drawn pixels' colors
        """Draw one pixel for each uniform number by the running sum of weight times value."""
        chunks = [slice(start, start + PIXELS_AT_ONCE) for start in range(0, len(self._ranks), PIXELS_AT_ONCE)]
        sums = torch.stack([self._running(values, chunk)[-1] for chunk in chunks]).cpu()
        ends = sums.cumsum(dim=0)
        drawn = []
        for target in (uniforms * float(ends[-1])).tolist():
            place = min(int(torch.searchsorted(ends, target)), len(ends) - 1)
            running = self._running(values, chunks[place])
            within = int(torch.searchsorted(running, target - float(ends[place] - sums[place])))
            drawn.append(int(self._ranks[chunks[place]][min(within, len(running) - 1)]))
        return drawn

    def _running(self, values: Tensor, chunk: slice) -> Tensor:  # [n] float64
        return (self._weights[chunk] * values[self._ranks[chunk].long()]).cumsum(dim=0)
