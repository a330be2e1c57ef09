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


def settled(points: Floats, weights: Integers, centers: Floats, iterations: int) -> Floats:
    previous = np.zeros(0, np.int64)
    for _ in range(iterations):
        labels, _ = labels_of(points, centers)
        if np.array_equal(labels, previous):
            break
        moves = means(points, weights, labels, centers) - centers
        centers = on_grid((centers + 1.5 * moves).clip(points.min(axis=0), points.max(axis=0)))
        previous = labels
    return centers


def halves(points: Floats, weights: Integers, centers: Floats) -> Floats:
    """The means of what is above each center across the longest side of its cluster."""
    labels, _ = labels_of(points, centers)
    spread = np.zeros(centers.shape)
    np.add.at(spread, labels, np.square(points - centers[labels]) * weights[:, None])
    longest = spread.argmax(axis=1)[labels]
    upper = np.take_along_axis(points - centers[labels], longest[:, None], axis=1)[:, 0] > 0
    return on_grid(means(points[upper], weights[upper], labels[upper], centers))


def removed(points: Floats, weights: Integers, centers: Floats, n_removed: int) -> Floats:
    """The centers that are left without the least useful ones."""
    labels, apart = labels_of(points, centers)
    nearest = np.sort(apart, axis=1)
    uses = np.bincount(labels, weights * (nearest[:, 1] - nearest[:, 0]), minlength=len(centers))
    between = np.sqrt(np.square(centers[:, None] - centers).sum(axis=2))
    np.fill_diagonal(between, np.inf)
    close = 1.1 * between.min(axis=1).mean()
    gone: list[int] = []
    frozen: set[int] = set()
    while len(gone) < n_removed:
        left = [center for center in range(len(centers)) if center not in gone and center not in frozen]
        gone.append(min(left, key=lambda center: (uses[center], center)))
        more = frozen | set(np.flatnonzero(between[gone[-1]] < close).tolist())
        if len(more) + n_removed <= len(centers):
            frozen = more
    return np.delete(centers, gone, axis=0)


def breathed(points: Floats, weights: Integers, centers: Floats, chosen: Integers) -> Floats:
    n_kept = len(centers)
    centers = settled(points, weights, np.concatenate([centers, halves(points, weights, centers)[chosen]]), 1)
    while len(centers) > n_kept:
        left = (len(centers) - n_kept) // 4
        centers = removed(points, weights, centers, len(centers) - n_kept - left)
        centers = settled(points, weights, centers, 1 if left else 2)
    return centers


def problem(n_points: int, n_centers: int, n_columns: int, kind: str) -> tuple[Floats, Integers, Floats]:
    """Points and centers on the grid, and weights."""
    random = np.random.RandomState(n_points + n_centers)
    points = random.randint(0, 1021, (n_points, n_columns)) / 4
    if kind == "gray":
        points[:] = points[:, :1]
    if kind == "levels":
        points = np.round(points)
    centers = points[random.randint(0, n_points, n_centers)].copy()
    if kind == "ties":
        centers[n_centers // 2 :] = centers[: n_centers - n_centers // 2].copy()
    return points, random.randint(0, 1000, n_points) + 1, centers


def tensors(points: Floats, weights: Integers, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    given = points.astype(np.uint8) if kind == "levels" else points
    return torch.from_numpy(given), torch.from_numpy(weights)


def check(state: GridState, points: Floats, weights: Integers, centers: Floats) -> None:
    labels, apart = labels_of(points, centers)
    np.testing.assert_array_equal(state.centers.numpy(), centers)
    errors = np.bincount(labels, weights * apart.min(axis=1), minlength=len(centers))
    np.testing.assert_array_equal(state.errors, errors)
    assert state.error == errors.sum()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["levels", "floats", "ties", "gray"])
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
    most_added = min(n_centers, 8)
    state = prepared.settled(torch.from_numpy(centers.copy()), most_added)
    expected = settled(points, weights, centers, 2)
    check(state, points, weights, expected)
    for n_added in {most_added, (most_added + 1) // 2, 1}:
        chosen = np.random.RandomState(n_added).choice(n_centers, n_added, replace=False)
        found = prepared.breathed(state, chosen)
        check(found, points, weights, breathed(points, weights, expected, chosen))
        check(state, points, weights, expected)
    again = prepared.breathed(found, chosen)  # on from there
    check(again, points, weights, breathed(points, weights, found.centers.numpy(), chosen))


@pytest.mark.parametrize("module", MODULES)
def test_points_are_rounded_to_the_grid(module: ModuleType) -> None:
    """Half-way numbers to even steps; and some working spaces go beyond the levels of 8 bits."""
    given = np.array([[-3.1, 0.125, 7.375], [300.2, 0.374, 255.0], [12.0, 13.0, 14.0]])
    points = np.array([[-3.0, 0.0, 7.5], [300.25, 0.25, 255.0], [12.0, 13.0, 14.0]])
    weights, centers = np.array([1, 2, 3]), np.array([[0.0, 0.0, 0.0], [280.0, 0.0, 250.0]])
    state = module.GridPoints(torch.from_numpy(given), torch.tensor([1.0, 2.0, 3.0])).settled(
        torch.from_numpy(centers), 1
    )
    check(state, points, weights, settled(points, weights, centers, 2))


@pytest.mark.parametrize("module", MODULES)
@given(
    points=st.lists(st.tuples(*[st.integers(0, 1020)] * 3), min_size=1, max_size=140),
    seed=st.integers(0, 99),
    n_centers=st.integers(1, 12),
)
@settings(deadline=None, max_examples=60)
def test_any_points(module: ModuleType, points: list[tuple[int, int, int]], seed: int, n_centers: int) -> None:
    random = np.random.RandomState(seed)
    levels, centers = np.array(points) / 4, random.randint(0, 1021, (n_centers, 3)) / 4
    weights = random.randint(0, 3, len(points))
    chosen = random.choice(n_centers, 1 + seed % n_centers, replace=False)
    prepared = module.GridPoints(torch.from_numpy(levels), torch.from_numpy(weights))
    state = prepared.settled(torch.from_numpy(centers), n_centers)
    expected = settled(levels, weights, centers, 2)
    check(state, levels, weights, expected)
    check(prepared.breathed(state, chosen), levels, weights, breathed(levels, weights, expected, chosen))


@pytest.mark.parametrize("size", [1, 7, 64, 2000])
def test_boxes_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes of equal points and of one, of many, and of all."""
    monkeypatch.setattr(reference_grid, "BOX", {"cpu": size})
    for kind in ("levels", "gray"):
        test_cycles_are_those_of_numpy(reference_grid, kind, 640, 40, 3)
    test_cycles_are_those_of_numpy(reference_grid, "ties", 1500, 100, 3)
