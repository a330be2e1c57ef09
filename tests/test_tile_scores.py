"""Scores in single precision, against all distances in double precision."""

import numpy as np
import numpy.typing as npt
import pytest

from gpuquant.ops.tile_scores import TileScores, block_rows

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]


def nearest(
    points: Floats, centers: Floats, margin: float = 0, scores_at_once: int = 1 << 18
) -> tuple[Labels, set[int]]:
    """What TileScores finds: the labels, and the places of close points."""
    squares = np.square(points).sum(axis=1)
    factors = np.column_stack([-2 * centers, np.square(centers).sum(axis=1)])
    reach = 1.001 * float(np.sqrt(squares.max()) + np.sqrt(factors[:, -1].max()))
    scores = TileScores(points.shape[1], len(centers), scores_at_once)
    with np.errstate(over="ignore"):
        found, close = scores.nearest(points, squares.astype(np.float32), factors, reach, margin)
    return found, set(close.tolist())


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


@pytest.mark.parametrize("margin", [0.01, 0.3, 2.0])
def test_points_are_close_up_to_the_margin(margin: float) -> None:
    random = np.random.RandomState(2)
    points, centers = random.normal(0, 1, (3000, 3)), random.normal(0, 1, (12, 3))
    found, close = nearest(points, centers, margin)
    apart = np.sort(distances(points, centers), axis=1)
    gaps = apart[:, 1] - apart[:, 0]
    np.testing.assert_array_equal(found, distances(points, centers).argmin(axis=1))
    assert set(np.flatnonzero(gaps < margin)) <= close
    assert not close & set(np.flatnonzero(gaps > margin * 1.001 + 1e-3))
    assert 0 < len(close) < 3000 or margin == 2.0


def test_blocks_shrink_for_many_clusters_and_columns() -> None:
    assert block_rows(3, 8) == 2048
    assert block_rows(8, 32) == 1024
    assert block_rows(1000, 1000) == 256
