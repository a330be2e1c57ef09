from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from commands import names_in_docstring
from conftest import Pixels
from sklearn.cluster import kmeans_plusplus

from gpuquant import kmeans, quantize
from gpuquant.clustering.initialization import INITIALIZATIONS, different_places, kmeans_plus_plus, random_points
from gpuquant.errors import ArgumentError
from gpuquant.ops import PointSet, point_set

Floats = npt.NDArray[np.float64]


def colors_in_z_order(n_colors: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Colors sorted by their interleaved bits, so that their order is that of the draws; and counts."""
    random = np.random.RandomState(7)
    colors = np.unique(random.randint(0, 256, (n_colors, 3)), axis=0)
    keys = sum(((colors[:, axis] >> bit) & 1) << (3 * bit + axis) for bit in range(8) for axis in range(3))
    counts = torch.from_numpy(random.randint(1, 100, len(colors)).astype(np.float64))
    return torch.from_numpy(colors[np.argsort(keys)].astype(np.uint8)), counts


def squared_distances(points: Floats, centers: Floats) -> Floats:  # [N, K]
    distances: Floats = np.square(points[:, None] - centers).sum(axis=2)
    return distances


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 8, 20, 55])
@pytest.mark.parametrize("seed", [0, 1])
def test_points_are_those_of_scikit_learn(n_clusters: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    points, weights = random.normal(0, 3, (700, 4)), random.uniform(0.1, 3, 700)
    prepared = point_set(torch.from_numpy(points)[None], torch.from_numpy(weights)[None])
    centers, (inertia,) = kmeans_plus_plus(prepared, n_clusters, [np.random.RandomState(seed)])
    theirs, _ = kmeans_plusplus(points, n_clusters, sample_weight=weights, random_state=seed)
    np.testing.assert_array_equal(centers[0].numpy(), theirs)
    assert inertia == pytest.approx(weights @ squared_distances(points, theirs).min(axis=1), rel=1e-9)


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 8, 20, 55, 300])
@pytest.mark.parametrize("seed", [0, 1])
def test_colors_are_those_of_scikit_learn(n_clusters: int, seed: int) -> None:
    colors, counts = colors_in_z_order(2500)
    prepared = point_set(colors[None], counts[None])
    centers, (inertia,) = kmeans_plus_plus(prepared, n_clusters, [np.random.RandomState(seed)])
    points = colors.double().numpy()
    theirs, _ = kmeans_plusplus(points, n_clusters, sample_weight=counts.numpy(), random_state=seed)
    np.testing.assert_array_equal(centers[0].numpy(), theirs)
    assert inertia == counts.numpy() @ squared_distances(points, theirs).min(axis=1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_centers_are_different_points_of_positive_weight(dtype: torch.dtype) -> None:
    colors, counts = colors_in_z_order(400)
    counts[::2] = 0
    for seed in range(2):
        prepared = point_set(colors.to(dtype)[None], counts[None])
        centers, _ = kmeans_plus_plus(prepared, 40, [np.random.RandomState(seed)])
        allowed = {tuple(color) for color in colors[counts > 0].tolist()}
        chosen = {tuple(int(level) for level in center) for center in centers[0].tolist()}
        assert len(chosen) == 40
        assert chosen <= allowed


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_fewer_different_points_than_clusters_leave_no_potential(dtype: torch.dtype) -> None:
    points = torch.tensor([[1, 2, 3]] * 200 + [[9, 9, 9]] * 300).to(dtype)
    prepared = point_set(points[None], torch.ones(1, 500).double())
    centers, (inertia,) = kmeans_plus_plus(prepared, 6, [np.random.RandomState(0)])
    assert inertia == 0
    assert {tuple(center) for center in centers[0].tolist()} == {(1, 2, 3), (9, 9, 9)}


def test_more_clusters_lower_the_potential() -> None:
    colors, counts = colors_in_z_order(1000)
    prepared = point_set(colors[None], counts[None])
    seeds = [kmeans_plus_plus(prepared, n_clusters, [np.random.RandomState(0)]) for n_clusters in (1, 4, 16, 64)]
    inertia = [potential for _, (potential,) in seeds]
    assert inertia == sorted(inertia, reverse=True)
    assert len(set(inertia)) == 4


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_random_points_are_drawn_by_weight_without_repeats(dtype: torch.dtype) -> None:
    points = torch.arange(6).to(dtype)[:, None].expand(6, 3)
    weights = torch.tensor([8.0, 0.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    random = np.random.RandomState(0)
    chosen = np.stack([random_points(points, weights, 2, random).numpy()[:, 0] for _ in range(1000)])
    assert chosen.dtype == np.float64
    assert (chosen[:, 0] != chosen[:, 1]).all()
    assert set(np.unique(chosen)) == {0, 2, 3, 4}
    # 8 of 11 first draws are point 0; of the other 3 of 11, 8 of 10 second draws: 0.945 of the pairs
    assert (chosen == 0).any(axis=1).mean() == pytest.approx(8 / 11 + 3 / 11 * 0.8, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_runs_draw_one_after_the_other_from_the_generator_of_their_problem(dtype: torch.dtype) -> None:
    colors, counts = colors_in_z_order(500)
    batch = torch.stack([colors, colors.flip(0)]).to(dtype), torch.stack([counts, counts.flip(0)])
    centers, inertia = kmeans_plus_plus(
        point_set(*batch), 7, [np.random.RandomState(seed) for seed in (0, 1)], n_runs=3
    )
    assert centers.shape == (6, 7, 3)
    for problem in range(2):
        alone, random = point_set(batch[0][problem, None], batch[1][problem, None]), np.random.RandomState(problem)
        for run in range(3):
            expected, (potential,) = kmeans_plus_plus(alone, 7, [random])
            assert torch.equal(centers[3 * problem + run], expected[0])
            assert inertia[3 * problem + run] == potential


def test_no_center_is_added_below_the_least_inertia() -> None:
    colors, counts = colors_in_z_order(1000)
    prepared = point_set(colors[None], counts[None])
    every, _ = kmeans_plus_plus(prepared, 30, [np.random.RandomState(0)])
    _, (at_ten,) = kmeans_plus_plus(prepared, 30, [np.random.RandomState(0)], least=[0.0])
    stopped, (inertia,) = kmeans_plus_plus(prepared, 30, [np.random.RandomState(0)], least=[4 * at_ten])
    n_centers = 1 + int(stopped[0].any(dim=1).nonzero().max())
    assert 1 < n_centers < 30
    assert torch.equal(stopped[0, :n_centers], every[0, :n_centers])
    distances = squared_distances(colors.double().numpy(), every[0].numpy())
    before, after = (counts.numpy() @ distances[:, :n].min(axis=1) for n in (n_centers - 1, n_centers))
    assert after == inertia < 4 * at_ten <= before


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_each_problem_has_a_least_inertia_of_its_own(dtype: torch.dtype) -> None:
    colors, counts = colors_in_z_order(500)
    prepared = point_set(torch.stack([colors, colors]).to(dtype), torch.stack([counts, counts]))
    states = [np.random.RandomState(seed) for seed in (0, 1)]
    least = kmeans_plus_plus(prepared, 5, states)[1][0]
    found, reached = kmeans_plus_plus(prepared, 20, [np.random.RandomState(seed) for seed in (0, 1)], least=[least, 0])
    assert reached[0] < least
    assert not found[0, -1].any()
    alone = point_set(colors[None].to(dtype), counts[None])
    expected, (potential,) = kmeans_plus_plus(alone, 20, [np.random.RandomState(1)])
    assert torch.equal(found[1], expected[0])
    assert reached[1] == potential


def first_points(
    prepared: PointSet,
    points: torch.Tensor,
    weights: torch.Tensor,
    n_clusters: int,
    random_states: Sequence[np.random.RandomState],
    n_runs: int,
) -> torch.Tensor:
    return points[:, :n_clusters].double().repeat_interleave(n_runs, dim=0)


def test_an_initialization_is_one_entry(china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(INITIALIZATIONS, "first", first_points)
    points = torch.from_numpy(np.random.RandomState(0).rand(2, 90, 4))
    found = kmeans(points, 5, init="first", n_init=2)
    assert torch.equal(found.centers, kmeans(points, 5, init=points[:, :5]).centers)
    for space in ("srgb", "oklab"):
        result = quantize(china, 4, init="first", color_space=space)
        assert (result.options or {})["init"] == "first"
        assert result.mse != quantize(china, 4, init="random", color_space=space).mse
    with pytest.raises(ArgumentError, match=r'use "k-means\+\+", .*"first" or a palette: '):
        quantize(china, 4, init="last")
    with pytest.raises(ArgumentError, match=r'use "k-means\+\+", .*"first" or a tensor of centers$'):
        kmeans(points, 5, init="last")
    clear = np.dstack([china, np.zeros_like(china[..., 0])])
    with pytest.raises(ArgumentError, match=r'init must be "k-means\+\+", .* or "first" for an image with'):
        quantize(clear, 4, init=np.zeros((4, 3)))


@pytest.mark.parametrize("function", [quantize, kmeans])
def test_docstrings_name_the_table(function: object) -> None:
    assert names_in_docstring(function, "init") == list(INITIALIZATIONS)


@pytest.mark.parametrize("n_places", [1, 2, 16, 300])
def test_places_are_those_that_numpy_chooses(n_places: int) -> None:
    for seed in range(30):
        random = np.random.RandomState(seed)
        weights = random.uniform(size=n_places) ** random.randint(1, 9) * (random.uniform(size=n_places) < 0.7)
        weights[random.randint(n_places)] = 1
        number = int(random.randint(1, 1 + np.count_nonzero(weights)))
        state, other = np.random.RandomState(seed), np.random.RandomState(seed)
        chosen = state.choice(n_places, number, replace=False, p=weights / weights.sum())
        np.testing.assert_array_equal(different_places(weights, number, other), chosen)
        assert state.uniform() == other.uniform()
