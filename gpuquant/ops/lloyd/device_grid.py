"""Points of breathing k-means on a device: a kernel makes all cycles there, or else they are made one by one."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

Breathe = Callable[[Tensor, Tensor, Tensor, Sequence[int], np.random.RandomState], tuple[Tensor, float] | None]


class DeviceGrid:
    """8-bit colors with weights on a device.

    Parameters
    ----------
    points : Tensor, uint8 [N, 3]
    weights : Tensor, int64 [N]
    breathe : callable
        Makes all cycles, or tells with None that it cannot.
    cycle_by_cycle : callable
        Prepares the same points for cycles one by one.
    """

    def __init__(self, points: Tensor, weights: Tensor, breathe: Breathe, cycle_by_cycle: Callable[..., Any]) -> None:
        self._points, self._weights = points, weights
        self._breathe, self._prepare = breathe, cycle_by_cycle

    def all_cycles(
        self,
        centers: Tensor,  # [K, 3] float64, on the grid
        n_added: Sequence[int],  # centers to add in each cycle, at most
        draws: np.random.RandomState,
    ) -> tuple[Tensor, float] | None:  # [K, 3] float64
        """Make all cycles: centers with a lower error than given ones, and that error; None where the kernel cannot."""
        return self._breathe(self._points, self._weights, centers, n_added, draws)

    @cached_property
    def cycle_by_cycle(self) -> Any:
        """The same points for cycles that are made one by one."""
        return self._prepare(self._points, self._weights)
