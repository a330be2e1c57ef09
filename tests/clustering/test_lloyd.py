import numpy as np
import pytest
import torch
from conftest import Pixels
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.clustering.lloyd import lloyd, runs_together
from gpuquant.ops import PointSet, point_set


def random_colors(seed: int) -> PointSet:
    random = np.random.RandomState(seed)
    colors = torch.from_numpy(random.randint(0, 256, (1, 500, 3)).astype(np.uint8))
    return point_set(colors, torch.from_numpy(random.randint(1, 9, (1, 500)).astype(np.float64)))


@pytest.mark.parametrize(("relaxation", "momentum"), [(1.0, 0.0), (1.5, 0.0), (1.9, 0.0), (1.5, 0.6)])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), n_clusters=st.integers(1, 30))
def test_inertia_falls_until_nothing_moves(relaxation: float, momentum: float, seed: int, n_clusters: int) -> None:
    points = random_colors(seed)
    init = torch.from_numpy(np.random.RandomState(seed).uniform(0, 255, (1, n_clusters, 3)))
    inertia = []
    for max_iter in range(1, 8):
        run = lloyd(points, init, max_iter=max_iter, tol=0, relaxation=relaxation, momentum=momentum)
        inertia += run.inertia
    if relaxation == 1:
        assert inertia == sorted(inertia, reverse=True)
    finished = lloyd(points, init, max_iter=1000, tol=0, relaxation=relaxation, momentum=momentum)
    assert finished.inertia[0] <= inertia[0]
    again = lloyd(points, finished.centers, max_iter=1, tol=1e-9)
    assert again.converged == [True]


def test_longer_moves_need_fewer_iterations(china: Pixels) -> None:
    colors, counts = np.unique(china.reshape(-1, 3), axis=0, return_counts=True)
    points = point_set(torch.from_numpy(colors)[None], torch.from_numpy(counts)[None])
    random = np.random.RandomState(0)
    starts = torch.from_numpy(colors[random.randint(0, len(colors), (6, 32))]).double()
    plain = lloyd(points, starts, max_iter=300, tol=1e-4)
    longer = lloyd(points, starts, max_iter=300, tol=1e-4, relaxation=1.5, momentum=0.6)
    assert sum(longer.n_iter) < 0.8 * sum(plain.n_iter)
    assert sum(longer.inertia) < 1.02 * sum(plain.inertia)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_every_run_of_a_batch_stops_by_itself(dtype: torch.dtype) -> None:
    """One run starts settled, one is given its limit of iterations, one needs several."""
    points = torch.tensor([[0, 0, 0], [2, 0, 0], [100, 0, 0], [102, 0, 0]], dtype=dtype)
    weights = torch.ones(1, 4, dtype=torch.float64)
    starts = torch.zeros(2, 2, 3, dtype=torch.float64)
    starts[0, :, 0] = torch.tensor([1.0, 101.0])
    starts[1, :, 0] = torch.tensor([0.0, 2.0])
    runs = lloyd(point_set(points[None], weights), starts, max_iter=10, tol=0)
    assert runs.n_iter[0] == 1
    assert runs.n_iter[1] > 1
    assert runs.converged == [True, True]
    assert runs.centers[:, :, 0].tolist() == [[1.0, 101.0], [1.0, 101.0]]
    assert runs.state.labels_of_points().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    stopped = lloyd(point_set(points[None], weights), starts, max_iter=1, tol=0)
    assert stopped.converged[1] is False


def test_a_grid_holds_all_runs_that_go_side_by_side() -> None:
    assert runs_together(64, 16, torch.device("cuda")) == 65_535
    assert runs_together(1 << 27, 16, torch.device("cuda")) == 1
    assert runs_together(100, 1 << 12, torch.device("cuda")) == 1 << 12
    assert runs_together(10, 2, torch.device("cuda"), 40_000) == 1
    assert runs_together(1 << 16, 16, torch.device("cpu")) == 4
    assert runs_together(1 << 14, 16, torch.device("cpu"), 4) == 4


def test_a_run_that_ends_as_an_empty_cluster_moves_is_labeled_anew() -> None:
    """The third center takes over the point at 1 while no label changes: that point is its own from then on."""
    points = torch.tensor([[1.0], [0.0], [0.0], [0.0]], dtype=torch.float64)[None]
    weights = torch.tensor([[3.0, 3.0, 3.0, 1.0]], dtype=torch.float64)
    starts = torch.tensor([[[0.0], [1.0], [2.0]]], dtype=torch.float64)
    runs = lloyd(point_set(points, weights), starts, max_iter=2, tol=0)
    assert runs.inertia[0] == pytest.approx(0, abs=1e-9)
