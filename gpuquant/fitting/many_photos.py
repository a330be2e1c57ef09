"""The palettes of many photos at once: what takes launches is done for all of them together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.initialization import kmeans_plus_plus
from gpuquant.clustering.lloyd import lloyd, runs_together
from gpuquant.fitting.coarse_to_fine import (
    COARSE_PACE,
    EFFORTS,
    MOMENTUM,
    RELAXATION,
    Asked,
    Cells,
    Iterating,
    PaletteFit,
    Seeding,
    Steps,
    coarse_steps,
    levels_of,
    lossless,
    settle,
)

MOST_PADDING = 2  # problems that go together differ at most so much in size


def fit_palettes(
    photos: Sequence[tuple[Tensor, Tensor]],  # colors [M, 3] uint8 in Z-order, and their counts [M] int64
    n_colors: int,
    *,
    max_iter: int,
    tol: float,
    random_state: int,
    effort: str = "default",
) -> list[PaletteFit]:
    """What `fit_palette` finds by k-means++ for each photo alone: no operation on counted colors rounds."""
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
    points = _together([one.cells for one in asked])
    starts = [one.starts for one in asked if isinstance(one, Iterating)]
    rows = [slice(first, first + n_starts) for first in range(0, n_starts * len(asked), n_starts)]
    if starts:
        runs = lloyd(points, torch.cat(starts), tol=tol, **COARSE_PACE)
        lowest = [min(range(some.start, some.stop), key=runs.inertia.__getitem__) for some in rows]
        return list(runs.centers[lowest])
    draws = [np.random.RandomState(list(one.seed)) for one in asked if isinstance(one, Seeding)]
    centers, potentials = kmeans_plus_plus(points, n_colors, draws, n_starts)
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
