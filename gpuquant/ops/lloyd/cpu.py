"""Lloyd iterations on colors on the CPU: compiled loops over trees of cells, run by threads of ours."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant.ops.lloyd.colors import ColorLloyd
from gpuquant.ops.lloyd.cpu_kernels import (
    CHUNK,
    Labels,
    Scratch,
    iterate,
    write_inertia,
)
from gpuquant.ops.lloyd.cpu_moves import ON_GRID, Floats
from gpuquant.ops.lloyd.cpu_runs import RunByRun, moved
from gpuquant.ops.points.cpu_cells import DEPTHS, NEXT, START, ColorCells, ColorTree
from gpuquant.threads import share_out, worker_threads

# the time of a step grows about as the number of colors times the root of that of clusters, half a nanosecond for each
SHARED = 1 << 20  # from so much on a step is shared among threads: it takes ten times as long as waking them
PARTS_FOR_EACH = 4  # cells that a thread takes one after the other, so that none waits long for the last one
PAIRS_AT_ONCE = 1 << 29  # of a color and a center in one compiled call: half a second if no center can be left out


LABELS_ONLY = 0, 0, 0.0, 1.0, 0.0  # no iteration, with numbers of the types that one would take


class CompiledLloyd(RunByRun, ColorLloyd):
    """Lloyd iterations that look only at centers that can be nearest in a cell, and at cells that can have changed."""

    points: ColorCells

    def __init__(self, points: ColorCells, n_clusters: int, n_runs: int = 1) -> None:
        super().__init__(points, n_clusters, n_runs)
        self._labels = np.full((self.n_all, points.n_points), n_clusters, np.int16)
        self._totals = np.zeros((self.n_all, n_clusters + 1, points.n_columns + 1))
        self._n_changed = [0] * self.n_all
        self._trees = [points.trees[run // n_runs] for run in range(self.n_all)]
        owners = [np.full(len(tree.n_positive), n_clusters, np.int16) for tree in self._trees]
        self._kept = [Labels(*both) for both in zip(self._labels, owners, strict=True)]
        self._at_once = max(1, PAIRS_AT_ONCE // (points.n_points * n_clusters))
        self._effort = int(points.n_points * math.sqrt(n_clusters))
        self._n_threads = worker_threads() if self._effort >= SHARED else 1
        most = min(points.n_points // (PARTS_FOR_EACH * self._n_threads), PAIRS_AT_ONCE // n_clusters)
        self._parts = [parts_of(tree, most) for tree in self._trees] if self._n_threads > 1 else []
        self._free: deque[Scratch] = deque()

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(self._labels)

    @property
    def totals(self) -> Tensor:
        return torch.from_numpy(self._totals)[:, :-1]

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:
        totals = self._totals[runs]
        return torch.from_numpy(totals[:, :-1, :-1]), torch.from_numpy(totals[:, :-1, -1])

    def changed(self, runs: list[int]) -> list[int]:
        return [self._n_changed[run] for run in runs]

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        given = dict(zip(active, centers.contiguous().numpy(), strict=True))

        def label(run: int, pool: ThreadPoolExecutor | None) -> None:
            if pool:
                self._label_together(run, given[run], pool)
            else:
                self._advance(run, None, given[run], given[run], *LABELS_ONLY)

        self._over_runs(active, label)
        return *self.sums_of(active), self.changed(active)

    def inertia(self, centers: Tensor) -> list[float]:
        parts = np.empty((self.n_all, 1 + self.points.n_columns * self.n_clusters))
        for tree, totals, own, row in zip(self._trees, self._totals, centers.numpy(), parts, strict=True):
            write_inertia(tree, totals, own, row)
        return [max(0.0, math.fsum(numbers)) for numbers in parts.tolist()]

    def _advance(
        self, run: int, helpers: ThreadPoolExecutor | None, centers: Floats, moves: Floats, *given: Any
    ) -> tuple[int, int]:
        if helpers:
            self._label_together(run, centers, helpers)
            until_last, _, *pace = given
            return moved(self._totals[run], centers, moves, ON_GRID, self._n_changed[run], until_last <= 1, *pace)
        until_last, n_left, *pace = given
        with self._scratch() as scratch:
            kept = self._trees[run], 0, self._kept[run], self._totals[run], scratch
            given = until_last, min(self._at_once, n_left), *pace
            status, n_ended, self._n_changed[run] = iterate(*kept, centers, moves, *given)
        return status, n_ended

    def _label_together(
        self,
        run: int,
        centers: Floats,  # [K, D]
        pool: ThreadPoolExecutor,
    ) -> None:
        """Label all colors of a run, part by part; each thread has sums of its own, of integers."""
        tree, labels, totals = self._trees[run], self._kept[run], self._totals[run]
        parts = deque(self._parts[run])

        def work() -> tuple[int, Floats]:
            gained, n_changed = np.zeros_like(totals), 0
            with self._scratch() as scratch:
                while parts:
                    try:
                        part = parts.popleft()
                    except IndexError:  # another thread took the last one
                        break
                    n_changed += iterate(tree, part, labels, gained, scratch, centers, centers, *LABELS_ONLY)[2]
            return n_changed, gained

        try:
            helpers = [pool.submit(work) for _ in range(self._n_threads - 1)]
            found = [work(), *(helper.result() for helper in helpers)]
        finally:
            parts.clear()
        for _, gained in found:
            totals += gained
        self._n_changed[run] = sum(n_changed for n_changed, _ in found)

    def _over_runs(self, runs: list[int], function: Callable[[int, ThreadPoolExecutor | None], None]) -> None:
        """Call a function for runs: one after the other, each with helpers where that helps, or side by side."""
        if self._n_threads > 1:
            with ThreadPoolExecutor(self._n_threads - 1, thread_name_prefix="gpuquant") as pool:
                for run in runs:
                    function(run, pool)
            return
        n_threads = worker_threads() if len(runs) * self._effort >= SHARED else 1
        if n_threads > 1 and len(runs) > 1:
            share_out(runs, lambda run: function(run, None), n_threads)
            return
        for run in runs:
            function(run, None)

    @contextmanager
    def _scratch(self) -> Iterator[Scratch]:
        """Scratch memory of a thread: taken once and kept, as fresh pages cost more than the work on them."""
        try:
            scratch = self._free.pop()
        except IndexError:
            k, n = self.n_clusters, self.points.n_columns + 1
            lists, lengths = np.empty((DEPTHS + 1, n, k)), np.zeros(DEPTHS + 1, np.int64)
            scratch = Scratch(np.empty((n, k)), lists, lengths, np.empty(k), np.zeros((n, CHUNK)))
        yield scratch
        self._free.append(scratch)


def parts_of(tree: ColorTree, most: int) -> list[int]:
    """The largest cells of at most so many colors, or that are not divided: each color is in one of them."""
    parts: list[int] = []
    cell, cells = 0, tree.cells
    while cell < len(cells) - 1:
        after = int(cells[cell, NEXT])
        if cells[after, START] - cells[cell, START] <= most or after == cell + 1:
            parts.append(cell)
            cell = after
        else:
            cell += 1
    return parts
