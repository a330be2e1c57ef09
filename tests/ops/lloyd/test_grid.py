"""Lloyd's algorithm on a grid of a quarter level, compiled and in torch, against all distances in NumPy."""

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.ops.lloyd import cpu_grid, reference_grid
from gpuquant.ops.lloyd.grid_state import GridState

MODULES = [cpu_grid, reference_grid]
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


def settled(points: Floats, weights: Integers, centers: Floats, iterations: int, relaxation: float) -> Floats:
    previous = np.zeros(0, np.int64)
    for _ in range(iterations):
        labels, _ = labels_of(points, centers)
        if np.array_equal(labels, previous):
            break
        moves = means(points, weights, labels, centers) - centers
        centers = on_grid((centers + relaxation * moves).clip(points.min(axis=0), points.max(axis=0)))
        previous = labels
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


def check_worth(state: GridState, points: Floats, weights: Integers) -> None:
    centers = state.centers.numpy()
    labels, apart = labels_of(points, centers)
    nearest = np.sort(apart, axis=1)
    for label in range(len(centers)):
        own = labels == label
        assert float(state.errors[label]) == weights[own] @ nearest[own, 0]
        if len(centers) > 1:
            assert float(state.uses[label]) == weights[own] @ (nearest[own, 1] - nearest[own, 0])
    assert state.error == weights @ nearest[:, 0]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["levels", "floats", "ties", "gray"])
@pytest.mark.parametrize(
    ("n_points", "n_centers", "n_columns"),
    [(1, 1, 3), (1, 3, 3), (63, 2, 3), (64, 5, 4), (65, 40, 3), (1500, 100, 3), (2100, 9, 4), (1100, 1, 3)],
)
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_what_a_state_says_is_what_numpy_says(
    module: ModuleType, kind: str, n_points: int, n_centers: int, n_columns: int, iterations: int
) -> None:
    points, weights, centers = problem(n_points, n_centers, n_columns, kind)
    prepared = module.GridPoints(*tensors(points, weights, kind))
    state = prepared.settled(torch.from_numpy(centers.copy()), iterations, 1.5)
    np.testing.assert_array_equal(state.centers.numpy(), settled(points, weights, centers, iterations, 1.5))
    check_worth(state, points, weights)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["levels", "floats", "gray"])
@pytest.mark.parametrize(("n_points", "n_centers", "n_columns"), [(1, 2, 3), (700, 20, 3), (700, 20, 4)])
def test_halves_lie_above_the_center(
    module: ModuleType, kind: str, n_points: int, n_centers: int, n_columns: int
) -> None:
    points, weights, centers = problem(n_points, n_centers, n_columns, kind)
    prepared = module.GridPoints(*tensors(points, weights, kind))
    halves = prepared.halves(prepared.settled(torch.from_numpy(centers), 0, 1.5))
    labels, _ = labels_of(points, centers)
    spread = np.zeros(centers.shape)
    np.add.at(spread, labels, np.square(points - centers[labels]) * weights[:, None])
    longest = spread.argmax(axis=1)[labels]
    upper = np.take_along_axis(points - centers[labels], longest[:, None], axis=1)[:, 0] > 0
    expected = on_grid(means(points[upper], weights[upper], labels[upper], centers))
    np.testing.assert_array_equal(halves.numpy(), expected)


@pytest.mark.parametrize("module", MODULES)
def test_points_are_rounded_to_the_grid(module: ModuleType) -> None:
    """Half-way numbers to even steps; and some working spaces go beyond the levels of 8 bits."""
    points = np.array([[-3.1, 0.125, 7.375], [300.2, 0.374, 255.0], [12.0, 13.0, 14.0]])
    state = module.GridPoints(torch.from_numpy(points), torch.tensor([1.0, 2.0, 3.0])).settled(
        torch.tensor([[0.0, 0.0, 0.0], [280.0, 0.0, 250.0]], dtype=torch.float64), 0, 1.5
    )
    check_worth(state, np.array([[-3.0, 0.0, 7.5], [300.25, 0.25, 255.0], [12.0, 13.0, 14.0]]), np.array([1, 2, 3]))


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
    state = module.GridPoints(torch.from_numpy(levels), torch.from_numpy(weights)).settled(
        torch.from_numpy(centers), 2, 1.5
    )
    np.testing.assert_array_equal(state.centers.numpy(), settled(levels, weights, centers, 2, 1.5))
    check_worth(state, levels, weights)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("n_columns", [3, 4])
@pytest.mark.parametrize("n_centers", [1, 2, 33])
def test_nearest_distances(module: ModuleType, n_columns: int, n_centers: int) -> None:
    _, _, centers = problem(300, n_centers, n_columns, "floats")
    apart = np.sqrt(np.square(centers[:, None] - centers).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_array_equal(module.nearest_distances(torch.from_numpy(centers)).numpy(), apart.min(axis=1))


@pytest.mark.parametrize("pairs", [1, 1 << 8, 1 << 13])
def test_chunks_change_nothing(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_grid, "PAIRS", {"cpu": pairs})
    test_what_a_state_says_is_what_numpy_says(reference_grid, "ties", 1500, 100, 3, 1)
