"""From pixels to labels, with alpha or without: a table over all opaque colors, one pass over the pixels.

Colors that are not opaque are searched for.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import OPAQUE
from gpuquant.tensors import viewed_as


@contextmanager
def label_lookup(
    colors: Tensor,  # [M, 3] uint8, or [M, 4] for pixels with alpha: distinct
    labels: Tensor,  # [M] uint8 or int32, 0..65535: the label of each color
    dtype: torch.dtype,  # uint8, uint16 or int32
) -> Iterator[Callable[[Tensor], Tensor]]:  # pixels [N, 3], [N, 4] or [N] (gray) uint8 -> [N] of that dtype
    """A function that gives pixels whose colors are among these their labels, as long as the context is open."""
    values = labels.to(torch.int16 if dtype == torch.uint16 else dtype)  # torch does little with uint16
    has_alpha = colors.shape[1] == 4
    opaque, known = _opaque(colors, values) if has_alpha else (colors, values)
    with ops.lookup_table(opaque, viewed_as(known, dtype)) as table:
        if has_alpha:
            yield _alpha_lookup(colors, values, table)
        else:
            yield lambda pixels: ops.apply_lookup(pixels, table)


def _opaque(
    colors: Tensor,  # [M, 4] uint8
    values: Tensor,  # [M]
) -> tuple[Tensor, Tensor]:
    is_opaque = colors[:, 3] == OPAQUE
    return colors[is_opaque], values[is_opaque]


def _alpha_lookup(
    colors: Tensor,  # [M, 4] uint8, distinct
    labels: Tensor,  # [M] uint8, int16 or int32
    table: Tensor,  # [2^24] of as many bits: the labels of the opaque colors
) -> Callable[[Tensor], Tensor]:  # pixels [N, 4] uint8 -> [N] of the labels' dtype
    others = colors[:, 3] < OPAQUE
    keys, values = ops.alpha_keys(colors[others]), labels[others]
    if not bool((keys[1:] > keys[:-1]).all()):
        keys, order = keys.sort()
        values = values[order]
    return ops.alpha_lookup(keys, values.view(table.dtype), table)
