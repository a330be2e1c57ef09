"""From counted colors to a palette: k-means from coarse to fine, with as much effort as asked for, then rounding."""

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.breathing import breathe
from gpuquant.clustering.initialization import INITIALIZATIONS, kmeans_plus_plus
from gpuquant.clustering.lloyd import Runs, lloyd, runs_together
from gpuquant.fitting.fit import EFFORTS, Effort, PaletteFit, effort_for, lossless
from gpuquant.fitting.settling import settle
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
MOST_PADDING = 2  # problems that go together differ at most so much in size


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
            elif init != "k-means++":
                centers = INITIALIZATIONS[init](points, colors[None], counts[None].double(), n_colors, [draws], n_runs)
            else:
                seeds = ((random_state, run) for run in range(first, first + n_runs))
                every = [coarse_steps(cells, levels, n_colors, seed, cost) for seed in seeds]
                found = [_answered({0: steps}, n_colors, cost.coarse_tol * tol)[0] for steps in every]
                centers = torch.stack(found)
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


def fit_palettes(
    photos: Sequence[tuple[Tensor, Tensor]],  # colors [M, 3] uint8 in Z-order, and their counts [M] int64
    n_colors: int,
    *,
    max_iter: int,
    tol: float,
    random_state: int,
    effort: str = "default",
) -> list[PaletteFit]:
    """Find what `fit_palette` finds by k-means++ for each photo alone: no operation on counted colors rounds."""
    cost = EFFORTS[effort]
    max_iter = min(max_iter, cost.max_iter)
    fits: dict[int, PaletteFit] = {}
    cells: dict[int, Cells] = {}
    steps: dict[int, Steps] = {}
    for place, (colors, counts) in enumerate(photos):
        if len(colors) <= n_colors:
            fits[place] = lossless(colors, counts)
        else:
            cells[place] = Cells(colors, counts)
            levels = levels_of(cells[place], n_colors)
            steps[place] = coarse_steps(cells[place], levels, n_colors, (random_state, 0), cost)
    centers = _answered(steps, n_colors, cost.coarse_tol * tol)
    for group in _of_a_size(cells, n_colors):
        together = _together([cells[place] for place in group])
        starts = torch.stack([centers[place] for place in group])
        runs = lloyd(together, starts, max_iter=max_iter, tol=tol, relaxation=RELAXATION, momentum=MOMENTUM)
        for run, place in enumerate(group):
            fit = settle(runs, run, cost.settle_tol)
            fits[place] = replace(fit, labels=fit.labels[: len(cells[place])].clone())
    return [fits[place] for place in range(len(photos))]


def _answered(steps: dict[int, Steps], n_colors: int, tol: float) -> dict[int, Tensor]:  # [K, 3] float64 each
    """Do what several photos ask for, until none asks for more."""
    ended: dict[int, Tensor] = {}
    answers: dict[int, Any] = dict.fromkeys(steps)
    while answers:
        asked: dict[int, Asked] = {}
        for place, answer in answers.items():
            try:
                asked[place] = steps[place].send(answer)
            except StopIteration as end:
                ended[place] = end.value
        alike: defaultdict[tuple[type, int], dict[int, Asked]] = defaultdict(dict)
        for place, one in asked.items():
            n_starts = one.n_starts if isinstance(one, Seeding) else len(one.starts)
            alike[type(one), n_starts][place] = one
        answers = {}
        for (_, n_starts), some in alike.items():
            for group in _of_a_size({place: one.cells for place, one in some.items()}, n_starts * n_colors):
                members = [some[place] for place in group]
                answers |= zip(group, _answer(members, n_starts, n_colors, tol), strict=True)
    return ended


def _answer(asked: list[Asked], n_starts: int, n_colors: int, tol: float) -> list[Any]:
    """The answers to questions of one kind."""
    points = asked[0].cells.points if len(asked) == 1 else _together([one.cells for one in asked])
    starts = [one.starts for one in asked if isinstance(one, Iterating)]
    rows = [slice(first, first + n_starts) for first in range(0, n_starts * len(asked), n_starts)]
    if starts:
        runs = lloyd(points, torch.cat(starts), tol=tol, **COARSE_PACE)
        lowest = [min(range(some.start, some.stop), key=runs.inertia.__getitem__) for some in rows]
        return list(runs.centers[lowest])
    seedings = [one for one in asked if isinstance(one, Seeding)]
    draws = [np.random.RandomState(list(one.seed)) for one in seedings]
    least = seedings[0].least if len(seedings) == 1 else 0.0  # others would end with the first
    centers, potentials = kmeans_plus_plus(points, n_colors, draws, n_starts, least=least)
    return [(centers[some], potentials[some]) for some in rows]


def _of_a_size(cells: dict[int, Cells], n_clusters: int) -> list[list[int]]:
    """The places of cells in groups of similar size, each of as many as go side by side."""
    groups: list[list[int]] = []
    for place in sorted(cells, key=lambda place: len(cells[place])):
        size = len(cells[place])
        group = groups[-1] if groups else []
        most = runs_together(size, n_clusters, cells[place].colors.device)
        if not group or size > MOST_PADDING * len(cells[group[0]]) or len(group) >= most:
            groups.append([])
        groups[-1].append(place)
    return groups


def _together(cells: list[Cells]) -> ops.PointSet:
    """Several problems as one batch: the shorter ones repeat their last color, with counts of 0."""
    longest = max(len(one) for one in cells)
    place = torch.arange(longest, device=cells[0].colors.device)
    colors = torch.stack([one.colors[place.clamp(max=len(one) - 1)] for one in cells])
    counts = torch.stack([one.counts[place.clamp(max=len(one) - 1)] * (place < len(one)) for one in cells])
    return ops.point_set(colors, counts)
