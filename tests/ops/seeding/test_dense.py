"""k-means++ over floating-point points, compiled and in plain torch, against the textbook on the same numbers."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gpuquant.ops import compiled
from gpuquant.ops.seeding import cpu_dense, reference_dense

Floats = npt.NDArray[np.float64]


@pytest.fixture(params=[cpu_dense, reference_dense])
def seeding(request: pytest.FixtureRequest) -> ModuleType:
    if request.param is cpu_dense and not compiled.has_numba():
        pytest.skip("Numba cannot be imported")
    module: ModuleType = request.param
    return module


def choose(
    seeding: ModuleType, points: Floats, weights: Floats, uniforms: Floats, n_candidates: int, n_clusters: int
) -> tuple[npt.NDArray[np.int64], list[float]]:
    given = torch.from_numpy(points), torch.from_numpy(weights), uniforms
    found: tuple[npt.NDArray[np.int64], list[float]] = seeding.choose_points(*given, n_candidates, n_clusters)
    return found


def textbook(points: Floats, weights: Floats, uniforms: Floats, n_candidates: int) -> tuple[list[int], float]:
    running = np.cumsum(weights)
    chosen = [int(np.searchsorted(running, uniforms[0] * running[-1], side="right"))]
    closest = np.square(points - points[chosen[0]]).sum(axis=1)
    for tried in uniforms[1:].reshape(-1, n_candidates):
        running = np.cumsum(weights * closest)
        drawn = np.searchsorted(running, tried * running[-1]).clip(max=len(points) - 1)
        lowered = [np.minimum(closest, np.square(points - points[index]).sum(axis=1)) for index in drawn]
        best = int(np.argmin([weights @ distances for distances in lowered]))
        chosen.append(int(drawn[best]))
        closest = lowered[best]
    return chosen, float(weights @ closest)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    ("n_points", "n_columns", "n_clusters"), [(1, 1, 1), (2, 3, 2), (700, 1, 16), (700, 10, 16), (20_001, 3, 12)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_seeding_is_greedy_kmeans_plus_plus(
    seeding: ModuleType,
    dtype: type,
    n_points: int,
    n_columns: int,
    n_clusters: int,
    n_threads: int,
    monkeypatch: pytest.MonkeyPatch,
    set_threads: Callable[[int], None],
) -> None:
    """In one call, or center by center in threads; two runs."""
    if n_threads > 1:
        monkeypatch.setattr(cpu_dense, "SHARED", 0)
    monkeypatch.setattr(cpu_dense, "PAIRS_AT_ONCE", 1 << 14)
    set_threads(n_threads)
    random = np.random.RandomState(n_points)
    points: npt.NDArray[Any] = random.normal(5, 2, (n_points, n_columns)).astype(dtype)
    weights = random.uniform(0.1, 3, n_points) * (random.uniform(size=n_points) < 0.9) + 1e-3
    uniforms = random.uniform(size=(2, 1 + 4 * (n_clusters - 1)))
    chosen, potentials = choose(seeding, points, weights, uniforms, 4, n_clusters)
    for run in range(2):
        expected, potential = textbook(points.astype(np.float64), weights, uniforms[run], 4)
        assert chosen[run].tolist() == expected
        assert potentials[run] == pytest.approx(potential, rel=1e-9, abs=1e-12)


def test_draws_follow_weight_times_squared_distance(seeding: ModuleType) -> None:
    """By hand: the first draws have the shares 1, 2, 1 and 0; from 0 on they are 0, 2 x 1, 1 x 4 and 0."""
    points, weights = np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([1.0, 2.0, 1.0, 0.0])
    firsts = [(0.0, 0), (0.24, 0), (0.25, 1), (0.74, 1), (0.75, 2), (0.99, 2)]
    chosen, _ = choose(seeding, points, weights, np.array([[uniform] for uniform, _ in firsts]), 2, 1)
    assert chosen[:, 0].tolist() == [index for _, index in firsts]
    seconds = [(0.01, 1), (0.32, 1), (0.34, 2), (0.99, 2)]
    chosen, _ = choose(seeding, points, weights, np.array([[0.0, uniform] for uniform, _ in seconds]), 1, 2)
    assert chosen[:, 1].tolist() == [index for _, index in seconds]


def test_the_first_of_equal_candidates_is_added(seeding: ModuleType) -> None:
    points = np.array([[-1.0], [0.0], [1.0]])
    chosen, _ = choose(seeding, points, np.ones(3), np.array([[0.5, 0.9, 0.1]]), 2, 2)
    assert chosen.tolist() == [[1, 2]]


def test_equal_points_are_drawn_again(seeding: ModuleType) -> None:
    chosen, potentials = choose(seeding, np.ones((5, 2)), np.ones(5), np.full((1, 7), 0.5), 2, 4)
    assert len(set(chosen[0].tolist())) <= 4
    assert potentials == [0.0]


def test_runs_end_below_the_least_potential(seeding: ModuleType) -> None:
    points = torch.tensor([[0.0], [10.0], [10.5], [20.0]]).double()
    uniforms = np.random.RandomState(0).uniform(size=(3, 7))
    chosen, potentials = seeding.choose_points(points, torch.ones(4).double(), uniforms, 2, 4, 1.0)
    assert chosen.shape == (3, 3)
    assert potentials == [0.25] * 3


@pytest.mark.parametrize("n_values", [1, reference_dense.ROW, 3 * reference_dense.ROW + 5])
def test_running_sums_of_a_device(n_values: int) -> None:
    values = np.random.RandomState(0).uniform(0, 9, n_values)
    found = reference_dense.running_sums(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, np.cumsum(values), rtol=1e-12)
    assert (np.diff(found) >= 0).all()
