"""From counted colors to a palette: k-means from coarse to fine, with as much effort as asked for, then rounding.

One way for one problem and for many, in any working space: many of about the same size go side by side.
"""

import math
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gpuquant import ops
from gpuquant.clustering.breathing import breathe
from gpuquant.clustering.initialization import INITIALIZATIONS, kmeans_plus_plus
from gpuquant.clustering.lloyd import runs_together
from gpuquant.clustering.restarts import Run, best_runs
from gpuquant.fitting.fit import BREATHING_SIZE, Effort, PaletteFit, effort_for, lossless
from gpuquant.fitting.problem import Level, PaletteProblem
from gpuquant.fitting.settling import settle
from gpuquant.threads import one_torch_thread

# measured on photos at K = 8, 64 and 256: a quarter fewer iterations than without momentum, and no higher error
PACE = {"relaxation": 1.5, "momentum": 0.6}
COARSE_LEVELS = 2  # of cells on which Lloyd's algorithm runs, where breathing would take too long
COARSE_TOL = 8  # times as large as on all colors: the iterations that follow make up for it (measured)
COARSE_ITERATIONS = 300  # scikit-learn's limit: on cells none needs as many
SEEDING_COLORS = 1 << 16  # k-means++ chooses among at most about this many colors or cell means
FEW_COLORS = 8  # breathing splits and merges so few clusters in the same way each time: their starts are settled first
CELLS_PER_COLOR = 32  # fewer cells than that are not worth a try: they lose too much (measured)
MANY_CENTERS = 64  # from so many on a device seeds all choices at once, in hardly more time than one (estimated)
START_PAIRS = 1 << 18  # pairs of cell and color that may be spent on starts: only the best is continued
FEWEST_CYCLES = 3  # on the finest cells that breathe: so few there find more than many on coarser ones (measured)
REPEATED_COLORS = 48  # up to which other starts gain more than to go on from what they led to (measured: 12 to 256)
MORE_TRIED = 2  # centers go on to all colors beside the default's: cells tell the best ones apart to about 0.2 % only
BREATHING_ERROR = 0.05  # cells breathe whose own error is at most this share of the seeding's (tried 0.25 and none)
COARSE_ERROR = 0.25  # a coarse level is used while its own error is at most this share of the seeding's
MOST_PADDING = 2  # problems that go together differ at most so much in size: the shorter ones are filled up


@dataclass(frozen=True, eq=False)
class StartsWanted:
    """Asks for starts by k-means++ on some levels, and their inertias: [n_starts, K, D] float64, [n_starts] of each."""

    levels: list[Level]
    n_colors: int
    n_starts: int
    draws: list[np.random.RandomState]  # for each level
    least: list[float]  # of a level no more centers are needed once the inertia is below it

    @property
    def level(self) -> Level:
        """The largest, which the others are filled up to."""
        return max(self.levels, key=len)


@dataclass(frozen=True, eq=False)
class IterationsWanted:
    """Asks for Lloyd iterations from starts on a level: the best centers [K, D] float64."""

    level: Level
    starts: Tensor  # [n_starts, K, D] float64

    @property
    def n_starts(self) -> int:
        return len(self.starts)

    @property
    def n_colors(self) -> int:
        return self.starts.shape[1]


Wanted = StartsWanted | IterationsWanted
Steps = Generator[Wanted, Any, list[Tensor]]  # returns centers [K, D], those of the least effort first


def fit_palettes(
    problems: Sequence[PaletteProblem],
    n_colors: int,
    *,
    effort: str = "default",
    **settings: Any,  # those of `search_centers`
) -> list[PaletteFit]:
    """The settled palette of each problem, or all of its colors where there are no more than wanted."""
    cost = effort_for(settings["init"], effort)
    searched = {place: problem for place, problem in enumerate(problems) if len(problem) > n_colors}
    fits: dict[int, PaletteFit] = {}
    with one_torch_thread():
        for _, some in groupby(search_centers(searched, n_colors, cost, **settings), key=lambda one: id(one[1].runs)):
            places, runs = zip(*some, strict=True)
            found = settle([(problems[place], run) for place, run in zip(places, runs, strict=True)], cost.settle_tol)
            for place, fit in zip(places, found, strict=True):
                fits[place] = min(fits.get(place, fit), fit, key=lambda fit: fit.error)
    return [fits.get(place) or lossless(one.colors, one.counts) for place, one in enumerate(problems)]


def search_centers(
    problems: dict[int, PaletteProblem],  # of more colors than are wanted
    n_colors: int,
    cost: Effort,
    *,
    init: str | Tensor,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: int,
) -> Iterator[tuple[int, Run]]:
    """For each problem the best of `n_init` runs (one from given centers) on its finest level, not rounded.

    More effort than the default yields that of the default first, so that it never finds less.
    """
    pace: Any = {"max_iter": max_iter, "tol": tol}
    if isinstance(init, Tensor):
        starts = {place: problem.space.enter(init.to(problem.device))[None] for place, problem in problems.items()}
        yield from _best_of(problems, starts, cost, **pace)
    elif init != "k-means++":
        starts = {place: _starts_of(one, n_colors, init, n_init, random_state) for place, one in problems.items()}
        yield from _best_of(problems, starts, cost, **pace)
    else:
        tried: list[dict[int, list[Tensor]]] = []
        for run in range(n_init):
            seed, is_alone = (random_state, run), len(problems) == 1
            steps = {place: coarse_steps(one, n_colors, seed, cost, is_alone) for place, one in problems.items()}
            tried.append(_answered(steps, COARSE_TOL * tol))
        for phase in (slice(1), slice(1, None)):
            every = {place: [start for found in tried for start in found[place][phase]] for place in problems}
            starts = {place: torch.stack([one.cpu() for one in some]) for place, some in every.items() if some}
            yield from _best_of(problems, starts, cost, **pace)


def _best_of(
    problems: dict[int, PaletteProblem],
    starts: dict[int, Tensor],  # [n_init, K, D] float64, of some of them
    cost: Effort,
    *,
    max_iter: int,
    tol: float,
) -> Iterator[tuple[int, Run]]:
    """The best run of each problem from its starts."""
    finest = {place: problems[place].levels(some.shape[1])[-1] for place, some in starts.items()}
    for group in _of_a_size(finest, next(iter(starts.values())).shape[1] if starts else 1):
        points = _together([finest[place] for place in group])
        every = torch.stack([starts[place] for place in group])
        on_cells = any(finest[place] is not problems[place].all for place in group)
        most = COARSE_ITERATIONS if on_cells else cost.max_iter
        best = best_runs(points, every, max_iter=min(max_iter, most), tol=tol, **PACE)
        yield from zip(group, best, strict=True)


def _starts_of(
    problem: PaletteProblem, n_colors: int, init: str, n_init: int, random_state: int
) -> Tensor:  # [n_init, K, D] float64
    """Other starts than those of k-means++."""
    level, draws = problem.levels(n_colors)[-1], [np.random.RandomState(random_state)]
    points, counts = ops.levels_of(level.points)[None], level.counts[None].double()
    return INITIALIZATIONS[init](level.prepared, points, counts, n_colors, draws, n_init)


def coarse_steps(
    problem: PaletteProblem, n_colors: int, seed: tuple[int, int], effort: Effort, is_alone: bool = True
) -> Steps:
    """k-means++ on the coarsest cells that do, then breathing k-means on the coarsest that stand for the colors well.

    Where that would take too long there are Lloyd steps on finer and finer cells, as far as they help.

    What takes time is asked for, so that it can be done for many problems together.
    """
    n_runs, draws = max(1, round(effort.run_colors / n_colors)), np.random.RandomState(list(seed))
    starts, error = yield from _starts(problem, n_colors, seed, draws, n_runs, effort.max_starts, is_alone)
    levels = problem.levels(n_colors)
    level = _breathing_level(levels, error, n_runs * FEWEST_CYCLES * math.sqrt(n_colors))
    if level is None:
        helpful = [one for one in levels[:-1] if one.error <= COARSE_ERROR * error and 2 * len(one) < len(levels[-1])]
        for one in helpful[:COARSE_LEVELS]:
            starts = (yield IterationsWanted(one, starts))[None]
        return [starts[0]]
    n_cycles = min(effort.n_cycles, int(BREATHING_SIZE / (n_runs * len(level) * math.sqrt(n_colors))))
    draws.seed(list(seed))
    breathes = partial(breathe, level.on_grid, n_cycles=n_cycles, draws=draws)
    first, *others = sorted((breathes(start) for start in starts[:n_runs]), key=itemgetter(1))
    if not effort.is_repeated:
        return [first[0]]
    if n_colors <= REPEATED_COLORS:
        starts, _ = yield from _starts(problem, n_colors, (*seed, 1), draws, n_runs, effort.max_starts, is_alone)
        others += [breathes(start) for start in starts[:n_runs]]
    else:
        others.append(breathes(first[0]))
    return [first[0], *(centers for centers, _ in sorted(others, key=itemgetter(1))[:MORE_TRIED])]


def _starts(
    problem: PaletteProblem,
    n_colors: int,
    seed: tuple[int, ...],
    draws: np.random.RandomState,  # goes on where those of the starts have ended
    n_runs: int,
    max_starts: int,
    is_alone: bool,  # no other problem keeps a device busy
) -> Generator[Wanted, Any, tuple[Tensor, float]]:  # [n, K, D] float64, the best first, and its mean error
    """Starts by k-means++, at least as many as there are runs; or the best of several settled, of few colors."""
    *levels, finest = problem.levels(n_colors)
    choices = [level for level in levels if CELLS_PER_COLOR * n_colors <= len(level) <= SEEDING_COLORS]
    if len(finest) <= SEEDING_COLORS or not levels:
        choices.append(finest)
    elif not choices:
        choices.append(levels[0])
    total = finest.n_pixels
    least = [*(choice.error * total / COARSE_ERROR for choice in choices[:-1]), 0.0]
    n_starts = [max(n_runs, min(max_starts, START_PAIRS // (len(choice) * n_colors))) for choice in choices]
    side_by_side = is_alone and problem.device.type == "cuda" and finest.points.dtype == torch.uint8
    at_once = len(choices) if side_by_side and n_colors >= MANY_CENTERS and len(set(n_starts)) == 1 else 1
    states = [np.random.RandomState(list(seed)) for _ in choices]
    tried, place = list[tuple[Tensor, list[float]]](), 0
    while True:  # the first that loses little beside the palette is taken
        if place == len(tried):
            some = slice(place, place + at_once)
            tried += yield StartsWanted(choices[some], n_colors, n_starts[place], states[some], least[some])
        starts, potentials = tried[place]
        if min(potentials) >= least[place]:
            break
        place += 1
    draws.set_state(states[place].get_state())
    order = sorted(range(len(potentials)), key=potentials.__getitem__)
    starts = starts[order]
    if n_colors <= FEW_COLORS and len(order) > 1:
        starts = (yield IterationsWanted(choices[place], starts))[None]
    return starts, potentials[order[0]] / total


def _breathing_level(levels: list[Level], error: float, looks: float) -> Level | None:
    """The coarsest level that stands for the colors well, or the finest that leaves time for so many looks at it."""
    small = [level for level in levels if level.error <= COARSE_ERROR * error and len(level) * looks <= BREATHING_SIZE]
    return next((level for level in small if level.error <= BREATHING_ERROR * error), small[-1] if small else None)


def _answered(steps: dict[int, Steps], tol: float) -> dict[int, list[Tensor]]:  # centers [K, D] float64
    """Do what several problems ask for, until none asks for more."""
    ended: dict[int, list[Tensor]] = {}
    answers: dict[int, Any] = dict.fromkeys(steps)
    while answers:
        wanted: dict[int, Wanted] = {}
        for place, answer in answers.items():
            try:
                wanted[place] = steps[place].send(answer)
            except StopIteration as end:
                ended[place] = end.value
        alike: defaultdict[tuple[type, int], dict[int, Wanted]] = defaultdict(dict)
        for place, one in wanted.items():
            alike[type(one), one.n_starts][place] = one
        answers = {}
        for (_, n_starts), some in alike.items():
            levels = {place: one.level for place, one in some.items()}
            for group in _of_a_size(levels, n_starts * next(iter(some.values())).n_colors):
                answers |= zip(group, _answer([some[place] for place in group], tol), strict=True)
    return ended


def _answer(wanted: list[Wanted], tol: float) -> list[Any]:
    """The answers to questions of one kind, with equally many starts."""
    starts = [one.starts for one in wanted if isinstance(one, IterationsWanted)]
    if starts:
        points = _together([one.level for one in wanted])
        best = best_runs(points, torch.stack(starts), max_iter=COARSE_ITERATIONS, tol=tol, **PACE)
        return [run.centers for run in best]
    asked = [one for one in wanted if isinstance(one, StartsWanted)]
    n_starts, points = asked[0].n_starts, _together([level for one in asked for level in one.levels])
    draws = [state for one in asked for state in one.draws]
    least = [limit for one in asked for limit in one.least]
    centers, potentials = kmeans_plus_plus(points, asked[0].n_colors, draws, n_starts, least=least)
    every = (slice(place, place + n_starts) for place in range(0, len(centers), n_starts))
    return [[(centers[some], potentials[some]) for some in islice(every, len(one.levels))] for one in asked]


def _of_a_size(levels: dict[int, Level], n_clusters: int) -> list[list[int]]:
    """The places of levels in groups of similar size, each of as many as go side by side."""
    groups: list[list[int]] = []
    for place in sorted(levels, key=lambda place: len(levels[place])):
        size = len(levels[place])
        group = groups[-1] if groups else []
        most = runs_together(size, n_clusters, levels[place].counts.device)
        if not group or size > MOST_PADDING * len(levels[group[0]]) or len(group) >= most:
            groups.append([])
        groups[-1].append(place)
    return groups


def _together(levels: list[Level]) -> ops.PointSet:
    """Several levels as one batch: the shorter ones repeat their last point, with counts of 0."""
    if len(levels) == 1:
        return levels[0].prepared
    longest = max(len(one) for one in levels)
    points = torch.stack([_repeating_last(one.points, longest) for one in levels])
    counts = torch.stack([_followed_by_zeros(one.counts, longest) for one in levels])
    moments = [one.moments for one in levels if one.moments is not None]
    known = torch.stack(moments) if len(moments) == len(levels) else None
    return ops.point_set(points, counts.double(), is_sorted=True, moments=known)


def _repeating_last(points: Tensor, number: int) -> Tensor:  # [n, D], number >= n -> [number, D]
    """So many points, of which the last one is repeated."""
    n_missing = number - len(points)
    return torch.cat([points, points[-1:].expand(n_missing, -1)]) if n_missing else points


def _followed_by_zeros(counts: Tensor, number: int) -> Tensor:  # [n], number >= n -> [number]
    n_missing = number - len(counts)
    return functional.pad(counts, (0, n_missing)) if n_missing else counts
