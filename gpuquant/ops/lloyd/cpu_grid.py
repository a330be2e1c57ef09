"""Breathing k-means on a grid of a quarter level by compiled loops; `reference_grid` has the twin."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import z_order
from gpuquant.ops.lloyd.cpu_grid_kernels import (
    COLUMNS,
    INDEX,
    SQUARE,
    Array,
    Points,
    Scratch,
    State,
    add_errors,
    settle,
    split,
)
from gpuquant.ops.lloyd.cpu_grid_merging import Merging, merge
from gpuquant.ops.lloyd.grid_state import GRID, ITERATIONS, RELAXATION, SPREADING, GridState
from gpuquant.ops.points.cpu_groups import GROUP, SPAN, boxes_of, filled_up


class GridPoints:
    """Points with weights, rounded to the grid."""

    def __init__(
        self,
        points: Tensor,  # [N, 3] uint8, neighbors close together; or [N, 3] or [N, 4] float64 of about that size
        weights: Tensor,  # [N], whole numbers
    ) -> None:
        n_points, n_columns = points.shape
        found: Array = points.numpy()
        added = weights.numpy()
        if points.dtype != torch.uint8:
            order = z_order(points[:, :3].double().clamp(0, 255).to(torch.uint8)).argsort().numpy()
            found, added = np.rint(found[order] * GRID), added[order]
        levels = filled_up(found.astype(np.int32), COLUMNS + 1)
        padded = np.zeros(levels.shape[1], np.int64)
        padded[:n_points] = added
        if points.dtype == torch.uint8:
            levels *= int(GRID)
        np.einsum("dn,dn->n", levels[:n_columns], levels[:n_columns], out=levels[SQUARE])
        groups, spans = (_middles_and_sides(boxes) for boxes in boxes_of(levels[:COLUMNS]))
        boxes = np.insert(groups, range(0, len(groups), SPAN), spans, axis=0)  # each span before its groups
        limits = np.array([levels[:COLUMNS].min(axis=1), levels[:COLUMNS].max(axis=1)], np.float64)
        entry = int(GRID) if points.dtype == torch.uint8 else 1
        self._points = Points(levels, padded, boxes, limits, n_columns, entry)

    def settled(
        self,
        centers: Tensor,  # [K, D] float64, on the grid
        most_added: int,  # centers, in any later cycle
    ) -> GridState:
        """Repeat Lloyd steps from given centers."""
        n_centers, n_columns = centers.shape
        most, n_points = n_centers + most_added, len(self._points.weights)
        self._states = [_state(most, n_points) for _ in range(2)]
        ints, floats = np.zeros((14, most), np.int32), np.empty((8, most))
        self._scratch = Scratch(ints[:6], ints[6:12], ints[12:], np.empty((3, GROUP), np.int32))
        self._merging = Merging(ints[12], ints[13], floats[:5], *floats[5:])
        before = self._states[0]
        before.centers[:n_columns, :n_centers] = (centers.cpu().numpy() * GRID).T
        before.centers[SQUARE] = np.square(before.centers[:COLUMNS]).sum(axis=0)
        before.labels.fill(most)
        before.sums.fill(0)
        return self._run(before, n_centers, np.empty(0, np.int64))

    def breathed(
        self,
        state: GridState,  # nothing of it is lost, but other ones of these points can go on no more
        chosen: npt.NDArray[np.int64],  # [n]: clusters to split
    ) -> GridState:
        """Split clusters, merge as many pairs, and repeat Lloyd steps after each change."""
        before, n_centers = state.kept
        return self._run(before, n_centers, chosen)

    def _run(self, before: State, n_centers: int, chosen: npt.NDArray[np.int64]) -> GridState:
        (after,) = (one for one in self._states if one is not before)
        for given, taken in zip(before, after, strict=True):
            np.copyto(taken, given)
        if len(chosen):
            n_more = n_centers + len(chosen)
            split(self._points, after, n_centers, chosen, self._scratch)
            settle(self._points, after, n_centers, n_more, self._scratch, False, 1 + SPREADING, RELAXATION)
            merge(after, n_more, n_centers, self._points.entry, self._merging)
            settle(self._points, after, 0, n_centers, self._scratch, True, ITERATIONS, RELAXATION)
        else:
            settle(self._points, after, 0, n_centers, self._scratch, False, 1 + ITERATIONS, RELAXATION)
        add_errors(self._points, after, n_centers)
        levels = after.centers[: self._points.n_columns, :n_centers].T / GRID
        return GridState(torch.from_numpy(levels), after.errors[:n_centers] / GRID**2, (after, n_centers))


def _middles_and_sides(boxes: Array) -> Array:  # [n, 8]: twice the middles
    low, high = boxes[:, :COLUMNS], boxes[:, COLUMNS:]
    return np.concatenate([low + high, high - low], axis=1)


def _state(most: int, n_points: int) -> State:
    centers = np.zeros((6, most), np.int32)
    centers[INDEX] = np.arange(most)
    labels, apart = np.empty((2, n_points), np.int32)
    return State(centers, labels, apart, np.empty((most + 1, 5), np.int64), np.empty(most, np.int64))
