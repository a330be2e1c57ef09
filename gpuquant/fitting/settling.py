"""Rounded centers settled on all colors by Lloyd steps, as long as what is written gets better."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.restarts import Run
from gpuquant.colors.alpha import OPAQUE
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.problem import PaletteProblem

FLOAT_TOL = 1e-4  # at least, in other spaces: half the time for less than 0.1 % of the error (three photos)


def settle(problem: PaletteProblem, run: Run, tol: float) -> PaletteFit:
    """Round the centers of a run to a palette, and settle it on all colors; the run goes on if it was on these."""
    state, palette = run.runs.state, problem.space.leave(run.centers)
    if problem.levels(len(palette))[-1] is not problem.all:  # it was on cells
        return settle_entries(problem, palette, run, tol)
    if isinstance(state, ops.ColorLloyd) and problem.all.points.dtype == torch.uint8:
        return _settle_levels(problem, palette, run, tol, state)
    return _settle(problem, palette, run, tol, state, run.runs.centers.clone(), run.index)


def settle_entries(
    problem: PaletteProblem,
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    run: Run,  # in which it was found
    tol: float,
    *,
    keep_last: bool = False,
) -> PaletteFit:
    """Settle a palette on all colors of a problem; a last entry that is kept does not move."""
    state = ops.lloyd_steps(problem.all.prepared, len(palette))
    return _settle(problem, palette, run, tol, state, problem.space.enter(palette)[None].double(), 0, keep_last)


def _settle_levels(
    problem: PaletteProblem,
    palette: Tensor,  # [K, 3] uint8
    found: Run,
    tol: float,  # it ends when the error falls by no more than this share
    state: ops.ColorLloyd,  # of 8-bit colors
) -> PaletteFit:
    """Move entries to the means of their colors, rounded, and unused ones to the colors farthest from theirs.

    The mean rounded is the best integer entry for given labels, so both lower the error, which is an integer, and this
    ends. What is small is worked on by NumPy: it has no device to wait for.
    """
    run, device, least = found.index, problem.device, math.inf
    levels = palette.cpu().numpy().astype(np.float64)
    while True:
        entered = state.enter(torch.from_numpy(levels).to(state.home)[None])
        sums, weights = (part[0].cpu().numpy() for part in state.step(entered, [run])[:2])
        unused = np.flatnonzero(weights == 0)
        if len(unused):
            farthest = state.leave(state.farthest(run, len(unused), entered[0])[0]).cpu().numpy()
            if len(farthest):
                levels[unused[: len(farthest)]] = farthest
                continue
        error, before = state.error_of_levels(run, levels), least
        if error < before:
            labels, least = state.labels_of_points()[run, : len(problem)].clone(), error
            best = levels.astype(np.uint8), np.rint(weights).astype(np.int64)
        if error >= (1 - tol) * before:
            entries, n_pixels = (torch.from_numpy(part).to(device, non_blocking=True) for part in best)
            return PaletteFit(entries, labels, n_pixels, least, found.inertia, found.n_iter, found.converged)
        means = state.leave(torch.from_numpy(sums / weights.clip(min=1)[:, None])).numpy()
        levels = np.rint(means).clip(0, 255)


def _settle(
    problem: PaletteProblem,
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    found: Run,
    tol: float,  # it ends when the error falls by no more than this share
    state: ops.Lloyd,
    centers: Tensor,  # [P, K, D] float64: of all runs of the state
    run: int,  # which of them is worked on
    keep_last: bool = False,
) -> PaletteFit:
    """Move entries to the means of their colors, rounded, and unused ones to the colors farthest from theirs.

    The mean rounded is the best integer entry for given labels, so both lower the error of 8-bit colors, which is an
    integer, and this ends; in other spaces it ends with the first step that does not lower the error.
    """
    space, last = problem.space, palette[-1].clone()
    if problem.all.points.dtype != torch.uint8:
        tol = max(tol, FLOAT_TOL)
    best: PaletteFit | None = None
    is_opaque_known = problem.opaque is None
    while True:
        centers[run] = space.enter(palette)
        entered = state.enter(centers)
        sums, weights, _ = state.step(entered[run, None], [run])
        unused = (weights[0, :-1] if keep_last else weights[0]).eq(0).nonzero().view(-1)
        farthest = state.farthest(run, len(unused), entered[run])[0] if len(unused) else unused
        if len(farthest):
            entered[run, unused[: len(farthest)]] = farthest
            palette = palette.clone()
            palette[unused] = space.leave(state.leave(entered)[run, unused])
            continue
        labels = state.labels_of_points()[run, : len(problem)]
        if is_opaque_known:
            error = state.inertia(entered)[run]
            least = math.inf if best is None else best.error
            if error < least:
                n_pixels = weights[0].round().to(torch.int64)
                best = PaletteFit(
                    palette, labels.clone(), n_pixels, error, found.inertia, found.n_iter, found.converged
                )
            if best is not None and error >= (1 - tol) * least:
                return replace(best, labels=problem.given_order(best.labels))
        is_opaque_known = True
        entered[run] = sums[0] / weights[0, :, None].clamp(min=1)
        palette = space.leave(state.leave(entered)[run])
        if problem.opaque is not None:  # what is opaque for the most part must not shine through
            places, counts = problem.opaque
            opaque = torch.zeros_like(weights[0]).index_add_(0, labels[places].long(), counts)
            palette[opaque > weights[0] / 2, 3] = OPAQUE
        if keep_last:
            palette[-1] = last
