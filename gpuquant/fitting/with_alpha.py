"""From counted colors with alpha to a palette with alpha."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gpuquant.clustering.restarts import Run
from gpuquant.colors.alpha import with_alpha
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
    colors, counts = problem.colors, problem.counts
    if len(colors) <= n_colors:
        return lossless(colors, counts)
    has_clear = n_colors > 1 and bool(problem.clear.any())  # one entry is shared by the clear and the others
    visible, n_visible = (problem.visible, n_colors - 1) if has_clear else (problem, n_colors)
    if has_clear and visible.colors.shape[1] == 3:
        (fit,) = fit_palettes([visible], n_visible, effort=effort, **settings)
        entries = torch.nn.functional.pad(with_alpha(fit.palette), (0, 0, 0, 1))
        n_pixels = torch.nn.functional.pad(fit.counts, (0, 1))
        return _with_clear(replace(fit, palette=entries, counts=n_pixels), problem.clear, counts)
    cost = effort_for(settings["init"], effort)
    with one_torch_thread():
        found = search_centers({0: visible}, n_visible, cost, **settings)
        fits = [_settled(visible, run, has_clear, cost.settle_tol) for _, run in found]
    best = min(fits, key=lambda fit: fit.error)
    return _with_clear(best, problem.clear, counts) if has_clear else best


def _settled(visible: PaletteProblem, run: Run, has_clear: bool, tol: float) -> PaletteFit:
    """The palette of a run on what is not clear, which the faintest may leave for the entry of what is."""
    palette = visible.space.leave(run.centers)
    if has_clear:
        palette = torch.cat([palette, palette.new_zeros(1, 4)])
    return settle_entries(visible, palette, run, tol, keep_last=has_clear)


def _with_clear(fit: PaletteFit, clear: Tensor, counts: Tensor) -> PaletteFit:
    """The fit of what is not clear, and what is, with the last entry."""
    labels = torch.full((len(clear),), len(fit.palette) - 1, dtype=torch.int32, device=clear.device)
    labels[~clear] = fit.labels
    n_pixels = fit.counts.clone()
    n_pixels[-1] += counts[clear].sum().cpu()
    return replace(fit, labels=labels, counts=n_pixels)
