"""Centers of breathing k-means, on a grid of a quarter level.

No product or sum of such numbers rounds, so results do not depend on the order of sums.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

GRID = 4.0  # steps of a level
SPREADING = 1  # iterations of Lloyd's algorithm after clusters were split
ITERATIONS = 2  # after some were merged, and at first
RELAXATION = 1.5  # times as far as to the mean, as the iterations on coarse cells go


@dataclass(frozen=True, eq=False)
class GridState:
    """Centers, and how well they stand for the points."""

    centers: Tensor  # [K, D] float64
    errors: npt.NDArray[np.float64]  # [K]: weighted squared distances of each cluster to its mean, rounded to an entry
    kept: Any  # what the implementation knows besides

    @property
    def error(self) -> float:
        return float(self.errors.sum())


def on_grid(levels: Tensor) -> Tensor:  # of the same shape
    """Levels rounded to the grid."""
    return (levels * GRID).round_() / GRID
