"""The nearest entry of a given palette for every color."""

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import with_alpha
from gpuquant.colors.error import squared_error
from gpuquant.colors.spaces import SRGB
from gpuquant.errors import ArgumentError
from gpuquant.fitting.fit import PaletteFit
from gpuquant.palettes.entries import MAX_ENTRIES


def nearest_entries(
    colors: Tensor,  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct
    counts: Tensor,  # [M] int64
    palette: Tensor,  # [K, 3] or [K, 4] uint8, on the same device
    chunk_size: int | None = None,
) -> PaletteFit:  # with the palette as it was given, or with one more entry
    """Label every color with the nearest entry, the first of equal ones.

    With alpha on either side distances are those of four columns, weighted by alpha; a palette without a clear entry
    gets one at its end for a photo with clear pixels.
    """
    if colors.shape[1] == 3 and palette.shape[1] == 3:
        points, centers = colors, palette.double()
    else:
        colors, palette = with_alpha(colors), with_alpha(palette)
        if bool((colors[:, 3] == 0).any()) and not bool((palette[:, 3] == 0).any()):
            if len(palette) == MAX_ENTRIES:
                raise ArgumentError(f"{MAX_ENTRIES} entries leave no room for clear pixels; give a background")
            palette = torch.cat([palette, palette.new_zeros(1, 4)])
        points, centers = ops.as_steps(SRGB.enter(colors)), SRGB.enter(palette)  # which rounds nothing
    if len(palette) > ops.MAX_CLUSTERS:
        points = ops.levels_of(points)
    prepared = ops.point_set(points[None], counts.double()[None], chunk_size=chunk_size)
    state = ops.lloyd_steps(prepared, len(palette))
    entered = state.enter(centers[None])
    _, totals, _ = state.step(entered, [0])
    labels = state.labels_of_points()[0]
    error = state.inertia(entered)[0] if points is colors else squared_error(colors, palette, labels, counts)
    n_pixels = totals[0].round().to(torch.int64)
    return PaletteFit(palette.cpu(), labels, n_pixels.cpu(), error, error, n_iter=0, converged=True)
