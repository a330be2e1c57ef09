"""Lloyd iterations on 8-bit colors on CUDA: the host's side."""

import math
from collections.abc import Iterable
from itertools import chain, repeat

import numpy as np
import numpy.typing as npt
import torch
import triton
from torch import Tensor

from gpuquant.ops.cuda_launches import Launches
from gpuquant.ops.lloyd.colors import GRID, ColorLloyd
from gpuquant.ops.lloyd.cuda import n_programs
from gpuquant.ops.lloyd.cuda_color_steps import (
    LABELING,
    OPTIONS,
    PER_PROCESSOR,
    TILE,
    Number,
    color_step_kernel,
    constants_for,
)
from gpuquant.ops.lloyd.moves import AS_LONG_AS_NEEDED, LOOKS
from gpuquant.ops.lloyd.run_status import RunStatus
from gpuquant.ops.points.colors import ORIGIN, ColorPoints

ALONE = 2  # tiles of colors with which one program is done in about the time that a launch takes
MOST_IN_TABLES = 1 << 25  # numbers of all programs: 128 MiB
MOST_LOOKED_AT = 1 << 20  # bytes: of more only what tells whether runs have ended

Floats = npt.NDArray[np.float64]


class KernelColorLloyd(ColorLloyd):
    """Lloyd iterations of which colors, labels and sums are on a device, and centers on the host between launches.

    Each run has a row of numbers, which goes there and comes back whole: see `color_step_kernel`.
    """

    def __init__(self, points: ColorPoints, n_clusters: int, n_runs: int = 1) -> None:
        super().__init__(points, n_clusters, n_runs)
        device = points.weights.device
        constants, n_tiles = constants_for(n_clusters), -(-points.n_points // TILE)
        n_in_table = 6 * triton.cdiv(n_clusters, constants["NEAR"]) * constants["NEAR"]
        most = max(1, MOST_IN_TABLES // (self.n_all * n_in_table))
        self._device = device
        self._n_parts = 1 if n_tiles <= ALONE else min(most, n_programs(n_tiles, device, PER_PROCESSOR, self.n_all))
        self._labels = torch.full((self.n_all, points.n_points), -1, dtype=torch.int16, device=device)
        n_own = self.n_all * (self._n_parts * n_in_table // 2 + 4 * n_clusters + 2)
        self._own = torch.zeros(n_own, dtype=torch.int64, device=device)
        self._rows = np.zeros((self.n_all, 10 * n_clusters + len(Number)))
        grid = self._n_parts, self.n_all
        self._launch = Launches(color_step_kernel, grid, constants, **OPTIONS)

    @property
    def home(self) -> torch.device:
        return torch.device("cpu")

    @property
    def labels(self) -> Tensor:
        return self._labels

    @property
    def totals(self) -> Tensor:
        return torch.from_numpy(self._totals)

    @property
    def _totals(self) -> Floats:  # [P, K, 4]
        return self._rows[:, 6 * self.n_clusters : -len(Number)].reshape(self.n_all, self.n_clusters, 4)

    def _columns(self, part: int) -> Floats:  # [P, 3 K]: the centers (0), or their last moves (1)
        return self._rows[:, part * 3 * self.n_clusters : (part + 1) * 3 * self.n_clusters]

    def _numbers(self, which: Number) -> Floats:  # [P]
        return self._rows[:, which - len(Number)]

    def changed(self, runs: list[int]) -> list[int]:
        return [int(changed) for changed in self._numbers(Number.CHANGED)[runs]]

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        self._columns(0)[active] = centers.cpu().numpy().reshape(len(active), -1)
        self._numbers(Number.STAND)[:] = RunStatus.STILL
        self._numbers(Number.STAND)[active] += LABELING
        self._go_on([1])
        return *self.sums_of(active), self.changed(active)

    def iterate(
        self,
        centers: Tensor,
        moves: Tensor,
        n_iter: Tensor,
        status: Tensor,
        limits: Tensor,
        *,
        max_iter: int,
        relaxation: float,
        momentum: float,
        n_steps: int = AS_LONG_AS_NEEDED,
    ) -> list[int]:
        going = {run for run, stand in enumerate(status.tolist()) if stand == RunStatus.GOING}
        for part, places in enumerate((centers, moves)):
            self._columns(part)[:] = places.numpy().reshape(self.n_all, -1)
        kept = {Number.ITERATION: n_iter, Number.STAND: status}
        for which, values in (kept | {Number.LIMIT: limits}).items():
            self._numbers(which)[:] = values.numpy()
        self._numbers(Number.RELAXATION)[:], self._numbers(Number.MOMENTUM)[:] = relaxation, momentum
        most = min(max_iter, AS_LONG_AS_NEEDED)
        if n_steps < AS_LONG_AS_NEEDED:
            self._go_on(repeat(1, n_steps), most)
        elif self._n_parts == 1:
            self._go_on([1], most, most + 1)  # the last one labels
        else:
            self._go_on(chain(LOOKS, repeat(LOOKS[-1])), most)
        stands = self._numbers(Number.STAND)
        resting = RunStatus.STILL, RunStatus.CLOSE, RunStatus.OUT_OF_TIME
        self.labeled = self.labeled - going | {run for run in going if stands[run] in resting}
        stands[stands >= LABELING] -= LABELING
        for part, places in enumerate((centers, moves)):
            places.numpy()[:] = self._columns(part).reshape(places.shape)
        for which, values in kept.items():
            values.numpy()[:] = self._numbers(which)
        found: list[int] = status.tolist()
        return found

    def _go_on(self, looks: Iterable[int], max_iter: int = 0, n_steps: int = 1) -> None:
        """Launch so many times before each look, until no run goes on; a launch makes at most so many steps."""
        state = torch.from_numpy(self._rows).to(self._device, non_blocking=True)
        arrays = self.points.colors, self.points.weights, self._labels, state, self._own
        sizes = self.points.n_points, self.n_clusters, self.n_runs, max_iter, n_steps
        is_small = self._rows.nbytes <= MOST_LOOKED_AT
        for look in looks:
            with torch.cuda.device_of(state):  # Triton launches on the current device
                for _ in range(look):
                    self._launch(*arrays, *sizes)
            if is_small:
                self._rows = state.cpu().numpy()
            stands = self._numbers(Number.STAND) if is_small else state[:, Number.STAND - len(Number)].cpu().numpy()
            if not ((stands == RunStatus.GOING) | (stands >= LABELING)).any():
                break
        if not is_small:
            self._rows = state.cpu().numpy()

    def enter(self, centers: Tensor) -> Tensor:
        levels = centers.cpu().double().numpy() - ORIGIN
        return torch.from_numpy(np.rint(levels.clip(-ORIGIN, 255 - ORIGIN) * GRID) / GRID)

    def leave(self, centers: Tensor) -> Tensor:
        return torch.from_numpy(centers.numpy() + ORIGIN)

    def inertia(self, centers: Tensor) -> list[float]:
        own, sums, weights = centers.numpy(), self._totals[:, :, :-1], self._totals[:, :, -1:]
        nearby = np.rint(own)
        exact = (nearby * (2 * sums - weights * nearby)).sum(axis=(1, 2))
        exact = np.repeat(self.points.square_sum.tolist(), self.n_runs) - exact
        step = own - nearby
        rest = (step * (weights * (step + 2 * nearby) - 2 * sums)).reshape(self.n_all, -1)
        return [max(0.0, math.fsum([large, *small])) for large, small in zip(exact, rest.tolist(), strict=True)]

    def farthest(self, run: int, n_points: int, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points, weights, labels = super().farthest(run, n_points, centers.to(self._device))
        return points.cpu(), weights.cpu(), labels.cpu()
