"""From counted colors with alpha to a palette with alpha."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpuquant.clustering.restarts import Run
from gpuquant.colors.alpha import OPAQUE, with_alpha
from gpuquant.colors.codes import z_order
from gpuquant.colors.spaces import WorkingSpace
from gpuquant.fitting.coarse_to_fine import fit_palettes, search_centers
from gpuquant.fitting.fit import PaletteFit, effort_for, lossless
from gpuquant.fitting.problem import PaletteProblem
from gpuquant.fitting.settling import settle_entries
from gpuquant.threads import one_torch_thread


def fit_alpha_palette(
    problem: PaletteProblem,  # of colors [M, 4], the clear ones all (0, 0, 0, 0)
    n_colors: int,
    *,
    effort: str = "default",
    **settings: Any,  # those of `search_centers`
) -> PaletteFit:  # with a palette [K, 4]
    """One entry for what is clear, and the others for what is not.

    Opaque colors are clustered in three columns. If others are partly transparent, all are clustered in four columns,
    weighted by their alpha, and the faintest may take the entry of the clear ones.
    """
    colors, counts, space = problem.colors, problem.all.counts, problem.space
    if len(colors) <= n_colors:
        return lossless(colors, counts)
    clear = colors[:, 3] == 0
    if n_colors == 1:  # which the clear and the others share
        clear = torch.zeros_like(clear)
    has_clear = bool(clear.any())
    visible, weights, n_visible = colors[~clear], counts[~clear], n_colors - has_clear
    if bool((visible[:, 3] == OPAQUE).all()):
        fit = _fit_opaque(visible[:, :3], weights, n_visible, space, effort=effort, **settings)
        return _with_clear(replace(fit, palette=with_alpha(fit.palette)), clear, counts)
    cost = effort_for(settings["init"], effort)
    with one_torch_thread():
        found = search_centers({0: PaletteProblem(visible, weights, space)}, n_visible, cost, **settings)
        fits = [_settled(problem, run, has_clear, cost.settle_tol) for _, run in found]
        return min(fits, key=lambda fit: fit.error)


def _settled(problem: PaletteProblem, run: Run, has_clear: bool, tol: float) -> PaletteFit:
    """The palette of a run on what is not clear, with an entry for what is."""
    palette = problem.space.leave(run.centers)
    if has_clear:
        palette = torch.cat([palette, palette.new_zeros(1, 4)])
    return settle_entries(problem, palette, run, tol, keep_last=has_clear)


def _fit_opaque(colors: Tensor, counts: Tensor, n_colors: int, space: WorkingSpace, **settings: Any) -> PaletteFit:
    order = z_order(colors).argsort()
    (fit,) = fit_palettes([PaletteProblem(colors[order], counts[order], space)], n_colors, **settings)
    labels = torch.empty_like(fit.labels)
    labels[order] = fit.labels
    return replace(fit, labels=labels)


def _with_clear(fit: PaletteFit, clear: Tensor, counts: Tensor) -> PaletteFit:
    """The fit of what is not clear, and an entry for what is."""
    labels = torch.full((len(clear),), len(fit.palette), dtype=torch.int32, device=clear.device)
    labels[~clear] = fit.labels
    palette = torch.cat([fit.palette, fit.palette.new_zeros(1, 4)])
    return replace(fit, palette=palette, labels=labels, counts=torch.cat([fit.counts, counts[clear]]))
