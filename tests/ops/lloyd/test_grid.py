"""Lloyd's algorithm on a grid of a quarter level, compiled and in torch, against all distances in NumPy."""

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.ops.lloyd import cpu_grid, reference_grid
from gpuquant.ops.lloyd.grid_state import GridState

MODULES = [pytest.param(cpu_grid, marks=needs_numba), reference_grid]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def labels_of(points: Floats, centers: Floats) -> tuple[Integers, Floats]:  # [N], [N, K]
    apart = np.square(points[:, None] - centers).sum(axis=2)
    return apart.argmin(axis=1), apart


def means(points: Floats, weights: Integers, labels: Integers, centers: Floats) -> Floats:
    """Of each cluster, or its center where there are no points, or none with a weight."""
    found = centers.copy()
    for label in range(len(centers)):
        own = labels == label
        if weights[own].sum() > 0:
            found[label] = (points[own] * weights[own, None]).sum(axis=0) / weights[own].sum()
    return found


def on_grid(levels: Floats) -> Floats:
    return np.round(levels * 4) / 4


def settled(
    points: Floats, weights: Integers, centers: Floats, iterations: int, labels: Integers | None = None
) -> Floats:
    labels = labels_of(points, centers)[0] if labels is None else labels
    for _ in range(iterations):
        moves = means(points, weights, labels, centers) - centers
        centers = on_grid((centers + 1.5 * moves).clip(points.min(axis=0), points.max(axis=0)))
        previous, labels = labels, labels_of(points, centers)[0]
        if np.array_equal(labels, previous):
            break
    return centers


def halves(points: Floats, weights: Integers, centers: Floats) -> Floats:
    """The means of what is above each center across the longest side of its cluster."""
    labels, _ = labels_of(points, centers)
    spread = np.zeros(centers.shape)
    np.add.at(spread, labels, np.square(points - centers[labels]) * weights[:, None])
    longest = spread.argmax(axis=1)[labels]
    upper = np.take_along_axis(points - centers[labels], longest[:, None], axis=1)[:, 0] > 0
    return on_grid(means(points[upper], weights[upper], labels[upper], centers))


def lost(sizes: Floats, levels: Floats, entry: int) -> Floats:
    """By how much errors rise when levels, in steps of the grid, are rounded to entries."""
    found: Floats = sizes * sum(
        np.square(column - np.round(column / entry) * entry) for column in np.moveaxis(levels, -1, 0)
    )
    return found


def merged(points: Floats, weights: Integers, centers: Floats, n_kept: int, entry: int) -> tuple[Floats, Integers]:
    """The centers and the labels after clusters were merged, two by two; all pairs are looked at each time."""
    labels = labels_of(points, centers)[0]
    while len(centers) > n_kept:
        in_steps, sizes = (
            means(points, weights, labels, centers) * 4,
            np.bincount(labels, weights, len(centers)).astype(float),
        )
        both: Floats = np.maximum(sizes[:, None] + sizes, 1)
        costs = sum(np.square(column[:, None] - column) for column in in_steps.T) * (sizes[:, None] * sizes / both)
        sums = np.stack([np.bincount(labels, weights * column * 4, len(centers)) for column in points.T], axis=1)
        now, then = lost(sizes, in_steps, entry), lost(both, (sums[:, None] + sums) / both[..., None], entry)
        costs = np.where(sizes[:, None] * sizes > 0, costs + (then - (now[:, None] + now)), 0)
        costs[np.tril_indices(len(centers))] = np.inf
        one, other = divmod(int(np.argmin(costs)), len(centers))
        labels = np.where(labels == other, one, labels)
        centers[one] = on_grid(means(points, weights, labels, in_steps / 4))[one]
        labels, centers = labels - (labels > other), np.delete(centers, other, axis=0)
    return centers, labels


def breathed(points: Floats, weights: Integers, centers: Floats, chosen: Integers, entry: int) -> Floats:
    n_kept = len(centers)
    centers = settled(points, weights, np.concatenate([centers, halves(points, weights, centers)[chosen]]), 1)
    centers, labels = merged(points, weights, centers, n_kept, entry)
    return settled(points, weights, centers, 2, labels)


def problem(n_points: int, n_centers: int, n_columns: int, kind: str) -> tuple[Floats, Integers, Floats]:
    """Points and centers on the grid, and weights."""
    random = np.random.RandomState(n_points + n_centers)
    points = random.randint(0, 1021, (n_points, n_columns)) / 4
    if kind == "gray":
        points[:] = points[:, :1]
    if kind == "levels":
        points = np.round(points)
    if kind == "dark":  # what is lost by rounding decides which clusters are merged
        points[:] = np.round(points[:, :1] / 20)
    centers = points[random.randint(0, n_points, n_centers)].copy()
    if kind == "ties":
        centers[n_centers // 2 :] = centers[: n_centers - n_centers // 2].copy()
    return points, random.randint(0, 1000, n_points) + 1, centers


def tensors(points: Floats, weights: Integers, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    given = points.astype(np.uint8) if kind in ("levels", "dark") else points
    return torch.from_numpy(given), torch.from_numpy(weights)


def check(state: GridState, points: Floats, weights: Integers, centers: Floats, entry: int) -> None:
    labels, _ = labels_of(points, centers)
    np.testing.assert_array_equal(state.centers.numpy(), centers)
    entries = np.round(means(points, weights, labels, centers) * 4 / entry) * entry / 4
    apart = np.square(points - entries[labels]).sum(axis=1)
    errors = np.bincount(labels, weights * apart, minlength=len(centers))
    np.testing.assert_array_equal(state.errors, errors)
    assert state.error == errors.sum()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["levels", "floats", "ties", "gray", "dark"])
@pytest.mark.parametrize(
    ("n_points", "n_centers", "n_columns"),
    [
        (1, 1, 3),
        (1, 3, 3),
        (63, 2, 3),
        (64, 5, 4),
        (65, 40, 3),
        (1500, 100, 3),
        (2100, 9, 4),
        (1100, 1, 3),
        (640, 300, 3),
    ],
)
def test_cycles_are_those_of_numpy(
    module: ModuleType, kind: str, n_points: int, n_centers: int, n_columns: int
) -> None:
    points, weights, centers = problem(n_points, n_centers, n_columns, kind)
    prepared = module.GridPoints(*tensors(points, weights, kind))
    most_added, entry = min(n_centers, 8), 4 if kind in ("levels", "dark") else 1
    state = prepared.settled(torch.from_numpy(centers.copy()), most_added)
    expected = settled(points, weights, centers, 2)
    check(state, points, weights, expected, entry)
    for n_added in {most_added, (most_added + 1) // 2, 1}:
        chosen = np.random.RandomState(n_added).choice(n_centers, n_added, replace=False)
        found = prepared.breathed(state, chosen)
        check(found, points, weights, breathed(points, weights, expected, chosen, entry), entry)
        check(state, points, weights, expected, entry)
    again = prepared.breathed(found, chosen)  # on from there
    check(again, points, weights, breathed(points, weights, found.centers.numpy(), chosen, entry), entry)


@pytest.mark.parametrize("module", MODULES)
def test_points_are_rounded_to_the_grid(module: ModuleType) -> None:
    """Half-way numbers to even steps; and some working spaces go beyond the levels of 8 bits."""
    given = np.array([[-3.1, 0.125, 7.375], [300.2, 0.374, 255.0], [12.0, 13.0, 14.0]])
    points = np.array([[-3.0, 0.0, 7.5], [300.25, 0.25, 255.0], [12.0, 13.0, 14.0]])
    weights, centers = np.array([1, 2, 3]), np.array([[0.0, 0.0, 0.0], [280.0, 0.0, 250.0]])
    state = module.GridPoints(torch.from_numpy(given), torch.tensor([1.0, 2.0, 3.0])).settled(
        torch.from_numpy(centers), 1
    )
    check(state, points, weights, settled(points, weights, centers, 2), 1)


@pytest.mark.parametrize("module", MODULES)
@given(
    points=st.lists(st.tuples(*[st.integers(0, 1020)] * 3), min_size=1, max_size=140),
    seed=st.integers(0, 99),
    n_centers=st.integers(1, 12),
)
@settings(max_examples=60)
def test_any_points(module: ModuleType, points: list[tuple[int, int, int]], seed: int, n_centers: int) -> None:
    random = np.random.RandomState(seed)
    entry = 1 if seed % 2 else 4
    levels, centers = np.array(points) // entry * entry / 4, random.randint(0, 1021, (n_centers, 3)) / 4
    weights = random.randint(0, 3, len(points))
    chosen = random.choice(n_centers, 1 + seed % n_centers, replace=False)
    prepared = module.GridPoints(*tensors(levels, weights, "floats" if seed % 2 else "levels"))
    state = prepared.settled(torch.from_numpy(centers), n_centers)
    expected = settled(levels, weights, centers, 2)
    check(state, levels, weights, expected, entry)
    found = breathed(levels, weights, expected, chosen, entry)
    check(prepared.breathed(state, chosen), levels, weights, found, entry)


@pytest.mark.parametrize("size", [1, 7, 64, 2000])
def test_boxes_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes of equal points and of one, of many, and of all."""
    monkeypatch.setattr(reference_grid, "BOX", {"cpu": size})
    for kind in ("levels", "gray"):
        test_cycles_are_those_of_numpy(reference_grid, kind, 640, 40, 3)
    test_cycles_are_those_of_numpy(reference_grid, "ties", 1500, 100, 3)
