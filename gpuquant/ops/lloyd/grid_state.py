"""Centers on a grid of a quarter level, and what each of them is worth.

No product or sum of such numbers rounds, so results do not depend on the order of sums.
"""

from dataclasses import dataclass

from torch import Tensor

GRID = 4.0  # steps of a level


@dataclass(frozen=True, eq=False)
class GridState:
    """Centers to which all points are labeled."""

    centers: Tensor  # [K, D] float64
    labels: Tensor  # of the points, as the implementation keeps them
    errors: Tensor  # [K] float64: weighted squared distances, summed over the points of each cluster
    uses: Tensor  # [K] float64: by how much the error rises without each center; infinite if there is one
    error: float


def on_grid(levels: Tensor) -> Tensor:  # of the same shape
    """Levels rounded to the grid."""
    return (levels * GRID).round_() / GRID
