"""Lloyd steps and seeding on floating-point points, against float64 NumPy."""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import gpuquant
from gpuquant.clustering import batched as clustering
from gpuquant.ops import choose_centers, compiled
from gpuquant.ops.lloyd import cpu_dense_runs, reference_dense
from gpuquant.ops.lloyd.dense import DenseLloyd
from gpuquant.ops.lloyd.ieee_products import ieee_products
from gpuquant.ops.points.dense_points import DensePoints
from gpuquant.tensors import power_of_two

Floats = npt.NDArray[np.float64]
IMPLEMENTATIONS = ["compiled", "reference"]
SHAPES = [(1, 1, 1), (255, 3, 2), (256, 3, 16), (257, 2, 17), (3000, 5, 9), (1000, 64, 40)]  # N, D, K


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compiled loops in small tiles, or plain torch."""
    if request.param == "reference":
        monkeypatch.setattr(compiled, "runs_for", lambda _: False)
    elif not compiled.has_numba():
        pytest.skip("Numba cannot be imported")
    else:
        monkeypatch.setattr(cpu_dense_runs, "TILE", 512)
        monkeypatch.setattr(cpu_dense_runs, "SHARED", 0)
    return str(request.param)


def problem(n_points: int, n_columns: int, *, offset: float = 0.0) -> tuple[Floats, Floats]:
    random = np.random.RandomState(n_points)
    points = random.normal(offset, 2, (n_points, n_columns)).astype(np.float32).astype(np.float64)
    return points, random.uniform(0.1, 3, n_points) * (random.uniform(size=n_points) < 0.9) + 1e-3


def prepare(
    points: Floats, weights: Floats, dtype: torch.dtype = torch.float64, chunk_size: int | None = None
) -> DensePoints:
    return DensePoints(torch.from_numpy(points).to(dtype)[None], torch.from_numpy(weights)[None], chunk_size)


def squared_distances(points: Floats, centers: Floats) -> Floats:  # [N, K]
    distances: Floats = np.square(points[:, None] - centers).sum(axis=2)
    return distances


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
@pytest.mark.parametrize(("n_points", "n_columns", "n_clusters"), SHAPES)
@pytest.mark.usefixtures("implementation")
def test_a_step_labels_and_sums_as_numpy_does(
    n_points: int, n_columns: int, n_clusters: int, offset: float, dtype: torch.dtype
) -> None:
    points, weights = problem(n_points, n_columns, offset=offset)
    prepared = prepare(points, weights, dtype)
    state = DenseLloyd(prepared, n_clusters)
    random = np.random.RandomState(0)
    for scale in (2.0, 0.1, 20.0):
        entered = state.enter(torch.from_numpy(random.normal(offset, scale, (1, n_clusters, n_columns))))
        centers = state.leave(entered)[0]
        sums, totals, _ = state.step(entered, [0])
        sums = sums + totals[:, :, None] * prepared.origin.double()
        labels = state.labels_of_points()[0].numpy()
        distances = squared_distances(points, centers.numpy())
        excess = distances[np.arange(n_points), labels] - distances.min(axis=1)
        # float32: the center that is subtracted from points around 3000 is itself rounded to 1e-4
        slack = 1e-9 if dtype == torch.float64 else (1e-5 + 1e-6 * (offset > 0)) * distances.max()
        assert excess.max() <= slack
        np.testing.assert_allclose(totals[0].numpy(), np.bincount(labels, weights, n_clusters), rtol=1e-12)
        expected = np.stack([np.bincount(labels, weights * column, n_clusters) for column in points.T], axis=1)
        np.testing.assert_allclose(sums[0].numpy(), expected, rtol=1e-9, atol=1e-9)
        inertia = float((weights * distances[np.arange(n_points), labels]).sum())
        assert state.inertia(entered) == pytest.approx([inertia], rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("n_clusters", [2, 7, 9, 17, 64])
@pytest.mark.usefixtures("implementation")
def test_equal_centers_tie_to_the_lowest(dtype: torch.dtype, n_columns: int, n_clusters: int) -> None:
    points, _ = problem(1000, n_columns)
    points = np.concatenate([points.round(), -points.round()])  # integers of mean 0: no product rounds
    state = DenseLloyd(prepare(points, np.ones(2000), dtype), n_clusters)
    center = np.random.RandomState(1).randint(-4, 5, (1, n_columns)).astype(np.float64)
    state.step(state.enter(torch.from_numpy(np.repeat(center, n_clusters, axis=0))[None]), [0])
    assert int(state.labels_of_points().max()) == 0


@pytest.mark.usefixtures("implementation")
def test_a_step_counts_the_labels_that_changed() -> None:
    points, weights = problem(700, 2)
    state = DenseLloyd(prepare(points, weights, chunk_size=1), 5)
    before = np.full(700, -1)
    for seed in range(4):
        centers = np.random.RandomState(seed // 2).normal(0, 2, (5, 2))  # every second step repeats
        _, _, (n_changed,) = state.step(state.enter(torch.from_numpy(centers)[None]), [0])
        labels = squared_distances(points, centers).argmin(axis=1)
        assert n_changed == (labels != before).sum()
        before = labels
    assert n_changed == 0


def test_mean_and_variance_are_weighted() -> None:
    points, weights = problem(1001, 4, offset=50)
    prepared = prepare(points, weights)
    mean = np.average(points, axis=0, weights=weights)
    np.testing.assert_allclose(prepared.mean[0].numpy(), mean, rtol=1e-12)
    variance = np.average(np.square(points - mean), axis=0, weights=weights).mean()
    assert float(prepared.variance) == pytest.approx(variance, rel=1e-12)


@pytest.mark.usefixtures("implementation")
def test_farthest_points_of_positive_weight_come_first() -> None:
    points, weights = problem(600, 2)
    points[:5] = 1000  # far, but padding
    weights[:5] = 0
    points[5] = [0, 0]  # on its center
    centers = np.array([[0.0, 0.0], [3.0, 0.0]])
    state = DenseLloyd(prepare(points, weights, chunk_size=1), 2)
    state.step(state.enter(torch.from_numpy(centers)[None]), [0])
    distances = squared_distances(points, centers)
    order = np.argsort(-np.where(weights > 0, distances.min(axis=1), 0), kind="stable")
    prepared = prepare(points, weights)
    entered = state.enter(torch.from_numpy(centers)[None])[0]
    far, far_weights, labels = state.farthest(0, 20, entered)
    np.testing.assert_allclose((far + prepared.origin[0]).numpy(), points[order[:20]], rtol=1e-12)
    np.testing.assert_array_equal(far_weights.numpy(), weights[order[:20]])
    np.testing.assert_array_equal(labels.numpy(), distances.argmin(axis=1)[order[:20]])
    assert len(state.farthest(0, 1000, entered)[0]) == 594


@pytest.mark.usefixtures("implementation")
def test_no_point_is_far_when_all_are_on_their_centers() -> None:
    state = DenseLloyd(prepare(np.ones((10, 2)), np.ones(10)), 1)
    centers = state.enter(torch.ones(1, 1, 2))
    state.step(centers, [0])
    assert len(state.farthest(0, 3, centers[0])[0]) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.usefixtures("implementation")
def test_chunks_and_threads_change_no_bit(
    dtype: torch.dtype, n_threads: int, set_threads: Callable[[int], None]
) -> None:
    points, weights = problem(2817, 5)  # one row in the last tile
    centers = torch.from_numpy(np.random.RandomState(2).normal(0, 2, (9, 5))).to(dtype).double()
    uniforms = np.random.RandomState(3).uniform(size=(1, 21))

    def results(chunk_size: int | None) -> list[torch.Tensor]:
        prepared = prepare(points, weights, dtype, chunk_size)
        state = DenseLloyd(prepared, 9)
        sums, totals, _ = state.step(centers[None], [0])
        added, potentials = choose_centers(prepared, 6, uniforms, 4)
        numbers = [*state.inertia(centers[None]), float(prepared.variance), *potentials]
        far, _, _ = state.farthest(0, 5, centers)
        moved = centers[None].clone()
        progress = [torch.zeros_like(moved), *torch.zeros(2, 1, dtype=torch.int32), torch.zeros(1).double()]
        state.iterate(moved, *progress, max_iter=9, relaxation=1.4, momentum=0.3)
        return [sums, totals, state.labels_of_points(), far, torch.tensor(numbers), added, moved]

    set_threads(1)
    expected = results(None)
    set_threads(n_threads)
    for chunk_size in (1, 300, None):
        assert all(map(torch.equal, results(chunk_size), expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk_size", [1, 100, None])
@pytest.mark.usefixtures("implementation")
def test_runs_and_problems_of_a_batch_have_the_bits_of_each_alone(dtype: torch.dtype, chunk_size: int | None) -> None:
    """Three problems, two runs on each, some of them resting for a step."""
    random = np.random.RandomState(9)
    points = torch.from_numpy(random.normal(5, 2, (3, 700, 4))).to(dtype)
    weights = torch.from_numpy(random.uniform(0, 1, (3, 700)))
    batch = DenseLloyd(DensePoints(points, weights, chunk_size), 6, n_runs=2)
    alone = [DenseLloyd(DensePoints(points[run // 2, None], weights[run // 2, None], None), 6) for run in range(6)]
    centers = torch.zeros(6, 6, 4, dtype=torch.float64)
    for active in ([0, 1, 2, 3, 4, 5], [0, 2, 3], [5], [1, 4, 5]):
        centers[active] = batch.snap(torch.from_numpy(random.normal(5, 2, (len(active), 6, 4))))
        sums, totals, n_changed = batch.step(centers[active], active)
        for place, run in enumerate(active):
            expected = alone[run].step(centers[run, None], [0])
            assert torch.equal(sums[place], expected[0][0])
            assert torch.equal(totals[place], expected[1][0])
            assert n_changed[place] == expected[2][0]
    assert batch.inertia(centers) == [one.inertia(centers[run, None])[0] for run, one in enumerate(alone)]
    assert torch.equal(batch.labels_of_points(), torch.cat([one.labels_of_points() for one in alone]))


def test_chunks_shrink_until_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(0)
    points, centers = random.normal(0, 1, (3000, 6)), torch.from_numpy(random.normal(0, 1, (1, 5, 6)))
    monkeypatch.setattr(compiled, "runs_for", lambda _: False)
    sums, totals, n_changed = DenseLloyd(prepare(points, np.ones(3000)), 5).step(centers, [0])
    original, held, sizes = reference_dense.products, [], []

    def products(some: torch.Tensor, *given: Any) -> torch.Tensor:
        attempt = torch.zeros(3)
        held.append(weakref.ref(attempt))
        sizes.append(some.shape[1])
        if some.shape[1] > 1 << 9 or random.uniform() < 0.2:
            raise torch.OutOfMemoryError
        return original(some, *given)

    def empty_cache() -> None:
        assert held[-1]() is None

    monkeypatch.setattr(reference_dense, "products", products)
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    monkeypatch.setattr(reference_dense, "FEWEST_SCORES", 1)
    found = DenseLloyd(prepare(points, np.ones(3000)), 5).step(centers, [0])
    assert torch.equal(found[0], sums)
    assert torch.equal(found[1], totals)
    assert found[2] == n_changed
    assert max(sizes) > 1 << 9 >= min(sizes)
    monkeypatch.setattr(reference_dense, "FEWEST_SCORES", 1 << 30)
    with pytest.raises(torch.OutOfMemoryError):
        DenseLloyd(prepare(points, np.ones(3000)), 5).step(centers, [0])


def test_a_group_of_problems_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.from_numpy(np.random.RandomState(0).normal(0, 1, (7, 40, 2)))
    expected, original = gpuquant.kmeans(points, 3), clustering._best_runs
    tried: list[int] = []

    def best_runs(group: torch.Tensor, *given: Any, **settings: Any) -> Any:
        tried.append(len(group))
        if len(group) > 2:
            raise torch.OutOfMemoryError
        return original(group, *given, **settings)

    monkeypatch.setattr(clustering, "_best_runs", best_runs)
    assert torch.equal(gpuquant.kmeans(points, 3).centers, expected.centers)
    assert tried == [7, 4, 2, 2, 2, 1]


def test_products_are_those_of_ieee_whatever_is_allowed() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with ieee_products:
            with ieee_products:
                assert is_ieee()
            assert is_ieee()
        assert torch.get_float32_matmul_precision() == "high"
        assert not is_ieee()
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch 2.9 has the setting")
@pytest.mark.parametrize("allowed", ["tf32", "ieee", "none"])
def test_products_are_those_of_ieee_with_the_newer_setting(allowed: str) -> None:
    """`torch.get_float32_matmul_precision` may raise with that setting."""
    backend = torch.backends.cuda.matmul
    before = backend.fp32_precision
    backend.fp32_precision = allowed
    try:
        with ieee_products:
            assert is_ieee()
        assert backend.fp32_precision == allowed
    finally:
        backend.fp32_precision = before


def is_ieee() -> bool:
    backend = torch.backends.cuda.matmul
    if hasattr(backend, "fp32_precision"):
        return bool(backend.fp32_precision == "ieee")
    return torch.get_float32_matmul_precision() == "highest"


def test_powers_of_two_are_exact() -> None:
    exponents = list(range(-1022, 1024))
    assert power_of_two(torch.tensor(exponents)).tolist() == [2.0**exponent for exponent in exponents]
