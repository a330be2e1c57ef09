"""Scores of points in boxes: neighbors look at the centers that are near them. Plain torch, on any device."""

from collections.abc import Iterator

import torch
from torch import Tensor


def boxes_of(
    columns: Tensor,  # [..., D, N] float64: points, neighbors close together
    size: int,  # of a box, in points
) -> Tensor:  # [2, ..., D, n] float64: the lowest numbers, and the highest
    """The boxes around so many points each."""
    bounds = [torch.stack(torch.aminmax(part, dim=-1)) for part in columns.split(size, dim=-1)]
    return torch.stack(bounds, dim=-1)


def near_scores(
    columns: Tensor,  # [D + 1, N] float64: points, and 1
    boxes: Tensor,  # [2, D, n] float64: of so many points each
    size: int,
    centers: Tensor,  # [K, D] float64
    factors: Tensor,  # [K, D + 1] float64: by which points and 1 are multiplied
) -> Iterator[Tensor]:  # [k, n] float64
    """Scores of all points, box by box; centers are left out that are not the nearest one of any point there."""
    numbers, index = _near(boxes, centers)
    for rows, part in zip(factors[index].split(numbers), columns.split(size, dim=1), strict=True):
        yield rows @ part


def _near(
    boxes: Tensor,  # [2, D, n] float64
    centers: Tensor,  # [K, D] float64
) -> tuple[list[int], Tensor]:  # of each box, how many; box by box, int64
    """Find the centers that are not farther from a box than all of it is from another one."""
    nearest, farthest = centers.new_zeros(2, boxes.shape[2], len(centers))
    for low, high, levels in zip(*boxes[..., None], centers.T, strict=True):
        below, above = low - levels, levels - high
        nearest += torch.maximum(below, above).clamp_(min=0).square_()
        farthest += torch.minimum(below, above).square_()
    is_near = nearest <= farthest.amin(dim=1, keepdim=True)
    return is_near.sum(dim=1).tolist(), is_near.nonzero()[:, 1]
