"""From counted colors to a palette: k-means from coarse to fine, with as much effort as asked for, then rounding."""

import math
import sys
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.breathing import breathe
from gpuquant.clustering.initialization import kmeans_plus_plus, random_points
from gpuquant.clustering.lloyd import Runs, lloyd, runs_together
from gpuquant.ops import coarsen
from gpuquant.threads import one_torch_thread

# measured on photos at K = 8, 64 and 256: a quarter fewer iterations than without momentum, and no higher error
RELAXATION = 1.5
MOMENTUM = 0.6
SEEDING_COLORS = 1 << 16  # k-means++ chooses among at most about this many colors or cell means
CELLS_PER_COLOR = 32  # fewer cells than that are not worth a try: they lose too much (measured)
START_PAIRS = 1 << 18  # pairs of cell and color that may be spent on starts: only the best is continued
COARSE_PACE: dict[str, Any] = {"max_iter": 300, "relaxation": RELAXATION, "momentum": MOMENTUM}
COARSE_BITS = (6, 5)
COARSE_ERROR = 0.25  # a coarse level is used while its own error is at most this share of the seeding's
BREATHING_CELLS = 5  # for each color: fewer tell the colors apart too little (measured on china.jpg)
BREATHING_PAIRS = 3 << 23  # of cell and center, over all cycles: larger problems are searched less


@dataclass(frozen=True)
class Effort:
    """What a palette may cost."""

    max_starts: int  # of which only the best is continued
    max_levels: int  # of coarse cells on which Lloyd's algorithm runs
    coarse_tol: float  # times as large as on all colors: the iterations that follow make up for it (measured)
    max_iter: int  # on all colors
    settle_tol: float  # rounded entries are settled while the error falls by more than this share
    n_cycles: int  # of breathing k-means

    def cycles(self, n_cells: int, n_colors: int) -> int:
        """So many of them as a problem of this size leaves time for; none where cells hardly tell the colors apart."""
        at_most = BREATHING_PAIRS // (n_cells * n_colors)
        return min(self.n_cycles, at_most) if n_cells >= BREATHING_CELLS * n_colors else 0


EFFORTS = {
    "fast": Effort(1, 1, 64, 1, 1e-3, 0),
    "default": Effort(8, 2, 8, sys.maxsize, 0, 0),
    "best": Effort(8, 2, 8, sys.maxsize, 0, 64),
}


def effort_for(init: str | Tensor, effort: str) -> Effort:
    """Other starts than those of k-means++ are iterated to the end, and no more."""
    return EFFORTS[effort if isinstance(init, str) and init == "k-means++" else "default"]


@dataclass(frozen=True, eq=False)
class PaletteFit:
    """A palette settled on all colors."""

    palette: Tensor  # [K, 3] uint8, or [K, 4] with alpha
    labels: Tensor  # [M] int32
    counts: Tensor  # [K] int64: of pixels, or their weights
    error: float  # sum over these of the squared distance to the palette entry, in the space of the search
    inertia: float
    n_iter: int
    converged: bool


def lossless(colors: Tensor, counts: Tensor) -> PaletteFit:
    """All colors as entries."""
    labels = torch.arange(len(colors), dtype=torch.int32, device=colors.device)
    return PaletteFit(colors, labels, counts, error=0.0, inertia=0.0, n_iter=0, converged=True)


class Cells:
    """Counted colors, or the cells that they fall into, and what is lost by these for each pixel."""

    def __init__(self, colors: Tensor, counts: Tensor, error: float = 0.0, chunk_size: int | None = None) -> None:
        self.colors, self.counts, self.error = colors, counts, error  # [M, 3] uint8 in Z-order, [M] int64
        self._chunk_size = chunk_size

    def __len__(self) -> int:
        return len(self.colors)

    @cached_property
    def points(self) -> ops.PointSet:
        return ops.point_set(self.colors[None], self.counts[None], chunk_size=self._chunk_size)


@dataclass(frozen=True, eq=False)
class Seeding:
    """Asks for starts by k-means++, and their inertias: [n_starts, K, 3] float64, [n_starts]."""

    cells: Cells
    n_starts: int
    seed: tuple[int, int]
    least: float  # no more centers are needed once the inertia is below it


@dataclass(frozen=True, eq=False)
class Iterating:
    """Asks for Lloyd iterations from starts on cells: the best centers [K, 3] float64."""

    cells: Cells
    starts: Tensor  # [n_starts, K, 3] float64


Asked = Seeding | Iterating
Steps = Generator[Asked, Any, Tensor]


def fit_palette(
    colors: Tensor,  # [M, 3] uint8, distinct, in Z-order
    counts: Tensor,  # [M] int64
    n_colors: int,
    *,
    init: str | Tensor,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: int,
    effort: str = "default",
    chunk_size: int | None = None,
) -> PaletteFit:
    """The palette of the best of `n_init` runs (one from given centers), or all colors where there are no more."""
    if len(colors) <= n_colors:
        return lossless(colors, counts)
    cells = Cells(colors, counts, chunk_size=chunk_size)
    cost = effort_for(init, effort)
    max_iter = min(max_iter, cost.max_iter)
    if isinstance(init, Tensor):
        n_init = 1
    draws = np.random.RandomState(random_state)
    best: tuple[Runs, int] | None = None
    at_once = runs_together(len(colors), n_colors, colors.device)
    with one_torch_thread():
        levels = levels_of(cells, n_colors) if isinstance(init, str) and init == "k-means++" else []
        points = cells.points
        for first in range(0, n_init, at_once):
            n_runs = min(at_once, n_init - first)
            if isinstance(init, Tensor):
                centers = init.to(colors.device)[None]
            elif init == "random":
                drawn = [random_points(colors, counts.double(), n_colors, draws) for _ in range(n_runs)]
                centers = torch.stack(drawn)
            else:
                seeds = ((random_state, run) for run in range(first, first + n_runs))
                every = [coarse_steps(cells, levels, n_colors, seed, cost) for seed in seeds]
                centers = torch.stack([_alone(steps, n_colors, cost.coarse_tol * tol) for steps in every])
            runs = lloyd(points, centers, max_iter=max_iter, tol=tol, relaxation=RELAXATION, momentum=MOMENTUM)
            lowest = runs.inertia.index(min(runs.inertia))
            if best is None or runs.inertia[lowest] < best[0].inertia[best[1]]:
                best = runs, lowest
        assert best is not None
        return settle(*best, cost.settle_tol)


def levels_of(cells: Cells, n_colors: int) -> list[Cells]:
    """Coarser cells that can tell so many colors apart, the coarsest first."""
    folded = coarsen(cells.colors, cells.counts, COARSE_BITS)[::-1]
    return [Cells(level.colors, level.counts, level.error) for level in folded if n_colors < len(level.counts)]


def coarse_steps(
    cells: Cells,
    levels: list[Cells],  # the coarsest first
    n_colors: int,
    seed: tuple[int, int],
    effort: Effort,
) -> Steps:  # returns [K, 3] float64
    """k-means++ on the coarsest cells that do, then Lloyd steps on finer and finer cells as far as they help.

    Breathing k-means goes on from there, on the coarsest cells that tell the colors apart.

    What takes time is asked for, so that it can be done for many photos together.
    """
    sizes = range(CELLS_PER_COLOR * n_colors, SEEDING_COLORS + 1)
    choices = [level for level in levels if len(level) in sizes]
    if len(cells) <= SEEDING_COLORS or not levels:
        choices.append(cells)
    elif not choices:
        choices.append(levels[0])
    total = float(cells.counts.sum())
    for choice in choices:  # the first that loses little beside the palette
        least = choice.error * total / COARSE_ERROR if choice is not choices[-1] else 0.0
        n_starts = min(effort.max_starts, max(1, START_PAIRS // (len(choice) * n_colors)))
        starts, potentials = yield Seeding(choice, n_starts, seed, least)
        if min(potentials) >= least:
            break
    order = sorted(range(n_starts), key=potentials.__getitem__)
    starts = starts[order]  # the best first
    helpful = [
        level
        for level in levels
        if level.error <= COARSE_ERROR * potentials[order[0]] / total and len(level) < len(cells) // 2
    ]
    for level in helpful[: effort.max_levels]:
        starts = (yield Iterating(level, starts))[None]
    found: Tensor = starts[0]
    n_cycles = effort.cycles(len(choices[0]), n_colors)
    if n_cycles:
        draws = np.random.RandomState(list(seed))
        found = breathe(choices[0].colors, choices[0].counts, found, n_cycles=n_cycles, draws=draws)
    return found


def _alone(steps: Steps, n_colors: int, tol: float) -> Tensor:  # [K, 3] float64
    """Do what one photo asks for."""
    answer: Any = None
    try:
        while True:
            asked = steps.send(answer)
            points = asked.cells.points
            if isinstance(asked, Seeding):
                draws = [np.random.RandomState(list(asked.seed))]
                answer = kmeans_plus_plus(points, n_colors, draws, asked.n_starts, least=asked.least)
            else:
                runs = lloyd(points, asked.starts, tol=tol, **COARSE_PACE)
                answer = runs.centers[runs.inertia.index(min(runs.inertia))]
    except StopIteration as ended:
        centers: Tensor = ended.value
        return centers


def settle(runs: Runs, run: int, tol: float) -> PaletteFit:
    """Round the centers of a run to a palette of different, used entries, and settle it by Lloyd steps on integers.

    The mean rounded is the best integer entry for given labels, and an unused entry is replaced by the color farthest
    from its entry; both lower the error, which is an integer, so this ends.
    """
    state = runs.state
    centers = state.enter(runs.centers.round())  # integers in the coordinates of the run, too
    best: PaletteFit | None = None
    while True:
        sums, weights, _ = state.step(centers[run, None], [run])
        unused = (weights[0] == 0).nonzero().view(-1)
        if len(unused):
            replacements, _, _ = state.farthest(run, len(unused), centers[run])
            centers[run, unused[: len(replacements)]] = replacements
            continue
        error = state.inertia(centers)[run]
        least = math.inf if best is None else best.error
        if error < least:
            best = PaletteFit(
                palette=state.leave(centers)[run].to(torch.uint8),
                labels=state.labels_of_points()[run],
                counts=weights[0].to(torch.int64),
                error=error,
                inertia=runs.inertia[run],
                n_iter=runs.n_iter[run],
                converged=runs.converged[run],
            )
        if best is not None and error >= (1 - tol) * least:
            return best
        centers[run] = (sums[0] / weights[0, :, None]).round()
