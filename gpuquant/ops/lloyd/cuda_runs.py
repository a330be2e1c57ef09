"""KernelLloyd: the host's side of Lloyd's algorithm on a device."""

from collections.abc import Callable
from functools import wraps
from itertools import chain, repeat
from typing import Any, TypeVar

import torch
import triton
from torch import Tensor

from gpuquant.ops.cuda_launches import Launches
from gpuquant.ops.lloyd.cuda import (
    CLUSTERS,
    PARTS,
    PER_PROCESSOR,
    POINTS,
    SUMS,
    add_parts_kernel,
    inertia_kernel,
    lloyd_step_kernel,
    move_centers_kernel,
    n_programs,
)
from gpuquant.ops.lloyd.moves import AS_LONG_AS_NEEDED, LOOKS
from gpuquant.ops.lloyd.run_status import RunStatus
from gpuquant.tensors import power_of_two

MAX_COLUMNS = 4
Result = TypeVar("Result")

LEAST_SHARE = 1e-9  # of all weights
SCATTERED = 17  # clusters from which points are added one by one: fewer are faster summed up block by block


def _on_its_device(method: Callable[..., Result]) -> Callable[..., Result]:
    """Triton launches on the current device."""

    @wraps(method)
    def call(self: "KernelLloyd", *given: Any, **named: Any) -> Result:
        with torch.cuda.device_of(self.totals):
            return method(self, *given, **named)

    return call


class KernelLloyd:
    """Lloyd's algorithm in P = B x n_runs runs on CUDA tensors: run r works on problem r // n_runs.

    Parameters
    ----------
    points : Tensor, [B, N, D] float32 or float64
    origin : Tensor, float64 [B, D]
        What points are relative to.
    weights : Tensor, float64 [B, N]
    labels : Tensor, integers [P, N]
        Overwritten for the runs that take part.
    n_clusters : int
    single : bool
        Scores are float32.
    snap : "single" or "double"
        Centers are kept as float32 or float64 points need them.
    count_weightless : bool
        Also count label changes of points whose weight is 0.
    """

    def __init__(
        self,
        points: Tensor,
        origin: Tensor,
        weights: Tensor,
        labels: Tensor,
        n_clusters: int,
        *,
        single: bool,
        snap: str,
        count_weightless: bool = False,
    ) -> None:
        self._points, self._origin, self._weights, self._labels = points, origin, weights, labels
        self._n_clusters, self._n_columns = n_clusters, origin.shape[1]
        self._single, self._snap, self._count_weightless = single, snap, count_weightless
        device, n_all = points.device, len(labels)
        self._n_runs = n_all // len(weights)
        self._scales = self._find_scales()
        self._scatters = n_clusters >= SCATTERED and single and self._weights_are_alike()
        self._n_parts = n_programs(-(-weights.shape[1] // POINTS), device, PER_PROCESSOR)
        shape = n_clusters, self._n_columns + 1
        kind = torch.int64 if self._scatters else torch.float64
        self._parts = torch.empty(n_all, self._n_parts, *shape, dtype=kind, device=device)
        self._n_changed = torch.empty(n_all, self._n_parts, dtype=torch.int32, device=device)
        self.totals = torch.zeros(n_all, *shape, dtype=torch.float64, device=device)  # of the last step of each run
        self._centers = torch.zeros(n_all, n_clusters, self._n_columns, dtype=torch.float64, device=device)
        self._going = torch.full((n_all,), RunStatus.GOING.value, dtype=torch.int32, device=device)

    def _weights_are_alike(self) -> bool:
        """Tell whether integers hold the smallest weight, and what it is multiplied with, to nine digits."""
        smallest = torch.where(self._weights > 0, self._weights, torch.inf).flatten(1).amin(dim=1)
        return bool((smallest >= LEAST_SHARE * self._weights.flatten(1).sum(dim=1)).all())

    def _find_scales(self) -> Tensor:  # [B, 2] float64
        """Powers of two, as large as they can be with all sums of weighted columns, and of weights, below 2^60."""
        lowest, highest = self._points.flatten(1).aminmax(dim=1)
        from_lowest = self._origin.amax(dim=1) - lowest.double()
        largest = torch.maximum(from_lowest, highest.double() - self._origin.amin(dim=1))
        total = self._weights.flatten(1).sum(dim=1)
        return power_of_two(60 - torch.stack([total * largest, total], dim=1).frexp().exponent)

    @_on_its_device
    def step(
        self,
        centers: Tensor,  # [A, K, D] float64, relative to the origin
        active: list[int],  # [A]: the runs that take part
    ) -> tuple[Tensor, Tensor, list[int]]:  # sums [A, K, D], weights [A, K], labels that changed [A]
        """Label all points with their nearest center (the lowest of equal scores) and sum up the clusters."""
        runs = torch.tensor(active, device=centers.device)
        self._centers[runs] = centers
        self._begin(len(active))(self._centers, runs, self._going)
        totals = self.totals[runs]
        changed: list[int] = self._n_changed[runs].sum(dim=1).tolist()
        return totals[:, :, :-1], totals[:, :, -1], changed

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:  # [A, K, D], [A, K]
        """The sums and the weights of the clusters after the last step of some runs."""
        totals = self.totals[runs]
        return totals[:, :, :-1], totals[:, :, -1]

    def changed(self, runs: list[int]) -> list[int]:
        """Count the labels that the last step of some runs changed."""
        changed: list[int] = self._n_changed[runs].sum(dim=1).tolist()
        return changed

    def _begin(self, n_active: int) -> Callable[[Tensor, Tensor, Tensor], None]:
        """Make a function that launches a step of so many runs: centers [P, K, D], runs [A] int64, status [P] int32."""
        n_points, n_sums = self._weights.shape[1], self._n_clusters * (self._n_columns + 1)
        shared = {"D": self._n_columns, "SCATTER": self._scatters}
        kind = {"SINGLE": self._single, "COUNT_WEIGHTLESS": self._count_weightless}
        label = Launches(lloyd_step_kernel, (self._n_parts, n_active), shared | kind | {"BLOCK": POINTS})
        parts = {"SUMS": SUMS, "PARTS": PARTS}
        add_up = Launches(add_parts_kernel, (triton.cdiv(n_sums, SUMS), n_active), shared | parts)
        data, sizes = (self._points, self._origin, self._weights), (n_points, self._n_clusters, self._n_runs)
        found = self._labels, self._parts, self._n_changed, self._scales

        def launch(centers: Tensor, runs: Tensor, status: Tensor) -> None:
            label(*data, centers, runs, status, *found, *sizes, n_points * self._n_columns)
            add_up(self._parts, runs, status, self.totals, self._scales, n_sums, self._n_parts, self._n_runs)

        return launch

    @_on_its_device
    def iterate(
        self,
        centers: Tensor,  # [P, K, D] float64, moved in place
        moves: Tensor,  # [P, K, D] float64: the last moves of the centers
        n_iter: Tensor,  # [P] int32
        status: Tensor,  # [P] int32: runs whose `RunStatus` is not GOING rest
        limits: Tensor,  # [P] float64
        *,
        max_iter: int,
        relaxation: float,
        momentum: float,
        n_steps: int = AS_LONG_AS_NEEDED,
    ) -> list[int]:  # the `RunStatus` of each run
        """Iterate until every run has ended, needs the host, or made so many steps."""
        runs = torch.arange(len(centers), device=centers.device)
        step, constants = self._begin(len(runs)), {"RELAXATION": relaxation, "MOMENTUM": momentum, "SNAP": self._snap}
        constants |= {"D": self._n_columns, "CLUSTERS": CLUSTERS, "PARTS": PARTS}
        rounding = {"enable_fp_fusion": False}  # as on the host
        move = Launches(move_centers_kernel, (len(runs), 1), constants, **rounding)
        moved = self.totals, self._n_changed, status, centers, moves, n_iter, limits
        for look in chain(LOOKS, repeat(LOOKS[-1])):
            at_once = min(look, n_steps)
            n_steps -= at_once
            for _ in range(at_once):
                step(centers, runs, status)
                move(*moved, self._n_clusters, self._n_parts, max_iter)
            stands: list[int] = status.tolist()
            if RunStatus.GOING not in stands or not n_steps:
                break
        return stands

    @_on_its_device
    def inertia(
        self,
        centers: Tensor,  # [P, K, D] float64, relative to the origin
    ) -> Tensor:  # [P] float64
        """Sum of weight times squared distance to the labelled center."""
        n_points = self._weights.shape[1]
        parts = torch.empty(len(centers), self._n_parts, dtype=torch.float64, device=centers.device)
        inertia_kernel[(self._n_parts, len(centers))](
            self._points,
            self._origin,
            self._weights,
            centers.contiguous(),
            self._labels,
            parts,
            n_points,
            self._n_clusters,
            self._n_runs,
            n_points * self._n_columns,
            D=self._n_columns,
            BLOCK=POINTS // 2,  # more would spill registers
        )
        return parts.sum(dim=1)
