"""Breathing k-means beside NumPy, and where Lloyd's algorithm alone is stuck."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import needs_numba

from gpuquant import ops
from gpuquant.clustering.breathing import breathe, clusters_to_split
from gpuquant.ops import compiled


def problem(n_colors: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = np.random.RandomState(seed)
    colors = np.unique(draws.randint(0, 256, (n_colors, 3)), axis=0).astype(np.uint8)
    return torch.from_numpy(colors), torch.from_numpy(draws.randint(1, 1000, len(colors)))


def error_of(colors: torch.Tensor, counts: torch.Tensor, centers: torch.Tensor) -> float:
    apart = np.square(colors.numpy().astype(float)[:, None] - centers.numpy()).sum(axis=2)
    return float(apart.min(axis=1) @ counts.numpy())


def settled_by_numpy(colors: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Lloyd's algorithm on colors that all count the same."""
    points, means = colors.numpy().astype(float), centers.numpy()
    for _ in range(20):
        labels = np.square(points[:, None] - means).sum(axis=2).argmin(axis=1)
        means = np.array([points[labels == center].mean(axis=0) for center in range(len(means))])
    return torch.from_numpy(means)


def test_out_of_a_local_minimum() -> None:
    """Two far clusters share a center and one near the others has two: Lloyd's algorithm changes nothing."""
    corners = torch.tensor([[0, 0, 0], [0, 0, 40], [200, 0, 0], [200, 0, 100]])
    colors = torch.cat([corners + shift for shift in range(3)]).to(torch.uint8)
    counts = torch.full((len(colors),), 10)
    stuck = torch.tensor([[1.0, 1, 1], [0.5, 0.5, 40.5], [2.0, 2, 42], [201.0, 1, 51]], dtype=torch.float64)
    found, error = breathe(ops.grid_points(colors, counts), stuck, n_cycles=20, draws=np.random.RandomState(0))
    settled = settled_by_numpy(colors, found)
    # each of the four clusters has its mean as center, and two points at (1, 1, 1) from it
    assert error_of(colors, counts, settled) == error == 4 * 2 * 3 * 10
    assert error_of(colors, counts, settled_by_numpy(colors, stuck)) > 20_000


@pytest.mark.parametrize("n_centers", [1, 2, 5, 40])
def test_never_worse_and_the_same_for_any_number_of_threads(n_centers: int) -> None:
    colors, counts = problem(2000, n_centers)
    start = colors[:: len(colors) // n_centers][:n_centers].double()
    n_threads = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(breathe(ops.grid_points(colors, counts), start, n_cycles=6, draws=np.random.RandomState(3))[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(*found)
    assert found[0].shape == (n_centers, 3)
    assert error_of(colors, counts, found[0]) < error_of(colors, counts, start)


class Watched:
    """Points that note how many clusters are split at a time."""

    def __init__(self, points: Any) -> None:
        self.settled, self._breathed = points.settled, points.breathed
        self.n_split: list[int] = []

    def breathed(self, state: Any, chosen: np.ndarray) -> Any:
        assert len(set(chosen.tolist())) == len(chosen)
        self.n_split.append(len(chosen))
        return self._breathed(state, chosen)


@pytest.mark.parametrize(
    ("n_centers", "n_cycles", "n_split"),
    [
        (1, 2, [1, 1]),
        (4, 5, [4, 4, 3, 2, 1]),
        (16, 5, [10, 8, 6, 4, 2]),
        (16, 14, [10, 10, 9, 8, 8, 7, 6, 5, 5, 4, 3, 3, 2, 1]),
        (400, 4, [100, 75, 50, 25]),
        (400, 1, [100]),
        (9, 0, []),
    ],
)
def test_fewer_and_fewer_clusters_are_split(n_centers: int, n_cycles: int, n_split: list[int]) -> None:
    colors, counts = problem(2000, 5)
    points = Watched(ops.grid_points(colors, counts))
    start = colors[:: len(colors) // n_centers][:n_centers].double()
    breathe(cast(Any, points), start, n_cycles=n_cycles, draws=np.random.RandomState(0))
    assert points.n_split == n_split


@pytest.mark.parametrize("number", [1, 5, 40])
def test_clusters_are_drawn_as_by_numpy_without_replacement(number: int) -> None:
    """Some have no error, and one nearly all of it: it is drawn again and again."""
    errors = np.random.RandomState(7).randint(0, 1000, 60) * (np.arange(60) % 4 > 0) / 16
    errors[9] = 1e6
    ours, theirs = np.random.RandomState(number), np.random.RandomState(number)
    chosen = clusters_to_split(errors, number, ours)
    np.testing.assert_array_equal(chosen, theirs.choice(60, number, replace=False, p=errors / errors.sum()))
    assert ours.random_sample() == theirs.random_sample()


def test_as_many_centers_as_colors() -> None:
    colors, counts = problem(6, 0)
    points = ops.grid_points(colors, counts)
    found, error = breathe(points, colors.double(), n_cycles=5, draws=np.random.RandomState(0))
    assert torch.equal(found, colors.double())
    assert error == 0


@needs_numba
@pytest.mark.parametrize("n_columns", [3, 4])
def test_the_same_without_numba(n_columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(n_columns)
    points, counts = (
        torch.from_numpy(random.uniform(0, 255, (900, n_columns))),
        torch.from_numpy(random.rand(900) // 0.1),
    )
    found = []
    for is_there in (True, False):
        monkeypatch.setattr(compiled, "has_numba", lambda is_there=is_there: is_there)
        prepared = ops.grid_points(points, counts + 1)
        found.append(breathe(prepared, points[:30], n_cycles=9, draws=np.random.RandomState(1))[0])
    assert torch.equal(*found)
