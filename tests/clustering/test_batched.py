import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.cluster import KMeans

from gpuquant.clustering import lloyd as lloyd_module
from gpuquant.clustering import restarts
from gpuquant.clustering.batched import KMeansResult, kmeans
from gpuquant.clustering.lloyd import Runs, lloyd
from gpuquant.errors import ArgumentError
from gpuquant.ops import PointSet

Floats = npt.NDArray[np.float64]


def blobs(n_points: int, n_columns: int, seed: int = 0) -> Floats:
    random = np.random.RandomState(seed)
    return random.normal(0, 5, (7, n_columns))[random.randint(0, 7, n_points)] + random.normal(
        0, 1, (n_points, n_columns)
    )


def same_bits(one: KMeansResult, other: KMeansResult) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in KMeansResult.__dataclass_fields__)


@pytest.mark.parametrize(
    ("n_points", "n_columns", "n_clusters"), [(300, 1, 3), (2000, 3, 8), (999, 2, 20), (1500, 17, 5)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_given_centers_lead_where_scikit_learn_goes(
    n_points: int, n_columns: int, n_clusters: int, weighted: bool
) -> None:
    points = blobs(n_points, n_columns)
    weights = np.random.RandomState(1).uniform(0.1, 3, n_points) if weighted else np.ones(n_points)
    init = points[:n_clusters]
    ours = kmeans(
        torch.from_numpy(points), n_clusters, weights=torch.from_numpy(weights), init=torch.from_numpy(init), tol=0
    )
    theirs = KMeans(n_clusters, n_init=1, init=init, tol=0).fit(points, sample_weight=weights)
    np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels_)
    np.testing.assert_allclose(ours.centers.numpy(), theirs.cluster_centers_, rtol=1e-9)
    assert int(ours.n_iter) == theirs.n_iter_
    assert float(ours.inertia) == pytest.approx(theirs.inertia_, rel=1e-12)
    assert bool(ours.converged)


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_draws_are_those_of_scikit_learn(init: str, seed: int) -> None:
    points = blobs(800, 3)
    ours = kmeans(torch.from_numpy(points), 9, init=init, random_state=seed, tol=0)
    theirs = KMeans(9, n_init=1, init=init, random_state=seed, tol=0).fit(points)
    np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels_)
    assert int(ours.n_iter) == theirs.n_iter_


def test_an_empty_cluster_takes_the_farthest_point_as_in_scikit_learn() -> None:
    points = blobs(500, 3)
    init = points[:6].copy()
    init[4:] = 1e3  # nothing is near
    ours = kmeans(torch.from_numpy(points), 6, init=torch.from_numpy(init), tol=0)
    theirs = KMeans(6, n_init=1, init=init, tol=0).fit(points)
    np.testing.assert_array_equal(ours.labels.numpy(), theirs.labels_)
    assert int(ours.n_iter) == theirs.n_iter_
    assert len(ours.labels.unique()) == 6


@pytest.mark.parametrize("n_clusters", [1, 2, 16, 64])
def test_8_bit_colors_give_what_scikit_learn_gives(n_clusters: int) -> None:
    random = np.random.RandomState(2)
    colors = np.unique(random.randint(0, 256, (3000, 3)), axis=0).astype(np.uint8)
    counts = random.randint(1, 100, len(colors))
    init = random.uniform(0, 255, (n_clusters, 3)).round(2)
    ours = kmeans(
        torch.from_numpy(colors), n_clusters, weights=torch.from_numpy(counts), init=torch.from_numpy(init), tol=0
    )
    theirs = KMeans(n_clusters, n_init=1, init=init, tol=0).fit(colors.astype(np.float64), sample_weight=counts)
    # centers are kept on a grid of 2^-10 levels, so a few colors on a boundary may go the other way
    assert (ours.labels.numpy() == theirs.labels_).mean() > 0.99
    assert float(ours.inertia) == pytest.approx(theirs.inertia_, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_bits_do_not_move(dtype: torch.dtype, n_threads: int) -> None:
    points = torch.from_numpy(np.random.RandomState(3).randint(0, 256, (5000, 3))).to(dtype)
    expected = kmeans(points, 12, max_iter=20)
    for chunk_size in (1, 100, 100_000):
        assert same_bits(kmeans(points, 12, max_iter=20, chunk_size=chunk_size), expected)
    torch.set_num_threads(2)
    assert same_bits(kmeans(points, 12, max_iter=20), expected)
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_company_in_a_batch_changes_nothing(dtype: torch.dtype) -> None:
    batch = torch.from_numpy(np.random.RandomState(4).randint(0, 256, (3, 400, 3))).to(dtype)
    together = kmeans(batch, 5)
    assert together.centers.shape == (3, 5, 3)
    for index, points in enumerate(batch):
        alone = kmeans(points, 5)
        for name in KMeansResult.__dataclass_fields__:
            assert torch.equal(getattr(together, name)[index], getattr(alone, name))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_padding_changes_nothing(dtype: torch.dtype) -> None:
    points = torch.from_numpy(np.random.RandomState(5).randint(0, 256, (300, 3))).to(dtype)
    init = points[:4].double()
    alone = kmeans(points, 4, init=init)
    padded = kmeans(
        torch.cat([points, points.new_full((50, 3), 255)]),
        4,
        weights=torch.cat([torch.ones(300), torch.zeros(50)]),
        init=init,
    )
    assert torch.equal(padded.labels[:300], alone.labels)
    assert torch.equal(padded.n_iter, alone.n_iter)
    torch.testing.assert_close(padded.centers, alone.centers, rtol=1e-12, atol=0)


def test_restarts_keep_the_lowest_inertia() -> None:
    points = torch.from_numpy(blobs(300, 2))
    many = kmeans(points, 8, init="random", n_init=8)
    random = np.random.RandomState(0)
    singles = []
    for _ in range(8):
        init = points[torch.from_numpy(random.choice(300, 8, replace=False, p=np.full(300, 1 / 300)))]
        singles.append(float(kmeans(points, 8, init=init).inertia))
    assert float(many.inertia) == pytest.approx(min(singles), rel=1e-12)
    assert min(singles) < max(singles)


def test_stops_at_max_iter() -> None:
    result = kmeans(torch.from_numpy(blobs(2000, 2)), 20, max_iter=2)
    assert int(result.n_iter) == 2
    assert not bool(result.converged)


def test_tol_stops_early() -> None:
    points = torch.from_numpy(blobs(3000, 3))
    assert int(kmeans(points, 20, tol=1e-2).n_iter) < int(kmeans(points, 20, tol=0).n_iter)


def test_by_hand() -> None:
    result = kmeans(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), 2, weights=torch.tensor([3.0, 1.0, 1.0, 1.0]))
    assert sorted(result.centers.view(-1).tolist()) == [0.25, 10.5]
    assert float(result.inertia) == pytest.approx(3 * 0.25**2 + 0.75**2 + 0.5)


def test_as_many_clusters_as_points() -> None:
    points = torch.from_numpy(blobs(20, 2))
    result = kmeans(points, 20)
    assert float(result.inertia) == pytest.approx(0, abs=1e-20)
    assert sorted(result.labels.tolist()) == list(range(20))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_fewer_different_points_than_clusters_end_at_zero(dtype: torch.dtype) -> None:
    points = torch.tensor([[1, 1, 1]] * 10 + [[200, 1, 1]] * 10).to(dtype)
    result = kmeans(points, 5)
    assert float(result.inertia) == 0
    assert bool(result.centers.isfinite().all())


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float16, torch.float32), (torch.float32, torch.float32)])
def test_short_floats_come_back_as_float32(dtype: torch.dtype, expected: torch.dtype) -> None:
    points = torch.from_numpy(blobs(500, 3)).to(dtype)
    result = kmeans(points, 4)
    assert result.centers.dtype == expected
    reference = KMeans(4, n_init=1, random_state=0).fit(points.double().numpy())
    assert float(result.inertia) == pytest.approx(reference.inertia_, rel=1e-3)


@pytest.mark.parametrize("together", [1, 900, 10_000])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_how_many_runs_go_side_by_side_changes_nothing(
    dtype: torch.dtype, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = torch.from_numpy(np.random.RandomState(8).randint(0, 256, (4, 300, 3))).to(dtype)
    expected = kmeans(batch, 6, n_init=5, init="random")
    sizes: list[int] = []
    original = lloyd

    def spy(points: PointSet, centers: torch.Tensor, **pace: Any) -> Runs:
        sizes.append(len(centers))
        return original(points, centers, **pace)

    monkeypatch.setattr(restarts, "lloyd", spy)
    monkeypatch.setattr(lloyd_module, "TOGETHER", together)
    assert same_bits(kmeans(batch, 6, n_init=5, init="random"), expected)
    assert max(sizes) == {1: 1, 900: 3, 10_000: 20}[together]


def test_a_call_leaves_no_trace() -> None:
    threads = torch.get_num_threads()
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    kmeans(torch.from_numpy(blobs(2000, 3)), 5)
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [threads, threads]
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state)


POINTS = torch.rand(10, 3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"points": np.zeros((3, 3))}, "points"),
        ({"points": torch.zeros(3)}, "points"),
        ({"points": torch.zeros(0, 3)}, "points"),
        ({"points": torch.zeros(3, 3, dtype=torch.int64)}, "points"),
        ({"points": torch.tensor([[1.0], [torch.nan]])}, "points"),
        ({"points": torch.tensor([[1.0], [1e30]])}, "points"),
        ({"points": torch.tensor([[1.0], [torch.inf]])}, "points"),
        ({"points": torch.tensor([[1.0], [-1e300]], dtype=torch.float64)}, "points"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 11}, "n_clusters"),
        ({"n_clusters": True}, "n_clusters"),
        ({"weights": torch.ones(9)}, "weights"),
        ({"weights": -torch.ones(10)}, "weights"),
        ({"weights": torch.zeros(10)}, "n_clusters"),
        ({"points": POINTS.byte(), "weights": torch.full((10,), 0.5)}, "weights"),
        ({"init": "kmeans"}, "init"),
        ({"init": torch.zeros(3, 3)}, "init"),
        ({"init": torch.full((2, 3), torch.inf)}, "init"),
        ({"init": torch.zeros(2, 3, dtype=torch.complex64)}, "init"),
        ({"n_init": 0}, "n_init"),
        ({"tol": True}, "tol"),
        ({"random_state": True}, "random_state"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        kmeans(**({"points": POINTS, "n_clusters": 2} | arguments))  # type: ignore[arg-type]


def test_a_line_shows_a_result() -> None:
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0]])
    found = kmeans(points, 2, init=torch.tensor([[0.0, 0.0], [10.0, 0.0]]))
    size = "2 clusters of 3 points in 2 columns"
    assert repr(found) == f"KMeansResult({size}, inertia 2, 2 iterations, converged)"
    assert repr(kmeans(points[:1], 1, max_iter=1)).startswith(
        "KMeansResult(1 cluster of 1 point in 2 columns, inertia 0"
    )
    both = kmeans(torch.stack([points, 1e6 * points]), 2, random_state=3)
    assert repr(both) == (
        f"KMeansResult(2 problems of {size}, inertia 2 to 2e+12, "
        f"{min(both.n_iter)} to {max(both.n_iter)} iterations, 2 of 2 converged)"
    ).replace(f"{max(both.n_iter)} to {max(both.n_iter)} ", f"{max(both.n_iter)} ")
    stopped = KMeansResult(points, torch.zeros(5), torch.tensor(0.125), torch.tensor(1), torch.tensor(False))
    assert repr(stopped) == "KMeansResult(3 clusters of 5 points in 2 columns, inertia 0.125, 1 iteration, stopped)"
    for nothing in (
        KMeansResult(*(torch.zeros(shape, device="meta") for shape in [(2, 2), (3,), (), (), ()])),
        KMeansResult(*(torch.zeros(shape) for shape in [(0, 2, 2), (0, 3), (0,), (0,), (0,)])),
    ):
        assert size in repr(nothing)


@pytest.mark.parametrize("bits", [30, 44, 60])
def test_weights_of_colors_may_be_huge(bits: int) -> None:
    colors = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (900, 3)).astype(np.uint8))
    weights = torch.from_numpy(np.random.RandomState(1).randint(1, 9, 900).astype(np.float64))
    few, many = kmeans(colors, 7, weights=weights), kmeans(colors, 7, weights=weights * 2.0**bits)
    assert float(many.inertia) == pytest.approx(float(few.inertia) * 2.0**bits, rel=0.02)
