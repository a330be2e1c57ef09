"""Steps that leave most points unseen, against steps that look at all of them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gpuquant.ops import DenseLloyd, DensePoints, compiled
from gpuquant.ops.lloyd import cpu_dense, cpu_dense_runs

pytestmark = pytest.mark.skipif(not compiled.has_numba(), reason="Numba cannot be imported")

Floats = npt.NDArray[np.float64]


class State:
    """Steps of one run whose origin is 0."""

    def __init__(self, points: npt.NDArray[np.floating], weights: Floats, n_clusters: int) -> None:
        zeros = torch.zeros(1, points.shape[1], dtype=torch.from_numpy(points).dtype)
        prepared = DensePoints(torch.from_numpy(points)[None], torch.from_numpy(weights)[None], None, zeros)
        self._state = DenseLloyd(prepared, n_clusters)
        self.labels = self._state.labels_of_points()[0].numpy()

    def step(self, centers: Floats) -> tuple[Floats, Floats, int]:
        sums, totals, n_changed = self._state.step(torch.from_numpy(centers)[None], [0])
        return sums[0].numpy(), totals[0].numpy(), n_changed[0]

    def bounds(self) -> Floats:
        found: Floats = self._state._runs._runs[0].bounds  # type: ignore[attr-defined]
        return found

    def inertia(self, centers: Floats) -> float:
        return self._state.inertia(torch.from_numpy(centers)[None])[0]


def run_of(points: npt.NDArray[np.floating], weights: Floats, n_clusters: int) -> tuple[State, npt.NDArray[np.int32]]:
    state = State(points, weights, n_clusters)
    return state, state.labels


def expected(points: Floats, weights: Floats, centers: Floats) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Labels, sums and weights by NumPy in double precision."""
    labels = np.square(points[:, None] - centers).sum(axis=2).argmin(axis=1)
    totals: Floats = np.bincount(labels, weights, len(centers)).astype(np.float64)
    columns = [np.bincount(labels, weights * column, len(centers)) for column in points.T]
    return labels, np.stack(columns, axis=1), totals


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of points that each call scores; tiles are small, so that there are several."""
    counts: list[int] = []
    original = cpu_dense.label_points

    def spy(problem: Any, run: Any, start: int, stop: int, unsure: Any) -> tuple[int, int]:
        some = slice(start, stop)
        counts.append(int(np.count_nonzero(~(run.bounds[some] > run.way[run.labels[some]]))))
        found: tuple[int, int] = original(problem, run, start, stop, unsure)
        return found

    monkeypatch.setattr(cpu_dense_runs, "label_points", spy)
    monkeypatch.setattr(cpu_dense_runs, "TILE", 1 << 10)
    return counts


@pytest.mark.parametrize("n_columns", [1, 3, 9])
def test_lloyd_to_the_end_with_few_points_seen(n_columns: int, scored: list[int]) -> None:
    random = np.random.RandomState(0)
    middles = random.normal(0, 4, (10, n_columns))
    points = middles[random.randint(0, 10, 9000)] + random.normal(0, 1, (9000, n_columns))
    weights = random.uniform(0, 2, 9000)
    state, labels = run_of(points, weights, 10)
    centers, before = points[:10].copy(), np.full(9000, -1)
    for _ in range(60):
        sums, totals, n_changed = state.step(centers)
        own_labels, own_sums, own_totals = expected(points, weights, centers)
        np.testing.assert_array_equal(labels, own_labels)
        np.testing.assert_allclose(sums, own_sums, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(totals, own_totals, rtol=1e-12)
        assert n_changed == (own_labels != before).sum()
        before = own_labels
        centers = own_sums / own_totals[:, None]
    assert state.inertia(centers) == pytest.approx(
        float(weights @ np.square(points - centers[before]).sum(axis=1)), rel=1e-12
    )
    assert sum(scored) < 60 * 9000 * 0.7


@pytest.mark.parametrize("length", [1e-4, 0.03, 1.0])
def test_centers_may_go_anywhere(length: float, scored: list[int]) -> None:
    """Walks in one direction and jumps back use up every gap."""
    random = np.random.RandomState(1)
    points, weights = random.normal(0, 1, (6000, 2)), np.ones(6000)
    state, labels = run_of(points, weights, 15)
    start, direction = random.normal(0, 1, (2, 15, 2))
    for step in range(40):
        centers = start + length * (step % 13) * direction
        sums, totals, _ = state.step(centers)
        own_labels, own_sums, own_totals = expected(points, weights, centers)
        np.testing.assert_array_equal(labels, own_labels)
        np.testing.assert_allclose(sums, own_sums, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(totals, own_totals)
    assert length >= 0.03 or sum(scored) < 40 * 6000 * 0.7


def test_a_long_way_is_forgotten_once_all_points_have_been_seen(scored: list[int]) -> None:
    random = np.random.RandomState(4)
    points, weights = random.normal(0, 1, (6000, 2)), np.ones(6000)
    state, labels = run_of(points, weights, 15)
    state.step(1e6 + points[:15])
    for step in range(20):
        centers = points[:15] + 1e-4 * step
        state.step(centers)
        np.testing.assert_array_equal(labels, expected(points, weights, centers)[0])
    assert sum(scored) < 20 * 6000 * 0.4


@pytest.mark.parametrize("scale", [1e-100, 1e30, 1e100])
def test_centers_move_beyond_single_precision(scale: float) -> None:
    random = np.random.RandomState(3)
    points, weights = scale * random.normal(0, 1, (5000, 3)), np.ones(5000)
    state, labels = run_of(points, weights, 6)
    centers = points[:6].copy()
    for step in range(12):
        sums, totals, _ = state.step(centers)
        own_labels, _, own_totals = expected(points, weights, centers)
        np.testing.assert_array_equal(labels, own_labels)
        np.testing.assert_array_equal(totals, own_totals)
        centers = points[10:16] if step == 6 else sums / totals[:, None]


def test_an_emptied_cluster_has_no_weight_at_all() -> None:
    """Sums are made anew: nothing of 3000 weights that came and went is left."""
    random = np.random.RandomState(2)
    points, weights = random.normal(0, 1, (3000, 2)), random.uniform(0, 1, 3000)
    state, _ = run_of(points, weights, 2)
    for away in (0.0, 1.0, 2.0, 1e3):
        sums, totals, _ = state.step(np.array([[0.0, 0.0], [away, away]]))
    assert totals[1] == 0
    np.testing.assert_array_equal(sums[1], 0)
    np.testing.assert_allclose(totals[0], weights.sum(), rtol=1e-12)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("n_columns", [1, 3, 6])
def test_near_ties_are_decided_in_double_precision(n_columns: int, single: bool) -> None:
    """Integers whose products round in single precision, and not in double; some centers are neighbors or equal."""
    random = np.random.RandomState(5)
    points = random.randint(-(1 << 20), 1 << 20, (2000, n_columns)).astype(np.float64)
    middles = random.randint(-(1 << 20), 1 << 20, (6, n_columns)).astype(np.float64)
    centers = np.concatenate([middles, middles + random.randint(-1, 2, middles.shape), middles])
    points[:600] = (middles[random.randint(0, 6, 600)] + middles[random.randint(0, 6, 600)]) // 2
    state, labels = run_of(points.astype(np.float32) if single else points, np.ones(2000), 18)
    for _ in range(2):
        state.step(centers)
        np.testing.assert_array_equal(labels, expected(points, np.ones(2000), centers)[0])


def test_a_far_center_leaves_the_others_bounds() -> None:
    random = np.random.RandomState(6)
    points, weights = random.normal(0, 1, (4000, 3)), np.ones(4000)
    centers = np.concatenate([points[:7], [[1e9, 0, 0]]])
    state, labels = run_of(points, weights, 8)
    state.step(centers)
    np.testing.assert_array_equal(labels, expected(points, weights, centers)[0])
    assert np.isfinite(state.bounds()).mean() > 0.99


def test_sums_of_tiles_are_added_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_dense_runs, "TILE", 100)
    random = np.random.RandomState(7)
    points, weights = random.normal(0, 1, (1234, 2)), random.uniform(0, 1, 1234)
    state, _ = run_of(points, weights, 3)
    sums, totals, _ = state.step(points[:3])
    own_sums, own_totals = np.zeros((3, 2)), np.zeros(3)
    for start in range(0, 1234, 100):
        tile = slice(start, start + 100)
        _, tile_sums, tile_totals = expected(points[tile], weights[tile], points[:3])
        own_sums, own_totals = own_sums + tile_sums, own_totals + tile_totals
    np.testing.assert_array_equal(sums, own_sums)
    np.testing.assert_array_equal(totals, own_totals)
