"""From counted colours with alpha to a palette with alpha."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.alpha_colors import OPAQUE, weighted_by_alpha, with_alpha, without_weight
from gpuquant.clustering import KMeansResult, kmeans
from gpuquant.ops.color_codes import z_order
from gpuquant.ops.torch_ops import repeatable_sums
from gpuquant.palette_fit import EFFORTS, PaletteFit, fit_palette, lossless

MANY = 1 << 17  # colours that are clustered as they are; more are folded first, and only settled as they are
CELL_SIDES = (2, 4, 8, 16)
ALPHA_STARTS = 4  # with the best effort: breathing k-means is for opaque colours


def fit_alpha_palette(
    colors: Tensor,  # [M, 4] uint8, distinct, the clear ones all (0, 0, 0, 0)
    counts: Tensor,  # [M] int64
    n_colors: int,
    effort: str = "default",
    **settings: Any,  # those of `fit_palette` and `kmeans`
) -> PaletteFit:  # with a palette [K, 4]
    """One entry for what is clear, and the others for what is not.

    Opaque colours are clustered exactly, as in `fit_palette`. If others are partly transparent, all are clustered in
    four columns, weighted by their alpha, and the faintest may take the entry of the clear ones.
    """
    if len(colors) <= n_colors:
        return lossless(colors, counts)
    clear = colors[:, 3] == 0
    if n_colors == 1:  # which the clear and the others share
        clear = torch.zeros_like(clear)
    has_clear = bool(clear.any())
    visible, weights, n_visible = colors[~clear], counts[~clear], n_colors - has_clear
    if bool((visible[:, 3] == OPAQUE).all()):
        order = z_order(visible[:, :3]).argsort()
        fit = fit_palette(visible[order, :3], weights[order], n_visible, effort=effort, **settings)
        labels = torch.empty_like(fit.labels)
        labels[order] = fit.labels
        palette = with_alpha(fit.palette)
        return _with_clear(replace(fit, palette=palette, labels=labels), clear, counts)
    cells, cell_weights = _folded(weighted_by_alpha(visible), weights)
    if len(cells) <= n_visible:
        cells, cell_weights = weighted_by_alpha(visible), weights
    settings["max_iter"] = min(settings["max_iter"], EFFORTS[effort].max_iter)
    if effort == "best":
        settings["n_init"] = max(settings["n_init"], ALPHA_STARTS)
    result = kmeans(cells, n_visible, weights=cell_weights, **settings)
    palette = without_weight(result.centers)
    if has_clear:
        palette = torch.cat([palette, palette.new_zeros(1, 4)])
    return _settle(weighted_by_alpha(colors), counts.double(), palette, result, keep_last=has_clear)


def _folded(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:  # [M, 4] float64, [M] -> [C, 4], [C]
    """Many colours as the means of cells of the cube of four columns, which k-means takes in far less time."""
    for side in CELL_SIDES:
        if len(points) <= MANY:
            break
        digits = (points / side).long()
        keys = ((digits[:, 0] * 256 + digits[:, 1]) * 256 + digits[:, 2]) * 256 + digits[:, 3]
        cells, place = torch.unique(keys, return_inverse=True)
        columns = [*(points * weights[:, None]).unbind(dim=1), weights.double()]
        *sums, weights = (repeatable_sums(place, column, len(cells)) for column in columns)
        points = torch.stack(sums, dim=1) / weights[:, None]
    return points, weights


def _with_clear(fit: PaletteFit, clear: Tensor, counts: Tensor) -> PaletteFit:
    """The fit of what is not clear, and an entry for what is."""
    labels = torch.full((len(clear),), len(fit.palette), dtype=torch.int32, device=clear.device)
    labels[~clear] = fit.labels
    palette = torch.cat([fit.palette, fit.palette.new_zeros(1, 4)])
    return replace(fit, palette=palette, labels=labels, counts=torch.cat([fit.counts, counts[clear]]))


def _settle(
    points: Tensor,  # [M, 4] float64, weighted by alpha
    weights: Tensor,  # [M] float64
    palette: Tensor,  # [K, 4] uint8
    result: KMeansResult,
    *,
    keep_last: bool,
) -> PaletteFit:
    """Move rounded entries, but not a last one that is kept, by Lloyd steps as long as what is written gets better."""
    state = ops.lloyd_steps(ops.point_set(points[None], weights[None]), len(palette))
    last, opaque_weights = palette[-1].clone(), weights * (points[:, 3] == OPAQUE)
    best: PaletteFit | None = None
    begun = False
    while True:
        centers = state.enter(weighted_by_alpha(palette)[None])
        sums, totals, _ = state.step(centers, [0])
        unused = (totals[0] == 0).nonzero().view(-1)
        if len(unused):
            farthest, _, _ = state.farthest(0, len(unused), centers[0])
            palette[unused[: len(farthest)]] = without_weight(state.leave(farthest[None])[0])
            continue
        labels = state.labels_of_points()[0].clone()
        if begun:
            error = state.inertia(centers)[0]
            if best is not None and error >= best.error:
                return best
            best = PaletteFit(
                palette=palette,
                labels=labels,
                counts=totals[0].round().to(torch.int64),
                error=error,
                inertia=float(result.inertia),
                n_iter=int(result.n_iter),
                converged=bool(result.converged),
            )
        begun = True
        palette = without_weight(state.leave((sums[0] / totals[0, :, None])[None])[0])
        opaque = torch.zeros_like(totals[0]).index_add_(0, labels.long(), opaque_weights)
        palette[opaque > totals[0] / 2, 3] = OPAQUE  # what is opaque for the most part must not shine through
        if keep_last:
            palette[-1] = last
