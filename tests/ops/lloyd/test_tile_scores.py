"""Scores in single precision, against all distances in double precision."""

import numpy as np
import numpy.typing as npt
import pytest

from gpuquant.ops.lloyd.tile_scores import TileScores, block_rows

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]


def nearest(points: Floats, centers: Floats, scores_at_once: int = 1 << 18) -> tuple[Labels, set[int]]:
    """The labels, and the places of the points that single precision leaves in doubt."""
    factors = np.column_stack([-2 * centers, np.square(centers).sum(axis=1)])
    scores = TileScores(points.shape[1], len(centers), len(points), scores_at_once)
    found, doubtful, _ = scores.nearest(scores.columns_of(points), len(points), factors, with_gaps=False)
    found[doubtful] = scores.nearest_in_double(points[doubtful], factors)
    return found, set(doubtful.tolist())


def distances(points: Floats, centers: Floats) -> Floats:
    apart: Floats = np.sqrt(np.square(points[:, None] - centers).sum(axis=2))
    return apart


@pytest.mark.parametrize("n_clusters", [1, 2, 8, 255, 256, 300])
@pytest.mark.parametrize("n_columns", [1, 3, 8, 70])
@pytest.mark.parametrize("n_points", [1, 255, 2049, 5000])
@pytest.mark.parametrize("scores_at_once", [1, 1 << 18])
def test_labels_are_those_of_double_precision(
    n_clusters: int, n_columns: int, n_points: int, scores_at_once: int
) -> None:
    random = np.random.RandomState(n_points)
    points, centers = random.normal(0, 2, (n_points, n_columns)), random.normal(0, 2, (n_clusters, n_columns))
    found, _ = nearest(points, centers, scores_at_once=scores_at_once)
    np.testing.assert_array_equal(found, distances(points, centers).argmin(axis=1))


def test_what_single_precision_cannot_tell_apart_is_decided_in_double() -> None:
    """Points 10^-9 beside the border between two centers, on either side."""
    random = np.random.RandomState(0)
    sides = random.randint(0, 2, 3000)
    points = np.column_stack([(2 * sides - 1) * 1e-9, random.normal(0, 1, 3000)])
    centers = np.array([[-1.0, 0.0], [1.0, 0.0], [50.0, 0.0]])
    found, close = nearest(points, centers)
    np.testing.assert_array_equal(found, sides)
    assert len(close) == 3000


def test_the_lowest_of_equal_centers_wins() -> None:
    random = np.random.RandomState(0)
    points = random.randint(-3, 4, (4000, 3)).astype(np.float64)
    centers = np.repeat(random.randint(-2, 3, (9, 3)), 2, axis=0).astype(np.float64)
    expected = np.square(points[:, None] - centers).sum(axis=2).argmin(axis=1)  # integers: nothing rounds
    found, close = nearest(points, centers)
    np.testing.assert_array_equal(found, expected)
    assert len(close) == 4000


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e-15, 1.0, 1e15, 1e25, 1e100])
def test_any_scale_is_taken(scale: float) -> None:
    random = np.random.RandomState(1)
    points, centers = random.normal(0, 1, (3000, 4)), random.normal(0, 1, (7, 4))
    found, _ = nearest(scale * points, scale * centers)
    np.testing.assert_array_equal(found, distances(points, centers).argmin(axis=1))


@pytest.mark.parametrize("n_clusters", [2, 12, 300])
@pytest.mark.parametrize("n_chosen", [1, 700, 3000])
@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0), (1.0, 0), (1e6, 0), (1.0, 30)])
def test_gaps_are_a_little_less_than_the_second_center_is_farther(
    n_clusters: int, n_chosen: int, scale: float, offset: float
) -> None:
    random = np.random.RandomState(2)
    points, centers = (scale * random.normal(offset, 1, (n, 3)) for n in (3000, n_clusters))
    factors = np.column_stack([-2 * centers, np.square(centers).sum(axis=1)])
    scores, chosen = TileScores(3, n_clusters, 4096, 1 << 16), random.choice(3000, n_chosen, replace=False)
    columns = scores.choose(scores.columns_of(points), chosen)
    found, doubtful, gaps = scores.nearest(columns, n_chosen, factors, with_gaps=True)
    certain = np.setdiff1d(np.arange(n_chosen), doubtful)
    apart = distances(points[chosen], centers)
    np.testing.assert_array_equal(found[certain], apart.argmin(axis=1)[certain])
    apart.sort(axis=1)
    exact = apart[:, 1] - apart[:, 0]
    assert (gaps <= exact).all()
    assert offset or (gaps[certain] >= exact[certain] - 0.02 * scale).all()
    np.testing.assert_array_equal(gaps[doubtful], 0)


def test_one_center_has_no_second() -> None:
    scores = TileScores(2, 1, 10, 1 << 16)
    points = np.random.RandomState(0).normal(0, 1, (10, 2))
    _, _, gaps = scores.nearest(scores.columns_of(points), 10, np.array([[0.0, 0.0, 0.0]]), with_gaps=True)
    assert (gaps > 1e18).all()


def test_blocks_shrink_for_many_clusters_and_columns() -> None:
    assert block_rows(3, 8) == 2048
    assert block_rows(8, 32) == 1024
    assert block_rows(1000, 1000) == 256
