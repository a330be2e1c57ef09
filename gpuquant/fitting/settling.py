"""Rounded centers settled on all colors by Lloyd steps, as long as what is written gets better."""

import math
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.restarts import Run
from gpuquant.colors.alpha import OPAQUE
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.problem import PaletteProblem

Floats = npt.NDArray[np.float64]

FLOAT_TOL = 1e-4  # at least, in other spaces: half the time for less than 0.1 % of the error (three photos)


def settle(found: Sequence[tuple[PaletteProblem, Run]], tol: float) -> list[PaletteFit]:
    """Round the centers of runs to palettes, and settle these on all colors; runs go on if they were on these.

    All runs are those of one state: of 8-bit colors they make their steps together.
    """
    state = found[0][1].runs.state
    if isinstance(state, ops.ColorLloyd) and all(_goes_on(*one) for one in found):
        return _settle_levels([(problem, problem.space.leave(run.centers), run) for problem, run in found], tol, state)
    return [_settle_alone(problem, run, tol) for problem, run in found]


def _goes_on(problem: PaletteProblem, run: Run) -> bool:
    """Tell whether a run was on all colors, and these are 8-bit colors."""
    return problem.levels(len(run.centers))[-1] is problem.all and problem.all.points.dtype == torch.uint8


def _settle_alone(problem: PaletteProblem, run: Run, tol: float) -> PaletteFit:
    state, palette = run.runs.state, problem.space.leave(run.centers)
    if problem.levels(len(palette))[-1] is not problem.all:  # it was on cells
        return settle_entries(problem, palette, run, tol)
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
    found: Sequence[tuple[PaletteProblem, Tensor, Run]],  # with a palette [K, 3] uint8
    tol: float,
    state: ops.ColorLloyd,  # of 8-bit colors
) -> list[PaletteFit]:
    """Settle palettes, whose steps are made together until all of them have ended."""
    settling = {run.index: _level_steps(problem, palette, run, tol, state) for problem, palette, run in found}
    wanted, fits = {run: next(steps) for run, steps in settling.items()}, dict[int, PaletteFit]()
    while wanted:
        runs = sorted(wanted)
        entered = state.enter(torch.from_numpy(np.stack([wanted[run] for run in runs])).to(state.home))
        sums, weights = (part.cpu().numpy() for part in state.step(entered, runs)[:2])
        for place, run in enumerate(runs):
            try:
                wanted[run] = settling[run].send((sums[place], weights[place]))
            except StopIteration as end:
                fits[run] = end.value
                del wanted[run]
    return [fits[run.index] for _, _, run in found]


def _level_steps(
    problem: PaletteProblem,
    palette: Tensor,  # [K, 3] uint8
    found: Run,
    tol: float,  # it ends when the error falls by no more than this share
    state: ops.ColorLloyd,
) -> Generator[Floats, tuple[Floats, Floats], PaletteFit]:  # steps with levels [K, 3] give sums [K, 3], weights [K]
    """Move entries to the means of their colors, rounded, and unused ones to the colors farthest from theirs.

    The mean rounded is the best integer entry for given labels, so both lower the error, which is an integer, and this
    ends. What is small is worked on by NumPy: it has no device to wait for.
    """
    run, least = found.index, math.inf
    levels = palette.cpu().numpy().astype(np.float64)
    while True:
        sums, weights = yield levels
        unused = np.flatnonzero(weights == 0)
        if len(unused):
            entered = state.enter(torch.from_numpy(levels).to(state.home))
            farthest = state.leave(state.farthest(run, len(unused), entered)[0]).cpu().numpy()
            if len(farthest):
                levels[unused[: len(farthest)]] = farthest
                continue
        error, before = state.error_of_levels(run, levels), least
        if error < before:
            labels, least = state.labels_of_run(run)[: len(problem)], error
            best = levels.astype(np.uint8), np.rint(weights).astype(np.int64)
        if error >= (1 - tol) * before:
            entries, n_pixels = map(torch.from_numpy, best)
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
                labels = problem.given_order(best.labels)
                return replace(best, palette=best.palette.cpu(), labels=labels, counts=best.counts.cpu())
        is_opaque_known = True
        entered[run] = sums[0] / weights[0, :, None].clamp(min=1)
        palette = space.leave(state.leave(entered)[run])
        if problem.opaque is not None:  # what is opaque for the most part must not shine through
            places, counts = problem.opaque
            opaque = torch.zeros_like(weights[0]).index_add_(0, labels[places].long(), counts)
            palette[opaque > weights[0] / 2, 3] = OPAQUE
        if keep_last:
            palette[-1] = last
